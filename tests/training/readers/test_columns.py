import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from click.testing import CliRunner
from henaw.cli.main import commands
from henaw.model.biomarkers import NAMES
from henaw.model.errors import CohortError, ConfigurationError
from henaw.training.cohorts.cohort import read_cohort
from henaw.training.configuration import CohortConfiguration
from henaw.training.readers.column_map import read_column_map
from henaw.training.readers.columns import build_table

ROWS: dict[str, list[Any]] = {
    "id": ["a", "b", "c", "d", "e"],
    "years": [50, 61.5, "NA", 70, 33],
    "gender": ["F", "M", "F", "2", "M"],
    "hscrp": [0.1, 0.25, 0.3, -9, 2],
    "a1c": [5.4, 36, 5.0, 48, ""],
    "a1c_unit": ["%", "mmol/mol", "%", "mmol/mol", ""],
    "gamma": [20, 7000, 30, 40, 50],
    "noise": ["x", "y", "z", "x", "y"],
    "vital": ["dead", "alive", "alive", "dead", "alive"],
    "fu": [365.25, 730.5, 100, 36.525, ""],
    "icd": ["I21.4", "", "", "X59", "C50"],
    "preg": ["", "", "", "", "yes"],
    "wave": ["one", "one", "two", "two", ""],
    "drawn": ["2001-01-01", "2001-01-01", "2002-05-05", "2003-01-01", ""],
    "seen": ["2002-01-01", "2003-01-01", "2002-08-13", "2003-02-01", "2010-01-01"],
}
MAP: dict[str, Any] = {
    "participant_id": "id",
    "age": "years",
    "sex": {"column": "gender", "female": ["F", "2"], "male": ["M"]},
    "biomarkers": [
        {"name": "crp", "column": "hscrp", "unit": "mg/dL"},
        {"name": "hba1c", "column": "a1c", "unit_column": "a1c_unit"},
        {"name": "ggt", "column": "gamma", "unit": "IU/L"},
    ],
    "death": {"column": "vital", "dead": ["dead"], "alive": ["alive"]},
    "follow_up": {"column": "fu", "unit": "days"},
    "cause": {"column": "icd", "codes": {"cardiovascular": ["I[0-9]*"], "cancer": ["C*"]}},
    "pregnant": {"column": "preg", "pregnant": ["yes"]},
    "survey_column": "wave",
    "missing": ["", "NA", "-9"],
}

Build = Callable[..., tuple[pd.DataFrame, dict[str, Any]]]


@pytest.fixture
def build(tmp_path: Path) -> Build:
    """Write rows and map, changed as asked, and build the table."""

    def run(
        rows: dict[str, list[Any]] | None = None,
        *,
        suffix: str = ".csv",
        text: str | None = None,
        **changed: Any,
    ) -> tuple[pd.DataFrame, dict[str, Any]]:
        path, map_path = tmp_path / f"rows{suffix}", tmp_path / "map.yaml"
        mapping = {key: value for key, value in (MAP | changed).items() if value is not None}
        map_path.write_text(yaml.safe_dump(mapping))
        frame = pd.DataFrame(ROWS | (rows or {}))
        if text is not None:
            path.write_text(text)
        elif suffix == ".parquet":
            # As it would come from a database: numbers as numbers, nothing as null.
            frame = frame.replace({"": None, "NA": None})
            for name in ("years", "a1c", "fu"):
                frame[name] = frame[name].astype(float)
            frame.to_parquet(path)
        else:
            frame.to_csv(path, index=False, sep=mapping.get("separator", ","), encoding="utf-8-sig")
        return build_table(path, read_column_map(map_path))

    return run


def list_problems(build: Build, *args: Any, **changed: Any) -> tuple[str, ...]:
    with pytest.raises((CohortError, ConfigurationError)) as caught:
        build(*args, **changed)
    return caught.value.problems


