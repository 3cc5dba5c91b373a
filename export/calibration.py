"""What the fitted people's values are like, for the calibration of a laboratory to them."""

from __future__ import annotations

from typing import Any

import torch
from henaw.model.biomarkers import INDEX, NAMES
from henaw.model.checkpoint import Checkpoint


def describe_calibration(checkpoint: Checkpoint) -> dict[str, Any]:
    """Aggregates of standardised values; location and scale are in ``drift``.

    ``margin`` has each biomarker's standardised values at the normal ``scores``, and
    ``correlation`` is that of the normal scores: together they say how the values of the
    fitted people are distributed. ``usual_score`` is the mean of their clipped
    standardised values, and ``laboratory_sd`` the spread of shifts between surveys: of the
    logarithm where the biomarker is log-scaled, else in the panel's unit.
    """
    tensors, network, count = checkpoint.tensors, checkpoint.network, len(NAMES)
    scores = torch.linspace(
        -network.score_limit, network.score_limit, network.score_steps + 1, dtype=torch.float64
    )
    correlation = tensors["correlation"].double()[:count, :count]
    return {
        "scores": scores.round(decimals=4).tolist(),
        "margin": {
            name: tensors["margin"][place].double().round(decimals=4).tolist()
            for name, place in INDEX.items()
        },
        "correlation": correlation.round(decimals=4).tolist(),
        "usual_score": _list_by_name(tensors["usual_score"]),
        "laboratory_sd": _list_by_name(tensors["laboratory_sd"]),
    }


def _list_by_name(values: torch.Tensor) -> dict[str, float]:
    return {name: float(f"{float(values[place]):.4g}") for name, place in INDEX.items()}
