"""What the interval needs besides the refits: caps, and what missing values cost."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from henaw.model.biomarkers import NAMES
from henaw.model.configuration import NetworkConfiguration
from henaw.model.network import Network
from henaw.model.runtime import OUTPUT_NAMES
from henaw.training.cohort import Cohort
from torch import Tensor

Weights = npt.NDArray[np.float64]

CAP_QUANTILE = 0.95
MOST_PEOPLE = 3000
_CHUNK = 64


def fit_group_caps(
    cohort: Cohort, configuration: NetworkConfiguration, tensors: dict[str, Tensor]
) -> Tensor:
    """Cap of each group's variance over repeat draws and refits, years squared: (G,).

    The quantile of that variance among complete people of the cohort.
    """
    network = Network(configuration, tensors)
    with torch.no_grad():
        features = network.build_features(*_choose_complete(cohort))
        by_group = network.compute_group_variance(features, network.compute_contributions(features))
    return torch.quantile(by_group.double(), CAP_QUANTILE, dim=0).float()


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
    biomarkers, age, sex = _choose_complete(cohort)
    network = Network(configuration, tensors)
    gap_index = OUTPUT_NAMES.index("age_gap")
    hats = _build_hats(age.double().numpy(), configuration)
    by_sex = [_fill_empty(hats * (sex.numpy() == code)[:, None]) for code in (0, 1)]
    bits = torch.tensor([2**i for i in range(len(NAMES))])
    table = np.zeros((2 ** len(NAMES), 2, len(configuration.variance_ages)))
    with torch.no_grad():
        full = network(biomarkers, age, sex)[gap_index]
        for begin in range(0, len(table), _CHUNK):
            patterns = torch.arange(begin, begin + _CHUNK)
            hidden = (patterns.unsqueeze(1) & bits) != 0
            blanked = torch.where(hidden.unsqueeze(1), torch.nan, biomarkers)
            gaps = network(blanked.flatten(0, 1), age.repeat(_CHUNK), sex.repeat(_CHUNK))[
                gap_index
            ].unflatten(0, (_CHUNK, -1))
            errors = ((gaps - full) ** 2).double().numpy()
            for code, weights in enumerate(by_sex):
                table[begin : begin + _CHUNK, code] = errors @ weights / weights.sum(0)
    for pattern in sorted(range(len(table)), key=int.bit_count):
        for bit in range(len(NAMES)):
            if pattern >> bit & 1:
                table[pattern] = np.maximum(table[pattern], table[pattern ^ (1 << bit)])
    return torch.tensor(table, dtype=torch.float32)


def _fill_empty(weights: Weights) -> Weights:
    """Give a tabulated age with nobody around it the people of the nearest one: (n, nodes)."""
    filled = np.flatnonzero(weights.sum(0) > 0)
    nearest = np.abs(np.arange(weights.shape[1])[:, None] - filled).argmin(1)
    result: Weights = weights[:, filled[nearest]]
    return result


def _choose_complete(cohort: Cohort) -> tuple[Tensor, Tensor, Tensor]:
    """At most MOST_PEOPLE complete people, evenly over the cohort's rows."""
    rows = np.flatnonzero(cohort.complete)
    rows = rows[:: max(1, -(-len(rows) // MOST_PEOPLE))]
    return (
        torch.from_numpy(cohort.biomarkers[rows]),
        torch.from_numpy(cohort.age_years[rows]),
        torch.from_numpy(cohort.sex[rows]),
    )


def _build_hats(age: Weights, configuration: NetworkConfiguration) -> Weights:
    """Weights of people around each tabulated age, falling to 0 at its neighbours."""
    nodes = np.array(configuration.variance_ages, dtype=np.float64)
    inside = np.clip(age, nodes[0], nodes[-1])
    return np.stack([np.interp(inside, nodes, row) for row in np.eye(len(nodes))], axis=1)