@pytest.mark.parametrize("suffix", [".csv", ".csv.gz", ".parquet"])
def test_columns_are_found_and_converted(build: Build, suffix: str) -> None:
    table, report = build(suffix=suffix)
    table = table.set_index("participant_id")
    assert list(table.index) == ["a", "b", "d", "e"]
    assert table["age"].tolist() == [50, 61.5, 70, 33]
    assert table["sex"].tolist() == [0, 1, 0, 1]
    assert table["crp"].tolist() == pytest.approx([1.0, 2.5, np.nan, 20.0], nan_ok=True)
    ngsp = (5.4 - 2.152) / 0.09148
    assert table["hba1c"].tolist() == pytest.approx([ngsp, 36, 48, np.nan], nan_ok=True)
    assert table["ggt"].tolist() == [20, 7000, 40, 50]
    assert table["death"].tolist() == [1, 0, 1, 0]
    assert table["followup_months"].tolist() == pytest.approx([12, 24, 1.2, np.nan], nan_ok=True)
    assert table["ucod_leading"].tolist() == pytest.approx([1, np.nan, 10, np.nan], nan_ok=True)
    assert table["pregnant"].tolist() == [0, 0, 0, 1]
    assert table["survey"].tolist() == ["one", "one", "two", "unknown"]
    assert table[["albumin", "alt"]].isna().all(axis=None)
    assert report == {
        "rows": 5,
        "without_participant_id": 0,
        "without_age": 1,
        "without_sex": 0,
        "kept": 4,
        "followed": 3,
        "deaths": 2,
        "unit_assumed": {},
        "not_mapped": [name for name in NAMES if name not in ("crp", "hba1c", "ggt")],
        "missing": dict.fromkeys(NAMES, 4) | {"crp": 1, "hba1c": 1, "ggt": 0},
        "outside_accepted_range": dict.fromkeys(NAMES, 0) | {"ggt": 1},
        "ucod_leading": {"cardiovascular": 1, "cancer": 2, "other": 10},
    }


@pytest.mark.parametrize(
    ("column", "unit", "months"),
    [("fu", "months", 365.25), ("years", "years", 12.0), ("fu", "days", 12.0)],
)
def test_follow_up_is_in_months(build: Build, column: str, unit: str, months: float) -> None:
    table, _ = build(follow_up={"column": column, "unit": unit})
    factor = float(ROWS["years"][0]) if column == "years" else 1.0
    assert table["followup_months"][0] == pytest.approx(months * factor)


def test_follow_up_of_centuries_is_refused(build: Build) -> None:
    with pytest.raises(CohortError, match=r"2 of 4 rows are longer. Check follow_up\.unit"):
        build(follow_up={"column": "fu", "unit": "years"})


def test_follow_up_can_be_between_two_dates(build: Build) -> None:
    table, _ = build(follow_up=None, dates={"start": "drawn", "end": "seen"})
    expected = [365 / 365.25 * 12, 730 / 365.25 * 12, 31 / 365.25 * 12, np.nan]
    assert table["followup_months"].tolist() == pytest.approx(expected, nan_ok=True)


def test_other_separators_and_one_survey(build: Build) -> None:
    table, _ = build(separator=";", survey_column=None, survey="mine")
    assert (table["survey"] == "mine").all()


@pytest.mark.parametrize("suffix", [".csv", ".csv.gz", ".tsv"])
def test_the_header_shows_the_separator(build: Build, tmp_path: Path, suffix: str) -> None:
    expected, _ = build(suffix=".csv")
    header, *rows = pd.DataFrame(ROWS).to_csv(index=False, sep=";").splitlines()
    # A comma in a name, and quotes around it, are no separators.
    content = "\n".join([f'{header};"note, free"', *(f"{row};x" for row in rows)])
    path = tmp_path / f"semicolons{suffix}"
    path.write_bytes(gzip.compress(content.encode()) if suffix[-3:] == ".gz" else content.encode())
    table, _ = build_table(path, read_column_map(tmp_path / "map.yaml"))
    pd.testing.assert_frame_equal(table, expected)


def test_a_cohort_needs_identifiers(build: Build) -> None:
    assert list_problems(build, participant_id=None) == (
        "the column map has no participant_id; add it",
    )


def test_without_follow_up_the_columns_are_there_and_empty(build: Build) -> None:
    table, report = build(death=None, follow_up=None, cause=None, pregnant=None)
    assert table[["death", "followup_months", "ucod_leading"]].isna().all(axis=None)
    assert "pregnant" not in table
    assert report["followed"] == 0


