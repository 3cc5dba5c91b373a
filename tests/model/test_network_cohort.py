"""The shipped model on the real people it was fitted on, where their file is at hand."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from henaw.export.people import People
from henaw.model.biomarkers import NAMES
from henaw.model.runtime import Outputs, Runtime


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


def test_everybody_gets_an_answer(cohort: People, outputs: Outputs) -> None:
    for name, values in outputs.items():
        assert np.isfinite(values.astype(float)).all(), name
    np.testing.assert_array_equal(outputs["imputed"], np.isnan(cohort.biomarkers))
    total = outputs["contributions"].astype(float).sum(1)
    np.testing.assert_allclose(total, outputs["age_gap"], rtol=0, atol=1e-4)


def test_contributions_are_centred_on_people_of_one_age_and_sex(
    cohort: People, outputs: Outputs
) -> None:
    complete = ~np.isnan(cohort.biomarkers).any(1)
    for sex in (0, 1):
        for first in range(20, 80, 10):
            rows = (
                complete & (cohort.sex == sex) & (cohort.age >= first) & (cohort.age < first + 10)
            )
            mean = outputs["contributions"][rows].mean(0)
            assert np.abs(mean).max() < 0.4, (sex, first)
            assert abs(outputs["age_gap"][rows].mean()) < 0.5, (sex, first)


def test_one_in_five_hundred_is_out_of_range(cohort: People, outputs: Outputs) -> None:
    known = ~outputs["imputed"]
    share = outputs["out_of_range"].sum(0) / known.sum(0)
    assert (share <= 0.004).all()
    assert share.mean() == pytest.approx(0.002, abs=0.001)
