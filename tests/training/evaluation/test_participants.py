"""Who was evaluated, against counts by hand and quantiles by pandas."""

import dataclasses
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from henaw.model.biomarkers import NAMES, PANEL
from henaw.model.checkpoint import Checkpoint
from henaw.training.cohorts.cohort import Cohort, read_cohort
from henaw.training.evaluation.measures.estimates import FEWEST_SHOWN
from henaw.training.evaluation.participants import describe_baseline, describe_flow
from henaw.training.evaluation.scored_people import (
    ScoredPeople,
    read_cohort_configuration,
    read_older,
    score_people,
)
from henaw.training.metrics import select_evaluated

REPORT = {
    "rows": 2130, "age_not_fitted": 0, "age_top_coded": 40, "pregnant": 30, "not_followed": 20,
    "no_biomarker": 40, "kept": 2000, "values_outside_accepted_range": 3,
}  # fmt: skip


def flow(people: ScoredPeople, cohort: Cohort, usable: int | None = None) -> list[dict[str, Any]]:
    young = int((cohort.age_years <= 84).sum()) if usable is None else usable
    return describe_flow(cohort, of_surveys=len(cohort), usable=young, scored=people)


def test_each_step_is_the_one_before_less_those_left_out(scored: ScoredPeople, synthetic: Cohort):
    cohort = dataclasses.replace(synthetic, report=REPORT)
    steps = flow(scored, cohort)
    assert [step["name"] for step in steps] == [
        "rows in the file",
        "adults that a fit of the model would keep",
        "people evaluated",
    ]
    assert [row["people"] for row in steps[0]["left_out"]] == [40, 30, 20, 40]
    for step, following in itertools.pairwise(steps):
        gone = sum(row["people"] for row in step["left_out"])
        assert step["people"] - gone == following["people"]
    assert steps[-1]["people"] == len(scored.people)
    ends = {row["end"]: row["people"] for row in steps[-1]["ends"]}
    assert ends["died within 10 years"] == scored.dead.sum()
    assert sum(ends.values()) == len(scored.people)


def test_rows_that_no_reason_explains_are_still_counted(scored: ScoredPeople, synthetic: Cohort):
    cohort = dataclasses.replace(synthetic, report=REPORT | {"rows": 2150})
    last = flow(scored, cohort)[0]["left_out"][-1]
    assert last == {"reason": "other reasons", "people": 20}
    assert flow(scored, synthetic)[0]["name"].startswith("adults")


def test_small_counts_cannot_be_found_by_subtraction(scored: ScoredPeople, synthetic: Cohort):
    report = REPORT | {"pregnant": 3, "rows": 2103}
    first = flow(scored, dataclasses.replace(synthetic, report=report))[0]
    # A second reason is withheld with the small one.
    assert [row["people"] for row in first["left_out"]].count(None) == 2
    assert first["people"] == 2103
    alone = REPORT | dict.fromkeys(("age_top_coded", "not_followed", "no_biomarker"), 0)
    alone |= {"pregnant": 3, "rows": 2003}
    steps = flow(scored, dataclasses.replace(synthetic, report=alone))
    assert steps[0]["people"] is None
    assert steps[1]["people"] == len(synthetic)
    # Few left out of the second step: its start is withheld, and the start before it.
    complete = synthetic.select(select_evaluated(synthetic))
    few = dataclasses.replace(complete, report=REPORT | {"rows": len(complete) + 130})
    steps = describe_flow(few, of_surveys=len(few), usable=len(few), scored=scored)
    assert steps[0]["people"] == len(complete) + 130
    more = dataclasses.replace(
        synthetic.select(np.arange(len(synthetic)) < len(complete) + 4),
        report=REPORT | {"rows": len(complete) + 134},
    )
    steps = describe_flow(more, of_surveys=len(more), usable=len(more), scored=scored)
    assert [step["people"] for step in steps] == [None, None, len(complete)]


