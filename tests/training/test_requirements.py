"""Something missing from a cohort is left out with a warning, or refused with the fix."""

import dataclasses
from typing import Any

import numpy as np
import pytest
from henaw.model.biomarkers import CAUSES, INDEX, NAMES
from henaw.model.errors import CohortError
from henaw.training.cohorts.cohort import Cohort
from henaw.training.configuration import (
    DetectionFloor,
    Laboratories,
    TopCode,
    TrainingConfiguration,
)
from henaw.training.reference.harmonisation import measure_laboratory_sd
from henaw.training.requirements import adapt_to_cohort


@pytest.fixture
def cohort(synthetic: Any) -> Cohort:
    return synthetic.cohort


def change(configuration: TrainingConfiguration, **parts: Any) -> TrainingConfiguration:
    return dataclasses.replace(
        configuration, cohort=dataclasses.replace(configuration.cohort, **parts)
    )


def test_a_whole_cohort_is_fitted_as_asked_for(
    configuration: TrainingConfiguration, cohort: Cohort, caplog: pytest.LogCaptureFixture
) -> None:
    assert adapt_to_cohort(configuration, cohort) == (configuration, cohort)
    assert caplog.messages == []


def test_without_a_known_cause_no_risk_by_cause_is_fitted(
    configuration: TrainingConfiguration, cohort: Cohort, caplog: pytest.LogCaptureFixture
) -> None:
    unknown = dataclasses.replace(cohort, cause=np.full(len(cohort), -1))
    adapted, people = adapt_to_cohort(configuration, unknown)
    assert adapted.network.causes == ()
    assert adapted.cohort.causes == {}
    np.testing.assert_array_equal(people.cause, np.where(cohort.event, 0, -1))
    assert "no cause of death is known" in caplog.text


def test_a_cause_without_deaths_is_left_out_with_a_warning(
    configuration: TrainingConfiguration, cohort: Cohort, caplog: pytest.LogCaptureFixture
) -> None:
    without = dataclasses.replace(cohort, cause=np.where(cohort.cause == 1, 4, cohort.cause))
    adapted, people = adapt_to_cohort(configuration, without)
    assert adapted.network.causes == ("cardiovascular", "diabetes", "dementia")
    before, after = (*CAUSES, "other"), adapted.network.cause_classes
    dead = without.cause >= 0
    named = [
        [names[code] for code in of.cause[dead]]
        for names, of in ((before, without), (after, people))
    ]
    assert named[0] == named[1]
    assert (people.cause[~dead] == -1).all()
    assert "no one died of cancer within 10 years" in caplog.text


def test_surveys_that_are_not_there_are_named_with_the_nearest(
    configuration: TrainingConfiguration, cohort: Cohort
) -> None:
    wrong = change(
        configuration,
        top_codes=(TopCode(survey="latte", age=85), TopCode(survey="late", age=85)),
        detection_floors=(DetectionFloor(survey="1999", biomarker="crp", limit=2.0),),
        hold_out=("erly",),
    )
    with pytest.raises(CohortError) as caught:
        adapt_to_cohort(wrong, cohort)
    there = "is not in the cohort, whose surveys are 'early', 'late'"
    assert caught.value.problems == (
        f"cohort.top_codes: survey 'latte' {there}; did you mean 'late'?",
        f"cohort.detection_floors: survey '1999' {there}",
        f"cohort.hold_out: survey 'erly' {there}; did you mean 'early'?",
    )


def test_a_biomarker_that_is_empty_is_refused_with_the_fix(
    configuration: TrainingConfiguration, cohort: Cohort
) -> None:
    values = cohort.biomarkers.copy()
    values[:, INDEX["ggt"]] = np.nan
    empty = dataclasses.replace(cohort, biomarkers=values)
    with pytest.raises(CohortError, match=r"no one has a value of ggt\. Leave ggt out of network"):
        adapt_to_cohort(configuration, empty)
    adapt_to_cohort(configuration, empty.take([name for name in NAMES if name != "ggt"]))


def test_one_sex_is_refused_with_what_to_do(
    configuration: TrainingConfiguration, cohort: Cohort
) -> None:
    with pytest.raises(CohortError, match=r"no one is male.*together with a cohort that has both"):
        adapt_to_cohort(configuration, cohort.select(cohort.sex == 0))


def test_one_survey_says_what_the_interval_lacks(
    configuration: TrainingConfiguration, cohort: Cohort, caplog: pytest.LogCaptureFixture
) -> None:
    alone = dataclasses.replace(cohort, survey=np.full(len(cohort), "all"))
    adapt_to_cohort(configuration, alone)
    assert "only one survey measured crp, hba1c" in caplog.text
    assert "cohort.laboratories" in caplog.text
    caplog.clear()
    given = Laboratories(
        standard_deviation=dict.fromkeys(alone.panel, 0.1), source="nine other surveys"
    )
    adapt_to_cohort(change(configuration, laboratories=given), alone)
    assert caplog.messages == []


def test_the_spread_that_is_given_holds_where_one_survey_measured(
    configuration: TrainingConfiguration, cohort: Cohort
) -> None:
    given = dataclasses.replace(
        cohort,
        laboratory_sd={"crp": 0.3, "hba1c": 0.2},
        shifts={"early": {"crp": 0.0, "hba1c": 0.1}, "late": {"hba1c": -0.1}},
    )
    location = np.ones((2, 3, 10))
    spread = measure_laboratory_sd(given, location)
    assert spread[0] == 0.3
    assert spread[1] == pytest.approx(np.std([0.1, -0.1], ddof=1))
    assert (spread > 0).all()
