"""Covariates that a fit adjusts for; every person here is synthetic."""

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
from henaw.model.biomarkers import INDEX
from henaw.model.errors import CohortError, ConfigurationError
from henaw.training.cohorts.adjustment import (
    describe_adjustments,
    describe_cause_adjustments,
    move_period,
    read_years,
    select_followed,
)
from henaw.training.cohorts.cohort import Cohort
from henaw.training.configuration import FitConfiguration, TrainingConfiguration
from henaw.training.fit import fit
from henaw.training.train import predict

Simulate = Callable[..., tuple[Cohort, np.ndarray, np.ndarray]]


def join(parts: list[Cohort]) -> Cohort:
    names = ("biomarkers", "age_years", "sex", "time_years", "event", "cause", "survey")
    return dataclasses.replace(
        parts[0], **{name: np.concatenate([getattr(p, name) for p in parts]) for name in names}
    )


@pytest.fixture(scope="module")
def decades(simulate: Simulate) -> Cohort:
    """Four surveys ten years apart; in each, everyone is 4 years younger than in the last."""
    parts = []
    for index, survey in enumerate(("1980", "1990", "2000", "2010")):
        shift = -4.0 * index

        def move(score: np.ndarray, shift: float = shift) -> np.ndarray:
            return np.full(len(score), shift)

        cohort, _, _ = simulate(2500, seed=50 + index, compute_gap=move)
        parts.append(dataclasses.replace(cohort, survey=np.full(2500, survey)))
    return join(parts)


def measure_mean_risk(
    cohort: Cohort, configuration: TrainingConfiguration, period: float | None
) -> float:
    changed_fit = dataclasses.replace(configuration.fit, period=period, iterations=200)
    changed = dataclasses.replace(configuration, fit=changed_fit)
    tensors = fit(cohort, changed, members=False).tensors
    return float(predict(cohort, changed, tensors)["mortality_10y"].mean())


def test_the_baseline_is_that_of_the_period(
    decades: Cohort, configuration: TrainingConfiguration
) -> None:
    dead = decades.event & (decades.time_years <= 10)
    for survey, period in (("1980", 1980.5), ("2010", 2010.5)):
        observed = dead[decades.survey == survey].mean()
        assert measure_mean_risk(decades, configuration, period) == pytest.approx(observed, rel=0.1)
    # For a year without a survey the trend is used.
    without = decades.select(decades.survey != "2000")
    observed = dead[decades.survey == "2000"].mean()
    assert measure_mean_risk(without, configuration, 2000.5) == pytest.approx(observed, rel=0.15)


def test_without_a_period_the_baseline_is_the_average_persons(
    decades: Cohort, configuration: TrainingConfiguration
) -> None:
    dead = decades.event & (decades.time_years <= 10)
    assert measure_mean_risk(decades, configuration, None) == pytest.approx(dead.mean(), rel=0.1)


def test_people_with_missing_values_do_not_raise_the_risk_of_others(
    simulate: Simulate, configuration: TrainingConfiguration
) -> None:
    well, _, _ = simulate(4000, seed=60)
    ill, _, _ = simulate(2000, seed=61, compute_gap=lambda score: np.full(len(score), 12.0))
    blood = ill.biomarkers.copy()
    blood[:, INDEX["ggt"]] = np.nan
    cohort = join([well, dataclasses.replace(ill, biomarkers=blood)])
    changed_fit = dataclasses.replace(configuration.fit, iterations=200)
    changed = dataclasses.replace(configuration, fit=changed_fit)
    tensors = fit(cohort, changed, members=False).tensors
    risk = float(predict(well, changed, tensors)["mortality_10y"].mean())
    observed = (well.event & (well.time_years <= 10)).mean()
    assert risk == pytest.approx(observed, rel=0.1)


