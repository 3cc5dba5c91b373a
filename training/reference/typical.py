"""The typical person: what centres the gap, and where a gap is among those of other people.

Biological age is the age at which the median person of that sex has the hazard. The gap is
therefore shifted until its median is 0 at every age, for each sex and each set of known
values. The shift is a table, made from the gaps of people with complete values.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import torch
from henaw.model.biomarkers import INDEX, NAMES
from henaw.model.configuration import NetworkConfiguration
from henaw.model.graph.tables import PERCENTILES
from henaw.model.network import Network
from henaw.training.cohorts.cohort import Cohort
from henaw.training.reference.tables import (
    Array,
    answer_in_pieces,
    choose_people,
    tabulate_over_ages,
    weigh_by_age,
)
from torch import Tensor

LEAST_STEP_YEARS = 1e-3
"""Least distance between two tabulated percentiles of the gap."""
DISTANCE_QUANTILE = 0.9995


def fit_typical(
    cohort: Cohort, configuration: NetworkConfiguration, tensors: Mapping[str, Tensor]
) -> Tensor:
    """Minus the median of the gap of complete people, by sex and age: (2, ages) years.

    The gap is that of ``tensors`` without their own ``typical`` and ``typical_missing``.
    """
    people = cohort.select(cohort.complete)
    centred = ("typical", "typical_missing")
    uncentred = dict(tensors) | {name: torch.zeros_like(tensors[name]) for name in centred}
    gaps = compute_gaps(people, configuration, uncentred)
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
    """Years added to the typical ones where values are missing: (patterns, 2, nodes).

    Each pattern of values is removed from complete people; the table then puts the median
    of their gaps at 0 around each age of ``variance_ages``.

    Args:
        cohort: the people.
        configuration: the network's shape.
        tensors: with ``typical``; their own ``typical_missing`` is not used.
        patterns: the patterns to tabulate; the others stay 0. None: all.
    """
    people = choose_people(cohort)
    biomarkers, age, sex = people.take_inputs()
    network = Network(
        configuration,
        dict(tensors) | {"typical_missing": torch.zeros_like(tensors["typical_missing"])},
    )
    by_sex = weigh_by_age(people, configuration)
    table = np.zeros(tensors["typical_missing"].shape)
    nothing = len(table) - 1
    chosen = np.arange(1, nothing) if patterns is None else patterns
    # An unused biomarker is missing from everyone, and from the typical person.
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

    The limit is below 0 where no value is known, so that no such answer is reliable.
    """
    people = cohort.select(cohort.complete)
    network = Network(configuration, tensors)
    limits = np.zeros(len(tensors["distance_limit"]))
    limits[-1] = -1.0
    scores = answer_in_pieces(people, lambda *inputs: network.build_features(*inputs).unclipped)
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
    return answer_in_pieces(people, lambda *inputs: network.answer(*inputs).age_gap)


def compute_typical(
    people: Cohort, configuration: NetworkConfiguration, tensors: Mapping[str, Tensor]
) -> Tensor:
    """The typical years of each person: (n,) float64."""
    network = Network(configuration, tensors)

    def compute(biomarkers: Tensor, age: Tensor, sex: Tensor) -> Tensor:
        by_age = network.look_up_reference(age, sex)
        by_pattern = network.look_up_pattern(network.find_observed(biomarkers))
        return network.compute_typical(by_age, by_pattern).squeeze(1)

    return torch.from_numpy(answer_in_pieces(people, compute))
