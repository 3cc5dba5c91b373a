"""What the interval needs besides the refits: caps, factors and the cost of missing values."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from henaw.model.biomarkers import INDEX, NAMES, list_total_cv
from henaw.model.change import INTERVAL_SCORE
from henaw.model.configuration import NetworkConfiguration
from henaw.model.graph.transforms import LOG_SCALED
from henaw.model.network import Network, NetworkOutputs
from henaw.training.cohorts.cohort import Cohort
from henaw.training.reference.tables import (
    Array,
    answer_in_pieces,
    choose_people,
    tabulate_over_ages,
    weigh_by_age,
)
from torch import Tensor

CAP_QUANTILE = 0.95
INTERVAL_LEVEL = 0.9
_CHUNK = 64
"""Missing patterns answered together."""


def fit_group_caps(
    cohort: Cohort, configuration: NetworkConfiguration, tensors: dict[str, Tensor]
) -> Tensor:
    """Cap of each group's variance over repeat draws and refits, years squared: (G,).

    It is the 95 % quantile of that variance among complete people.
    """
    network = Network(configuration, tensors)
    with torch.no_grad():
        features = network.build_features(*choose_people(cohort).take_inputs())
        by_group = network.compute_group_variance(features, network.compute_contributions(features))
    return torch.quantile(by_group.double(), CAP_QUANTILE, dim=0).float()


def fit_member_offset(
    cohort: Cohort, configuration: NetworkConfiguration, tensors: dict[str, Tensor]
) -> Tensor:
    """Mean over people of the difference between each refit's and the fit's years, by group.

    A refit would have typical years of its own, which put the median of its gap at 0. The
    offset stands for them, so that the interval shows only what differs between people.

    Shape:
        result: (2, ages, G B) years
    """
    people = cohort.select(cohort.complete)
    network = Network(
        configuration,
        tensors | {"member_offset": torch.zeros_like(tensors["member_offset"])},
    )
    refits = answer_in_pieces(
        people,
        lambda *inputs: network.compute_contributions(network.build_features(*inputs)).refits,
    )
    table = tabulate_over_ages(people, configuration, lambda near: refits[near].mean(0))
    return torch.tensor(table, dtype=torch.float32)


def measure_extrapolation(
    configuration: NetworkConfiguration, tensors: dict[str, Tensor]
) -> Tensor:
    """Standard deviation of an effect per score beyond the fitted range: (1,) years.

    There are no people there. The slope to expect is the root mean square of all
    biomarkers' slopes beyond their outermost knots.
    """
    used = [INDEX[name] for name in configuration.panel]
    weight = tensors["weight"][used, : configuration.basis_size].double()
    slopes = torch.cat([weight[:, 0], weight.sum(1)])
    return slopes.square().mean().sqrt().reshape(1).float()


def fit_missing_variance(
    cohort: Cohort, configuration: NetworkConfiguration, tensors: dict[str, Tensor]
) -> Tensor:
    """Variance of the gap that each missing pattern adds, years squared.

    Each of the 512 patterns of values is removed from complete people. The variance is the
    mean squared change of their gap, by sex and around each age of ``variance_ages``. A
    pattern has at least the variance of every pattern that it contains.

    Shape:
        result: (512, 2, nodes)
    """
    people = choose_people(cohort)
    biomarkers, age, sex = people.take_inputs()
    network = Network(configuration, tensors)
    by_sex = weigh_by_age(people, configuration)
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
    """One repeat blood draw of each person: (n, 9) raw values around the given ones.

    The noise is lognormal, with each biomarker's total coefficient of variation.
    """
    spread = np.sqrt(np.log1p(np.square(list_total_cv())))
    noise = generator.standard_normal(biomarkers.shape) * spread - 0.5 * spread**2
    values: npt.NDArray[np.float32] = (biomarkers * np.exp(noise)).astype(np.float32)
    return values


def move_laboratory(
    biomarkers: npt.NDArray[np.float32], spread: Array, generator: np.random.Generator
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
) -> Array:
    """Biological age by one of the refits: (n,) years.

    Args:
        network: the model.
        biomarkers: (n, 9) raw values.
        people: n people, whose age and sex are used.
        refit: number of the refit, from 0.
    """
    _, age, sex = people.take_inputs()
    with torch.inference_mode():
        features = network.build_features(torch.from_numpy(biomarkers), age, sex)
        parts = network.compute_contributions(features)
        gap = features.typical.squeeze(1) + parts.systems.sum(1)
        by_group = (parts.refits - features.by_age.refit_offset).unflatten(
            1, (len(network.group_cap), -1)
        )
        ages: Array = (age + gap + by_group[:, :, refit].sum(1)).double().numpy()
    return ages


def fit_factors(
    cohort: Cohort, configuration: NetworkConfiguration, tensors: dict[str, Tensor], *, seed: int
) -> dict[str, Tensor]:
    """Factors of the interval's width and of ``draw_sd`` with which they cover 90 % of repeats.

    A repeat is another blood draw. For the interval it is also in another laboratory and
    answered by a refit, all drawn as the interval assumes. The interval and ``draw_sd`` use
    the slopes at the person's own values; the factors correct for other slopes further out.
    """
    people = choose_people(cohort)
    one = torch.ones(1)
    network = Network(configuration, tensors | {"interval_factor": one, "draw_factor": one})
    generator = np.random.default_rng([seed, 2])
    _, age, sex = people.take_inputs()

    def measure(values: npt.NDArray[np.float32]) -> NetworkOutputs:
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
