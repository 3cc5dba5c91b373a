import dataclasses
import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from henaw.model.biomarkers import CAUSES, NAMES
from henaw.model.checkpoint import Checkpoint
from henaw.model.errors import CohortError, ConfigurationError
from henaw.training.cohorts.cohort import Cohort
from henaw.training.evaluation.comparison import compare_clocks, measure_auc, measure_c_index
from henaw.training.evaluation.evaluation import SECTIONS, evaluate
from henaw.training.evaluation.measures.estimates import FEWEST_SHOWN
from henaw.training.evaluation.measures.follow_up import accumulate_hazard, compare_deaths
from henaw.training.evaluation.measures.stratification import describe_percentile
from henaw.training.evaluation.risks import (
    measure_calibration,
    measure_decisions,
    measure_follow_up,
    measure_prediction_error,
    measure_smoothed,
)
from henaw.training.evaluation.scored_people import (
    ScoredPeople,
    describe_seen,
    read_cohort_configuration,
    score_people,
    select_surveys,
)
from henaw.training.evaluation.subgroups import remark_on_groups, tabulate_subgroups
from henaw.training.metrics import select_evaluated
from lifelines.utils import concordance_index


def test_every_section_is_there_and_is_json(evaluation: dict[str, Any]):
    assert set(SECTIONS) <= set(evaluation)
    assert json.loads(json.dumps(evaluation, allow_nan=False)) == evaluation


def test_c_is_that_of_lifelines_in_every_group(evaluation: dict[str, Any], scored: ScoredPeople):
    age, sex = scored.age_years, scored.people.sex
    groups = {
        "all": age > 0,
        "20-49": age < 50,
        "40-69": (age >= 40) & (age < 70),
        "65+": age >= 65,
        "women": sex == 0,
        "men 65+": (sex == 1) & (age >= 65),
    }
    rows = {row["group"]: row for row in evaluation["c_index"]}
    assert len(rows) == 12
    for name, inside in groups.items():
        assert rows[name]["people"] == inside.sum()
        assert rows[name]["deaths"] == scored.dead[inside].sum()
        for score in ("mortality_10y", "biological_age"):
            expected = concordance_index(
                scored.cut_years[inside],
                -scored.output(score)[inside],
                scored.dead[inside],
            )
            figure = rows[name]["c"][score]
            assert figure["value"] == pytest.approx(expected, abs=6e-5)
            assert figure["low"] <= figure["value"] <= figure["high"]
    # Deaths were made to follow the values beside age and sex.
    assert rows["all"]["gain"]["age_sex"]["low"] > 0


def test_another_clock_is_compared_on_the_people_who_have_it(
    evaluation: dict[str, Any], scored: ScoredPeople
):
    clock = evaluation["clocks"]["phenoage"]
    expected = concordance_index(scored.cut_years, -scored.people.clocks["phenoage"], scored.dead)
    assert clock["groups"][0]["c"]["phenoage"]["value"] == pytest.approx(expected, abs=6e-5)
    assert clock["people"] == len(scored.people)
    assert evaluation["clocks"]["kdm"] == {
        "shown": False,
        "reason": "the cohort has no column kdm",
    }


def test_a_clock_known_for_some_is_compared_on_those(checkpoint: Checkpoint, synthetic: Cohort):
    ages = np.where(synthetic.sex == 0, synthetic.clocks["phenoage"], np.nan)
    some = dataclasses.replace(
        synthetic, clocks={"phenoage": ages, "kdm": np.full(len(ages), np.nan)}
    )
    people = score_people(checkpoint, some.select(select_evaluated(some)))
    result = compare_clocks(people, draws=100, seed=1)
    clock = result["phenoage"]
    assert clock["people"] == (people.people.sex == 0).sum()
    shown = {row["group"]: row["shown"] for row in clock["groups"]}
    assert shown["all"]
    assert not shown["men"]
    assert "is empty" in result["kdm"]["reason"]


