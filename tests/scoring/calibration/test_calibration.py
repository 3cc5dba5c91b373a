"""Calibration in Python: what it finds, which people it refuses, and what a profile does."""

import json
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest
from henaw.export.people import draw_synthetic_people
from henaw.intake.tables.layout import BiomarkerColumn, Layout, SexColumn
from henaw.model.biomarkers import NAMES, PANEL
from henaw.model.checkpoint import Checkpoint
from henaw.model.errors import ProfileError, ScoringError
from henaw.model.profile import LabProfile, set_profile
from henaw.scoring import Henaw, calibrate, calibrate_people
from henaw.scoring.calibration import list_lines
from henaw.scoring.calibration.figure import write_figure

LOGGED = [biomarker.name for biomarker in PANEL if biomarker.log_scaled]
SHIFT = {"rdw": 0.05, "albumin": -1.5, "alt": 0.15, "hba1c": 0.03}


def shift_values(people: pd.DataFrame, shift: dict[str, float]) -> pd.DataFrame:
    """The same people's values by a laboratory with these shifts."""
    moved = people.copy()
    for name, by in shift.items():
        moved[name] = moved[name] * np.exp(by) if name in LOGGED else moved[name] + by
    return moved


@pytest.fixture(scope="module")
def population(checkpoint: Checkpoint) -> pd.DataFrame:
    """Twenty thousand people like the fitted ones, who do not exist."""
    drawn = draw_synthetic_people(checkpoint, 20_000, seed=31)
    low, high = (np.array([getattr(b, end) for b in PANEL]) for end in ("minimum", "maximum"))
    # So far inside what is accepted that a laboratory's shift leaves them there.
    table = pd.DataFrame(np.clip(drawn.biomarkers, 1.3 * low, high / 1.3), columns=list(NAMES))
    return table.assign(age=drawn.age, sex=drawn.sex).query("20 <= age <= 84")


@pytest.fixture(scope="module")
def gaps(model: Henaw, population: pd.DataFrame) -> np.ndarray:
    answers = model.predict(population, outputs=["age_gap"], unreliable="keep")
    return answers["age_gap"].to_numpy(float, na_value=0.0)


@pytest.fixture(scope="module")
def profile(model: Henaw, population: pd.DataFrame) -> LabProfile:
    people = shift_values(population.sample(1500, random_state=3), SHIFT)
    return calibrate(people, model=model, name="north")


def draw(population: pd.DataFrame, score: np.ndarray, count: int = 500) -> pd.DataFrame:
    """People drawn with weights exp(score)."""
    weights = np.exp(score)
    rows = np.random.default_rng(1).choice(
        len(population), count, replace=False, p=weights / weights.sum()
    )
    return population.iloc[rows]


def test_shifts_are_found_within_their_errors(model: Henaw, profile: LabProfile) -> None:
    for name in NAMES:
        assert abs(profile.shift[name] - SHIFT.get(name, 0.0)) < 3.5 * profile.standard_error[name]
    assert profile.shift["rdw"] == pytest.approx(0.05, abs=0.012)
    assert profile.people == dict.fromkeys(NAMES, 1500)
    assert profile.model == model.description["checkpoint_sha256"]


def test_the_profile_brings_the_gap_back(
    model_path: Path, model: Henaw, population: pd.DataFrame, profile: LabProfile
) -> None:
    others = population.sample(4000, random_state=4)
    theirs = shift_values(others, SHIFT)
    scored = {
        "own": model.predict(others),
        "raw": model.predict(theirs),
        "calibrated": Henaw.load(model_path, lab=profile).predict(theirs),
    }
    medians = {name: answers["age_gap"].median() for name, answers in scored.items()}
    assert medians["raw"] - medians["own"] > 1.5
    assert abs(medians["calibrated"] - medians["own"]) < 0.35


def test_a_path_and_every_kind_of_table_give_the_same(
    model: Henaw, model_path: Path, population: pd.DataFrame, tmp_path: Path
) -> None:
    people = population.head(600)
    first = calibrate(people, model=model)
    people.to_parquet(tmp_path / "people.parquet")
    for source in (tmp_path / "people.parquet", str(tmp_path / "people.parquet")):
        assert calibrate(source, model=model_path) == first
    assert calibrate(pl.from_pandas(people), model=model) == first


