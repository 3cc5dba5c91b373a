"""What a server compares its inputs with, to see them drift from the fitted population."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import torch
from henaw.model.biomarkers import INDEX, NAMES, SEXES
from henaw.model.checkpoint import Checkpoint
from henaw.model.transforms import LOG_SCALED

BINS = 5
"""Laboratories report albumin in whole g/L: ten bins would be as narrow as one step."""

_RECORDED: Final[Mapping[str, Mapping[str, Any]]] = {
    "80b6f45f55ca6ddcbd225c446168d641880c5f2f9889f5f5214934b03d030041": {
        "age_edges": [31.0, 42.0, 54.0, 66.0],
        "age_shares": [0.1983, 0.2013, 0.1958, 0.1961, 0.2085],
        "sex_shares": [0.5109, 0.4891],
    }
}
"""By the training data's digest: whom the shipped model was fitted on, before a checkpoint
said so itself."""


def describe_drift(checkpoint: Checkpoint) -> dict[str, Any]:
    """Location and scale by age and sex, and the edges of bins of equal expected share.

    A value is taken to its scale (logarithm or none), less the location, over the scale
    of people of its age and sex; ``edges`` part what the fitted people then have into
    bins that hold ``expected`` of them each. ``people`` has the shares of their ages and
    sexes; None where the checkpoint does not say.
    """
    count = len(NAMES)
    # The margins tabulate standardised values at normal scores; equal shares end at the
    # normal quantiles.
    network = checkpoint.network
    scores = torch.linspace(
        -network.score_limit, network.score_limit, network.score_steps + 1, dtype=torch.float64
    )
    quantiles = torch.special.ndtri(torch.arange(1, BINS, dtype=torch.float64) / BINS)
    right = torch.searchsorted(scores, quantiles)
    part = (quantiles - scores[right - 1]) / (scores[right] - scores[right - 1])
    margin = checkpoint.tensors["margin"].double()[:count]
    edges = margin[:, right - 1] * (1.0 - part) + margin[:, right] * part
    return {
        "age": list(range(network.first_age, network.last_age + 1)),
        "log": list(LOG_SCALED),
        **{
            table: {
                sex: _round(checkpoint.tensors[table].double()[code, :, :count])
                for code, sex in enumerate(SEXES)
            }
            for table in ("location", "scale")
        },
        "edges": {name: _round(edges[i]) for name, i in INDEX.items()},
        "expected": [1.0 / BINS] * BINS,
        "people": _describe_people(checkpoint.training),
    }


def _describe_people(training: Mapping[str, Any]) -> dict[str, Any] | None:
    recorded = training.get("distribution") or _RECORDED.get(training.get("data_sha256", ""))
    if recorded is None:
        return None
    return {
        "age": {"edges": recorded["age_edges"], "expected": recorded["age_shares"]},
        "sex": {"expected": recorded["sex_shares"]},
    }


def _round(values: torch.Tensor) -> Any:
    """Four decimals: a hundredth of the finest step that any laboratory reports."""
    return values.round(decimals=4).tolist()
