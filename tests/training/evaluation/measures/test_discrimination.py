import itertools

import numpy as np
import pytest
from henaw.training.evaluation.measures import discrimination
from henaw.training.evaluation.measures.discrimination import (
    compute_auc,
    compute_c,
    compute_influence,
    draw_c,
    estimate_auc,
    estimate_c,
    weigh_known,
)
from lifelines.utils import concordance_index


def make_people(count: int, seed: int = 0):
    """Scores with ties and follow-up in whole months, where deaths and losses coincide."""
    generator = np.random.default_rng(seed)
    risk = generator.normal(size=count)
    dies = generator.exponential(8.0 * np.exp(-0.8 * risk))
    lost = generator.uniform(0.0, 20.0, count)
    time = np.ceil(12 * np.minimum(dies, lost)) / 12
    score = np.round(risk + generator.normal(size=count), 1)
    return score, time, dies <= lost


def test_each_draw_is_the_c_index_of_the_sample_written_out():
    score, time, event = make_people(120)
    drawn = draw_c({"score": score}, time, event, draws=40, seed=3)["score"]
    generator = np.random.default_rng(3)
    counts = generator.multinomial(120, np.full(120, 1 / 120), 40)
    for value, count in zip(drawn, counts, strict=True):
        rows = np.repeat(np.arange(120), count)
        expected = concordance_index(time[rows], -score[rows], event[rows])
        assert value == pytest.approx(expected, abs=1e-6)


def test_people_beyond_one_block_are_counted(monkeypatch: pytest.MonkeyPatch):
    score, time, event = make_people(1500)
    assert event.sum() > 512
    values, influence = compute_influence({"score": score}, time, event)
    assert values[0] == pytest.approx(compute_c(score, time, event), abs=1e-7)
    assert influence[0].sum() == pytest.approx(0.0, abs=1e-9)


def test_normal_draws_agree_with_the_bootstrap(monkeypatch: pytest.MonkeyPatch):
    score, time, event = make_people(600)
    noisy = score + np.random.default_rng(1).normal(size=600)
    scores = {"score": score, "noisy": noisy}
    counted, _ = estimate_c(scores, time, event, draws=2000, seed=1)
    _, counted_gain = estimate_c(scores, time, event, draws=2000, seed=1)
    monkeypatch.setattr(discrimination, "PAIRS_DRAWN", 0)
    normal, normal_gain = estimate_c(scores, time, event, draws=2000, seed=1)
    for one, other in (
        (counted["score"], normal["score"]),
        (counted_gain["noisy"], normal_gain["noisy"]),
    ):
        width = one.high - one.low
        assert other.value == one.value
        assert abs(other.low - one.low) < 0.12 * width
        assert abs(other.high - one.high) < 0.12 * width


def test_the_difference_of_a_score_with_itself_is_nothing():
    score, time, event = make_people(200)
    _, gains = estimate_c({"a": score, "b": score.copy()}, time, event, draws=100, seed=1)
    assert (gains["b"].value, gains["b"].low, gains["b"].high) == (0, 0, 0)


def test_auc_agrees_with_scikit_survival():
    """Values of scikit-survival 0.28.0:

    from sksurv.metrics import cumulative_dynamic_auc
    from sksurv.util import Surv
    y = Surv.from_arrays(event, time)
    print(cumulative_dynamic_auc(y, y, score, [3.0, 6.0, 9.0])[0].tolist())
    """
    i = np.arange(40)
    time = 0.5 + (i * 7.3) % 11.9
    event = i % 3 != 0
    score = np.sin(i) - 0.15 * time
    for horizon, expected in zip((3.0, 6.0, 9.0), SCIKIT_SURVIVAL, strict=True):
        weight = weigh_known(time, event, horizon)
        dead = event & (time <= horizon)
        assert compute_auc(score, dead, weight) == pytest.approx(expected, abs=1e-9)


SCIKIT_SURVIVAL = (0.599480342667031, 0.6874690400011987, 0.7531887387532267)


def test_auc_of_whole_follow_up_is_the_share_of_ordered_pairs():
    score, time, event = make_people(80)
    dead, weight = event & (time <= 3), np.ones(80)
    pairs = [(a > b) + 0.5 * (a == b) for a, b in itertools.product(score[dead], score[~dead])]
    assert compute_auc(score, dead, weight) == pytest.approx(np.mean(pairs))


def test_the_lost_weigh_nothing_and_the_others_stand_for_them():
    _, time, event = make_people(2000)
    weight = weigh_known(time, event, 5.0)
    lost = ~event & (time < 5.0)
    assert (weight[lost] == 0).all()
    assert (weight[~lost] >= 1).all()
    assert weight.sum() == pytest.approx(2000, rel=0.02)


def test_an_auc_interval_holds_its_value_and_pairs_its_differences():
    score, time, event = make_people(400)
    figures, gains = estimate_auc(
        {"a": score, "b": -score, "c": score.copy()}, time, event, 5.0, draws=100, seed=1
    )
    assert figures["a"].low < figures["a"].value < figures["a"].high
    assert figures["b"].value == pytest.approx(1 - figures["a"].value)
    assert gains["c"].high == 0