def test_findings_are_in_the_laboratory_s_own_units(model: Henaw, population: pd.DataFrame) -> None:
    people = shift_values(population.head(1500), {"creatinine": 0.1, "albumin": 2.0})
    people["kreatinin"] = people.pop("creatinine") / 88.42
    layout = Layout(
        age="age",
        sex=SexColumn(column="sex", female=("0",), male=("1",)),
        biomarkers=(
            BiomarkerColumn(name="creatinine", column="kreatinin", unit="mg/dL"),
            *(
                BiomarkerColumn(name=b.name, column=b.name, unit=b.unit)
                for b in PANEL
                if b.name != "creatinine"
            ),
        ),
    )
    found = {f.name: f for f in calibrate_people(people, model=model, layout=layout).findings}
    creatinine = found["creatinine"]
    assert creatinine.unit == "mg/dL"
    assert creatinine.typical == pytest.approx(people["kreatinin"].median(), rel=1e-5)
    assert creatinine.percent == pytest.approx(10.0, abs=3.0)
    assert creatinine.shift == pytest.approx(0.09 * creatinine.typical, rel=0.3)
    assert found["albumin"].shift == pytest.approx(2.0, abs=0.6)
    assert "mg/dL high (+-" in str(creatinine)


def test_too_few_are_refused_and_few_are_noted(model: Henaw, population: pd.DataFrame) -> None:
    with pytest.raises(ScoringError, match="at least 200 people, better 500 or more; got 199"):
        calibrate(population.head(199), model=model)
    with pytest.warns(UserWarning, match=r"500 people or more are better.*rdw \(300\)"):
        calibrate(population.head(300), model=model)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        calibrate(population.head(500), model=model)


def test_a_biomarker_of_few_has_no_shift(model: Henaw, population: pd.DataFrame) -> None:
    people = population.head(600).reset_index(drop=True)
    people.loc[150:, "rdw"] = np.nan
    people.loc[400:, "ggt"] = np.nan
    calibration = calibrate_people(people.drop(columns="alt"), model=model)
    assert "rdw" not in calibration.profile.shift
    assert "alt" not in calibration.profile.standard_error
    notes = " ".join(calibration.notes)
    assert "these have fewer: ggt (400)" in notes
    assert "rdw has no shift: 150 people have a value" in notes
    assert "alt has no shift: 0 people have a value" in notes


def test_a_detection_limit_is_no_shift(model: Henaw, population: pd.DataFrame) -> None:
    people = population.head(800).copy()
    people["crp"] = people["crp"].clip(lower=people["crp"].quantile(0.4))
    calibration = calibrate_people(people, model=model)
    assert "crp" not in calibration.profile.shift
    assert any("40% of the people have its lowest value" in note for note in calibration.notes)


def test_unused_people_are_reported(model: Henaw, population: pd.DataFrame) -> None:
    people = population.head(700).reset_index(drop=True)
    people.loc[:9, "age"] = 95.0
    people.loc[10:14, "sex"] = 7
    people.loc[15:17, list(NAMES)] = np.nan
    calibration = calibrate_people(people, model=model)
    assert calibration.people == 700 - 18
    assert calibration.notes == (
        "5 people are not used: sex is not female or male",
        "10 people are not used: the model was fitted on ages 20 to 85",
        "3 people are not used: no biomarker is known",
    )


def test_another_unit_is_refused(model: Henaw, population: pd.DataFrame) -> None:
    people = population.head(600).copy()
    # mg/dL / 10 stays within what is accepted.
    people["albumin"] -= 24.0
    with pytest.raises(ScoringError, match=r"albumin lies -\d+\.\d standard deviations"):
        calibrate(people, model=model)


