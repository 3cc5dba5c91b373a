"""Brier score at the horizon and what it gains on knowing less (IPA).

The Brier score is the mean squared distance of the predicted risk from what happened, 1
dead or 0 alive at the horizon; people lost before it count through others by the inverse
probability of still being followed. IPA (index of prediction accuracy) is the share by
which the score is lower than that of somebody who gives everyone the Kaplan-Meier risk: 0
is worthless, 1 perfect. Unlike C it also falls when the level or the spread is wrong.

Sources: Graf E et al. (1999), Stat Med 18:2529-2545; Kattan MW, Gerds TA (2018), Diagn Progn
Res 2:7.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from henaw.training.evaluation.measures.discrimination import weigh_known
from henaw.training.evaluation.measures.estimates import Array, Rows, estimate_from_draws


def compute_losses(risk: Array, dead: Rows, weight: Array) -> Array:
    """Each person's part of the Brier score, which is their mean: (n,).

    Shape:
        risk: (n,) or one for all; dead: (n,) by the horizon; weight: (n,) of
        :func:`weigh_known`

    Example:
        >>> compute_losses(np.array([0.2, 0.5]), np.array([False, True]), np.ones(2)).round(2)
        array([0.04, 0.25])
    """
    losses: Array = weight * (dead - risk) ** 2
    return losses


def describe_prediction_error(
    risks: Mapping[str, Array],
    time: Array,
    event: Rows,
    horizon_years: float,
    *,
    null_risk: float,
    draws: int,
    seed: int,
) -> dict[str, Any]:
    """Brier score of each risk, of the null, and IPA, with bootstrap intervals.

    Args:
        risks: (n,) predicted, by name; the first is also compared with each other.
        time: (n,) years, not cut.
        event: (n,) died at the end of it.
        horizon_years: the horizon.
        null_risk: the Kaplan-Meier risk of all.
        draws: bootstrap samples; weights for censoring are those of the whole sample.
        seed: of them.

    Returns:
        ``brier`` by name and ``null``; ``ipa`` by name, against the null; ``gain`` of the
        first's IPA on each other's.
    """
    dead = event & (time <= horizon_years)
    weight = weigh_known(time, event, horizon_years)
    columns = {"null": np.full(len(time), null_risk), **risks}
    losses = np.stack([compute_losses(risk, dead, weight) for risk in columns.values()])
    people = len(time)
    generator = np.random.default_rng(seed)
    drawn = np.empty((draws, len(columns)))
    for draw in range(draws):
        counts = generator.multinomial(people, np.full(people, 1.0 / people))
        drawn[draw] = losses @ counts / people
    brier = dict(zip(columns, losses.mean(1), strict=True))
    brier_drawn = dict(zip(columns, drawn.T, strict=True))

    def gain(score: Mapping[str, Any], one: str, other: str) -> Any:
        """How much lower the score of one is, as a share of the null's."""
        return (score[other] - score[one]) / score["null"]

    first = next(iter(risks))
    return {
        "brier": {
            name: estimate_from_draws(float(brier[name]), brier_drawn[name]).describe()
            for name in columns
        },
        "ipa": {
            name: estimate_from_draws(
                float(gain(brier, name, "null")), gain(brier_drawn, name, "null")
            ).describe()
            for name in risks
        },
        "gain": {
            name: estimate_from_draws(
                float(gain(brier, first, name)), gain(brier_drawn, first, name)
            ).describe()
            for name in risks
            if name != first
        },
    }
