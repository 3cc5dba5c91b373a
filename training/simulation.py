"""Synthetic cohorts: people of a model's reference, as a table that says what they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from henaw.model.biomarkers import NAMES
from henaw.model.checkpoint import Checkpoint
from henaw.model.errors import CohortError
from henaw.model.network import HORIZON_YEARS
from henaw.model.synthetic import draw_follow_up, draw_synthetic_people
from henaw.training.readers.table import check_table_path, code_causes, order_columns

WORD = "synthetic"


def check_synthetic_path(out: Path) -> None:
    """Refuse a file name that does not say what is in the file.

    Raises:
        CohortError: the name has no "synthetic" in it, or does not end in .parquet.
    """
    if WORD not in out.stem.lower():
        raise CohortError(
            str(out),
            [
                f"expected a file name with {WORD!r} in it, however: {out.name!r}; what is drawn "
                f"from a model must never pass for data: try {WORD}-{out.name}"
            ],
        )
    check_table_path(out)


def simulate_table(
    checkpoint: Checkpoint, count: int, seed: int, *, years: float = HORIZON_YEARS
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Draw people, values and follow-up from a model.

    Ages are even over the fitted range and both sexes as many; given age and sex, the
    nine biomarkers follow the model's reference with its correlations, nothing missing;
    deaths follow its hazard and causes its shares.

    Args:
        checkpoint: the model.
        count: how many people.
        seed: the same seed gives the same table.
        years: end of follow-up.

    Returns:
        The table, (count,) rows, in the panel's units, and the report.
    """
    people = draw_synthetic_people(checkpoint, count, seed)
    follow_up = draw_follow_up(checkpoint, people, seed, years=years)
    # The last code answers place -1, nobody's cause.
    coded = code_causes(checkpoint.network.causes)
    codes = np.array([*coded.values(), np.nan])
    table = pd.DataFrame(
        {
            "participant_id": [f"{WORD}-{number}" for number in range(1, count + 1)],
            "survey": WORD,
            "age": people.age,
            "sex": people.sex.astype(np.int8),
            **{name: people.biomarkers[:, i] for i, name in enumerate(NAMES)},
            "death": follow_up.event.astype(np.float64),
            "followup_months": follow_up.time_years * 12.0,
            "ucod_leading": codes[follow_up.cause],
            "pregnant": 0.0,
            WORD: True,
        }
    )
    report = {
        WORD: True,
        "about": "drawn from a model: no row is a person",
        "model": f"{checkpoint.name} {checkpoint.version}",
        "model_sha256": checkpoint.sha256,
        "seed": seed,
        "rows": count,
        "deaths": int(follow_up.event.sum()),
        "follow_up_years": years,
        "ucod_leading": coded,
    }
    return order_columns(table), report
