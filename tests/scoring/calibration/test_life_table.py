"""The level of mortality: life tables as they come, and what they do to risks."""

import csv
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from henaw.model.biomarkers import SEXES
from henaw.model.errors import ScoringError
from henaw.model.profile import LabProfile
from henaw.scoring import Henaw
from henaw.scoring.calibration.life_table import (
    DEVELOPMENT_RATIO,
    Table,
    fit_level,
    read_life_tables,
)

AGES = range(111)


def make_table(factor: float = 1.0) -> Table:
    """Gompertz: women's hazard doubles in 7.4 years, men's is higher."""
    return {
        sex: {age: float(-np.expm1(-factor * start * np.exp(0.094 * age))) for age in AGES}
        for sex, start in zip(SEXES, (3.0e-5, 4.5e-5), strict=True)
    }


def write_hmd(path: Path, sex: str, table: Table) -> Path:
    """A file as the Human Mortality Database gives it, with an earlier year of high rates."""
    words = {"female": "Females", "male": "Males"}[sex]
    lines = [
        f"Utopia, Life tables (period 1x1), {words}\tLast modified: 01 Jan 2026",
        "",
        "  Year          Age         mx       qx    ax      lx      dx      Lx       Tx     ex",
    ]
    for year, factor in ((2001, 3.0), (2002, 1.0)):
        for age in AGES:
            qx = min(1.0, factor * table[sex][age])
            label = f"{age}+" if age == 110 else str(age)
            lines.append(f"  {year} {label} {qx:.5f} {qx:.8f} 0.50 1 1 1 1 1.00")
    path.write_text("\n".join(lines) + "\n")
    return path


def write_csv(path: Path, table: Table, codes: tuple[str, str] = ("0", "1")) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["Sex", "Age", "qx"])
        for code, sex in zip(codes, SEXES, strict=True):
            writer.writerows([code, age, qx] for age, qx in table[sex].items())
    return path


def test_both_forms_are_read_alike(tmp_path: Path) -> None:
    table = make_table()
    files = [write_hmd(tmp_path / f"{sex[0]}ltper_1x1.txt", sex, table) for sex in SEXES]
    by_hmd = read_life_tables(files)
    by_csv = read_life_tables([write_csv(tmp_path / "a.csv", table, ("Female", "M"))])
    for sex in SEXES:
        assert by_csv[sex][70] == table[sex][70]
        assert by_hmd[sex] == pytest.approx(table[sex], abs=1e-8)


def test_what_cannot_be_read_says_why(tmp_path: Path) -> None:
    table = make_table()
    male = write_hmd(tmp_path / "mltper_1x1.txt", "male", table)
    with pytest.raises(ScoringError, match="female: ages 40 to 89 are needed; 40 is missing"):
        read_life_tables([male])
    with pytest.raises(ScoringError, match="there is a second table for male"):
        read_life_tables([male, male])
    (tmp_path / "b.csv").write_text("age,sex\n40,0\n")
    with pytest.raises(ScoringError, match="columns age, sex and qx; qx is missing"):
        read_life_tables([tmp_path / "b.csv"])
    (tmp_path / "c.csv").write_text("age,sex,qx\n40,0,210\n")
    with pytest.raises(ScoringError, match="probability of death within one year; got 210"):
        read_life_tables([tmp_path / "c.csv"])
    (tmp_path / "d.csv").write_text("age,sex,qx\n40,x,0.1\n")
    with pytest.raises(ScoringError, match="sex must be female or male; got 'x'"):
        read_life_tables([tmp_path / "d.csv"])
    with pytest.raises(ScoringError, match="cannot be read"):
        read_life_tables([tmp_path / "none.csv"])


def test_twice_the_deaths_double_the_hazard(model: Henaw) -> None:
    once, twice = (fit_level(make_table(factor), model) for factor in (1.0, 2.0))
    for sex in SEXES:
        assert twice[sex][0] - once[sex][0] == pytest.approx(np.log(2.0), abs=0.1)


def test_damaged_properties_are_reported(model_path: Path) -> None:
    model = Henaw.load(model_path)
    del model.description["reference"]["female"]["gap_percentiles"]
    with pytest.raises(ScoringError, match="its properties percentiles and reference cannot be r"):
        fit_level(make_table(1.0), model)


def test_the_mean_risk_is_that_of_the_life_table(
    model: Henaw, model_path: Path, people: pd.DataFrame
) -> None:
    """People at the fitted people's percentiles of the gap have the table's risk on average."""
    table = make_table(0.6)
    level = fit_level(table, model)
    lab = LabProfile(name="n", shift={}, standard_error={}, level=level)
    leveled = Henaw.load(model_path, lab=lab)
    answers = [
        scoring.predict(people, unreliable="keep").dropna(subset=["mortality_10y"])
        for scoring in (model, leveled)
    ]
    pd.testing.assert_series_equal(answers[0]["age_gap"], answers[1]["age_gap"])
    pd.testing.assert_series_equal(answers[0]["interval_low"], answers[1]["interval_low"])
    known = people.loc[answers[0].index]
    for code, sex in enumerate(SEXES):
        rows = (known["sex"] == code) & known["age"].between(45, 75)
        ages = known.loc[rows, "age"].astype(int)
        deaths = [
            -np.expm1(
                DEVELOPMENT_RATIO * sum(np.log1p(-table[sex][age + year]) for year in range(10))
            )
            for age in ages
        ]
        mean = answers[1].loc[rows, "mortality_10y"].astype(float).mean()
        assert mean == pytest.approx(np.mean(deaths), rel=0.2)
        before = answers[0].loc[rows, "mortality_10y"].astype(float).mean()
        assert abs(np.log(mean / np.mean(deaths))) < abs(np.log(before / np.mean(deaths)))
