"""Reading cohort tables; every row here is synthetic."""

import dataclasses
import gzip
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from henaw.model.biomarkers import CAUSES, INDEX, NAMES
from henaw.model.errors import CohortError
from henaw.training.cohorts.cohort import SHORTEST_FOLLOW_UP_YEARS, Cohort, read_cohort
from henaw.training.configuration import CohortConfiguration, TopCode, TrainingConfiguration

WRITERS: dict[str, Callable[[pd.DataFrame, Path], Any]] = {
    "synthetic.parquet": lambda table, path: table.to_parquet(path),
    "synthetic.csv": lambda table, path: table.to_csv(path, index=False),
    "synthetic.csv.gz": lambda table, path: table.to_csv(path, index=False),
}


@pytest.fixture
def codes(configuration: TrainingConfiguration) -> CohortConfiguration:
    return configuration.cohort


@pytest.fixture
def read(tmp_path: Path, codes: CohortConfiguration) -> Callable[[pd.DataFrame], Cohort]:
    """Write a table and read it as a cohort."""

    def read(table: pd.DataFrame) -> Cohort:
        path = tmp_path / "synthetic.parquet"
        table.to_parquet(path)
        return read_cohort(path, codes)

    return read


@pytest.mark.parametrize("name", list(WRITERS))
def test_each_format_gives_the_same_people(
    tmp_path: Path, table: pd.DataFrame, codes: CohortConfiguration, name: str
) -> None:
    path = tmp_path / name
    WRITERS[name](table, path)
    cohort = read_cohort(path, codes)
    assert len(cohort) == len(table) == cohort.report["kept"]
    np.testing.assert_allclose(cohort.biomarkers, table[list(NAMES)], rtol=1e-6)
    np.testing.assert_allclose(cohort.age_years, table["age"], rtol=1e-6)
    np.testing.assert_array_equal(cohort.sex, table["sex"])
    np.testing.assert_allclose(cohort.time_years, table["followup_months"] / 12, rtol=1e-6)
    np.testing.assert_array_equal(cohort.event, table["death"] == 1)
    assert set(cohort.survey) == {"synthetic"}
    assert cohort.digest == hashlib.sha256(path.read_bytes()).hexdigest()
    assert cohort.biomarkers.dtype == cohort.age_years.dtype == np.float32
    assert cohort.sex.dtype == cohort.cause.dtype == np.int64


def test_missing_columns_are_all_listed_with_near_names(
    table: pd.DataFrame, read: Callable[[pd.DataFrame], Cohort]
) -> None:
    renamed = table.rename(columns={"creatinine": "creatinin"}).drop(columns=["rdw", "death"])
    with pytest.raises(CohortError) as caught:
        read(renamed)
    assert caught.value.problems == (
        "missing column 'death'",
        "missing column 'creatinine'. Is it 'creatinin'?",
        "missing column 'rdw'. If no one has it, leave rdw out of network.panel",
    )


def test_a_biomarker_that_the_panel_leaves_out_is_not_read(
    tmp_path: Path, table: pd.DataFrame, codes: CohortConfiguration
) -> None:
    table["ggt"] = "not measured"
    path = tmp_path / "synthetic.parquet"
    table.to_parquet(path)
    panel = tuple(name for name in NAMES if name != "ggt")
    cohort = read_cohort(path, dataclasses.replace(codes, panel=panel))
    assert np.isnan(cohort.biomarkers[:, INDEX["ggt"]]).all()
    assert cohort.complete.all()
    assert cohort.select(cohort.sex == 0).complete.all()
    table.drop(columns="ggt").to_parquet(path)
    again = read_cohort(path, dataclasses.replace(codes, panel=panel))
    np.testing.assert_array_equal(again.biomarkers, cohort.biomarkers)


def test_without_a_column_of_causes_none_is_known(
    table: pd.DataFrame, read: Callable[[pd.DataFrame], Cohort]
) -> None:
    assert set(read(table.drop(columns="ucod_leading")).cause) == {-1}


