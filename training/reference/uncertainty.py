"""What the interval needs besides the refits: caps, and what missing values cost."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from henaw.model.biomarkers import INDEX, NAMES, list_total_cv
from henaw.model.change import INTERVAL_SCORE
from henaw.model.configuration import NetworkConfiguration
from henaw.model.network import Answers, Network
from henaw.model.transforms import LOG_SCALED
from henaw.training.cohorts.cohort import Cohort
from henaw.training.reference.reference import tabulate_over_ages
from torch import Tensor

Weights = npt.NDArray[np.float64]

CAP_QUANTILE = 0.95
INTERVAL_LEVEL = 0.9
MOST_PEOPLE = 3000
_CHUNK = 64
_PIECE = 1 << 14


def fit_group_caps(
    cohort: Cohort, configuration: NetworkConfiguration, tensors: dict[str, Tensor]
) -> Tensor:
    """Cap of each group's variance over repeat draws and refits, years squared: (G,).

    The quantile of that variance among complete people of the cohort.
    """
    network = Network(configuration, tensors)
    with torch.no_grad():
        features = network.build_features(*choose_complete(cohort))
        by_group = network.compute_group_variance(features, network.compute_contributions(features))
    return torch.quantile(by_group.double(), CAP_QUANTILE, dim=0).float()


def fit_member_offset(
    cohort: Cohort, configuration: NetworkConfiguration, tensors: dict[str, Tensor]
) -> Tensor:
    """Mean over people of how much each refit's years of each group differ.

    A refit has typical years of its own, which put its gap's middle back to 0; only
    what differs between people is left to the interval.

    Shape:
        result: (2, ages, G B) years
    """
    people = cohort.select(cohort.complete)
    network = Network(
        configuration,
        tensors | {"member_offset": torch.zeros_like(tensors["member_offset"])},
    )
    pieces = []
    with torch.inference_mode():
        for begin in range(0, len(people), _PIECE):
            rows = slice(begin, begin + _PIECE)
            features = network.build_features(
                torch.from_numpy(people.biomarkers[rows]),
                torch.from_numpy(people.age_years[rows]),
                torch.from_numpy(people.sex[rows]),
            )
            pieces.append(network.compute_contributions(features).refits.double().numpy())
    refits = np.concatenate(pieces)
    table = tabulate_over_ages(people, configuration, lambda near: refits[near].mean(0))
    return torch.tensor(table, dtype=torch.float32)


def measure_extrapolation(
    configuration: NetworkConfiguration, tensors: dict[str, Tensor]
) -> Tensor:
    """How uncertain an effect is per score beyond the fitted range: (1,) years.

    Nobody was seen there. What slope to expect is told by those of all biomarkers beyond
    their outermost knots: their root mean square.
    """
    used = [INDEX[name] for name in configuration.panel]
    weight = tensors["weight"][used, : configuration.basis_size].double()
    slopes = torch.cat([weight[:, 0], weight.sum(1)])
    return slopes.square().mean().sqrt().reshape(1).float()


def fit_missing_variance(
    cohort: Cohort, configuration: NetworkConfiguration, tensors: dict[str, Tensor]
) -> Tensor:
    """Variance of the gap that each missing pattern leaves open, years squared.

    Complete people have each of the 512 patterns blanked out; the mean squared change
    of their gap, by sex and around each tabulated age, is what that pattern hides. A
    pattern is never given less than a pattern that it contains.

    Shape:
        result: (512, 2, ages)
    """
    biomarkers, age, sex = choose_complete(cohort)
    network = Network(configuration, tensors)
    hats = build_hats(age.double().numpy(), configuration)
    by_sex = [fill_empty(hats * (sex.numpy() == code)[:, None]) for code in (0, 1)]
    bits = torch.tensor([2**i for i in range(len(NAMES))])
    table = np.zeros((2 ** len(NAMES), 2, len(configuration.variance_ages)))
    with torch.no_grad():
        full = network.answer(biomarkers, age, sex).age_gap
        for begin in range(0, len(table), _CHUNK):
            patterns = torch.arange(begin, begin + _CHUNK)
            hidden = (patterns.unsqueeze(1) & bits) != 0
            blanked = torch.where(hidden.unsqueeze(1), torch.nan, biomarkers)
            answers = network.answer(blanked.flatten(0, 1), age.repeat(_CHUNK), sex.repeat(_CHUNK))
            gaps = answers.age_gap.unflatten(0, (_CHUNK, -1))
            errors = ((gaps - full) ** 2).double().numpy()
            for code, weights in enumerate(by_sex):
                table[begin : begin + _CHUNK, code] = errors @ weights / weights.sum(0)
    for pattern in sorted(range(len(table)), key=int.bit_count):
        for bit in range(len(NAMES)):
            if pattern >> bit & 1:
                table[pattern] = np.maximum(table[pattern], table[pattern ^ (1 << bit)])
    return torch.tensor(table, dtype=torch.float32)


def draw_values(
    biomarkers: npt.NDArray[np.float32], generator: np.random.Generator
) -> npt.NDArray[np.float32]:
    """One repeat draw of each person: (n, 9) raw values around the given ones."""
    spread = np.sqrt(np.log1p(np.square(list_total_cv())))
    noise = generator.standard_normal(biomarkers.shape) * spread - 0.5 * spread**2
    values: npt.NDArray[np.float32] = (biomarkers * np.exp(noise)).astype(np.float32)
    return values


def move_laboratory(
    biomarkers: npt.NDArray[np.float32], spread: Weights, generator: np.random.Generator
) -> npt.NDArray[np.float32]:
    """The same blood in another laboratory, one for each person: (n, 9) raw values.

    Args:
        biomarkers: (n, 9) raw values.
        spread: (9,) standard deviation of the shifts, on each biomarker's scale.
        generator: of the shifts.
    """
    shift = generator.standard_normal(biomarkers.shape) * spread
    moved = np.where(LOG_SCALED, biomarkers * np.exp(shift), biomarkers + shift)
    values: npt.NDArray[np.float32] = moved.astype(np.float32)
    return values


def answer_by_refit(
    network: Network, biomarkers: npt.NDArray[np.float32], people: Cohort, refit: int
) -> Weights:
    """Biological age by one of the refits: (n,) years.

    Args:
        network: the model.
        biomarkers: (n, 9) raw values.
        people: whose age and sex they are.
        refit: which of its refits.
    """
    age, sex = torch.from_numpy(people.age_years), torch.from_numpy(people.sex)
    with torch.inference_mode():
        features = network.build_features(torch.from_numpy(biomarkers), age, sex)
        parts = network.compute_contributions(features)
        gap = features.typical.squeeze(1) + parts.systems.sum(1)
        by_group = (parts.refits - features.by_age.refit_offset).unflatten(
            1, (len(network.group_cap), -1)
        )
        ages: Weights = (age + gap + by_group[:, :, refit].sum(1)).double().numpy()
    return ages


def fit_factors(
    cohort: Cohort, configuration: NetworkConfiguration, tensors: dict[str, Tensor], *, seed: int
) -> dict[str, Tensor]:
    """By what the interval's width and ``draw_sd`` are multiplied to hold nine repeats in ten.

    A repeat is another draw; for the interval also in another laboratory and answered by
    another fit, all drawn as the interval assumes. Both go by slopes at the person's own
    values; further out they differ, which is what this makes up for.
    """
    people = choose_people(cohort)
    one = torch.ones(1)
    network = Network(configuration, tensors | {"interval_factor": one, "draw_factor": one})
    generator = np.random.default_rng([seed, 2])
    age, sex = torch.from_numpy(people.age_years), torch.from_numpy(people.sex)

    def measure(values: npt.NDArray[np.float32]) -> Answers:
        with torch.inference_mode():
            return network.answer(torch.from_numpy(values), age, sex)

    own = measure(people.biomarkers)
    centre = own.biological_age.double().numpy()
    half = (own.interval[:, 1] - own.biological_age).double().numpy()
    draw = INTERVAL_SCORE * own.draw_sd.double().numpy()
    spread = tensors["laboratory_sd"].double().numpy()
    by_draws, by_all = [], []
    for refit in range(configuration.members):
        values = draw_values(people.biomarkers, generator)
        again = measure(values).biological_age.double().numpy()
        by_draws.append(np.abs(again - centre) / draw)
        elsewhere = move_laboratory(values, spread, generator)
        by_all.append(np.abs(answer_by_refit(network, elsewhere, people, refit) - centre) / half)
    return {
        name: torch.tensor([np.quantile(np.concatenate(away), INTERVAL_LEVEL)]).float()
        for name, away in (("interval_factor", by_all), ("draw_factor", by_draws))
    }


def fill_empty(weights: Weights) -> Weights:
    """Give a tabulated age with nobody around it the people of the nearest one: (n, nodes)."""
    filled = np.flatnonzero(weights.sum(0) > 0)
    nearest = np.abs(np.arange(weights.shape[1])[:, None] - filled).argmin(1)
    result: Weights = weights[:, filled[nearest]]
    return result


def choose_people(cohort: Cohort) -> Cohort:
    """At most MOST_PEOPLE complete people, evenly over the cohort's rows."""
    rows = np.flatnonzero(cohort.complete)
    chosen = np.zeros(len(cohort), bool)
    chosen[rows[:: max(1, -(-len(rows) // MOST_PEOPLE))]] = True
    return cohort.select(chosen)


def choose_complete(cohort: Cohort) -> tuple[Tensor, Tensor, Tensor]:
    """The inputs of :func:`choose_people`."""
    return take_inputs(choose_people(cohort))


def take_inputs(people: Cohort) -> tuple[Tensor, Tensor, Tensor]:
    """Biomarkers, age and sex as tensors."""
    return (
        torch.from_numpy(people.biomarkers),
        torch.from_numpy(people.age_years),
        torch.from_numpy(people.sex),
    )


def build_hats(age: Weights, configuration: NetworkConfiguration) -> Weights:
    """Weights of people around each tabulated age, falling to 0 at its neighbours."""
    nodes = np.array(configuration.variance_ages, dtype=np.float64)
    inside = np.clip(age, nodes[0], nodes[-1])
    return np.stack([np.interp(inside, nodes, row) for row in np.eye(len(nodes))], axis=1)
