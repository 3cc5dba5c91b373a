"""Checks that no harmful value looks younger in the exported model.

Every inequality of :mod:`henaw.model.graph.harm` is checked on the weights of the checkpoint and of
its refits. The exported graph is also evaluated along each biomarker's accepted range, for
people of every fitted age.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from henaw.export.people import People
from henaw.model.biomarkers import INDEX, PANEL, Biomarker
from henaw.model.checkpoint import Checkpoint
from henaw.model.errors import ArtifactError
from henaw.model.graph.harm import build_slope_rules
from henaw.model.runtime import Runtime

LARGEST_FALL_YEARS = 0.01
"""If the age gap falls by more from one value to a worse one, the check fails."""
ROUNDING_YEARS = 1e-4
STEPS = 40
_PIECE = 1 << 16


def check_rules(checkpoint: Checkpoint) -> float:
    """The least margin of all rules of harmful values, in years per score.

    Raises:
        ArtifactError: the point estimate or a refit breaks a rule.
    """
    rules = build_slope_rules(checkpoint.network, checkpoint.tensors)
    tensors = {name: tensor.double() for name, tensor in checkpoint.tensors.items()}
    fits = [("the model", tensors["weight"], tensors["interaction_weight"])] + [
        (f"refit {number}", weight, interaction)
        for number, (weight, interaction) in enumerate(
            zip(tensors["member_weight"], tensors["member_interaction_weight"], strict=True), 1
        )
    ]
    problems, least = [], np.inf
    for name, weight, interaction in fits:
        left = rules.measure(weight, interaction)
        worst = int(left.argmin())
        least = min(least, float(left[worst]))
        if float(left[worst]) < -ROUNDING_YEARS:
            problems.append(
                f"{name}: a worse value looks younger: {rules.names[worst]}, "
                f"by {-float(left[worst]):.3g} years per score"
            )
    if problems:
        raise ArtifactError("harmful values", problems)
    return float(least)


def list_worse_values(biomarker: Biomarker, side: str, sex: int) -> npt.NDArray[np.float32]:
    """Values from a reference limit to the end of the accepted range, ever worse: (STEPS,)."""
    limit = getattr(biomarker.reference, side)[sex]
    end = biomarker.maximum if side == "high" else biomarker.minimum
    return np.geomspace(limit, end, STEPS).astype(np.float32)


def scan_harmful_values(runtime: Runtime, people: People) -> dict[str, float]:
    """The largest fall of the age gap while one value gets worse, by biomarker and side.

    Args:
        runtime: the graph.
        people: give the other values; a missing value stays missing.

    Returns:
        Years, 0 where the gap never falls.
    """
    falls: dict[str, float] = {}
    for biomarker in PANEL:
        for side in sorted(biomarker.harmful):
            fall = 0.0
            for sex in (0, 1):
                if getattr(biomarker.reference, side)[sex] is None:
                    continue
                values = list_worse_values(biomarker, side, sex)
                chosen = people.select(np.flatnonzero(people.sex == sex))
                for begin in range(0, len(chosen.age), _PIECE // STEPS):
                    some = chosen.select(slice(begin, begin + _PIECE // STEPS))
                    fall = max(fall, _measure_fall(runtime, some, biomarker.name, values))
            falls[f"{biomarker.name} {side}"] = fall
    return falls


def _measure_fall(
    runtime: Runtime, people: People, name: str, values: npt.NDArray[np.float32]
) -> float:
    biomarkers = np.repeat(people.biomarkers, len(values), axis=0)
    biomarkers[:, INDEX[name]] = np.tile(values, len(people.age))
    gaps = runtime.predict(
        biomarkers, np.repeat(people.age, len(values)), np.repeat(people.sex, len(values))
    )["age_gap"].reshape(-1, len(values))
    # Against the highest gap so far, so that many small falls count as one.
    highest = np.maximum.accumulate(gaps, axis=1)
    return float((highest - gaps).max(initial=0.0))


def require_no_credit(runtime: Runtime, people: People) -> dict[str, Any]:
    """Refuse a graph in which a worse value looks younger; return the result for ``parity.json``.

    Raises:
        ArtifactError: a worse value looks younger.
    """
    falls = scan_harmful_values(runtime, people)
    problems = [
        f"a worse value looks younger: {name}, by {fall:.3g} years"
        for name, fall in falls.items()
        if fall > LARGEST_FALL_YEARS
    ]
    if problems:
        raise ArtifactError("harmful values", problems)
    return {
        "people": len(people.age),
        "largest_fall_years": {name: round(fall, 6) for name, fall in falls.items()},
    }