def test_wrong_values_are_all_listed(
    table: pd.DataFrame, read: Callable[[pd.DataFrame], Cohort]
) -> None:
    wrong = table.astype({"crp": object, "followup_months": float})
    wrong.loc[3, "participant_id"] = wrong.loc[2, "participant_id"]
    wrong["sex"] += 1
    wrong.loc[7, "death"] = 2
    wrong.loc[5, "followup_months"] = -1.0
    wrong.loc[6, "age"] = np.nan
    wrong["crp"] = wrong["crp"].map(str)
    wrong.loc[4, "crp"] = "<0.2"
    wrong["pregnant"] = "no"
    with pytest.raises(CohortError) as caught:
        read(wrong)
    assert set(caught.value.problems) == {
        "participant_id must be unique; got 1 repeated, first 'synthetic-2'",
        "crp must be numbers; got '<0.2' in row 4",
        "pregnant must be numbers; got 'no' in row 0",
        "sex must be one of [0, 1]; got 2",
        "death must be one of [0, 1]; got 2.0",
        "age must be given in every row; 1 are empty",
        "followup_months must be >= 0; got -1.0",
    }


def test_an_empty_sex_is_refused(
    table: pd.DataFrame, read: Callable[[pd.DataFrame], Cohort]
) -> None:
    table["sex"] = table["sex"].astype(float)
    table.loc[0, "sex"] = np.nan
    with pytest.raises(CohortError, match="sex must be given in every row; 1 are empty"):
        read(table)


def test_values_outside_the_accepted_range_become_missing_and_are_counted(
    table: pd.DataFrame, read: Callable[[pd.DataFrame], Cohort]
) -> None:
    table.loc[0, "hba1c"] = -5.0
    table.loc[1, "albumin"] = 700.0
    table.loc[2, "alt"] = np.inf
    table.loc[3, "ast"] = np.nan
    table.loc[4, "albumin"] = 70.0
    cohort = read(table)
    assert cohort.report["values_outside_accepted_range"] == 3
    missing = np.argwhere(np.isnan(cohort.biomarkers))
    expected = [[0, "hba1c"], [1, "albumin"], [2, "alt"], [3, "ast"]]
    assert [[row, NAMES[column]] for row, column in missing] == expected
    assert not cohort.complete[:4].any()
    assert cohort.complete[4:].all()


def test_rows_that_cannot_be_fitted_are_dropped_and_counted_once(
    table: pd.DataFrame, read: Callable[[pd.DataFrame], Cohort]
) -> None:
    table.loc[0, "age"] = 19.0
    table.loc[1, "age"] = 90.5
    table.loc[[0, 2], "pregnant"] = 1.0  # row 0 is counted under its age already
    table.loc[3, "death"] = np.nan
    table.loc[4, "followup_months"] = np.nan
    table.loc[5, list(NAMES)] = np.nan
    table.loc[6, "pregnant"] = np.nan
    cohort = read(table)
    assert cohort.report == {
        "rows": 60,
        "values_outside_accepted_range": 0,
        "age_not_fitted": 2,
        "age_top_coded": 0,
        "pregnant": 1,
        "not_followed": 2,
        "no_biomarker": 1,
        "kept": 54,
    }
    np.testing.assert_allclose(cohort.age_years, table["age"][6:], rtol=1e-6)


def test_people_whose_age_is_a_surveys_top_code_are_dropped(
    tmp_path: Path, table: pd.DataFrame, codes: CohortConfiguration
) -> None:
    table["survey"] = np.where(np.arange(len(table)) % 2 == 0, "capped", "exact")
    table["age"] = np.resize([70.0, 70.0, 80.0, 80.0, 85.0, 85.0], len(table))
    path = tmp_path / "synthetic.parquet"
    table.to_parquet(path)
    changed = dataclasses.replace(codes, top_codes=(TopCode(survey="capped", age=80.0),))
    cohort = read_cohort(path, changed)
    assert set(cohort.age_years[cohort.survey == "capped"]) == {70.0}
    assert set(cohort.age_years[cohort.survey == "exact"]) == {70.0, 80.0, 85.0}
    assert cohort.report["age_top_coded"] == len(table) - len(cohort) > 0


