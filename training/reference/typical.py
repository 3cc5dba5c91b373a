"""The typical person: what centres the gap, and where a gap stands among people.

Biological age is the age at which the median person of that sex has a hazard, so the gap
is shifted until its median is 0 at every age, for either sex and whichever values are
known. The shift is a table, made from the gaps of people whose values are complete.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import torch
from henaw.model.biomarkers import INDEX, NAMES
from henaw.model.configuration import NetworkConfiguration
from henaw.model.network import Network
from henaw.model.tables import PERCENTILES
from henaw.training.cohorts.cohort import Cohort
from henaw.training.reference.reference import tabulate_over_ages
from henaw.training.reference.uncertainty import build_hats, choose_complete, fill_empty
from torch import Tensor

Array = npt.NDArray[np.float64]

LEAST_STEP_YEARS = 1e-3
"""Least distance between two tabulated percentiles of the gap."""
DISTANCE_QUANTILE = 0.9995
_PIECE = 1 << 14


def fit_typical(
    cohort: Cohort, configuration: NetworkConfiguration, tensors: Mapping[str, Tensor]
) -> Tensor:
    """Minus the median of the gap of complete people, by age and sex: (2, ages) years.

    The gap is that of ``tensors``, whose own table is left out.
    """
    people = cohort.select(cohort.complete)
    gaps = compute_gaps(people, configuration, dict(tensors) | _no_typical(tensors))
    medians = tabulate_over_ages(people, configuration, lambda near: [np.median(gaps[near])])
    return torch.tensor(-medians[:, :, 0], dtype=torch.float32)


def fit_percentiles(
    cohort: Cohort, configuration: NetworkConfiguration, tensors: Mapping[str, Tensor]
) -> Tensor:
    """Gaps of complete people at the tabulated percentiles: (2, ages, P) years."""
    people = cohort.select(cohort.complete)
    gaps = compute_gaps(people, configuration, tensors)
    table = tabulate_over_ages(
        people, configuration, lambda near: np.percentile(gaps[near], PERCENTILES)
    )
    steps = np.arange(len(PERCENTILES)) * LEAST_STEP_YEARS
    increasing = np.maximum.accumulate(table - steps, axis=2) + steps
    return torch.tensor(increasing, dtype=torch.float32)


def fit_typical_missing(
    cohort: Cohort,
    configuration: NetworkConfiguration,
    tensors: Mapping[str, Tensor],
    patterns: npt.NDArray[np.int64] | None = None,
) -> Tensor:
    """What is added to the typical years where values are missing: (patterns, 2, nodes).

    Complete people have each pattern blanked out; around each tabulated age the median
    of their gaps is put at 0.

    Args:
        cohort: the people.
        configuration: the shape.
        tensors: with ``typical``; its own table of what is missing is left out.
        patterns: those tabulated, all others being left at 0; without it, all.
    """
    biomarkers, age, sex = choose_complete(cohort)
    network = Network(
        configuration,
        dict(tensors) | {"typical_missing": torch.zeros_like(tensors["typical_missing"])},
    )
    hats = build_hats(age.double().numpy(), configuration)
    by_sex = [fill_empty(hats * (sex.numpy() == code)[:, None]) for code in (0, 1)]
    table = np.zeros(tensors["typical_missing"].shape)
    nothing = len(table) - 1
    chosen = np.arange(1, nothing) if patterns is None else patterns
    # What the model leaves out is missing from everybody, and from the typical person.
    always = sum(1 << INDEX[name] for name in configuration.left_out)
    chosen = chosen[(chosen & ~always) > 0]
    bits = torch.tensor([2**i for i in range(len(NAMES))])
    with torch.inference_mode():
        for pattern in chosen[chosen < nothing].tolist():
            blanked = torch.where((pattern & bits) != 0, torch.nan, biomarkers)
            gaps = network.answer(blanked, age, sex).age_gap.double().numpy()
            order = np.argsort(gaps)
            for code, weights in enumerate(by_sex):
                below = np.cumsum(weights[order], axis=0)
                place = (below < 0.5 * below[-1]).sum(0)
                table[pattern, code] = -gaps[order][place]
    return torch.tensor(table, dtype=torch.float32)


def fit_distance_limits(
    cohort: Cohort, configuration: NetworkConfiguration, tensors: Mapping[str, Tensor]
) -> Tensor:
    """Squared distances that 0.05 % of complete people exceed, by missing pattern: (patterns,).

    With nothing known it is below 0: of such a person nothing can be told.
    """
    people = cohort.select(cohort.complete)
    network = Network(configuration, tensors)
    limits = np.zeros(len(tensors["distance_limit"]))
    limits[-1] = -1.0
    scores = np.concatenate(
        [
            network.build_features(*_take(people, begin)).unclipped.double().numpy()
            for begin in range(0, len(people), _PIECE)
        ]
    )
    by_name = scores[:, : len(NAMES)].T.copy()
    correlation = tensors["correlation"].double().numpy()
    for pattern in range(len(limits) - 1):
        known = [i for i in range(len(NAMES)) if not pattern >> i & 1]
        inverse = np.linalg.inv(correlation[np.ix_(known, known)])
        seen = by_name[known]
        distance = (seen * (inverse @ seen)).sum(0)
        limits[pattern] = np.quantile(distance, DISTANCE_QUANTILE)
    return torch.tensor(limits, dtype=torch.float32)


def list_patterns(cohort: Cohort) -> npt.NDArray[np.int64]:
    """Missing pattern of each person: (n,), bit i set where biomarker i is missing."""
    missing = np.isnan(cohort.biomarkers)
    result: npt.NDArray[np.int64] = missing @ (1 << np.arange(len(NAMES)))
    return result


def compute_gaps(
    people: Cohort, configuration: NetworkConfiguration, tensors: Mapping[str, Tensor]
) -> Array:
    """Age gaps: (n,) years."""
    network = Network(configuration, tensors)
    with torch.inference_mode():
        pieces = [
            network.answer(*_take(people, begin)).age_gap.double().numpy()
            for begin in range(0, len(people), _PIECE)
        ]
    return np.concatenate(pieces)


def compute_typical(
    people: Cohort, configuration: NetworkConfiguration, tensors: Mapping[str, Tensor]
) -> Tensor:
    """The typical years of each person: (n,) float64."""
    network = Network(configuration, tensors)
    pieces = []
    with torch.inference_mode():
        for begin in range(0, len(people), _PIECE):
            biomarkers, age, sex = _take(people, begin)
            by_age = network.look_up_reference(age, sex)
            by_pattern = network.look_up_pattern(network.find_observed(biomarkers))
            pieces.append(network.compute_typical(by_age, by_pattern))
    return torch.cat(pieces).squeeze(1).double()


def _take(people: Cohort, begin: int) -> tuple[Tensor, Tensor, Tensor]:
    rows = slice(begin, begin + _PIECE)
    return (
        torch.from_numpy(people.biomarkers[rows]),
        torch.from_numpy(people.age_years[rows]),
        torch.from_numpy(people.sex[rows]),
    )


def _no_typical(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: torch.zeros_like(tensors[name]) for name in ("typical", "typical_missing")}
