import dataclasses
import time

import numpy as np
import pytest
from henaw.model.checkpoint import Checkpoint
from henaw.training.evaluation.left_out import (
    LeftOut,
    collect_left_out,
    join_left_out,
    measure_left_out,
)
from henaw.training.evaluation.scored_people import Evaluated
from lifelines import KaplanMeierFitter
from lifelines.utils import concordance_index


@pytest.fixture(scope="module")
def people(checkpoint: Checkpoint, evaluated: Evaluated) -> LeftOut:
    without = {
        name: values
        for name, values in evaluated.answers.items()
        if name not in {"percentile", "reliable"}
    }
    return collect_left_out(checkpoint, without, evaluated.people)


def test_figures_are_those_of_other_code(people: LeftOut, checkpoint: Checkpoint):
    begin = time.perf_counter()
    found = measure_left_out(people)
    assert time.perf_counter() - begin < 10
    cut, dead = np.minimum(people.time_years, 10), people.event & (people.time_years <= 10)
    for band, rows in {
        "all": people.age_years > 0,
        "40-69": (people.age_years >= 40) & (people.age_years < 70),
    }.items():
        expected = concordance_index(cut[rows], -people.mortality_10y[rows], dead[rows])
        assert found["c"][band] == pytest.approx(expected)
    fitter = KaplanMeierFitter().fit(people.time_years, people.event)
    observed = 1 - float(fitter.predict(10.0))
    assert found["kaplan_meier"]["ratio"] == pytest.approx(observed / people.mortality_10y.mean())
    rate = checkpoint.tensors["baseline_slope"].double().numpy()[people.sex]
    start = checkpoint.tensors["baseline_intercept"].double().numpy()[people.sex]
    until = np.exp(start + rate * (people.biological_age + cut)) / rate
    hazards = until - np.exp(start + rate * people.biological_age) / rate
    assert found["own_follow_up"]["expected"] == pytest.approx(hazards.sum())
    assert found["own_follow_up"]["ratio"] == pytest.approx(dead.sum() / hazards.sum())
    assert found["gap"]["median"] == np.median(people.age_gap)
    fifties = (people.age_years >= 50) & (people.age_years < 60)
    assert found["gap"]["median_by_decade"]["50-59"] == np.median(people.age_gap[fifties])
    assert found["slope"]["low"] < found["slope"]["value"] < found["slope"]["high"]
    assert found["percentile"] is found["unreliable"] is None


def test_ten_years_of_own_follow_up_are_the_risk_that_the_model_answers(people: LeftOut):
    """The hazards are the graph's own: a risk of ten years is 1 - exp(-cumulative hazard)."""
    alive = dataclasses.replace(
        people, time_years=np.full(len(people), 12.0), event=np.zeros(len(people), bool)
    )
    expected = -np.log1p(-people.mortality_10y)
    found = measure_left_out(alive)
    assert found["own_follow_up"]["expected"] == pytest.approx(expected.sum(), rel=1e-4)
    assert found["slope"] is None
    assert found["c"] == {}


def test_short_follow_up_leaves_own_follow_up(people: LeftOut):
    short = dataclasses.replace(
        people,
        time_years=np.minimum(people.time_years, 5.0),
        event=people.event & (people.time_years <= 5.0),
    )
    found = measure_left_out(short)
    assert found["kaplan_meier"] is None
    assert found["own_follow_up"]["observed"] == short.event.sum()


def test_percentiles_and_unreliable_people_are_measured_where_they_are(people: LeftOut):
    rank = 100 * (np.argsort(np.argsort(people.age_gap)) + 0.5) / len(people)
    oldest = people.age_years > 80
    found = measure_left_out(dataclasses.replace(people, percentile=rank, reliable=~oldest))
    assert found["percentile"]["distance"] == pytest.approx(0.5 / len(people))
    shifted = measure_left_out(dataclasses.replace(people, percentile=np.minimum(rank + 20, 100)))
    assert shifted["percentile"]["distance"] == pytest.approx(0.2, abs=1e-3)
    assert found["unreliable"]["share"] == oldest.mean()
    alone = measure_left_out(people.select(oldest))
    assert found["unreliable"]["ratio"] == alone["own_follow_up"]["ratio"]
    sound = measure_left_out(dataclasses.replace(people, reliable=np.ones(len(people), bool)))
    assert sound["unreliable"] == {"share": 0.0}


def test_people_of_two_fits_keep_their_own_baseline(people: LeftOut):
    half = np.arange(len(people)) < len(people) // 2
    other = people.select(~half)
    higher = dataclasses.replace(other, intercept=other.intercept + np.log(2))
    ranked = dataclasses.replace(people.select(half), percentile=np.full(half.sum(), 50.0))
    whole = join_left_out([ranked, higher])
    assert len(whole) == len(people)
    assert whole.percentile is None
    parts = [measure_left_out(part)["own_follow_up"]["expected"] for part in (ranked, other)]
    found = measure_left_out(whole)["own_follow_up"]["expected"]
    assert found == pytest.approx(parts[0] + 2 * parts[1])
