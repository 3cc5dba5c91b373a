"""People whose answers are known: the golden vectors as tables."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from henaw.export.people import People, draw_synthetic_people
from henaw.model.biomarkers import NAMES, PANEL, SEXES
from henaw.model.checkpoint import Checkpoint
from henaw.scoring import Henaw


@pytest.fixture(scope="session")
def model_path(weights: Path) -> Path:
    return weights / "henaw.onnx"


@pytest.fixture(scope="session")
def model(model_path: Path) -> Henaw:
    return Henaw.load(model_path)


def tabulate(people: People) -> pd.DataFrame:
    """A table by the panel's own names; values outside what is accepted are missing."""
    values = np.clip(
        people.biomarkers,
        np.array([b.minimum for b in PANEL], np.float32),
        np.array([b.maximum for b in PANEL], np.float32),
    )
    table = pd.DataFrame(values, columns=list(NAMES))
    table.insert(0, "sex", people.sex)
    table.insert(0, "age", people.age)
    table.insert(0, "participant_id", [f"synthetic-{n}" for n in range(len(table))])
    return table


@pytest.fixture(scope="session")
def people(checkpoint: Checkpoint) -> pd.DataFrame:
    """A thousand people who do not exist, a tenth of their values missing."""
    table = tabulate(draw_synthetic_people(checkpoint, 1000, seed=7))
    missing = np.random.default_rng(7).random((1000, len(NAMES))) < 0.1
    table[list(NAMES)] = table[list(NAMES)].mask(missing)
    return table


@pytest.fixture(scope="session")
def doubtful(model: Henaw) -> pd.DataFrame:
    """One person whose answer is reliable, and others with each reason why it is not."""
    values = (1.2, 36.0, 80.0, 43.0, 30.0, 13.0, 22.0, 24.0, 20.0)
    row = dict(zip(NAMES, values, strict=True))
    table = pd.DataFrame([{"age": 50.0, "sex": SEXES[0], **row}] * 6)
    table.insert(0, "participant_id", [f"p-{n}" for n in range(6)])
    limits = model.description["critical_limits"]
    table.loc[1, ["crp", "albumin"]] = (limits["crp"][1] + 1, limits["albumin"][0] - 1)
    table.loc[2, "age"] = model.description["fitted_ages"][1] + 5.0
    table.loc[3, list(NAMES)] = np.nan
    # Each of these values is seen; together, nobody has them.
    table.loc[4, list(NAMES)] = (0.1, 120.0, 80.0, 55.0, 30.0, 22.0, 5.0, 200.0, 6.0)
    table.loc[5, ["crp", "age"]] = (limits["crp"][1] + 1, 90.0)
    return table


@pytest.fixture(scope="session")
def unscorable() -> pd.DataFrame:
    """One person a reason, and one without."""
    row = dict(zip(NAMES, (1.2, 36.0, 80.0, 43.0, 30.0, 13.0, 22.0, 24.0, 20.0), strict=True))
    table = pd.DataFrame([{"age": 50.0, "sex": SEXES[0], **row}] * 6)
    table.loc[1, "age"] = np.nan
    table.loc[2, "age"] = 17.0
    table.loc[3, "sex"] = "other"
    table.loc[4, "creatinine"] = 0.9
    table.loc[5, ["crp", "age"]] = (np.inf, 130.0)
    return table
