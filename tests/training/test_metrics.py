"""Harrell's C by age band."""

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
from henaw.training.cohorts.cohort import Cohort
from henaw.training.metrics import AGE_BANDS, compute_c_index, select_evaluated

Simulate = Callable[..., tuple[Cohort, np.ndarray, np.ndarray]]


def take(cohort: Cohort, time: list[float], event: list[bool], age: float = 50.0) -> Cohort:
    rows = np.arange(len(cohort)) < len(time)
    return dataclasses.replace(
        cohort.select(rows),
        time_years=np.array(time),
        event=np.array(event),
        age_years=np.full(len(time), age, np.float32),
    )


@pytest.fixture(scope="module")
def people(simulate: Simulate) -> Cohort:
    return simulate(400, seed=2, missing=0.05)[0]


def test_a_hand_example_with_ties(people: Cohort) -> None:
    # Deaths at 1, 2, 2 and 5 years, one alive at 5. Pairs that can be compared, as
    # (score of who died first, score of the other): the death at 1 with four others,
    # each death at 2 with the death at 5 and the one alive, the death at 5 with the one
    # alive at 5; the two deaths at 2 are not compared. Scores 3, 3, 1, 2, 1:
    # 1: a tie, right, right, right = 3.5; 3 > 2, 3 > 1 = 2; 1 < 2, tie = 0.5;
    # 2 > 1 = 1. Together 7 of 9.
    cohort = take(people, [1, 2, 2, 5, 5], [True, True, True, True, False])
    result = compute_c_index([3, 3, 1, 2, 1], cohort)
    assert result == {"all": round(7 / 9, 4), "40-69": round(7 / 9, 4)}


def test_deaths_after_ten_years_count_as_survival(people: Cohort) -> None:
    cohort = take(people, [2, 10, 11, 12], [True, True, True, True])
    # Without the cut the two last would be compared, and the score has them reversed.
    assert compute_c_index([4, 3, 1, 2], cohort)["all"] == 1.0


def test_every_band_is_what_scikit_survival_gives(people: Cohort) -> None:
    sksurv = pytest.importorskip("sksurv.metrics", reason="scikit-survival is only compared with")
    score = np.round(people.age_years + np.random.default_rng(0).normal(0, 8, len(people)), 0)
    rounded = dataclasses.replace(people, time_years=np.ceil(people.time_years * 2) / 2)
    result = compute_c_index(score, rounded)
    event = rounded.event & (rounded.time_years <= 10)
    assert set(result) == set(AGE_BANDS)
    for band, (low, high) in AGE_BANDS.items():
        rows = (rounded.age_years >= low) & (rounded.age_years < high)
        time = np.minimum(rounded.time_years, 10)[rows]
        expected = sksurv.concordance_index_censored(event[rows], time, score[rows])[0]
        assert result[band] == pytest.approx(expected, abs=6e-5)


@pytest.mark.parametrize(
    ("time", "event"),
    [([3, 4], [False, False]), ([3, 3], [True, True]), ([4, 3], [True, False])],
    ids=["no one died", "all died at the same time", "the other was censored before"],
)
def test_a_band_without_a_pair_to_compare_is_left_out(
    people: Cohort, time: list[float], event: list[bool]
) -> None:
    assert compute_c_index([1, 2], take(people, time, event)) == {}


@pytest.mark.parametrize(
    ("time", "event"),
    [([3, 4], [True, True]), ([3, 3], [True, False])],
    ids=["all died", "at one time"],
)
def test_a_band_with_one_pair_is_kept(people: Cohort, time: list[float], event: list[bool]) -> None:
    assert compute_c_index([2, 1], take(people, time, event))["all"] == 1.0


def test_the_evaluated_are_complete_and_below_the_top_code(people: Cohort) -> None:
    chosen = select_evaluated(people)
    assert chosen.any()
    assert not np.isnan(people.biomarkers[chosen]).any()
    assert people.age_years[chosen].max() <= 84
    assert (people.complete & (people.age_years <= 84)).sum() == chosen.sum()