@pytest.mark.parametrize(
    ("name", "factor"), [("lymphocyte_pct", 0.01), ("crp", 0.1), ("rdw", 3.1), ("ggt", 1 / 60)]
)
def test_a_slip_of_the_unit_never_becomes_a_shift(
    model: Henaw, population: pd.DataFrame, name: str, factor: float
) -> None:
    people = population.sample(800, random_state=5).copy()
    people[name] *= factor
    with pytest.raises((ScoringError, ProfileError), match=rf"{name}.*unit"):
        calibrate(people, model=model, name="north")


@pytest.mark.parametrize(("sign", "words"), [(1, "patients"), (-1, "healthy volunteers")])
def test_the_sick_and_the_well_are_refused(
    model: Henaw, population: pd.DataFrame, gaps: np.ndarray, sign: int, words: str
) -> None:
    people = draw(population, sign * 0.1 * np.clip(gaps, -20, 40))
    with pytest.raises(ScoringError, match=f"look like {words}|look selected"):
        calibrate(people, model=model)


def test_the_somewhat_sick_are_noted_and_hardly_move_the_gap(
    model: Henaw, model_path: Path, population: pd.DataFrame, gaps: np.ndarray
) -> None:
    score = 0.033 * np.clip(gaps, -20, 40)
    people = draw(population, score, 1000)
    calibration = calibrate_people(people, model=model)
    assert 1.0 < calibration.health_years < 1.75
    assert any("look like patients" in note for note in calibration.notes)
    others = population.sample(3000, random_state=9)
    calibrated = Henaw.load(model_path, lab=calibration.profile).predict(others)
    move = calibrated["age_gap"].median() - model.predict(others)["age_gap"].median()
    assert abs(move) < 0.5


def test_a_clinic_is_refused_by_what_stands_out(model: Henaw, population: pd.DataFrame) -> None:
    patients = population.query("hba1c > 48")
    others = population.query("hba1c <= 48")
    clinic = pd.concat([patients.sample(200, random_state=1), others.sample(400, random_state=1)])
    with pytest.raises(ScoringError, match="high values of hba1c are more frequent"):
        calibrate(clinic, model=model)


def test_many_patients_are_no_other_assay(model: Henaw, population: pd.DataFrame) -> None:
    """Most have diabetes: the rest are as far below them as they are above."""
    patients = population.query("hba1c > 48").sample(350, random_state=1)
    others = population.query("hba1c <= 48").sample(250, random_state=1)
    with pytest.raises(ScoringError, match="look selected"):
        calibrate(pd.concat([patients, others]), model=model)


def test_a_model_with_a_profile_is_not_calibrated_again(
    model_path: Path, profile: LabProfile, population: pd.DataFrame
) -> None:
    with pytest.raises(ScoringError, match="profile of the laboratory 'north'"):
        calibrate(population.head(500), model=Henaw.load(model_path, lab=profile))


def test_answers_are_those_of_values_with_the_shift_taken_off(
    model: Henaw, model_path: Path, people: pd.DataFrame
) -> None:
    profile = LabProfile(name="north", shift=SHIFT, standard_error=dict.fromkeys(NAMES, 0.01))
    # A shift must not take a value over the accepted range, which judges the raw one.
    safe = people.assign(hba1c=people["hba1c"].clip(20, 150), rdw=people["rdw"].clip(9, 30))
    safe["albumin"] = safe["albumin"].clip(15, 60)
    safe["alt"] = safe["alt"].clip(2, 5000)
    raw = shift_values(safe, SHIFT)
    calibrated = Henaw.load(model_path, lab=profile).predict(raw, unreliable="keep")
    expected = model.predict(safe, unreliable="keep")
    flags = [c for c in expected if c.startswith(("out_of_range", "critical"))]
    judged = model.predict(raw, unreliable="keep")[flags]
    pd.testing.assert_frame_equal(calibrated[flags], judged)
    skipped = {*flags, "interval_low", "interval_high", "reason", "reliable", "withheld"}
    for column in expected.columns.difference(list(skipped)):
        np.testing.assert_allclose(
            calibrated[column].to_numpy(float, na_value=-1.0),
            expected[column].to_numpy(float, na_value=-1.0),
            atol=2e-3 if column == "percentile" else 1e-4,
            err_msg=column,
        )


