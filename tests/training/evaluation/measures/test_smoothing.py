"""The smooth curve against truth, and its Cox regression against lifelines."""

import numpy as np
import pandas as pd
import pytest
from henaw.training.evaluation.measures.hazard_regression import fit_hazard_regression
from henaw.training.evaluation.measures.smoothing import (
    POINTS,
    build_spline,
    describe_smoothed,
    measure_distances,
    smooth_risk,
    transform_risk,
)
from lifelines import CoxPHFitter
from statsmodels.duration.hazard_regression import PHReg

HORIZON = 10.0


def make_people(count: int, seed: int = 0, spread: float = 1.0):
    """True 10-year risks and deaths that follow them, some lost early."""
    generator = np.random.default_rng(seed)
    rate = 0.02 * np.exp(spread * generator.normal(size=count))
    dies, lost = generator.exponential(1 / rate), generator.uniform(2.0, 30.0, count)
    return -np.expm1(-HORIZON * rate), np.minimum(dies, lost), dies <= lost


def make_columns(count: int, seed: int):
    generator = np.random.default_rng(seed)
    columns = generator.normal(size=(count, 3)) @ np.diag([1.0, 0.3, 5.0]) + [0.0, 4.0, 50.0]
    dies = generator.exponential(20 * np.exp(-columns @ [0.5, -0.4, 0.06] + 2.0))
    lost = generator.uniform(1, 25, count)
    return columns, np.minimum(dies, lost), dies <= lost


def test_without_ties_the_regression_is_that_of_lifelines():
    columns, time, event = make_columns(400, 3)
    # At a death: between deaths lifelines draws a straight line, where a step is meant.
    horizon = float(time[event & (time < HORIZON)].max())
    fit = fit_hazard_regression(columns, time, event, horizon)
    table = pd.DataFrame(columns, columns=list("abc")).assign(time=time, event=event)
    other = CoxPHFitter().fit(table, "time", "event", fit_options={"precision": 1e-10})
    np.testing.assert_allclose(fit.coefficients, other.params_.to_numpy(), rtol=1e-5)
    expected = 1 - other.predict_survival_function(table, times=[horizon]).to_numpy()[0]
    np.testing.assert_allclose(fit.predict_risk(columns), expected, rtol=1e-5)


def test_with_ties_and_weights_it_is_that_of_statsmodels_on_the_people_repeated():
    columns, time, event = make_columns(300, 4)
    tied = np.ceil(time)
    counts = np.random.default_rng(1).integers(0, 4, 300)
    fit = fit_hazard_regression(columns, tied, event, HORIZON, weight=counts.astype(float))
    rows = np.repeat(np.arange(300), counts)
    other = PHReg(tied[rows], columns[rows], event[rows].astype(int), ties="breslow").fit()
    np.testing.assert_allclose(fit.coefficients, other.params, rtol=1e-5)
    # Breslow's cumulative hazard, death by death.
    rates = np.exp(columns @ other.params)
    hazard = sum(
        counts[i] / (counts * rates)[tied >= tied[i]].sum()
        for i in np.flatnonzero(event & (tied <= HORIZON))
    )
    assert fit.cumulative_hazard == pytest.approx(hazard, rel=1e-4)


def test_what_cannot_be_fitted_is_said():
    columns, time, event = make_columns(60, 5)
    with pytest.raises(ValueError, match="needs deaths"):
        fit_hazard_regression(columns, time, np.zeros(60, bool), HORIZON)
    with pytest.raises(ValueError, match="did not converge"):
        fit_hazard_regression(np.zeros((60, 1)), time, event, HORIZON)


def test_the_spline_is_that_of_its_formula_and_straight_outside():
    """By Harrell's formula written out for one value; straight beyond the knots."""
    knots = np.array([-1.0, 0.0, 0.5, 2.0])
    for value in (-0.4, 0.3, 1.7):
        columns = build_spline(np.array([value]), knots)[0]
        for j in range(2):
            cube = [max(value - knot, 0) ** 3 for knot in knots]
            bent = (
                cube[j]
                - cube[2] * (knots[3] - knots[j]) / (knots[3] - knots[2])
                + cube[3] * (knots[2] - knots[j]) / (knots[3] - knots[2])
            ) / (knots[3] - knots[0]) ** 2
            assert columns[1 + j] == pytest.approx(bent)
    beyond = build_spline(np.array([3.0, 4.0, 5.0]), knots)
    np.testing.assert_allclose(np.diff(beyond, 2, axis=0), 0, atol=1e-12)
    assert build_spline(np.array([1.0, 2.0]), np.array([1.0, 1.0, 1.0, 2.0])).shape == (2, 1)


def test_true_risks_lie_on_the_diagonal_and_wrong_ones_where_they_belong():
    risk, time, event = make_people(20_000)
    at = np.array([0.05, 0.15, 0.3])
    np.testing.assert_allclose(smooth_risk(risk, time, event, HORIZON, at=at), at, rtol=0.1)
    # Predictions that are bent: the curve gives back the bend.
    bent = risk**1.5
    np.testing.assert_allclose(smooth_risk(bent, time, event, HORIZON, at=at**1.5), at, rtol=0.1)


def test_distances_and_their_intervals():
    risk, time, event = make_people(4000, seed=2)
    true = describe_smoothed(risk, time, event, HORIZON, draws=40, seed=1)
    halved = describe_smoothed(0.5 * risk, time, event, HORIZON, draws=40, seed=1)
    assert len(true["expected"]) == len(true["observed"]) == POINTS
    assert true["ici"]["value"] < 0.02
    assert true["e50"]["value"] <= true["e90"]["value"]
    assert halved["ici"]["value"] == pytest.approx(0.5 * risk.mean(), abs=0.015)
    assert halved["ici"]["low"] > true["ici"]["high"]
    inside = [
        low <= value <= high
        for low, value, high in zip(true["low"], true["expected"], true["high"], strict=True)
    ]
    assert np.mean(inside) > 0.7
    assert true["expected"][0] == pytest.approx(np.quantile(risk, 0.01), rel=1e-2)


def test_distances_are_those_written_out():
    risk = np.array([0.1, 0.2, 0.3, 0.4])
    observed = np.array([0.1, 0.25, 0.2, 0.6])
    found = measure_distances(risk, observed)
    assert found["ici"] == pytest.approx((0 + 0.05 + 0.1 + 0.2) / 4)
    assert found["e50"] == pytest.approx(0.075)
    assert found["e90"] == pytest.approx(0.17)


def test_risks_of_zero_and_one_are_accepted():
    assert np.isfinite(transform_risk(np.array([0.0, 1.0]))).all()
