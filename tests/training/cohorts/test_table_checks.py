"""Errors and warnings for a cohort table; every row here is synthetic."""

import logging
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from henaw.model.biomarkers import NAMES, PANEL
from henaw.training.cohorts.table_checks import list_table_problems, warn_of_times

Panel = {biomarker.name: biomarker for biomarker in PANEL}


def find_problem(table: pd.DataFrame) -> str:
    (problem,) = list_table_problems(table, NAMES, ())
    return problem


def test_a_usual_table_has_no_problem(
    table: pd.DataFrame, caplog: pytest.LogCaptureFixture
) -> None:
    assert list_table_problems(table, NAMES, ()) == []
    assert caplog.messages == []


@pytest.mark.parametrize(
    ("name", "unit"),
    [
        *(("hba1c", "%"), ("creatinine", "mg/dL"), ("albumin", "g/dL"), ("ggt", "ukat/L")),
        *(("ast", "ukat/L"), ("alt", "ukat/L"), ("lymphocyte_pct", "fraction")),
    ],
)
def test_another_unit_is_named(table: pd.DataFrame, name: str, unit: str) -> None:
    biomarker = Panel[name]
    table[name] = table[name].map(biomarker.find_unit(unit).from_si)
    problem = find_problem(table)
    assert problem.startswith(f"{name} ")
    spelling = next(
        u for u in biomarker.units if biomarker.find_unit(u) == biomarker.find_unit(unit)
    )
    assert f"They look like {spelling}. Convert them to {biomarker.unit}" in problem


def test_a_unit_that_may_be_another_gives_a_warning(
    table: pd.DataFrame, caplog: pytest.LogCaptureFixture
) -> None:
    table["crp"] /= 10.0
    assert list_table_problems(table, NAMES, ()) == []
    (message,) = caplog.messages
    assert message.startswith("crp has a median")
    assert message.endswith("Are the values in mg/dL?")


def test_rdw_in_femtolitres_is_refused_with_the_reason(table: pd.DataFrame) -> None:
    table["rdw"] *= 3.4
    assert "RDW-SD" in find_problem(table)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda months: months * 30.4375, "If these are days, divide them by 30.4375"),
        (lambda months: months.where(months.index > 0, 304 * 12.0), "the longest 304 years"),
        (lambda months: -months, "must be >= 0"),
    ],
    ids=["days", "one of 304 years", "negative"],
)
def test_times_that_cannot_be_months_are_refused(
    table: pd.DataFrame, change: Callable[["pd.Series[float]"], "pd.Series[float]"], expected: str
) -> None:
    table["followup_months"] = change(table["followup_months"])
    assert expected in find_problem(table)


@pytest.mark.parametrize(
    ("factor", "expected"),
    [(1.0, None), (1 / 12, "Are they years"), (30.4375, "Are they days")],
    ids=["months", "years", "days"],
)
def test_times_in_another_unit_show_in_the_deaths(
    factor: float, expected: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    generator = np.random.default_rng(1)
    age = generator.uniform(40, 70, 4000)
    time = np.log1p(0.09 * generator.exponential(size=4000) / np.exp(-10 + 0.09 * age)) / 0.09
    followed = np.minimum(time, 3.0)
    with caplog.at_level(logging.WARNING):
        warn_of_times(age, factor * followed, time < 3.0)
    assert [expected in message for message in caplog.messages] == (
        [] if expected is None else [True]
    )
