"""The typical person: the middle of the gap, by age, sex and what is known."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pytest
import torch
from henaw.model.biomarkers import INDEX, NAMES
from henaw.model.checkpoint import Checkpoint
from henaw.model.configuration import read_configuration
from henaw.model.graph.tables import PERCENTILES
from henaw.model.network import Network
from henaw.model.people import People
from henaw.model.runtime import OUTPUT_NAMES, Outputs, TorchRuntime
from henaw.model.synthetic import draw_synthetic_people
from henaw.training.cohorts.cohort import Cohort, read_cohort
from henaw.training.configuration import TrainingConfiguration
from henaw.training.reference.reference import fit_reference
from henaw.training.reference.typical import (
    DISTANCE_QUANTILE,
    LEAST_STEP_YEARS,
    compute_gaps,
    compute_typical,
    fit_distance_limits,
    fit_percentiles,
    fit_typical,
    fit_typical_missing,
    list_patterns,
)
from scipy.stats import kstest
from torch import Tensor

COUNT = 12_000
MOST_MISSING = 0b011111111
SOME_PATTERNS = (1, 1 << INDEX["ggt"], 0b101010101, MOST_MISSING, 0b110000000)


@pytest.fixture(scope="module")
def make_cohort(
    checkpoint: Checkpoint, as_cohort: Callable[[People], Cohort]
) -> Callable[[int, int], Cohort]:
    """Draw so many people, by a seed, from the reference."""
    return lambda count, seed: as_cohort(draw_synthetic_people(checkpoint, count, seed))


@pytest.fixture(scope="module")
def cohort(checkpoint: Checkpoint, make_cohort: Callable[[int, int], Cohort]) -> Cohort:
    """People drawn from the reference, with all values known."""
    return make_cohort(COUNT, 71)


@pytest.fixture(scope="module")
def tensors(checkpoint: Checkpoint, cohort: Cohort) -> dict[str, Tensor]:
    """The shipped weights, centred on these people."""
    fitted = dict(checkpoint.tensors)
    shape = checkpoint.network
    fitted["typical"] = fit_typical(cohort, shape, fitted)
    fitted["typical_missing"] = fit_typical_missing(cohort, shape, fitted, np.array(SOME_PATTERNS))
    fitted["gap_percentiles"] = fit_percentiles(cohort, shape, fitted)
    return fitted


def list_groups(cohort: Cohort) -> list[npt.NDArray[np.bool_]]:
    return [
        (cohort.sex == sex) & (cohort.age_years >= low) & (cohort.age_years < low + 13)
        for sex in (0, 1)
        for low in (20, 33, 46, 59, 72)
    ]


def find_median_error(gaps: npt.NDArray[np.float64]) -> float:
    """Four standard errors of a median."""
    return float(4 * 1.25 * gaps.std() / np.sqrt(len(gaps)))


def test_the_median_gap_is_0_at_every_age_for_either_sex(
    checkpoint: Checkpoint,
    cohort: Cohort,
    tensors: dict[str, Tensor],
    make_cohort: Callable[[int, int], Cohort],
) -> None:
    gaps = compute_gaps(cohort, checkpoint.network, tensors)
    others = make_cohort(COUNT, 72)
    unseen = compute_gaps(others, checkpoint.network, tensors)
    for rows, fresh in zip(list_groups(cohort), list_groups(others), strict=True):
        assert abs(np.median(gaps[rows])) < 0.15
        assert abs(np.median(unseen[fresh])) < find_median_error(unseen[fresh]) + 0.15
    assert abs(np.median(gaps)) < 0.05


def test_it_is_0_too_where_values_are_missing(
    checkpoint: Checkpoint,
    cohort: Cohort,
    tensors: dict[str, Tensor],
    make_cohort: Callable[[int, int], Cohort],
) -> None:
    others = make_cohort(COUNT, 73)
    for pattern in SOME_PATTERNS:
        hidden = (pattern >> np.arange(9) & 1).astype(bool)
        blanked = dataclasses.replace(
            others, biomarkers=np.where(hidden, np.float32(np.nan), others.biomarkers)
        )
        gaps = compute_gaps(blanked, checkpoint.network, tensors)
        for rows in list_groups(others):
            # Both the table, of some 3000 people, and this sample are drawn.
            assert abs(np.median(gaps[rows])) < 2 * find_median_error(gaps[rows]) + 0.1
        assert abs(np.median(gaps)) < 0.3
        if pattern == MOST_MISSING:
            left_out = {"typical_missing": torch.zeros_like(tensors["typical_missing"])}
            without = compute_gaps(blanked, checkpoint.network, tensors | left_out)
            assert abs(np.median(without)) > 1.0


def test_a_table_of_what_is_missing_leaves_the_complete_and_the_unknown_at_0(
    tensors: dict[str, Tensor],
) -> None:
    table = tensors["typical_missing"]
    assert not table[0].any()
    assert not table[-1].any()
    filled = {int(p) for p in table.flatten(1).abs().sum(1).nonzero().flatten()}
    assert filled == set(SOME_PATTERNS)


def test_the_typical_years_do_not_depend_on_those_before(
    checkpoint: Checkpoint, cohort: Cohort, tensors: dict[str, Tensor]
) -> None:
    moved = tensors | {"typical": tensors["typical"] + 3.0}
    torch.testing.assert_close(
        fit_typical(cohort, checkpoint.network, moved), tensors["typical"], atol=1e-5, rtol=0
    )


def test_typical_years_of_people_are_what_the_network_adds(
    checkpoint: Checkpoint, cohort: Cohort, tensors: dict[str, Tensor]
) -> None:
    hidden = np.random.default_rng(74).random(cohort.biomarkers.shape) < 0.3
    some = dataclasses.replace(
        cohort, biomarkers=np.where(hidden, np.float32(np.nan), cohort.biomarkers)
    )
    seen = compute_typical(some, checkpoint.network, tensors).numpy()
    network = Network(checkpoint.network, tensors)
    answers = TorchRuntime(network, name="eager").predict(some.biomarkers, some.age_years, some.sex)
    np.testing.assert_allclose(seen, answers["contributions"][:, 0], atol=1e-5)


def test_percentiles_are_uniform_among_other_people(
    checkpoint: Checkpoint, tensors: dict[str, Tensor], make_cohort: Callable[[int, int], Cohort]
) -> None:
    others = make_cohort(COUNT, 75)
    network = Network(checkpoint.network, tensors)
    percentile = TorchRuntime(network, name="eager").predict(
        others.biomarkers, others.age_years, others.sex
    )["percentile"]
    for rows in (np.ones(COUNT, bool), *list_groups(others)):
        # Kolmogorov: 1.95 / sqrt(n) is passed by one sample in a thousand; twice over, since
        # the table was drawn as well, and a little for its steps.
        statistic = kstest(percentile[rows] / 100, "uniform").statistic
        assert statistic < 1.95 * np.sqrt(2 / rows.sum()) + 0.01


def test_tabulated_percentiles_are_those_of_the_people(
    checkpoint: Checkpoint, cohort: Cohort, tensors: dict[str, Tensor]
) -> None:
    table = tensors["gap_percentiles"].double().numpy()
    assert (np.diff(table, axis=2) >= 0.9 * LEAST_STEP_YEARS).all()
    gaps = compute_gaps(cohort, checkpoint.network, tensors)
    rows = (cohort.sex == 1) & (np.abs(cohort.age_years - 50) <= 5)
    expected = np.percentile(gaps[rows], PERCENTILES)
    middle = slice(4, -4)
    np.testing.assert_allclose(table[1, 30, middle], expected[middle], atol=0.5)


def test_a_limit_of_distance_is_passed_by_one_in_two_thousand(
    checkpoint: Checkpoint, cohort: Cohort
) -> None:
    tensors = dict(checkpoint.tensors)
    limits = fit_distance_limits(cohort, checkpoint.network, tensors)
    assert limits[-1] == -1.0
    network = Network(checkpoint.network, tensors | {"distance_limit": limits})
    for pattern in (0, *SOME_PATTERNS):
        hidden = (pattern >> np.arange(9) & 1).astype(bool)
        biomarkers = np.where(hidden, np.float32(np.nan), cohort.biomarkers)
        with torch.inference_mode():
            features = network.build_features(
                torch.from_numpy(biomarkers),
                torch.from_numpy(cohort.age_years),
                torch.from_numpy(cohort.sex),
            )
            distance = network.compute_distance(features)[:, 0]
        beyond = int((distance > limits[pattern]).sum())
        assert abs(beyond - COUNT * (1 - DISTANCE_QUANTILE)) <= 1


def test_patterns_are_bits_of_what_is_missing(
    checkpoint: Checkpoint, make_cohort: Callable[[int, int], Cohort]
) -> None:
    cohort = make_cohort(4, 76)
    biomarkers = cohort.biomarkers.copy()
    biomarkers[1, 0] = biomarkers[2, [0, 8]] = biomarkers[3] = np.nan
    seen = list_patterns(dataclasses.replace(cohort, biomarkers=biomarkers))
    assert seen.tolist() == [0, 1, 257, 511]


class Fitted(NamedTuple):
    cohort: Cohort
    outputs: Outputs


@pytest.fixture(scope="module")
def fitted(cohort_path: Path, checkpoint: Checkpoint) -> Fitted:
    """The people the shipped model was fitted on, harmonised as for the fit."""
    configuration = read_configuration(
        TrainingConfiguration, checkpoint.training["configuration"], subject="checkpoint"
    )
    read = read_cohort(cohort_path, configuration.cohort)
    _, people = fit_reference(read, checkpoint.network, configuration.cohort.detection_floors)
    runtime = TorchRuntime(checkpoint.build_network(), name="eager")
    pieces = [
        runtime.predict(people.biomarkers[rows], people.age_years[rows], people.sex[rows])
        for rows in (slice(i, i + 20_000) for i in range(0, len(people), 20_000))
    ]
    outputs = {name: np.concatenate([piece[name] for piece in pieces]) for name in OUTPUT_NAMES}
    return Fitted(people, outputs)


def list_decades(cohort: Cohort, last: int = 80) -> list[npt.NDArray[np.bool_]]:
    return [
        (cohort.sex == sex) & (cohort.age_years >= low) & (cohort.age_years < low + 10)
        for sex in (0, 1)
        for low in range(20, last, 10)
    ]


def test_half_of_the_fitted_people_of_each_decade_and_sex_are_younger(fitted: Fitted) -> None:
    gap, complete = fitted.outputs["age_gap"], fitted.cohort.complete
    for rows in list_decades(fitted.cohort, last=90):
        assert abs(np.median(gap[rows & complete])) < 0.15
    assert abs(np.median(gap[complete])) < 0.05


def test_the_fitted_peoples_percentiles_are_uniform(fitted: Fitted) -> None:
    share, complete = fitted.outputs["percentile"] / 100, fitted.cohort.complete
    assert kstest(share[complete], "uniform").statistic < 0.01
    for rows in list_decades(fitted.cohort):
        assert kstest(share[rows & complete], "uniform").statistic < 0.02


def test_the_commonest_gaps_in_what_is_known_do_not_move_the_middle(fitted: Fitted) -> None:
    patterns = list_patterns(fitted.cohort)
    gap = fitted.outputs["age_gap"]
    found, counts = np.unique(patterns[patterns > 0], return_counts=True)
    common = found[np.argsort(counts)[-5:]]
    for pattern in common:
        some = gap[patterns == pattern]
        # People whose blood was not all taken are not quite like the others.
        assert abs(np.median(some)) < find_median_error(some) + 0.75, pattern


def test_at_most_one_in_fifty_complete_fitted_people_is_not_reliable(fitted: Fitted) -> None:
    complete = fitted.cohort.complete & ~fitted.outputs["age_out_of_range"]
    unreliable = ~fitted.outputs["reliable"][complete]
    assert 0.0005 < unreliable.mean() < 0.02


def test_the_checkpoint_records_the_shifts_that_were_taken_off(
    fitted: Fitted, checkpoint: Checkpoint
) -> None:
    recorded = checkpoint.training["harmonised"]
    assert recorded.keys() == fitted.cohort.shifts.keys()
    for survey, shifts in fitted.cohort.shifts.items():
        assert recorded[survey] == pytest.approx(shifts, abs=1e-4)
    # The detection floor of the first survey leaves its CRP without a shift.
    assert set(NAMES) - set(recorded["1988-1994"]) >= {"crp"}
