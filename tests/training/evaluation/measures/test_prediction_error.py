import numpy as np
import pytest
from henaw.training.evaluation.measures.calibration import observe_risk
from henaw.training.evaluation.measures.discrimination import weigh_known
from henaw.training.evaluation.measures.prediction_error import (
    compute_losses,
    describe_prediction_error,
)

HORIZON = 10.0


def make_people(count: int, seed: int = 0):
    generator = np.random.default_rng(seed)
    rate = 0.02 * np.exp(generator.normal(size=count))
    dies, lost = generator.exponential(1 / rate), generator.uniform(2.0, 30.0, count)
    return -np.expm1(-HORIZON * rate), np.minimum(dies, lost), dies <= lost


def test_the_score_is_that_of_its_definition():
    """Person by person, the probability of still being followed counted out by hand."""
    risk, time, event = make_people(120, seed=3)
    total = 0.0
    for i in range(120):
        died = bool(event[i]) and time[i] <= HORIZON
        if not died and time[i] < HORIZON:
            continue
        followed = 1.0
        for moment in np.sort(time[~event]):
            if moment < min(time[i], HORIZON):
                followed *= 1 - 1 / (time >= moment).sum()
        total += (died - risk[i]) ** 2 / followed
    dead = event & (time <= HORIZON)
    losses = compute_losses(risk, dead, weigh_known(time, event, HORIZON))
    assert losses.mean() == pytest.approx(total / 120)


def test_the_score_is_that_of_scikit_survival():
    sksurv = pytest.importorskip("sksurv.metrics", reason="scikit-survival is only compared with")
    util = pytest.importorskip("sksurv.util")
    risk, time, event = make_people(500, seed=5)
    people = util.Surv.from_arrays(event, time)
    _, expected = sksurv.brier_score(people, people, (1 - risk)[:, None], [HORIZON])
    dead = event & (time <= HORIZON)
    losses = compute_losses(risk, dead, weigh_known(time, event, HORIZON))
    assert losses.mean() == pytest.approx(float(expected[0]), rel=1e-9)


def test_without_censoring_the_null_score_is_the_variance():
    risk, time, event = make_people(3000, seed=1)
    rate = -np.log1p(-risk) / HORIZON
    generator = np.random.default_rng(2)
    time = np.minimum(generator.exponential(1 / rate), 12.0)
    event = time < 12.0
    dead = time <= HORIZON
    found = describe_prediction_error(
        {"model": risk, "half": 0.5 * risk},
        time,
        event,
        HORIZON,
        null_risk=observe_risk(time, event, HORIZON).value,
        draws=200,
        seed=1,
    )
    share = dead.mean()
    assert found["brier"]["null"]["value"] == pytest.approx(share * (1 - share), abs=6e-5)
    assert found["brier"]["model"]["value"] == pytest.approx(np.mean((dead - risk) ** 2), abs=6e-5)
    ipa = 1 - np.mean((dead - risk) ** 2) / (share * (1 - share))
    assert found["ipa"]["model"]["value"] == pytest.approx(ipa, abs=6e-5)
    assert found["ipa"]["model"]["low"] < ipa < found["ipa"]["model"]["high"]
    difference = found["ipa"]["model"]["value"] - found["ipa"]["half"]["value"]
    assert found["gain"]["half"]["value"] == pytest.approx(difference, abs=2e-4)
    assert found["gain"]["half"]["low"] > 0
    # A mean's interval is near plus and minus 1.96 standard errors.
    error = np.std((dead - risk) ** 2) / np.sqrt(3000)
    width = found["brier"]["model"]["high"] - found["brier"]["model"]["low"]
    assert width == pytest.approx(3.92 * error, rel=0.2)
