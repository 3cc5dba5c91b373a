"""What the interval needs besides the refits: caps, and what missing values cost."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from henaw.model.biomarkers import NAMES
from henaw.model.configuration import NetworkConfiguration
from henaw.model.network import Network
from henaw.training.cohort import Cohort
from henaw.training.reference import tabulate_over_ages
from torch import Tensor

Weights = npt.NDArray[np.float64]

CAP_QUANTILE = 0.95
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
    weight = tensors["weight"][: len(NAMES), : configuration.basis_size].double()
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


def fill_empty(weights: Weights) -> Weights:
    """Give a tabulated age with nobody around it the people of the nearest one: (n, nodes)."""
    filled = np.flatnonzero(weights.sum(0) > 0)
    nearest = np.abs(np.arange(weights.shape[1])[:, None] - filled).argmin(1)
    result: Weights = weights[:, filled[nearest]]
    return result


def choose_complete(cohort: Cohort) -> tuple[Tensor, Tensor, Tensor]:
    """At most MOST_PEOPLE complete people, evenly over the cohort's rows."""
    rows = np.flatnonzero(cohort.complete)
    rows = rows[:: max(1, -(-len(rows) // MOST_PEOPLE))]
    return (
        torch.from_numpy(cohort.biomarkers[rows]),
        torch.from_numpy(cohort.age_years[rows]),
        torch.from_numpy(cohort.sex[rows]),
    )


def build_hats(age: Weights, configuration: NetworkConfiguration) -> Weights:
    """Weights of people around each tabulated age, falling to 0 at its neighbours."""
    nodes = np.array(configuration.variance_ages, dtype=np.float64)
    inside = np.clip(age, nodes[0], nodes[-1])
    return np.stack([np.interp(inside, nodes, row) for row in np.eye(len(nodes))], axis=1)
