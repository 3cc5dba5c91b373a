"""People in Python that look like something else: an error for several, a warning for one."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import henaw
import numpy as np
import pandas as pd
import pytest
from henaw.model.biomarkers import NAMES
from henaw.scoring import Henaw

WOMAN = {
    **{"age": 54, "sex": "female", "crp": 1.2, "hba1c": 35.5, "creatinine": 79.6, "albumin": 45},
    **{"lymphocyte_pct": 29, "rdw": 13.1, "ggt": 22, "ast": 24, "alt": 20},
}


@contextmanager
def silence() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def test_usual_people_are_answered_in_silence(model: Henaw, people: pd.DataFrame) -> None:
    with silence():
        model.predict(WOMAN)
        model.predict([WOMAN, WOMAN | {"age": 30}])
        assert model.predict(people)["reason"].isna().all()
        model.explain(people[:5])


def test_one_person_is_warned_of(model: Henaw) -> None:
    with pytest.warns(
        henaw.InputWarning, match="may be fractions: 0.29 % would be 29 %.*give the unit fraction"
    ) as seen:
        answer = model.predict(WOMAN | {"lymphocyte_pct": 0.29})
    assert seen[0].filename == __file__
    assert answer.reason is None
    with silence():
        told = model.predict(WOMAN | {"lymphocyte_pct": (0.29, "fraction")})
    assert told.biological_age == pytest.approx(model.predict(WOMAN).biological_age, abs=0.01)


def test_several_people_are_refused_until_it_is_accepted(model: Henaw) -> None:
    wrong = [WOMAN | {"lymphocyte_pct": share} for share in (0.29, 0.31)]
    for people in (wrong, pd.DataFrame(wrong)):
        with pytest.raises(
            henaw.ScoringError, match=r"(?s)may be fractions.*accept 'lymphocyte_pct'"
        ):
            model.predict(people)
        with pytest.raises(henaw.ScoringError, match="may be fractions"):
            model.explain(people)
        for name in ("lymphocyte_pct", "all"):
            with pytest.warns(henaw.InputWarning, match="may be fractions"):
                assert len(model.predict(people, accept=[name])) == 2


def test_a_large_table_in_other_units_names_each(model: Henaw, people: pd.DataFrame) -> None:
    wrong = people.assign(
        lymphocyte_pct=people["lymphocyte_pct"] / 100,
        crp=people["crp"] / 10,
        rdw=people["rdw"] * 3.1,
        albumin=people["albumin"] / 10,
    )
    with pytest.raises(henaw.ScoringError) as seen:
        model.predict(wrong)
    said = str(seen.value)
    for words in (
        *("lymphocyte_pct, taken to be in %: the values may be fractions", "may be in mg/dL"),
        *("RDW-SD in fL", "may be in g/dL: 4."),
    ):
        assert words in said
    with pytest.raises(henaw.ScoringError, match="accept 'albumin'"):
        model.predict(wrong, accept=["lymphocyte_pct", "crp", "rdw"])


def test_a_column_that_is_nearly_known_is_refused(model: Henaw, people: pd.DataFrame) -> None:
    renamed = people.rename(columns={"lymphocyte_pct": "Lymphocyts"})
    with pytest.raises(henaw.ScoringError, match="column 'Lymphocyts' is not used, and"):
        model.predict(renamed)
    with pytest.warns(henaw.InputWarning, match="Lymphocyts|imputed for all: lymphocyte_pct"):
        model.predict(renamed, accept=["lymphocyte_pct"])
    # One that is used beside it is the right one.
    both = people.assign(Lymphocyts=1.0, city="here")
    with silence():
        model.predict(both)


def test_missing_columns_are_reported(model: Henaw, people: pd.DataFrame) -> None:
    with pytest.warns(henaw.InputWarning, match="imputed for all: ggt, alt"):
        model.predict(people.drop(columns=["ggt", "alt"]))


def test_limits_and_words_are_reported(model: Henaw, people: pd.DataFrame) -> None:
    text = people.assign(crp=people["crp"].map("{:.2f}".format).replace("nan", ""))
    text.loc[[0, 1], "crp"] = ["<0.1", "haemolysed"]
    with pytest.warns(henaw.InputWarning, match="1 rows: crp is a (limit|word)") as seen:
        model.predict(text)
    assert len(seen) == 2


def test_sexes_coded_as_in_nhanes(model: Henaw, people: pd.DataFrame) -> None:
    coded = people.assign(sex=np.where(people["sex"] == 0, 2, 1))
    with pytest.raises(henaw.ScoringError, match=r"NHANES coding, 1 male and 2 female\?"):
        model.predict(coded)
    right = coded.rename(columns={"sex": "RIAGENDR", "age": "RIDAGEYR"})
    with silence():
        answers = model.predict(right)
    assert answers["biological_age"].equals(model.predict(people)["biological_age"])


def test_years_of_birth_are_no_ages(model: Henaw, people: pd.DataFrame) -> None:
    with pytest.raises(henaw.ScoringError, match="years of birth"):
        model.predict(people.assign(age=1970))


def test_a_model_names_what_it_uses_only(model: Henaw, people: pd.DataFrame) -> None:
    report = henaw.scoring.reading.preflight.look_over(
        model,
        [],
        henaw.intake.tables.layout.find_layout(["age", "sex", *NAMES]),
        ["age", "sex", *NAMES],
    )
    assert (report.rows, report.findings, report.absent) == (0, (), ())
