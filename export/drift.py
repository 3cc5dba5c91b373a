"""The distribution with which a server compares its inputs, to detect drift."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from henaw.model.biomarkers import INDEX, NAMES, SEXES
from henaw.model.checkpoint import Checkpoint
from henaw.model.graph.transforms import LOG_SCALED

BINS = 5
"""More would be too narrow: laboratories report albumin in whole g/L."""


def describe_drift(checkpoint: Checkpoint) -> dict[str, Any]:
    """Location and scale by age and sex, and the edges of bins of equal expected share.

    A value is standardised: its logarithm, if the biomarker is log-scaled, minus the
    location, over the scale for its age and sex. ``edges`` divide the fitted people's
    standardised values into bins; each contains the share ``expected`` of them. ``people``
    has the shares of their ages and sexes, or is None if the checkpoint does not give them.
    """
    count = len(NAMES)
    # The margins tabulate standardised values at normal scores, so that bins of equal share
    # end at the normal quantiles.
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
    recorded = training.get("distribution")
    if recorded is None:
        return None
    return {
        "age": {"edges": recorded["age_edges"], "expected": recorded["age_shares"]},
        "sex": {"expected": recorded["sex_shares"]},
    }


def _round(values: torch.Tensor) -> Any:
    """Return the number with four decimals: laboratories report steps of 0.01 or more."""
    return values.round(decimals=4).tolist()
