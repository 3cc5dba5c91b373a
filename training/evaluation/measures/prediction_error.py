"""Prediction error: the Brier score at the horizon, and the index of prediction accuracy (IPA).

The Brier score is the mean of (dead - risk)^2, dead 1 or 0 at the horizon, with inverse
probability of censoring weights for people lost before it. IPA is

    IPA = 1 - Brier(model) / Brier(everyone has the Kaplan-Meier risk):

0 is worthless, 1 perfect. Unlike C, IPA also falls when the level or the spread of the risks
is wrong.

Sources: Graf E et al. (1999), Stat Med 18:2529-2545; Kattan MW, Gerds TA (2018), Diagn Progn
Res 2:7.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from henaw.training.evaluation.measures.discrimination import weigh_known
from henaw.training.evaluation.measures.estimates import (
    Array,
    Rows,
    describe_all,
    estimate_from_draws,
    estimate_with_gains,
)


def compute_losses(risk: Array, dead: Rows, weight: Array) -> Array:
    """Weighted squared error of each person's risk; the Brier score is the mean.

    Shape:
        risk: (n,) or one for all; dead: (n,) by the horizon; weight: (n,) of
        :func:`weigh_known`; result: (n,)

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
    """Brier score and IPA of each risk, with bootstrap intervals.

    Args:
        risks: (n,) predicted, by name; the first is also compared with each other one.
        time: (n,) years, not cut.
        event: (n,) died at the end of it.
        horizon_years: the horizon.
        null_risk: the Kaplan-Meier risk of everyone.
        draws: bootstrap samples; all have the whole sample's weights for censoring.
        seed: of the bootstrap.

    Returns:
        ``brier`` by name, and of the Kaplan-Meier risk as ``null``; ``ipa`` by name; ``gain``:
        the first's IPA less each other's.
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
    figures = {name: estimate_from_draws(float(brier[name]), brier_drawn[name]) for name in columns}
    ipa, gains = estimate_with_gains(
        {name: float(1.0 - brier[name] / brier["null"]) for name in risks},
        {name: 1.0 - brier_drawn[name] / brier_drawn["null"] for name in risks},
    )
    return {"brier": describe_all(figures), "ipa": describe_all(ipa), "gain": describe_all(gains)}