def test_the_table_has_the_quartiles_of_pandas(scored: ScoredPeople, synthetic: Cohort):
    usable = synthetic.select(synthetic.age_years <= 84)
    table = describe_baseline(scored, usable)
    frame = pd.DataFrame(scored.people.biomarkers.astype(float), columns=list(NAMES)).assign(
        sex=scored.people.sex, age=scored.age_years, years=scored.time_years
    )
    rows = {row["label"]: row for row in table["rows"]}
    assert len(rows) == len(NAMES) + 2
    labels = {biomarker.name: biomarker.label for biomarker in PANEL}
    labels |= {"age": "Age", "years": "Follow-up"}
    for name, label in labels.items():
        for column, part in {
            "women": frame[frame["sex"] == 0],
            "men": frame[frame["sex"] == 1],
            "all": frame,
        }.items():
            found = rows[label][column]
            expected = part[name].quantile([0.5, 0.25, 0.75]).tolist()
            assert [found["median"], found["low"], found["high"]] == pytest.approx(
                expected, rel=6e-3
            )
    women = usable.sex == 0
    share = np.isnan(usable.biomarkers[women, 0]).mean()
    assert rows[labels["crp"]]["missing"]["women"] == pytest.approx(share, abs=6e-5)
    assert table["people"]["women"] == (scored.people.sex == 0).sum()
    assert table["deaths"]["men"] == scored.dead[scored.people.sex == 1].sum()
    years = scored.cut_years.sum()
    assert table["person_years"]["all"] == pytest.approx(years, abs=1)
    assert table["deaths_per_1000"]["all"] == pytest.approx(
        1000 * scored.dead.sum() / years, abs=0.06
    )
    assert table["usable"] == len(usable)


def test_few_people_of_one_sex_are_not_described(checkpoint: Checkpoint, synthetic: Cohort):
    men = np.flatnonzero(synthetic.sex == 1)
    keep = np.ones(len(synthetic), bool)
    keep[men[FEWEST_SHOWN // 2 :]] = False
    people = synthetic.select(keep & select_evaluated(synthetic))
    table = describe_baseline(score_people(checkpoint, people), people)
    assert table["people"]["women"] is table["people"]["men"] is None
    assert table["people"]["all"] == len(people)
    assert all(row["men"] is row["women"] is None for row in table["rows"])
    assert all(row["all"] is not None for row in table["rows"])
    # Nobody has a missing value, so that the share of the few would tell nothing.
    assert table["person_years"]["men"] is None


def test_few_missing_values_are_withheld(scored: ScoredPeople):
    blanked = scored.people.biomarkers.copy()
    blanked[:3, 0] = np.nan
    blanked[:400, 1] = np.nan
    usable = dataclasses.replace(scored.people, biomarkers=blanked)
    rows = {row["label"]: row for row in describe_baseline(scored, usable)["rows"]}
    assert set(rows[PANEL[0].label]["missing"].values()) == {None}
    assert None not in rows[PANEL[1].label]["missing"].values()
    assert set(rows[PANEL[2].label]["missing"].values()) == {0.0}


def test_the_oldest_are_read_apart(table: pd.DataFrame, checkpoint: Checkpoint, tmp_path: Path):
    configuration = read_cohort_configuration(checkpoint)
    code = next(code for code in configuration.top_codes if code.age == 80)
    table = table.assign(survey=code.survey)
    table["age"] = 40.0 + np.arange(len(table)) % 41
    table.loc[0, "survey"], table.loc[0, "age"] = "another", 80.0
    table.loc[1, "survey"], table.loc[1, "age"] = "another", 84.5
    path = tmp_path / "cohort.csv"
    table.to_csv(path, index=False)
    older = read_older(path, configuration)
    assert len(older) == int((table["age"][2:] >= 80).sum()) + 1
    assert (older.age_years >= 80).all()
    # A fit takes all the others.
    fitted = read_cohort(path, configuration)
    assert len(fitted) + len(older) == len(table) + 1
