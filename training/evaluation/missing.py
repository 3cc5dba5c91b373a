"""How much accuracy a missing biomarker costs, imputed by the model or set to the median."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from henaw.model.biomarkers import INDEX, NAMES
from henaw.model.checkpoint import Checkpoint
from henaw.model.graph.transforms import LOG_SCALED
from henaw.model.runtime import TorchRuntime
from henaw.training.evaluation.measures.discrimination import compute_c, draw_c
from henaw.training.evaluation.measures.estimates import estimate_from_draws
from henaw.training.evaluation.reference_tables import look_up
from henaw.training.evaluation.scored_people import ScoredPeople

Biomarkers = npt.NDArray[np.float32]


def look_up_medians(
    checkpoint: Checkpoint, age_years: npt.NDArray[np.float32], sex: npt.NDArray[np.int64]
) -> Biomarkers:
    """The reference's median of each biomarker at each person's age and sex.

    Shape:
        age_years, sex: (n,); result: (n, 9) in the panel's units
    """
    location = look_up(checkpoint, "location", age_years, sex)[:, : len(NAMES)]
    medians: Biomarkers = np.where(LOG_SCALED, np.exp(location), location).astype(np.float32)
    return medians


def measure_missing(
    checkpoint: Checkpoint, scored: ScoredPeople, *, draws: int, seed: int
) -> list[dict[str, Any]]:
    """Take each biomarker away from complete people in turn.

    Args:
        checkpoint: the model.
        scored: people with all nine.
        draws: bootstrap samples.
        seed: of the bootstrap.

    Returns:
        A row a biomarker. ``loss`` is C with all nine less C with this one imputed by the network;
        ``gain`` is C with it imputed less C with it set to the reference's median for the age
        and sex; ``error_imputed`` and ``error_median`` are the root mean square changes of the
        age gap, in years.
    """
    runtime = TorchRuntime(checkpoint.build_network(), name="eager")
    biomarkers, sex = scored.people.biomarkers, scored.people.sex
    age_years, time, event = scored.people.age_years, scored.cut_years, scored.dead
    medians = look_up_medians(checkpoint, age_years, sex)
    full_gap = scored.output("age_gap")
    scores = {"full": scored.output("mortality_10y")}
    errors: dict[str, float] = {}
    for name in checkpoint.network.panel:
        column = INDEX[name]
        for kind, values in {"imputed": np.nan, "median": medians[:, column]}.items():
            changed = biomarkers.copy()
            changed[:, column] = values
            outputs = runtime.predict(changed, age_years, sex)
            scores[f"{name} {kind}"] = outputs["mortality_10y"].astype(np.float64)
            change = outputs["age_gap"].astype(np.float64) - full_gap
            errors[f"{name} {kind}"] = round(float(np.sqrt(np.mean(change**2))), 3)
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