def list_counts(value: object, key: str = "") -> Iterator[int]:
    """Every number of people in an evaluation."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from list_counts(inner, name)
    elif isinstance(value, list):
        for inner in value:
            yield from list_counts(inner, key)
    elif isinstance(value, int) and key in {
        "people", "deaths", "observed", "followed", "usable", "cardiovascular", "cancer",
        "diabetes", "dementia", "other",
    }:  # fmt: skip
        yield value


def test_no_small_count_is_shown(checkpoint: Checkpoint, synthetic: Cohort):
    # Few people, so that many groups are small.
    rows = np.arange(len(synthetic)) < 260
    result = evaluate(checkpoint, synthetic.select(rows), draws=100)
    counts = list(list_counts(result))
    assert len(counts) > 30
    assert not [count for count in counts if 0 < count < FEWEST_SHOWN]
    withheld = [row for row in result["c_index"] if not row["shown"]]
    assert withheld
    assert all("c" not in row and row["deaths"] is None for row in withheld)


def test_one_sex_cannot_be_found_from_the_other(checkpoint: Checkpoint, synthetic: Cohort):
    old_women = (synthetic.sex == 0) & (synthetic.age_years >= 65) & synthetic.event
    kept = synthetic.select(select_evaluated(synthetic) & ~old_women)
    rows = {
        row["group"]: row
        for row in measure_c_index(score_people(checkpoint, kept), draws=100, seed=1)
    }
    assert rows["65+"]["shown"]
    assert not rows["women 65+"]["shown"]
    assert rows["men 65+"]["deaths"] is None


def test_subgroups_cover_everyone_and_never_withhold_one_alone(
    checkpoint: Checkpoint, synthetic: Cohort
):
    everyone = score_people(checkpoint, synthetic)
    rows = {row["group"]: row for row in tabulate_subgroups(everyone, draws=100, seed=1)}
    assert rows["all nine biomarkers"]["people"] + rows["some biomarkers missing"]["people"] == len(
        synthetic
    )
    decades = [row for name, row in rows.items() if name.startswith("female")]
    assert sum(row["deaths"] is None for row in decades) != 1
    survey = synthetic.survey == "synthetic A"
    row = rows["survey synthetic A"]
    assert row["mean_gap"] == pytest.approx(everyone.output("age_gap")[survey].mean(), abs=6e-3)
    expected = everyone.output("mortality_10y")[survey].mean()
    assert row["expected"] == pytest.approx(expected, abs=6e-5)


def test_a_small_decade_hides_another_with_it(checkpoint: Checkpoint, synthetic: Cohort):
    old_women = np.flatnonzero((synthetic.sex == 0) & (synthetic.age_years >= 80))
    keep = np.ones(len(synthetic), bool)
    keep[old_women[5:]] = False
    everyone = score_people(checkpoint, synthetic.select(keep))
    rows = [
        row
        for row in tabulate_subgroups(everyone, draws=100, seed=1)
        if row["group"].startswith("female")
    ]
    assert rows[-1]["people"] is None
    assert sum(row["people"] is None for row in rows) == 2
    assert all("c" not in row and "mean_gap" not in row for row in rows if row["people"] is None)


def test_whether_the_model_saw_the_people_is_said(checkpoint: Checkpoint, synthetic: Cohort):
    people = select_surveys(synthetic, ("synthetic A",))
    assert set(people.survey) == {"synthetic A"}

    def see(**training: object) -> str:
        model = dataclasses.replace(checkpoint, training={**checkpoint.training, **training})
        return describe_seen(model, people)

    assert see() == "not known"
    assert see(data_sha256=synthetic.digest) == "yes"
    assert see(data_sha256=synthetic.digest, left_out=["synthetic A"]) == "no"
    assert see(data_sha256=synthetic.digest, left_out=["synthetic B"]) == "yes"


def test_short_follow_up_leaves_out_what_needs_ten_years(checkpoint: Checkpoint, synthetic: Cohort):
    short = dataclasses.replace(
        synthetic,
        time_years=np.minimum(synthetic.time_years, 6.0),
        event=synthetic.event & (synthetic.time_years <= 6.0),
    )
    people = score_people(checkpoint, short.select(select_evaluated(short)))
    calibration = measure_calibration(people, CAUSES)
    assert not calibration["shown"]
    assert "10 years" in calibration["reason"]
    for measured in (
        measure_smoothed(people, draws=100, seed=1),
        measure_prediction_error(people, draws=100, seed=1),
        measure_decisions(people),
    ):
        assert measured == calibration
    own = measure_follow_up(people, people)["groups"][0]
    assert own["shown"]
    assert own["observed"] == people.dead.sum()
    # Twelve years of people, six of follow-up: expected deaths are those of six years.
    least = compute_cumulative_hazard(people, 6.0)
    assert own["expected"] <= least
    subgroups = tabulate_subgroups(people, draws=100, seed=1)
    assert "own_follow_up" in subgroups[0]
    assert "ratio" not in subgroups[0]
    shown = {row["horizon_years"]: row["shown"] for row in measure_auc(people, seed=1)}
    assert shown[5.0]
    assert not shown[10.0]


def compute_cumulative_hazard(people: ScoredPeople, years: float) -> float:
    slope = people.hazard.slope
    return float((np.exp(people.hazard.at_draw) * np.expm1(slope * years) / slope).sum())


def test_ten_years_of_own_follow_up_are_the_risk_that_the_model_answers(scored: ScoredPeople):
    """The hazards are the graph's own: a risk of ten years is 1 - exp(-cumulative hazard)."""
    risk = 1 - np.exp(-accumulate_hazard(scored.hazard, np.full(len(scored), 10.0)))
    np.testing.assert_allclose(risk, scored.output("mortality_10y"), rtol=1e-4)