def test_a_biomarker_that_a_survey_did_not_measure_says_nothing(decades: Cohort) -> None:
    blood = decades.biomarkers.copy()
    blood[decades.survey == "1980", INDEX["crp"]] = np.nan
    blood[:3, INDEX["rdw"]] = np.nan
    blood[-2:, INDEX["crp"]] = np.nan
    adjustments = describe_adjustments(dataclasses.replace(decades, biomarkers=blood), None)
    assert adjustments.shape == (len(decades), 1)
    assert adjustments[:3].eq(1).all()
    assert adjustments[-2:].eq(1).all()
    assert adjustments.sum() == 5


def test_columns_of_the_period(decades: Cohort) -> None:
    adjustments = describe_adjustments(decades, 2000.5)
    assert adjustments.shape == (len(decades), 3)
    assert adjustments[0].tolist() == [0.0, -2.0, 4.0]
    assert adjustments[-1].tolist() == [0.0, 1.0, 1.0]


def test_shares_of_causes_come_from_surveys_with_complete_follow_up(decades: Cohort) -> None:
    short = decades.survey >= "2000"
    time = np.where(short, np.minimum(decades.time_years, 6.0), decades.time_years)
    cohort = dataclasses.replace(decades, time_years=time)
    assert (select_followed(cohort, 10.0) == ~short).all()
    # The trend is known up to 1990; a later period is answered by that year's shares.
    column = describe_cause_adjustments(cohort, 2009.0, 10.0)[:, 1].numpy()
    by_survey = [column[cohort.survey == survey][0] for survey in ("1980", "1990", "2010")]
    assert by_survey == [-1.0, 0.0, 2.0]
    assert describe_cause_adjustments(cohort, 1985.5, 10.0)[0, 1] == -0.5
    assert select_followed(cohort.select(short), 10.0).all()


def test_surveys_without_years_have_no_trend(decades: Cohort) -> None:
    wave = dataclasses.replace(decades, survey=np.full(len(decades), "UK Biobank visit 0"))
    with pytest.raises(CohortError, match=r"'UK Biobank visit 0'\. Leave fit\.period out"):
        describe_adjustments(wave, 2009.0)
    assert describe_adjustments(wave, None).shape == (len(decades), 1)


def test_a_test_survey_moves_the_period_only_if_there_is_one(
    configuration: TrainingConfiguration,
) -> None:
    assert move_period(configuration, ["late"]) is configuration
    changed_fit = dataclasses.replace(configuration.fit, period=2009.0)
    dated = dataclasses.replace(configuration, fit=changed_fit)
    assert move_period(dated, ["1999-2000", "2001-2002", "1999-2000"]).fit.period == 2001.0
    assert read_years(["2003-2004"]) == [2004.0]


def test_a_period_that_is_no_year_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="period must be a year from 1900 to 2100"):
        FitConfiguration(period=12.0)


def test_only_outer_modulated_hinges_are_penalised_more(
    simulate: Simulate, configuration: TrainingConfiguration
) -> None:
    # The effect of extreme CRP grows with age, past the outer knots too.
    def bend(cohort_score: np.ndarray) -> np.ndarray:
        return 6.0 * np.maximum(cohort_score[:, INDEX["crp"]] - 1.0, 0.0)

    cohort, _, _ = simulate(5000, seed=62, compute_gap=bend)
    shape = dataclasses.replace(configuration.network, knots=(-1.0, 0.0, 1.5))
    norms = []
    for penalty in (1.0, 1e4):
        changed_fit = dataclasses.replace(configuration.fit, tail_penalty=penalty, iterations=200)
        changed = dataclasses.replace(configuration, fit=changed_fit, network=shape)
        weight = fit(cohort, changed, members=False).tensors["weight"]
        hinges = weight.unflatten(1, (3, -1))[INDEX["crp"]]
        norms.append((hinges[1:, -1].norm(), hinges[0, -1].norm(), hinges[1:, :-1].norm()))
    assert norms[1][0] < 0.05 * norms[0][0]
    assert norms[1][1] > 10 * norms[1][0]
    assert norms[1][2] > 0.5 * norms[0][2]