def test_a_table_without_a_usable_row_is_refused(
    table: pd.DataFrame, read: Callable[[pd.DataFrame], Cohort]
) -> None:
    with pytest.raises(CohortError, match=r"no row can be used.*'pregnant': 60"):
        read(table.assign(pregnant=1))
    with pytest.raises(CohortError, match="no row can be used"):
        read(table.iloc[:0])


def test_optional_columns_may_be_absent(
    table: pd.DataFrame, read: Callable[[pd.DataFrame], Cohort]
) -> None:
    cohort = read(table.drop(columns=["survey", "pregnant"]))
    assert set(cohort.survey) == {"all"}
    assert cohort.report["pregnant"] == 0


def test_nullable_integers_are_numbers(
    table: pd.DataFrame, read: Callable[[pd.DataFrame], Cohort]
) -> None:
    nullable = table.astype({"sex": "Int64", "death": "Int64", "pregnant": "Int64"})
    nullable.loc[0, "pregnant"] = pd.NA
    nullable.loc[1, "death"] = pd.NA
    nullable.loc[2, "pregnant"] = 1
    cohort = read(nullable)
    assert (cohort.report["pregnant"], cohort.report["not_followed"]) == (1, 1)


def test_a_death_in_the_month_of_the_examination_has_some_follow_up(
    table: pd.DataFrame, read: Callable[[pd.DataFrame], Cohort]
) -> None:
    table.loc[0, ["death", "followup_months"]] = [1.0, 0.0]
    assert read(table).time_years[0] == SHORTEST_FOLLOW_UP_YEARS


def test_causes_are_coded_for_the_dead_alone(
    table: pd.DataFrame, read: Callable[[pd.DataFrame], Cohort]
) -> None:
    seen = [1.0, 5.0, 2.0, 7.0, 6.0, 10.0, 99.0, np.nan]
    table["death"], table["ucod_leading"] = 0.0, 2.0
    table.loc[: len(seen) - 1, "death"] = 1.0
    table.loc[: len(seen) - 1, "ucod_leading"] = seen
    cause = read(table).cause
    names = [(*CAUSES, "other")[code] for code in cause[: len(seen) - 1]]
    assert names == [
        *("cardiovascular", "cardiovascular", "cancer", "diabetes", "dementia"),
        *("other", "other"),
    ]
    assert (cause[len(seen) - 1 :] == -1).all()


def test_select_keeps_every_column_in_step(
    table: pd.DataFrame, read: Callable[[pd.DataFrame], Cohort]
) -> None:
    cohort = read(table)
    rows = cohort.age_years > 50
    part = cohort.select(rows)
    assert len(part) == rows.sum() > 0
    for name in ("biomarkers", "age_years", "sex", "time_years", "event", "cause", "survey"):
        np.testing.assert_array_equal(getattr(part, name), getattr(cohort, name)[rows])


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("synthetic.parquet", b"not a table"),
        ("synthetic.csv", b""),
        ("synthetic.csv", b"age,sex\n1,2\n3,4,5\n"),
        ("synthetic.csv", b"age\n\xff\xfe\n"),
        ("synthetic.csv.gz", b"age,sex\n"),
        ("synthetic.csv.gz", gzip.compress(b"age,sex\n" * 99, mtime=0)[:-12]),
    ],
    ids=["no parquet", "empty", "ragged", "no text", "no gzip", "cut short"],
)
def test_a_file_that_cannot_be_read_is_refused(
    tmp_path: Path, codes: CohortConfiguration, name: str, content: bytes
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(CohortError, match="the file cannot be read") as caught:
        read_cohort(path, codes)
    assert caught.value.subject == str(path)


def test_a_wrong_suffix_and_an_absent_file_are_refused(
    tmp_path: Path, codes: CohortConfiguration
) -> None:
    (tmp_path / "synthetic.xlsx").write_bytes(b"")
    with pytest.raises(CohortError, match=r"must end in \.parquet, \.csv or \.csv\.gz; got \.xlsx"):
        read_cohort(tmp_path / "synthetic.xlsx", codes)
    with pytest.raises(CohortError, match="there is no such file"):
        read_cohort(tmp_path / "absent.csv", codes)