def test_deaths_of_own_follow_up_are_counted_by_group(scored: ScoredPeople):
    found = {row["group"]: row for row in measure_follow_up(scored, scored)["groups"]}
    assert list(found) == ["all", "20-49", "40-69", "65+", "women", "men"]
    women = scored.people.sex == 0
    slope = scored.hazard.slope[women]
    at_draw = scored.hazard.at_draw[women]
    expected = np.exp(at_draw) * np.expm1(slope * scored.cut_years[women]) / slope
    assert found["women"]["expected"] == pytest.approx(expected.sum(), abs=0.06)
    assert found["women"]["observed"] == scored.dead[women].sum()
    assert found["women"]["observed"] + found["men"]["observed"] == found["all"]["observed"]
    few = scored.people.age_years > 83.5
    part = scored.select(few)
    assert part.dead.sum() < FEWEST_SHOWN
    assert measure_follow_up(scored, part)["older"] == {
        "group": "older or top-coded",
        "people": None if few.sum() < FEWEST_SHOWN else few.sum(),
        "deaths": None,
        "shown": False,
    }


def test_people_whose_answer_is_not_reliable_are_a_group(scored: ScoredPeople):
    crp = scored.people.biomarkers[:, 0]
    reliable = crp < np.quantile(crp, 0.9)
    told = dataclasses.replace(scored, outputs={**scored.outputs, "reliable": reliable})
    rows = {row["group"]: row for row in tabulate_subgroups(told, draws=100, seed=1)}
    row = rows["answers not reliable"]
    assert row["people"] == (~reliable).sum()
    assert row["own_follow_up"]["observed"] == scored.dead[~reliable].sum()
    assert row["median_gap"] == pytest.approx(
        np.median(scored.output("age_gap")[~reliable]), abs=6e-3
    )
    without = {**scored.outputs}
    without.pop("reliable", None)
    rows = tabulate_subgroups(dataclasses.replace(scored, outputs=without), draws=100, seed=1)
    assert not any("reliable" in row["group"] for row in rows)


def make_row(group: str, observed: int, expected: float, *, shown: bool = True) -> dict[str, Any]:
    ratio = compare_deaths(observed, expected).describe(3)
    deaths = {"observed": observed, "expected": expected, "ratio": ratio}
    return {"group": group, "shown": shown, "own_follow_up": deaths}


