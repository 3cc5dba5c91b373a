"""The script on the people of flchain, where scikit-survival is there to ship them."""

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from henaw.model.checkpoint import Checkpoint
from henaw.training.cohorts.cohort import Cohort
from henaw.training.evaluation.measures.follow_up import accumulate_hazard
from henaw.training.evaluation.scored_people import score_people

sksurv = pytest.importorskip(
    "sksurv.metrics", reason="scikit-survival, which ships the people of flchain, is not installed"
)
SCRIPT = Path(__file__).parents[2] / "benchmarks" / "validate_flchain.py"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    specification = importlib.util.spec_from_file_location("validate_flchain", SCRIPT)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def people(script: ModuleType) -> Cohort:
    return script.read_flchain()


def test_the_people_are_those_published(script: ModuleType, people: Cohort):
    # Counts of the R package survival's documentation of flchain.
    assert len(people) == 7874
    assert people.event.sum() == 2169
    assert np.isnan(people.biomarkers[:, script.CREATININE]).sum() == 1350
    assert np.isnan(people.biomarkers).sum() == 8 * 7874 + 1350
    assert people.age_years.min() == 50
    # Creatinine near 1 mg/dL is near 88 umol/L.
    assert 80 < np.nanmedian(people.biomarkers[:, script.CREATININE]) < 100
    assert 10 < np.median(people.time_years) < 14


def test_the_model_orders_deaths_better_than_age_and_sex(
    script: ModuleType, people: Cohort, checkpoint: Checkpoint
):
    answered = score_people(checkpoint, people)
    row = script.measure(answered)
    expected = sksurv.concordance_index_censored(
        answered.dead, answered.cut_years, answered.output("mortality_10y")
    )[0]
    assert row["c_model"]["value"] == pytest.approx(expected, abs=1e-4)
    assert row["gain"]["low"] > 0
    deaths = accumulate_hazard(answered.hazard, answered.cut_years).sum()
    ratio = row["own_follow_up"]["ratio"]["value"]
    assert ratio == pytest.approx(answered.dead.sum() / deaths, abs=1e-3)
    assert 0.8 < ratio < 1.25
    assert 0.8 < row["kaplan_meier"]["ratio"]["value"] < 1.25


def test_a_shift_is_found_and_taken_off(script: ModuleType, people: Cohort, checkpoint: Checkpoint):
    shift, error = script.compare_creatinine(checkpoint, people)
    assert 0 < error < 0.01
    # The laboratory is known to read high.
    assert 0.1 < shift < 0.3
    higher = script.take_off(people, -np.log(1.1))
    found, _ = script.compare_creatinine(checkpoint, higher)
    assert found - shift == pytest.approx(np.log(1.1), abs=1e-3)
    level, _ = script.compare_creatinine(checkpoint, script.take_off(people, shift))
    assert level == pytest.approx(0, abs=1e-3)
    others = [i for i in range(9) if i != script.CREATININE]
    np.testing.assert_array_equal(higher.biomarkers[:, others], people.biomarkers[:, others])
