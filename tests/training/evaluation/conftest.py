"""An evaluation of the shipped model on synthetic people; no row of a real cohort."""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from henaw.model.biomarkers import NAMES
from henaw.model.checkpoint import Checkpoint
from henaw.training.cohorts.cohort import Cohort
from henaw.training.evaluation.evaluation import evaluate
from henaw.training.evaluation.scored_people import ScoredPeople, score_people
from henaw.training.metrics import select_evaluated

EFFECTS = {"crp": 3.0, "rdw": 8.0, "albumin": -5.0, "ggt": 4.0}


@pytest.fixture(scope="session")
def synthetic(simulate: Callable[..., Any]) -> Cohort:
    """Synthetic people of two surveys, some values missing, with a synthetic PhenoAge."""
    simulated = simulate(2000, seed=5, missing=0.01, effects=EFFECTS)
    cohort: Cohort = simulated.cohort
    generator = np.random.default_rng(6)
    phenoage = cohort.age_years + simulated.gap + generator.normal(0, 6, len(cohort))
    survey = np.where(np.arange(len(cohort)) % 2 == 0, "synthetic A", "synthetic B")
    return dataclasses.replace(
        cohort, survey=survey.astype(np.str_), clocks={"phenoage": phenoage.astype(np.float64)}
    )


@pytest.fixture(scope="session")
def scored(checkpoint: Checkpoint, synthetic: Cohort) -> ScoredPeople:
    """The complete ones of them, with the model's answers."""
    return score_people(checkpoint, synthetic.select(select_evaluated(synthetic)))


@pytest.fixture
def table(simulate: Callable[..., Any]) -> pd.DataFrame:
    """Synthetic rows as a file of a cohort holds them, all of which a fit would keep."""
    cohort = simulate(200, seed=8).cohort
    return pd.DataFrame(
        {
            "participant_id": [f"synthetic-{i}" for i in range(len(cohort))],
            "age": cohort.age_years,
            "sex": cohort.sex,
            **{name: cohort.biomarkers[:, i] for i, name in enumerate(NAMES)},
            "death": cohort.event.astype(np.float64),
            "followup_months": 12.0 * cohort.time_years,
            "ucod_leading": np.where(cohort.event, 1.0, np.nan),
        }
    )


@pytest.fixture(scope="session")
def evaluation(checkpoint: Checkpoint, synthetic: Cohort) -> dict[str, Any]:
    return evaluate(checkpoint, synthetic, draws=100)
