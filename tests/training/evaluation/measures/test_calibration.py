import itertools

import numpy as np
import pytest
from henaw.training.evaluation.measures.calibration import (
    calibrate,
    calibrate_cells,
    compute_slope,
    group_by_risk,
    observe_incidence,
    observe_risk,
)
from henaw.training.evaluation.measures.discrimination import weigh_known
from henaw.training.evaluation.measures.estimates import FEWEST_DEATHS
from lifelines import AalenJohansenFitter, KaplanMeierFitter

HORIZON = 10.0


def make_people(count: int, seed: int = 0):
    """True 10-year risks, and deaths that follow them, with losses."""
    generator = np.random.default_rng(seed)
    rate = 0.02 * np.exp(generator.normal(size=count))
    dies = generator.exponential(1 / rate)
    lost = generator.uniform(2.0, 40.0, count)
    return 1 - np.exp(-HORIZON * rate), np.minimum(dies, lost), dies <= lost


def test_true_risks_are_calibrated_and_halved_ones_are_not():
    risk, time, event = make_people(8000)
    true = calibrate(risk, time, event, HORIZON)
    assert true["overall"]["ratio"]["low"] < 1 < true["overall"]["ratio"]["high"]
    assert true["slope"]["low"] < 1 < true["slope"]["high"]
    assert true["slope"]["value"] == pytest.approx(1, abs=0.1)
    halved = calibrate(0.5 * risk, time, event, HORIZON)
    assert halved["overall"]["ratio"]["value"] == pytest.approx(
        2 * true["overall"]["ratio"]["value"], abs=0.002
    )


def test_predictions_that_spread_half_as_far_have_twice_the_slope():
    risk, time, event = make_people(8000)
    narrow = -np.expm1(-np.sqrt(-np.log1p(-risk)))
    weight = weigh_known(time, event, HORIZON)
    dead = event & (time <= HORIZON)
    slope, doubled = (compute_slope(r, dead, weight).value for r in (risk, narrow))
    assert doubled == pytest.approx(2 * slope, rel=1e-4)


def test_observed_risks_are_those_of_lifelines():
    _, time, event = make_people(500)
    fitter = KaplanMeierFitter().fit(time, event)
    seen = observe_risk(time, event, HORIZON)
    assert seen.value == pytest.approx(1 - float(fitter.predict(HORIZON)))
    assert seen.low < seen.value < seen.high
    cause = np.where(event, 1 + np.arange(500) % 2, 0)
    incidence = AalenJohansenFitter(seed=1).fit(time, cause, event_of_interest=1)
    seen_cause = observe_incidence(time, cause, 1, HORIZON)
    before = incidence.cumulative_density_.loc[:HORIZON].iloc[-1, 0]
    assert seen_cause.value == pytest.approx(float(before))
    other = observe_incidence(time, cause, 2, HORIZON)
    assert seen_cause.value + other.value == pytest.approx(seen.value, abs=1e-9)


def test_tied_times_are_handled():
    _, time, event = make_people(800)
    time = np.ceil(time)
    cause = np.where(event, 1 + np.arange(800) % 2, 0)
    total = sum(observe_incidence(time, cause, code, HORIZON).value for code in (1, 2))
    assert total == pytest.approx(observe_risk(time, event, HORIZON).value, abs=0.01)


def test_one_cause_competes_with_the_others():
    risk, time, event = make_people(8000)
    cause = np.where(event, 1 + (np.arange(8000) % 4 == 0), 0)
    figures = calibrate(0.25 * risk, time, event, HORIZON, cause=cause, of_interest=2)
    assert figures["overall"]["ratio"]["low"] < 1 < figures["overall"]["ratio"]["high"]
    assert figures["slope"]["value"] == pytest.approx(1, abs=0.15)


def test_groups_of_risk_rise_and_hold_enough_deaths():
    risk, time, event = make_people(1500)
    dead = event & (time <= HORIZON)
    groups = group_by_risk(risk, dead)
    assert sorted(np.concatenate(groups)) == list(range(1500))
    assert min(int(dead[rows].sum()) for rows in groups) >= FEWEST_DEATHS
    assert all(risk[low].max() <= risk[high].min() for low, high in itertools.pairwise(groups))
    assert len(groups) > 3


def test_few_deaths_give_no_figures():
    risk, time, event = make_people(1500)
    event[np.flatnonzero(event)[9:]] = False
    figures = calibrate(risk, time, event, HORIZON)
    assert figures == {"deaths": None, "shown": False}


def test_cells_are_of_one_sex_and_decade_and_hold_fifty_deaths():
    risk, time, event = make_people(8000)
    generator = np.random.default_rng(2)
    age, sex = generator.uniform(20, 85, 8000), generator.integers(0, 2, 8000)
    cells = calibrate_cells(risk, time, event, age_years=age, sex=sex, horizon_years=HORIZON)
    assert cells
    for cell in cells:
        low = int(cell["ages"][:2])
        rows = (sex == (cell["sex"] == "male")) & (age >= low) & (age < low + 10)
        assert cell["deaths"] == int((event & (time <= HORIZON))[rows].sum()) >= 50
        assert cell["expected"] == pytest.approx(risk[rows].mean(), abs=1e-4)
