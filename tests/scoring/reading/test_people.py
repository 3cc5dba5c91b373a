"""One person, and several, as Python objects and as tables of any library."""

import copy
import pickle
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from henaw.intake.tables.layout import find_layout
from henaw.model.biomarkers import NAMES
from henaw.model.errors import ScoringError
from henaw.scoring import Henaw
from henaw.scoring.answering.person_answer import PersonAnswer
from henaw.scoring.reading.frames import ARRAY_COLUMNS

# Its tables lack columns.
pytestmark = pytest.mark.filterwarnings("ignore::henaw.intake.preflight.InputWarning")

PERSON = {"age": 54, "sex": "female", "crp": 1.2, "creatinine": 79.6, "albumin": 45.0}


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    return pd.DataFrame([PERSON, PERSON | {"age": 61.0, "sex": "male", "crp": np.nan}])


@pytest.fixture(scope="module")
def expected(model: Henaw, frame: pd.DataFrame) -> pd.DataFrame:
    return model.predict(frame)


@pytest.mark.parametrize(
    "person",
    [
        PERSON,
        PERSON | {"crp": (0.12, "mg/dL"), "creatinine": [0.9002488, "mg/dL"], "alt": None},
        PERSON | {"sex": "F", "age": np.float32(54), "crp": Decimal("1.2"), "rdw": float("nan")},
        PERSON | {"sex": 0, "age": np.int8(54), "ggt": pd.NA, "participant_id": "a"},
        pd.Series(PERSON, dtype=object),
    ],
)
def test_a_person_is_a_mapping_of_values_or_pairs(
    model: Henaw, expected: pd.DataFrame, person: Any
) -> None:
    answer = model.predict(person)
    assert isinstance(answer, PersonAnswer)
    row = expected.iloc[0]
    assert (answer.age, answer.sex, answer.reason, answer.reliable) == (54, "female", None, True)
    assert answer.biological_age == pytest.approx(row["biological_age"], abs=1e-3)
    assert answer.interval == pytest.approx((row["interval_low"], row["interval_high"]), abs=1e-3)
    assert answer.cause_risk_10y["cancer"] == pytest.approx(row["cause_risk_10y_cancer"])
    assert answer.systems["hematology"] == pytest.approx(row["system_hematology"], abs=1e-3)
    total = 54 + sum(years for years in answer.contributions.values() if years is not None)
    assert answer.biological_age == pytest.approx(total, abs=1e-3)
    assert answer.imputed == tuple(name for name in NAMES if name not in PERSON)


def test_a_list_of_people_is_a_list_of_answers(model: Henaw, expected: pd.DataFrame) -> None:
    people = [PERSON, PERSON | {"age": 61, "sex": "male", "crp": None}, {"age": 7, "sex": "x"}]
    first, second, third = model.predict(people)
    ages = [first.biological_age, second.biological_age]
    assert ages == pytest.approx(expected["biological_age"].tolist(), abs=1e-3)
    assert third.reason == "age is outside 18 to 120 years; sex is not female or male"
    assert (third.biological_age, third.interval, third.sex, third.withheld) == (
        *(None, None, None),
        (),
    )
    assert model.predict([]) == []
    assert model.explain(people)[1] == model.explain(PERSON)[1]
    assert model.explain(PERSON)[1]["label"] == "C-reactive protein"


def test_a_person_who_cannot_be_scored_is_an_error_of_all_reasons(model: Henaw) -> None:
    with pytest.raises(ScoringError) as caught:
        model.predict({"age": 5, "sex": "f", "crp": (70, "mg/dL")})
    assert caught.value.problems == (
        "age is outside 18 to 120 years; got 5",
        "crp is outside 0.01 to 500 mg/L; got (70, 'mg/dL')",
    )
    with pytest.raises(ScoringError, match=r"sex is not female or male$"):
        model.predict({"age": 50, "crp": 1})


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"Kreatinin": 80}, r"unknown name 'Kreatinin': did you mean creatinine\?"),
        ({"zzz": 80}, "unknown name 'zzz': known are age, sex, participant_id, crp"),
        ({"biomarkers": {"crp": 1}}, "put each biomarker beside age and sex"),
        ({"crp": "1.2"}, "crp must be a number in mg/L, a pair .*; got '1.2'"),
        ({"crp": True}, "crp must be a number"),
        ({"crp": ("x", "mg/L")}, "crp must be a number .*got 'x'"),
        ({"crp": [1.0, 2.0, 3.0]}, "For several people, give a list of dicts or a table"),
        ({"crp": np.ones(2)}, "For several people, give a list of dicts or a table"),
        ({"crp": (1.2, "parsec")}, "parsec"),
        ({"rdw": (44, "fL")}, "RDW-SD"),
        ({"age": "54"}, "age must be a number of years; got '54'"),
        ({"sex": True}, "sex must be 'female' or 'male'; got True"),
    ],
)
def test_names_types_and_units_that_are_wrong_are_named(
    model: Henaw, change: dict[str, Any], said: str
) -> None:
    with pytest.raises(ScoringError, match=said):
        model.predict(PERSON | change)
    with pytest.raises(ScoringError, match=f"person 1: .*{said}"):
        model.predict([PERSON, PERSON | change])