def test_everything_wrong_in_the_rows_is_listed_together(build: Build) -> None:
    problems = list_problems(
        build,
        {
            "id": ["a", "b", "a", "d", "e"],
            "years": [50, 60, 70, "old", 40],
            "gender": ["F", "M", "X", "M", "X"],
            "hscrp": ["<0.1", 1, 1, 1, 1],
            "a1c_unit": ["%", "mg/dL", "%", "", "%"],
            "fu": [-5, 1, 1, 1, 1],
        },
        cause={"column": "icd", "codes": {"cardiovascular": ["I*"], "dementia": ["I21*"]}},
    )
    assert [problem.split(". If")[0] for problem in problems] == [
        "column 'years' must have numbers; got 'old' in row 4",
        "column 'gender' must have codes of female ['F', '2'], male ['M']; got 'X' in row 3 and in "
        "1 more row",
        "column 'hscrp' must have numbers; got '<0.1' in row 1",
        "column 'a1c_unit', 1 rows: mg/dL is a unit of the estimated average glucose: give HbA1c "
        "itself, in % (NGSP) or mmol/mol",
        "column 'a1c_unit' must have a unit for every value of hba1c; values without one: 1",
        "column 'icd': 'I21.4' must belong to one cause; got ['cardiovascular', 'dementia']",
        "follow-up must be at least 0; rows with less: 1",
    ]


def test_units_as_laboratories_print_them_are_read(tmp_path: Path) -> None:
    path, map_path, out = tmp_path / "lab.csv", tmp_path / "map.yaml", tmp_path / "lab.parquet"
    path.write_text(
        "id,age,sex,alb,alb_u,a1c,a1c_u,crp,crp_u,lym,lym_u,ggt,ggt_u\n"
        "a,54,2,4.5,gm/dL,5.4,% of total Hgb,1.2,ug/mL,0.29,L/L,24,Units/L\n"
        "b,54,2,4.5,g/dL,5.4,%,1.2,mg/L,29,%,400,nkat/L\n"
        "c,54,1,4.5,,5.4,percent,1.2,milligram per liter,29,10*-2,24,E/L\n"
    )
    columns = {"albumin": "alb", "hba1c": "a1c", "crp": "crp", "lymphocyte_pct": "lym"}
    columns |= {"ggt": "ggt"}
    mapping = {
        "participant_id": "id",
        "age": "age",
        "sex": {"column": "sex", "female": ["2"], "male": ["1"]},
        "biomarkers": [
            {"name": name, "column": column, "unit_column": f"{column}_u"}
            for name, column in columns.items()
        ],
    }
    map_path.write_text(yaml.safe_dump(mapping))
    done = CliRunner().invoke(
        commands, ["data", "table", str(path), "--columns", str(map_path), "--out", str(out)]
    )
    assert done.exit_code == 0, done.output
    assert "albumin: 1 values without a unit are taken to be in g/dL" in done.output
    table = pd.read_parquet(out)
    for name, value in {"albumin": 45, "crp": 1.2, "lymphocyte_pct": 29, "ggt": 24}.items():
        np.testing.assert_allclose(table[name], value, rtol=1e-6)
    np.testing.assert_allclose(table["hba1c"], (5.4 - 2.152) / 0.09148, rtol=1e-6)


@pytest.mark.parametrize(
    ("values", "units"),
    [
        ([5.4, 5.0, 48], ["%", "%", ""]),  # fits, but not in the others' unit
        ([36, 5.0, 5.4], ["mmol/mol", "%", ""]),  # the others are in two units
        ([5.4, 5.0, 16.0], ["%", "%", ""]),  # could be either
    ],
)
def test_a_value_without_a_unit_is_refused_where_it_could_be_another(
    build: Build, values: list[float], units: list[str]
) -> None:
    rows = {"a1c": [*values, "", ""], "a1c_unit": [*units, "", ""], "years": [50] * 5}
    problems = list_problems(build, rows)
    assert any("must have a unit for every value of hba1c" in problem for problem in problems)


def test_a_repeated_participant_is_refused(build: Build) -> None:
    (problem,) = list_problems(build, {"id": ["a", "b", "c", "a", "e"]})
    assert problem == "column 'id' must be different in every row; rows that repeat another: 1"


