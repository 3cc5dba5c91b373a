"""A smooth calibration curve for survival, and how far it is from the diagonal.

Deaths are regressed on the predicted risk by a Cox model whose predictor is a restricted
cubic spline of log(-log(1 - risk)). The risk that this model predicts at the horizon is the
observed risk of people with that predicted risk. People lost to follow-up are kept, and no
groups are formed. ICI (integrated calibration index) is the mean over people of
abs(observed - predicted); E50 and E90 are the median and the 90 % quantile.

Sources: Austin PC, Harrell FE, van Klaveren D (2020), Stat Med 39:2714-2742 (the curve, ICI,
E50, E90); Harrell FE (2015), Regression Modeling Strategies, 2nd ed., section 2.4 (the
spline and its knots).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from henaw.training.evaluation.measures.estimates import Array, Rows, estimate_from_draws
from henaw.training.evaluation.measures.hazard_regression import fit_hazard_regression

KNOTS: tuple[float, ...] = (0.05, 0.35, 0.65, 0.95)
"""Quantiles of the predictor at which the curve may bend."""

POINTS = 41
SHOWN: tuple[float, float] = (0.01, 0.99)
"""The curve is drawn between these quantiles of the predicted risk: beyond them it would
rest on few people."""

_SMALLEST_RISK = 1e-7


def transform_risk(risk: Array) -> Array:
    """log(-log(1 - risk)), the scale on which hazards add: (n,).

    Example:
        >>> transform_risk(np.array([0.1])).round(3).tolist()
        [-2.25]
    """
    inside = np.clip(risk, _SMALLEST_RISK, 1.0 - _SMALLEST_RISK)
    scale: Array = np.log(-np.log1p(-inside))
    return scale


def build_spline(values: Array, knots: Array) -> Array:
    """Restricted cubic spline: straight beyond the outer knots.

    Shape:
        values: (n,); knots: (k,) rising; result: (n, k - 1), the first column is the value

    Example:
        >>> build_spline(np.array([0.0, 3.0]), np.array([0.0, 1.0, 2.0])).round(2).tolist()
        [[0.0, 0.0], [3.0, 3.0]]
    """
    if len(knots) < 3 or (np.diff(knots) <= 0).any():
        # Nearly everyone has the same risk: only a line can be fitted.
        return values[:, None]
    last, before = knots[-1], knots[-2]
    cubes = np.maximum(values[:, None] - knots, 0.0) ** 3
    bent = (
        cubes[:, :-2]
        - cubes[:, -2:-1] * (last - knots[:-2]) / (last - before)
        + cubes[:, -1:] * (before - knots[:-2]) / (last - before)
    )
    return np.column_stack([values, bent / (last - knots[0]) ** 2])


def smooth_risk(
    risk: Array,
    time: Array,
    event: Rows,
    horizon_years: float,
    *,
    at: Array,
    weight: Array | None = None,
) -> Array:
    """Observed risk of people with a given predicted risk; the module has the method.

    Args:
        risk: (n,) predicted.
        time: (n,) years.
        event: (n,) died at the end of it.
        horizon_years: the horizon.
        at: (m,) predicted risks to evaluate the curve at.
        weight: (n,) how often each person counts; None: once.

    Returns:
        (m,) risks.

    Raises:
        ValueError: the regression does not converge.
    """
    predictor = transform_risk(risk)
    knots = np.quantile(predictor, KNOTS)
    fit = fit_hazard_regression(
        build_spline(predictor, knots), time, event, horizon_years, weight=weight
    )
    return fit.predict_risk(build_spline(transform_risk(at), knots))


def measure_distances(risk: Array, observed: Array) -> dict[str, float]:
    """ICI, E50 and E90: mean, median and 90 % quantile of abs(observed - predicted).

    Shape:
        risk, observed: (n,)

    Example:
        >>> measure_distances(np.array([0.1, 0.2]), np.array([0.1, 0.22]))
        {'ici': 0.01, 'e50': 0.01, 'e90': 0.018}
    """
    distance = np.abs(risk - observed)
    figures = (distance.mean(), np.median(distance), np.quantile(distance, 0.9))
    return {
        name: round(float(value), 5)
        for name, value in zip(("ici", "e50", "e90"), figures, strict=True)
    }


def describe_smoothed(
    risk: Array, time: Array, event: Rows, horizon_years: float, *, draws: int, seed: int
) -> dict[str, Any]:
    """The curve with its 95 % band, and ICI, E50 and E90 with bootstrap intervals.

    Even perfect predictions have distances above 0 in a sample: they are slightly too large,
    and are to be read beside the size of the risks.

    Args:
        risk: (n,) predicted.
        time: (n,) years.
        event: (n,) died at the end of it.
        horizon_years: the horizon.
        draws: bootstrap samples.
        seed: of the bootstrap.
    """
    least, most = (float(bound) for bound in np.quantile(transform_risk(risk), SHOWN))
    grid = -np.expm1(-np.exp(np.linspace(least, most, POINTS)))
    asked = np.concatenate([grid, risk])
    observed = smooth_risk(risk, time, event, horizon_years, at=asked)
    generator = np.random.default_rng(seed)
    curves, distances = [], []
    people = len(risk)
    for _ in range(draws):
        counts = generator.multinomial(people, np.full(people, 1.0 / people)).astype(np.float64)
        try:
            drawn = smooth_risk(risk, time, event, horizon_years, at=asked, weight=counts)
        except ValueError:
            # By chance the sample's few deaths are all at the highest risks: no curve.
            continue
        curves.append(drawn[:POINTS])
        chosen = np.repeat(np.arange(people), counts.astype(np.int64))
        distances.append(measure_distances(risk[chosen], drawn[POINTS:][chosen]))
    low, high = np.quantile(np.array(curves), [0.025, 0.975], axis=0)
    values = measure_distances(risk, observed[POINTS:])
    return {
        "expected": np.round(grid, 5).tolist(),
        "observed": np.round(observed[:POINTS], 5).tolist(),
        "low": np.round(low, 5).tolist(),
        "high": np.round(high, 5).tolist(),
        **{
            name: estimate_from_draws(
                value, np.array([drawn[name] for drawn in distances])
            ).describe()
            for name, value in values.items()
        },
    }