def test_a_profile_narrows_the_interval(
    model: Henaw, model_path: Path, people: pd.DataFrame, profile: LabProfile
) -> None:
    known = replace(profile, shift={})

    def widths(scoring: Henaw) -> pd.Series:
        answers = scoring.predict(people.dropna())
        return (answers["interval_high"] - answers["interval_low"]).dropna()

    plain, calibrated = widths(model), widths(Henaw.load(model_path, lab=known))
    assert (calibrated <= plain + 1e-4).mean() > 0.99
    assert calibrated.median() < plain.median() - 0.1


def test_every_answer_names_the_profile(
    model: Henaw, model_path: Path, people: pd.DataFrame, profile: LabProfile, tmp_path: Path
) -> None:
    path = tmp_path / "lab.json"
    path.write_text(json.dumps(profile.describe()))
    table = people.copy()
    table.loc[table.index[3], "age"] = np.nan
    assert "lab" not in model.predict(table)
    by_path, by_profile = (
        Henaw.load(model_path, lab=lab).predict(table) for lab in (path, profile)
    )
    pd.testing.assert_frame_equal(by_path, by_profile)
    assert by_path["lab"].isna().sum() == 1
    assert set(by_path["lab"].dropna()) == {"north"}
    exported = tmp_path / "north.onnx"
    exported.write_bytes(set_profile(model_path.read_bytes(), profile))
    loaded = Henaw.load(exported)
    assert loaded.lab == "north"
    assert loaded.full_name.endswith("with the profile of north")
    pd.testing.assert_frame_equal(loaded.predict(table), by_path)


def test_a_profile_that_does_not_fit_is_refused(
    model_path: Path, profile: LabProfile, tmp_path: Path
) -> None:
    with pytest.raises(ProfileError, match="made for the model"):
        Henaw.load(model_path, lab=replace(profile, model="b" * 64))
    with pytest.raises(ProfileError, match="there is no such file"):
        Henaw.load(model_path, lab=tmp_path / "none.json")


def test_the_figure_is_written(model: Henaw, population: pd.DataFrame, tmp_path: Path) -> None:
    people = population.head(500).drop(columns="ast")
    calibration = calibrate_people(people, model=model, name="a <lab>")
    write_figure(calibration, tmp_path / "lab.png")
    assert (tmp_path / "lab.png").read_bytes().startswith(b"\x89PNG")
    write_figure(calibration, tmp_path / "lab.html")
    page = (tmp_path / "lab.html").read_text()
    assert page.count("<svg") == 1
    assert "Calibration of a &lt;lab&gt;" in page
    assert "ast has no shift" in page
    assert len(list_lines(calibration)) == 1 + len(NAMES)
    with pytest.raises(ScoringError, match=r"must end in \.png or \.html"):
        write_figure(calibration, tmp_path / "lab.gif")


@pytest.mark.parametrize("damaged", ["{", "[]", "{}", '{"age": [[1], [1, 2]]}'])
def test_damaged_properties_are_reported(
    model_path: Path, population: pd.DataFrame, damaged: str
) -> None:
    model = Henaw.load(model_path)
    model.description["drift"] = damaged
    with pytest.raises(ScoringError, match="its properties drift and calibration cannot be read"):
        calibrate(population.head(500), model=model)


def test_a_survey_of_real_people(model: Henaw, model_path: Path, cohort_path: Path) -> None:
    table = pd.read_parquet(cohort_path)
    survey = table.query("survey == '2003-2004' and pregnant != 1 and age < 85")
    survey = survey.dropna(subset=list(NAMES))[["age", "sex", *NAMES]]
    whole = calibrate(survey, model=model)

    def median(profile: LabProfile) -> float:
        answers = Henaw.load(model_path, lab=profile).predict(survey, unreliable="keep")
        return float(answers["age_gap"].median())

    assert whole.shift["rdw"] < -0.02
    assert abs(median(whole)) < 0.6
    moves = [
        median(calibrate(survey.sample(500, random_state=seed), model=model)) - median(whole)
        for seed in range(5)
    ]
    assert np.abs(moves).max() < 0.6
    assert abs(np.mean(moves)) < 0.3
