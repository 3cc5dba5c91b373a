"""What a missing biomarker costs, and whether imputing beats filling in a median."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from henaw.model.biomarkers import INDEX, NAMES
from henaw.model.checkpoint import Checkpoint
from henaw.model.runtime import Runtime, TorchRuntime
from henaw.model.transforms import LOG_SCALED
from henaw.training.evaluation.measures.discrimination import compute_c, draw_c
from henaw.training.evaluation.measures.estimates import (
    Array,
    estimate_from_draws,
)
from henaw.training.evaluation.reference_tables import look_up
from henaw.training.evaluation.scored_people import Evaluated

Biomarkers = npt.NDArray[np.float32]


def look_up_medians(
    checkpoint: Checkpoint, age_years: npt.NDArray[np.float32], sex: npt.NDArray[np.int64]
) -> Biomarkers:
    """The reference's median of each biomarker at each person's age and sex: (n, 9)."""
    location = look_up(checkpoint, "location", age_years, sex)[:, : len(NAMES)]
    medians: Biomarkers = np.where(LOG_SCALED, np.exp(location), location).astype(np.float32)
    return medians


def answer(
    runtime: Runtime,
    biomarkers: Biomarkers,
    age_years: npt.NDArray[np.float32],
    sex: npt.NDArray[np.int64],
) -> tuple[Array, Array]:
    """10-year risk and age gap in years: (n,), (n,)."""
    answers = runtime.predict(biomarkers, age_years, sex)
    return answers["mortality_10y"].astype(np.float64), answers["age_gap"].astype(np.float64)


def measure_missing(
    checkpoint: Checkpoint, evaluated: Evaluated, *, draws: int, seed: int
) -> list[dict[str, Any]]:
    """Blank each biomarker of complete people in turn.

    ``loss`` is C with all nine less C with it imputed by the network; ``gain`` is C with
    it imputed less C with the reference's median for the age and sex filled in; the two
    errors are root mean square differences of the gap to that with all nine, in years.

    Args:
        checkpoint: the model.
        evaluated: people with all nine.
        draws: bootstrap samples.
        seed: of the bootstrap.
    """
    runtime = TorchRuntime(checkpoint.build_network(), name="eager")
    biomarkers, sex = evaluated.people.biomarkers, evaluated.people.sex
    age_years, time, event = evaluated.people.age_years, evaluated.cut_years, evaluated.dead
    medians = look_up_medians(checkpoint, age_years, sex)
    full_risk, full_gap = answer(runtime, biomarkers, age_years, sex)
    scores = {"full": full_risk}
    errors: dict[str, float] = {}
    for name in checkpoint.network.panel:
        column = INDEX[name]
        for kind, values in {"imputed": np.nan, "median": medians[:, column]}.items():
            changed = biomarkers.copy()
            changed[:, column] = values
            risk, gap = answer(runtime, changed, age_years, sex)
            scores[f"{name} {kind}"] = risk
            errors[f"{name} {kind}"] = round(float(np.sqrt(np.mean((gap - full_gap) ** 2))), 3)
    drawn = draw_c(scores, time, event, draws=draws, seed=seed)
    c = {key: compute_c(score, time, event) for key, score in scores.items()}

    def subtract(one: str, other: str) -> dict[str, float]:
        return estimate_from_draws(c[one] - c[other], drawn[one] - drawn[other]).describe()

    return [
        {
            "biomarker": name,
            "c_imputed": round(c[f"{name} imputed"], 4),
            "c_median": round(c[f"{name} median"], 4),
            "loss": subtract("full", f"{name} imputed"),
            "gain": subtract(f"{name} imputed", f"{name} median"),
            "error_imputed": errors[f"{name} imputed"],
            "error_median": errors[f"{name} median"],
        }
        for name in checkpoint.network.panel
    ]