def test_text_that_is_not_a_date_is_refused(build: Build) -> None:
    dates = {"start": "drawn", "end": "seen"}
    (problem,) = list_problems(
        build, {"seen": ["2002-01-01", "soon", "", "", ""]}, follow_up=None, dates=dates
    )
    assert "column 'seen' must have dates, YYYY-MM-DD; got 'soon' in row 2." in problem


def test_a_wrong_unit_is_seen_in_the_values(build: Build) -> None:
    ggt = {"name": "ggt", "column": "gamma", "unit": "ukat/L"}
    rows = {"gamma": [120, 130, 140, 150, 20]}
    (problem,) = list_problems(build, rows, biomarkers=[ggt])
    assert problem.startswith("ggt must be 1 to 5000 U/L; 75% of values are outside")
    assert "whether 'ukat/L' is the unit of 'gamma'; accepted units: U/L, ukat/L" in problem


def test_absent_columns_are_named_with_the_nearest(build: Build) -> None:
    assert list_problems(build, age="year", participant_id="eid") == (
        "there is no column 'eid'; did you mean 'id'?",
        "there is no column 'year'; did you mean 'years'?",
    )


def test_everything_wrong_in_the_map_is_listed_together(build: Build) -> None:
    problems = list_problems(
        build,
        biomarkers=[
            {"name": "creatinin", "column": "x", "unit": "mg/dL"},
            {"name": "rdw", "column": "x", "unit": "fL"},
            {"name": "ggt", "column": "x"},
        ],
        sex={"column": "gender", "female": [2], "male": ["M"]},
        ages="years",
    )
    text = "\n".join(problems)
    for part in (
        "ages: unknown key, did you mean age?",
        "sex.female[0] must be str; got 2",
        "biomarkers[0].unknown biomarker 'creatinin': did you mean creatinine?",
        "biomarkers[1].rdw: RDW-SD (fL) is another measurement than RDW-CV (%)",
        "biomarkers[2].ggt: give either unit or unit_column",
    ):
        assert part in text


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"death": None, "cause": None}, "death needs follow_up or dates"),
        ({"dates": {"start": "a", "end": "b"}}, "give follow_up or dates, not both"),
        ({"death": None, "follow_up": None}, "cause needs death"),
        ({"biomarkers": []}, "biomarkers: add at least one"),
        ({"biomarkers": [MAP["biomarkers"][0]] * 2}, "biomarkers: crp must occur once; got 2"),
    ],
)
def test_a_map_that_does_not_fit_together_is_refused(
    build: Build, changed: dict[str, Any], problem: str
) -> None:
    assert problem in "\n".join(list_problems(build, **changed))


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".csv.gz"])
def test_an_unreadable_file_is_named(build: Build, suffix: str) -> None:
    (problem,) = list_problems(build, suffix=suffix, text="")
    assert problem.startswith("the file cannot be read")


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    (tmp_path / "map.yaml").write_text(yaml.safe_dump(MAP))
    columns = read_column_map(tmp_path / "map.yaml")
    for name in ("a.csv", "a.parquet"):
        with pytest.raises(CohortError, match="there is no such file"):
            build_table(tmp_path / name, columns)
    with pytest.raises(ConfigurationError, match=r"none\.yaml"):
        read_column_map(tmp_path / "none.yaml")


def test_the_command_writes_what_a_cohort_is_read_from(tmp_path: Path) -> None:
    pd.DataFrame(ROWS).to_csv(tmp_path / "rows.csv", index=False)
    (tmp_path / "map.yaml").write_text(yaml.safe_dump(MAP))
    out = tmp_path / "cohort.parquet"
    arguments = ["data", "table", str(tmp_path / "rows.csv"), "--out", str(out)]
    arguments += ["--columns", str(tmp_path / "map.yaml")]
    result = CliRunner().invoke(commands, arguments, catch_exceptions=False)
    for part in (
        "4 people of 5 rows",
        "left out, without age: 1",
        "followed: 3, died: 2",
        "not mapped: creatinine, albumin",
        "ggt: 0 missing, 1 outside the accepted range",
    ):
        assert part in result.output
    causes = {"cardiovascular": (1, 5), "cancer": (2,), "diabetes": (7,), "dementia": (6,)}
    cohort = read_cohort(out, CohortConfiguration(causes=causes))
    assert len(cohort) == 3
    assert out.with_suffix(".report.json").is_file()