def test_many_problems_are_counted_not_listed(model: Henaw) -> None:
    with pytest.raises(ScoringError, match="and 80 more") as caught:
        model.predict([PERSON | {"ggt": "x"}] * 100)
    assert len(caught.value.problems) == 21
    with pytest.raises(
        ScoringError, match="a person must have age, sex and biomarkers by name; got '0', '1'"
    ):
        model.predict(pd.Series(range(1000)))


def test_options_of_a_table_are_refused_for_a_person(model: Henaw) -> None:
    with pytest.raises(ScoringError, match="outputs is for a table"):
        model.predict([PERSON], outputs=["age_gap"])
    with pytest.raises(ScoringError, match="layout is for a table"):
        model.predict([PERSON], layout=find_layout(list(PERSON)))


class Foreign:
    """A table of a library that only Arrow's protocol is known of."""

    def __init__(self, table: pa.Table) -> None:
        self._table = table

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return self._table.__arrow_c_stream__(requested_schema)


@pytest.mark.parametrize("make", [Foreign, pa.Table.to_reader])
def test_what_arrow_reads_is_a_table(
    model: Henaw, frame: pd.DataFrame, make: Callable[[pa.Table], object]
) -> None:
    table = pa.Table.from_pandas(frame, preserve_index=False)
    assert model.predict(make(table)) == model.predict(table)


def test_an_array_with_names_or_the_documented_columns(
    model: Henaw, frame: pd.DataFrame, expected: pd.DataFrame
) -> None:
    named = frame.astype({"sex": "U6"}).to_records(index=False, column_dtypes={"sex": "U6"})
    plain = frame.assign(sex=[0, 1]).reindex(columns=list(ARRAY_COLUMNS)).to_numpy(np.float32)
    for array in (named, plain, np.asfortranarray(plain)):
        answers = model.predict(array)
        assert isinstance(answers, np.ndarray)
        np.testing.assert_allclose(
            answers["biological_age"], expected["biological_age"].to_numpy(), atol=1e-3
        )
        assert answers["reliable"].tolist() == [True, True]
        assert answers["reason"].tolist() == [None, None]
    plain[0, 0] = 7
    refused = model.predict(plain)
    assert np.isnan(refused["biological_age"][0])
    assert (refused["reliable"][0], refused["reason"][0]) == (
        False,
        "age is outside 18 to 120 years",
    )
    for wrong in (plain[:, :9], plain[0], plain.astype(object)):
        with pytest.raises(ScoringError, match=r"one row per person and 11 columns: age, sex, crp"):
            model.predict(wrong)


def test_tables_of_polars_rows_are_people(model: Henaw, frame: pd.DataFrame) -> None:
    (first, _) = model.predict(pl.from_pandas(frame).to_dicts())
    assert first == model.predict(PERSON)


def test_an_answer_reads_as_sentences(model: Henaw) -> None:
    answer = model.predict(PERSON)
    text = repr(answer)
    assert answer.biological_age is not None
    assert f"Biological age {answer.biological_age:.1f} years (90 % interval" in text
    assert "at 54 years, female" in text
    assert "Not given, so estimated: Glycated haemoglobin, Lymphocyte" in text
    assert answer.model in text
    page = answer._repr_html_()
    assert page.startswith("<div><strong>Biological age")
    assert "<li>Risk of death in 10 years" in page


def test_an_answer_that_is_withheld_shows_no_number(model: Henaw) -> None:
    answer = model.predict(PERSON | {"age": 94})
    assert answer.biological_age is answer.interval is answer.mortality_10y is None
    assert not answer.reliable
    assert repr(answer).startswith("No biological age is shown (94 years, female)")
    assert answer.withheld[0] in " ".join(repr(answer).split())
    assert "Risk" not in answer._repr_html_()
    kept = model.predict(PERSON | {"age": 94}, unreliable="keep")
    assert kept.biological_age is not None
    assert kept.withheld[0] in " ".join(repr(kept).split())
    (refused,) = model.predict([{"age": 50, "sex": "<b>"}])
    assert repr(refused).startswith("Not scored: sex is not female or male")


def test_a_model_travels_to_another_process(model_path: Path) -> None:
    model = Henaw.load(model_path, threads=2)
    expected = model.predict(PERSON)
    for other in (pickle.loads(pickle.dumps(model)), copy.deepcopy(model)):
        assert other.predict(PERSON) == expected
        assert (other.sha256, other.threads, repr(other)) == (model.sha256, 2, repr(model))
    assert pickle.loads(pickle.dumps(expected)) == expected


def test_joblib_scores_in_its_processes(model: Henaw) -> None:
    joblib = pytest.importorskip("joblib", reason="needs joblib: pip install joblib")
    people = [PERSON, PERSON | {"age": 61}]
    answers = joblib.Parallel(n_jobs=2)(joblib.delayed(model.predict)(p) for p in people)
    assert answers == [model.predict(person) for person in people]
