import numpy as np
import pytest
from henaw.training.evaluation.measures.decision import (
    THRESHOLDS,
    compute_net_benefit,
    trace_decisions,
)
from lifelines import KaplanMeierFitter

HORIZON = 10.0


def make_people(count: int, seed: int = 0):
    generator = np.random.default_rng(seed)
    rate = 0.02 * np.exp(generator.normal(size=count))
    dies, lost = generator.exponential(1 / rate), generator.uniform(2.0, 30.0, count)
    return -np.expm1(-HORIZON * rate), np.minimum(dies, lost), dies <= lost


def test_without_censoring_it_is_the_share_rightly_treated_less_the_share_in_vain():
    risk, time, _ = make_people(2000)
    dead = time <= HORIZON
    for threshold in (0.05, 0.2, 0.5):
        acted = risk >= threshold
        met, vain = (acted & dead).mean(), (acted & ~dead).mean()
        expected = met - vain * threshold / (1 - threshold)
        found = compute_net_benefit(risk, np.where(dead, time, 11.0), dead, HORIZON, threshold)
        assert found == pytest.approx(expected)
    assert compute_net_benefit(risk, time, dead, HORIZON, 0.9999) == 0.0


def test_with_people_lost_the_risk_is_that_of_kaplan_and_meier():
    risk, time, event = make_people(2000, seed=1)
    acted = risk >= 0.2
    fitter = KaplanMeierFitter().fit(time[acted], event[acted])
    alive = float(fitter.predict(HORIZON))
    expected = acted.mean() * ((1 - alive) - alive * 0.25)
    assert compute_net_benefit(risk, time, event, HORIZON, 0.2) == pytest.approx(expected)


def test_the_true_risk_is_better_than_acting_on_everyone_or_no_one():
    risk, time, event = make_people(5000, seed=2)
    rows = trace_decisions({"model": risk, "null": np.full(5000, 0.2)}, time, event, HORIZON)
    assert [row["threshold"] for row in rows] == list(THRESHOLDS)
    for row in rows:
        value = row["net_benefit"]["model"]
        if value is not None:
            assert value >= max(row["everybody"], 0.0) - 0.002
        # Acting on everyone or on no one leaves no people on the other side.
        assert row["net_benefit"]["null"] is None
    at = {row["threshold"]: row for row in rows}
    assert at[0.2]["net_benefit"]["model"] > max(at[0.2]["everybody"], 0.0) + 0.01
    assert at[0.2]["acted_on"]["model"] == pytest.approx((risk >= 0.2).mean(), abs=6e-4)


def test_small_groups_are_withheld():
    risk, time, event = make_people(400, seed=3)
    dead = event & (time <= HORIZON)
    rows = trace_decisions({"model": risk}, time, event, HORIZON)
    hidden = [row for row in rows if row["net_benefit"]["model"] is None]
    assert hidden
    last = None
    for row in rows:
        acted = risk >= row["threshold"]
        small = min(dead[acted].sum(), dead[~acted].sum(), acted.sum(), (~acted).sum()) < 10
        near = last is not None and 0 < last - acted.sum() < 10
        assert (row["net_benefit"]["model"] is None) == (small or near)
        assert (row["acted_on"]["model"] is None) == (small or near)
        last = last if small or near else acted.sum()
