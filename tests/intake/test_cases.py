"""Files that were refused or misread once, and what each gives; skipped where there are none."""

import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from henaw.intake.tables.layout import Layout, find_layout
from henaw.model.biomarkers import NAMES
from henaw.model.errors import ScoringError
from henaw.scoring import Henaw
from henaw.scoring.reading.sources import open_source
from henaw.training.readers.column_map import read_column_map
from henaw.training.readers.columns import build_table

REPOSITORY = Path(__file__).resolve().parents[2]
WOMAN = {
    **{"age": 54, "sex": "female", "crp": 1.2, "hba1c": 35.5, "creatinine": 79.6, "albumin": 45},
    **{"lymphocyte_pct": 29, "rdw": 13.1, "ggt": 22, "ast": 24, "alt": 20},
}


@pytest.fixture(scope="module")
def cases() -> Path:
    named = os.environ.get("HENAW_CASES")
    path = Path(named) if named else REPOSITORY.parent / "shared" / "cases"
    if not path.is_dir():
        pytest.skip(f"no cases at {path}: set HENAW_CASES to a copy of them")
    return path


@pytest.fixture(scope="module")
def model(weights: Path) -> Henaw:
    return Henaw.load(weights / "henaw.onnx")


def score(
    model: Henaw, path: Path, *, layout: Layout | None = None, **named: Any
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Answers of a file of one chunk, and counts."""
    source = open_source(path, **named)
    layout = layout or find_layout(source.names)
    ((_, batch),) = source.read_chunks(layout, ())
    assert batch is not None
    answers, summary = model.score(batch, layout, ("biological_age",), unreliable="keep")
    return answers.to_pylist(), summary.describe()


def type_in(model: Henaw, **others: Any) -> float:
    """The answer of the values typed one by one."""
    values = {name: [value] for name, value in (WOMAN | others).items()}
    answers = model.predict(pa.table(values), unreliable="keep")
    return float(answers["biological_age"][0].as_py())


@pytest.mark.parametrize(
    ("name", "others"),
    [
        ("04-capital-headers-ignored.csv", ({},)),
        ("05-nhanes-crp-and-hscrp.csv", ({}, {"crp": 25})),
        ("10-decimal-commas.csv", ({}, {"crp": 2.4, "creatinine": 1079.6})),
        (
            "11-less-than-and-words.csv",
            (
                {"crp": 0.3},
                {"ggt": 10},
                {"crp": 200},
                {"ast": None},
                {"crp": None},
                {"crp": None},
                {"crp": None},
            ),
        ),
        (
            "18-excel-sep-line.csv",
            (
                {},
                {
                    **{"age": 61, "sex": "male", "crp": 2.4, "hba1c": 38, "creatinine": 88},
                    **{"albumin": 43, "lymphocyte_pct": 31, "rdw": 13.4, "ggt": 35, "ast": 26},
                    "alt": 27,
                },
            ),
        ),
        (
            "17-long-with-birth-date.csv",
            (
                {"crp": 0.3, "rdw": None, "ggt": None, "ast": None, "alt": None},
                {
                    **dict.fromkeys(NAMES),
                    **{"age": 74.3306, "sex": "male", "crp": 40, "creatinine": 180},
                },
            ),
        ),
        (
            "01-page-two-people.csv",
            (
                {**dict.fromkeys(NAMES), "crp": 1.2, "albumin": 45},
                {
                    **dict.fromkeys(NAMES),
                    **{"age": 78, "sex": "male", "crp": 40, "creatinine": 180},
                },
            ),
        ),
        ("07-contained-observations.json", ({},)),
        ("09-limit-beats-hscrp-of-same-draw.json", ({},)),
        ("09-same-other-order.json", ({},)),
        ("15-bulk.ndjson", ({},)),
        ("15-bundle.json.gz", ({},)),
        ("20-page-urine.csv", ({**dict.fromkeys(NAMES), "creatinine": 79.6, "albumin": 45},)),
    ],
)
def test_a_case_gives_what_its_values_give(
    model: Henaw, cases: Path, name: str, others: tuple[dict[str, Any], ...]
) -> None:
    answers, counts = score(model, cases / name)
    assert counts["reasons"] == {}
    expected = [type_in(model, **one) for one in others]
    assert [row["biological_age"] for row in answers] == pytest.approx(expected, abs=0.02)


def test_utf_16_gives_what_the_same_text_gives(model: Henaw, cases: Path) -> None:
    both = [score(model, cases / f"18-{name}.csv")[0] for name in ("utf16", "excel-sep-line")]
    assert both[0] == both[1]


def test_limits_and_words_are_counted_and_named(model: Henaw, cases: Path) -> None:
    _, counts = score(model, cases / "11-less-than-and-words.csv")
    assert counts["notes"] == {
        "crp is a limit, which is used as the value": 2,
        "ggt is a limit, which is used as the value": 1,
        "crp is a word for no value, and is missing": 3,
        "ast is a word for no value, and is missing": 1,
    }


def test_spellings_of_units_are_accepted_and_what_is_refused_is_named(
    model: Henaw, cases: Path
) -> None:
    layout = read_column_map(cases / "12-unit-spellings.yaml").layout
    answers, _ = score(model, cases / "12-unit-spellings.csv", layout=layout)
    known = {"rdw": None, "ggt": None, "ast": None, "alt": None, "creatinine": None}
    expected = type_in(model, **known)
    assert [row["biological_age"] for row in answers[:2]] == pytest.approx([expected] * 2, abs=0.02)
    assert answers[2]["reason"].startswith("the unit of albumin must be one of g/L, g/dL")


def test_times_with_a_zone_are_read_as_days(cases: Path) -> None:
    columns = read_column_map(cases / "14-timezone-dates.yaml")
    table, _ = build_table(cases / "14-timezone-dates.csv", columns)
    assert (table["followup_months"] / 12).round(1).tolist() == [7.1, 8.1]


def test_omop_is_read_with_people_and_refused_without(
    model: Henaw, cases: Path, tmp_path: Path
) -> None:
    path = cases / "17-omop-measurement.csv"
    with pytest.raises(ScoringError, match="OMOP's PERSON, or add columns such as age and sex"):
        open_source(path)
    people = tmp_path / "person.csv"
    people.write_text("person_id,gender_concept_id,year_of_birth,birth_datetime\n10,8532,1970,\n")
    ((answer,), _) = score(model, path, people=people)
    known = {**dict.fromkeys(NAMES), "crp": 1.2, "hba1c": 35.5, "creatinine": 79.6}
    assert answer["biological_age"] == pytest.approx(type_in(model, **known, age=53.67), abs=0.1)


def test_a_list_of_one_person_has_all_nine_values(
    model: Henaw, cases: Path, tmp_path: Path
) -> None:
    path = cases / "19-page-us-lab.csv"
    with pytest.raises(ScoringError, match="age and sex"):
        open_source(path)
    mine = tmp_path / "in.csv"
    mine.write_text(path.read_text() + "Age,54,,,\nSex,F,,,\n")
    ((answer,), counts) = score(model, mine)
    assert set(counts["imputed"].values()) == {0}
    assert answer["biological_age"] == pytest.approx(type_in(model), abs=0.02)
