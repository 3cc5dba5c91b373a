"""Leaving people out: who goes, that nothing of them reaches the fit, what is averaged."""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from henaw.model.errors import CohortError
from henaw.training.cohorts.cohort import Cohort
from henaw.training.configuration import TrainingConfiguration
from henaw.training.metrics import compute_c_index, select_evaluated
from henaw.training.search.crossvalidation import (
    Fold,
    FoldScore,
    average,
    cross_validate,
    list_surveys,
    score_fold,
    split,
)

Simulate = Callable[..., tuple[Cohort, Any, Any]]


@pytest.fixture(scope="module")
def waves(simulate: Simulate) -> Cohort:
    """Four surveys: two that can be left out, one not followed for long, one without CRP."""
    cohort, _, _ = simulate(1600, seed=61, missing=0.05, effects={"crp": 6.0})
    survey = np.array(["first", "recent", "second", "unmeasured"])[np.arange(1600) % 4]
    recent, unmeasured = survey == "recent", survey == "unmeasured"
    biomarkers = cohort.biomarkers.copy()
    biomarkers[unmeasured, 0] = np.nan
    # Complete people cost the most time, so most lack one value.
    rows = np.flatnonzero(np.arange(1600) // 4 % 3)
    biomarkers[rows, 1 + rows % 8] = np.nan
    long = recent & (cohort.time_years > 6)
    return dataclasses.replace(
        cohort,
        survey=survey,
        biomarkers=biomarkers,
        time_years=np.where(long, 6.0, cohort.time_years),
        event=cohort.event & ~long,
        cause=np.where(long, -1, cohort.cause),
    )


@pytest.fixture(scope="module")
def small(configuration: TrainingConfiguration) -> TrainingConfiguration:
    """A quick fit: these tests are about the people, not the weights."""
    return dataclasses.replace(
        configuration,
        network=dataclasses.replace(
            configuration.network, knots=(0.0,), score_steps=8, first_age=30, last_age=75
        ),
        fit=dataclasses.replace(configuration.fit, iterations=25),
    )


def test_surveys_are_left_out_that_deaths_and_ten_years_can_be_measured_on(waves: Cohort) -> None:
    assert list_surveys(waves) == ("first", "second")
    folds = split(waves, "survey")
    assert [fold.name for fold in folds] == ["first", "second"]
    for fold in folds:
        assert (fold.left_out == (waves.survey == fold.name)).all()
    chosen = split(waves, "survey", surveys=("second", "first"))
    assert [fold.name for fold in chosen] == ["second", "first"]


@pytest.mark.parametrize("surveys", [("first",), ("first", "recent"), ("first", "never")])
def test_surveys_that_nothing_can_be_measured_on_are_refused(
    waves: Cohort, surveys: tuple[str, ...]
) -> None:
    with pytest.raises(CohortError, match=r"'second'\] have them, and the search names \['first'"):
        split(waves, "survey", surveys=surveys)


def test_one_survey_alone_is_refused(waves: Cohort) -> None:
    with pytest.raises(CohortError, match=r"at least two surveys .* only \['first'\]"):
        split(waves.select(waves.survey == "first"), "survey")


def test_parts_hold_everyone_once_and_are_alike(waves: Cohort) -> None:
    folds = split(waves, 5, seed=1)
    assert (np.sum([fold.left_out for fold in folds], axis=0) == 1).all()
    dead = waves.event & (waves.time_years <= 10)
    for people in (
        np.ones(len(waves), bool),
        dead,
        dead & select_evaluated(waves),
        dead & (waves.sex == 1),
        waves.age_years // 10 == 4,
    ):
        counts = [int((fold.left_out & people).sum()) for fold in folds]
        # Within one of each other in every cell of deaths, complete rows, age and sex.
        assert max(counts) - min(counts) <= 0.05 * people.sum() / 5 + 4, counts


def test_parts_depend_on_the_seed_alone(waves: Cohort) -> None:
    def lay(seed: int) -> Any:
        return np.array([fold.left_out for fold in split(waves, 4, seed=seed)])

    assert (lay(1) == lay(1)).all()
    assert (lay(1) != lay(2)).any()


@pytest.mark.parametrize("count", [1, 1500])
def test_a_number_of_parts_that_leaves_some_without_deaths_is_refused(
    waves: Cohort, count: int
) -> None:
    with pytest.raises(CohortError, match=rf"folds must be 2 to .*; got {count}$"):
        split(waves, count)


def test_outcomes_of_people_left_out_do_not_reach_their_fit(
    waves: Cohort, small: TrainingConfiguration
) -> None:
    fold = Fold(name="first", left_out=waves.survey == "first")
    spoilt = dataclasses.replace(
        waves,
        event=np.where(fold.left_out, ~waves.event, waves.event),
        time_years=np.where(fold.left_out, waves.time_years[::-1], waves.time_years),
    )
    score = score_fold(waves, small, fold)
    other = score_fold(spoilt, small, fold)
    assert score.people == other.people == (fold.left_out & select_evaluated(waves)).sum()
    # The same people with the same risks; other people die.
    assert score.expected_deaths_10y == other.expected_deaths_10y
    assert score.c_index["all"] > other.c_index["all"] + 0.1
    people = waves.select(fold.left_out & select_evaluated(waves))
    assert score.c_index["all"] > compute_c_index(people.age_years, people)["all"]


def test_every_fold_is_scored_and_told(waves: Cohort, small: TrainingConfiguration) -> None:
    told: list[str] = []
    folds = split(waves, 2)
    scores = cross_validate(waves, small, folds, progress=told.append)
    assert told == [score.name for score in scores] == ["1", "2"]
    assert scores[1] == score_fold(waves, small, folds[1])


def test_a_band_that_one_fold_cannot_measure_is_not_averaged() -> None:
    plain = FoldScore(name="a", people=1, deaths_10y=1, expected_deaths_10y=1, c_index={"all": 0.5})
    both = dataclasses.replace(plain, deaths_10y=3, c_index={"all": 0.9, "65+": 0.7})
    assert average([plain, both]) == {"all": 0.8}