def test_groups_that_are_off_get_a_sentence_each():
    rows = [
        make_row("male, 20-29", 26, 15.0),
        make_row("female, 20-29", 10, 15.6),
        make_row("female, 40-49", 100, 100.0),
        make_row("male, 80-89", 300, 400.0),
        make_row("survey 1999-2000", 300, 100.0),
        make_row("male, 30-39", 9, 1.0, shown=False),
    ]
    first, *others = remark_on_groups(rows)
    assert first.startswith("3 of 4 groups of sex and decade of age have")
    assert others[0] == (
        "Men aged 20-29: 26 deaths, 15 expected, ratio 1.73 (1.13 to 2.54). The interval is "
        "above 1: the model predicts too few deaths here."
    )
    assert others[1].startswith("Women aged 20-29: 10 deaths, 15.6 expected, ratio 0.64")
    assert others[1].endswith("includes 1: this can be chance.")
    assert others[2].endswith("too many deaths here.")
    assert len(others) == 3
    assert "1 of 2 groups of sex and decade of age has" in remark_on_groups(rows[2:5])[0]
    assert "between 0.8 and 1.25" in remark_on_groups(rows[2:3])[0]
    assert "has enough deaths" in remark_on_groups([])[0]


def test_percentiles_are_compared_with_the_uniform_where_there_are_any():
    age = np.repeat([35.0, 65.0], 500)
    even = np.tile((np.arange(500) + 0.5) / 5, 2)
    found = describe_percentile(even, age)
    assert found["distance"] < 0.003
    assert [row["ages"] for row in found["by_decade"]] == ["30-39", "60-69"]
    skewed = describe_percentile(np.where(age > 50, 100 * (even / 100) ** 2, even), age)
    # sqrt(x) - x is largest at 1/4, where it is 1/4.
    assert skewed["by_decade"][1]["distance"] == pytest.approx(0.25, abs=0.005)
    assert not describe_percentile(None, age)["shown"]


def test_all_absent_surveys_are_named(checkpoint: Checkpoint, synthetic: Cohort):
    with pytest.raises(CohortError) as caught:
        evaluate(checkpoint, synthetic, surveys=("1999", "synthetic A", "2001"))
    assert len(caught.value.problems) == 2
    assert "one of synthetic A, synthetic B; got 1999" in caught.value.problems[0]


def test_a_cohort_that_is_too_small_is_refused_with_the_reason(
    checkpoint: Checkpoint, synthetic: Cohort
):
    blanked = synthetic.biomarkers.copy()
    blanked[:, 0] = np.nan
    without = dataclasses.replace(synthetic, biomarkers=blanked)
    with pytest.raises(CohortError, match="no one has crp") as caught:
        evaluate(checkpoint, without)
    assert len(caught.value.problems) == 2
    alive = dataclasses.replace(synthetic, event=np.zeros(len(synthetic), bool))
    with pytest.raises(CohortError, match="needs at least 10 deaths"):
        evaluate(checkpoint, alive)


def test_a_checkpoint_without_a_cohort_configuration_is_refused(checkpoint: Checkpoint):
    silent = dataclasses.replace(checkpoint, training={})
    with pytest.raises(ConfigurationError, match="causes: missing key"):
        read_cohort_configuration(silent)


def test_a_model_of_fewer_biomarkers_and_of_no_causes_is_evaluated(
    checkpoint: Checkpoint, synthetic: Cohort
):
    panel = tuple(name for name in NAMES if name != "ggt")
    other = {name: checkpoint.tensors[name][4:] for name in ("cause_weight", "cause_age_sex")}
    fewer = dataclasses.replace(
        checkpoint,
        network=dataclasses.replace(checkpoint.network, panel=panel, causes=()),
        tensors=dict(checkpoint.tensors) | other,
    )
    people = dataclasses.replace(synthetic.take(panel), cause=np.where(synthetic.event, 0, -1))
    result = evaluate(fewer, people, draws=100)
    json.dumps(result, allow_nan=False)
    assert result["cohort"]["people"] > 0
    assert result["cohort"]["deaths_by_cause"].keys() == {"other"}
    assert result["calibration"]["by_cause"] == {}
    assert [row["biomarker"] for row in result["missing"]] == list(panel)
    assert "ggt" not in {shape["name"] for shape in result["shapes"]}
