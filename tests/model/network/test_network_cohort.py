"""The shipped model on the real people it was fitted on, where their file is at hand."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from henaw.export.harm import LARGEST_FALL_YEARS, list_worse_values
from henaw.export.people import People
from henaw.model.biomarkers import INDEX, NAMES, PANEL
from henaw.model.runtime import Outputs, Runtime

FIRST_AGE, LAST_AGE = 20, 85
PROFILES = 1_000
"""Real people whose other values are tried at each age; DRAWN of them each time."""
DRAWN = 100
STEPS = 8
"""Values of a scan: every fifth of those that an export tries."""


@pytest.fixture(scope="module")
def cohort(cohort_path: Path) -> People:
    table = pd.read_parquet(cohort_path)
    table = table[table["pregnant"] != 1]  # left out of the fit: pregnancy thins the blood
    return People(
        table[list(NAMES)].to_numpy(np.float32),
        table["age"].to_numpy(np.float32),
        table["sex"].to_numpy(np.int64),
    )


@pytest.fixture(scope="module")
def outputs(cohort: People, runtimes: dict[str, Runtime]) -> Outputs:
    return runtimes["onnx"].predict(*cohort)


@pytest.fixture(scope="module")
def onnx(runtimes: dict[str, Runtime]) -> Runtime:
    return runtimes["onnx"]


def test_every_person_gets_an_answer(cohort: People, outputs: Outputs) -> None:
    for name, values in outputs.items():
        assert np.isfinite(values.astype(float)).all(), name
    np.testing.assert_array_equal(outputs["imputed"], np.isnan(cohort.biomarkers))
    total = outputs["contributions"].astype(float).sum(1)
    np.testing.assert_allclose(total, outputs["age_gap"], rtol=0, atol=1e-4)


def test_half_of_the_people_of_an_age_and_sex_are_older(cohort: People, outputs: Outputs) -> None:
    """As their laboratories measured them: harmonised, it is much closer to 0."""
    complete = ~np.isnan(cohort.biomarkers).any(1)
    for sex in (0, 1):
        for first in range(20, 80, 10):
            rows = (
                complete & (cohort.sex == sex) & (cohort.age >= first) & (cohort.age < first + 10)
            )
            assert abs(np.median(outputs["age_gap"][rows])) < 1.0, (sex, first)
            median = np.median(outputs["contributions"][rows], axis=0)
            assert np.abs(median[1:]).max() < 1.0, (sex, first)


def test_one_in_five_hundred_is_out_of_range(cohort: People, outputs: Outputs) -> None:
    known = ~outputs["imputed"]
    share = outputs["out_of_range"].sum(0) / known.sum(0)
    # More where a survey's assay reads lower than the harmonised values do.
    assert (share <= 0.01).all()
    assert share.mean() == pytest.approx(0.0025, abs=0.0015)


def test_at_most_one_in_fifty_is_not_reliable(cohort: People, outputs: Outputs) -> None:
    complete = ~np.isnan(cohort.biomarkers).any(1) & ~outputs["age_out_of_range"]
    assert 0.0005 < 1 - outputs["reliable"][complete].mean() < 0.02


def test_ordinary_values_are_not_critical(cohort: People, outputs: Outputs) -> None:
    assert (outputs["critical"].mean(0) < 0.004).all()
    assert outputs["critical"].any(1).mean() < 0.008


@pytest.fixture(scope="module")
def profiles(cohort: People) -> dict[int, npt.NDArray[np.float32]]:
    """The biomarkers of complete real people of either sex."""
    generator = np.random.default_rng(81)
    complete = ~np.isnan(cohort.biomarkers).any(1)
    return {
        sex: cohort.biomarkers[
            generator.choice(np.flatnonzero(complete & (cohort.sex == sex)), PROFILES, False)
        ]
        for sex in (0, 1)
    }


def measure_falls(
    onnx: Runtime,
    profiles: dict[int, npt.NDArray[np.float32]],
    harmful: tuple[str, str],
    *,
    blank: float = 0.0,
) -> dict[tuple[int, int], float]:
    """The largest fall of the gap while one value gets worse, by sex and age, in years.

    Args:
        onnx: the shipped graph.
        profiles: whose other values there are.
        harmful: the biomarker, and the side of its reference interval.
        blank: the share of the other values that are not known.
    """
    name, side = harmful
    generator = np.random.default_rng(82)
    falls = {}
    for sex in (0, 1):
        values = list_worse_values(PANEL[INDEX[name]], side, sex)[:: 40 // STEPS]
        values = np.append(values, list_worse_values(PANEL[INDEX[name]], side, sex)[-1:])
        for age in range(FIRST_AGE, LAST_AGE + 1):
            people = profiles[sex][generator.choice(PROFILES, DRAWN, replace=False)].copy()
            people[generator.random(people.shape) < blank] = np.nan
            rows = np.repeat(people, len(values), axis=0)
            rows[:, INDEX[name]] = np.tile(values, DRAWN)
            gaps = onnx.predict(
                rows, np.full(len(rows), age, np.float32), np.full(len(rows), sex, np.int64)
            )["age_gap"].reshape(DRAWN, -1)
            highest = np.maximum.accumulate(gaps, axis=1)
            falls[sex, age] = float((highest - gaps).max())
    return falls


@pytest.mark.parametrize("harmful", [(b.name, side) for b in PANEL for side in sorted(b.harmful)])
def test_no_worse_value_looks_younger_with_any_real_persons_other_values(
    onnx: Runtime, profiles: dict[int, npt.NDArray[np.float32]], harmful: tuple[str, str]
) -> None:
    """From the reference limit to the accepted range's end, at every fitted age, either sex."""
    falls = measure_falls(onnx, profiles, harmful)
    assert len(falls) == 2 * (LAST_AGE - FIRST_AGE + 1)
    worst = max(falls, key=lambda key: falls[key])
    assert falls[worst] <= LARGEST_FALL_YEARS, worst


