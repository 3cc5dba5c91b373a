"""Distribution of the fitted people's values, to which a laboratory is calibrated."""

from __future__ import annotations

from typing import Any

import torch
from henaw.model.biomarkers import INDEX, NAMES
from henaw.model.checkpoint import Checkpoint


def describe_calibration(checkpoint: Checkpoint) -> dict[str, Any]:
    """Aggregates of standardised values; location and scale are in ``drift``.

    ``margin`` contains each biomarker's standardised values at the normal ``scores``, and
    ``correlation`` is between normal scores; together they describe the distribution of the
    fitted people's values. ``usual_score`` is the mean of the clipped standardised values.
    ``laboratory_sd`` is the standard deviation of shifts between surveys: of the logarithm
    if the biomarker is log-scaled, else in the panel's unit.
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