@pytest.mark.parametrize("harmful", [(b.name, side) for b in PANEL for side in sorted(b.harmful)])
def test_nor_where_some_of_the_other_values_are_not_known(
    onnx: Runtime, profiles: dict[int, npt.NDArray[np.float32]], harmful: tuple[str, str]
) -> None:
    falls = measure_falls(onnx, profiles, harmful, blank=0.3)
    worst = max(falls, key=lambda key: falls[key])
    assert falls[worst] <= LARGEST_FALL_YEARS, worst


EXTREMES: tuple[dict[str, Sequence[float]], ...] = (
    {"crp": (30.0, 80.0, 200.0, 350.0)},
    {"alt": (100.0, 1000.0), "ast": (100.0, 1000.0)},
    {"albumin": (28.0, 20.0, 15.0)},
    {"lymphocyte_pct": (30.0, 10.0, 3.0)},
    {"lymphocyte_pct": (30.0, 92.0)},
    {"creatinine": (250.0, 600.0)},
)


@pytest.mark.parametrize("sex", [0, 1])
@pytest.mark.parametrize("age", [30, 54, 80])
@pytest.mark.parametrize("worse", EXTREMES, ids="_".join)
def test_extremes_get_worse(
    onnx: Runtime, worse: dict[str, Sequence[float]], age: int, sex: int
) -> None:
    """Of an otherwise usual person."""
    count = len(next(iter(worse.values())))
    rows = np.tile(np.array([b.typical for b in PANEL], np.float32), (count, 1))
    for name, values in worse.items():
        rows[:, INDEX[name]] = values
    outputs = onnx.predict(rows, np.full(count, age, np.float32), np.full(count, sex, np.int64))
    assert (np.diff(outputs["age_gap"]) > 0.05).all(), outputs["age_gap"]
    # The percentile stops rising at the top.
    assert (np.diff(outputs["percentile"]) >= 0).all()
    assert (np.diff(outputs["mortality_10y"]) > 0).all()
