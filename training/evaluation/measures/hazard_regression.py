"""Cox regression that is quick enough to be drawn again some hundred times.

Partial likelihood with Breslow's handling of ties and whole or real weights, by Newton's
method. :mod:`lifelines` fits the same model and is what the tests compare with; a
bootstrap of it would take minutes.

Sources: Cox DR (1972), J R Stat Soc B 34:187-220; Breslow NE (1974), Biometrics 30:89-99.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from henaw.training.evaluation.measures.estimates import Array, Rows

_STEPS = 50
_HALVINGS = 20
_CLOSE = 1e-8
"""What one more step would add to twice the log likelihood, when to stop."""


class HazardRegression(NamedTuple):
    """A fit.

    Shape:
        coefficients: (p,) log hazard ratios
        cumulative_hazard: at the horizon, where all columns are 0
    """

    coefficients: Array
    cumulative_hazard: float

    def predict_risk(self, columns: Array) -> Array:
        """Risk of death by the horizon: columns (n, p), result (n,)."""
        risk: Array = -np.expm1(-self.cumulative_hazard * np.exp(columns @ self.coefficients))
        return risk


def fit_hazard_regression(
    columns: Array,
    time: Array,
    event: Rows,
    horizon_years: float,
    *,
    weight: Array | None = None,
) -> HazardRegression:
    """Fit a Cox model and take its cumulative hazard at a horizon.

    Args:
        columns: (n, p) predictors.
        time: (n,) years.
        event: (n,) died at the end of it.
        horizon_years: the horizon.
        weight: (n,) how often each person counts, 0 or more; once without it.

    Raises:
        ValueError: it does not converge: nobody died, or a column orders all deaths.
    """
    order = np.argsort(-time, kind="stable")
    if weight is not None:
        order = order[weight[order] > 0]
    centre, scale = columns.mean(0), columns.std(0)
    scale = np.where(scale > 0, scale, 1.0)
    x, ends = (columns[order] - centre) / scale, time[order]
    each = np.ones(len(order)) if weight is None else weight[order]
    deaths = each * event[order]
    # The last place with the same time: all up to it are at risk at that time.
    last = np.searchsorted(-ends, -ends, side="right") - 1
    if not deaths.any():
        raise ValueError("a hazard regression needs deaths")

    def measure(at: Array) -> tuple[float, Array, Array]:
        """Log likelihood, hazards and sums of those at risk."""
        score = x @ at
        hazard = each * np.exp(score - score.max())
        at_risk = np.cumsum(hazard)[last]
        # A step too far may leave nobody at risk, to rounding: it is then halved.
        with np.errstate(divide="ignore", invalid="ignore"):
            likelihood = float(deaths @ (score - score.max() - np.log(at_risk)))
        return likelihood, hazard, at_risk

    found = np.zeros(columns.shape[1])
    likelihood, hazard, at_risk = measure(found)
    for _ in range(_STEPS):
        mean = np.cumsum(hazard[:, None] * x, axis=0)[last] / at_risk[:, None]
        score = deaths @ (x - mean)
        # sum_d (E[x x'] - mean mean') over deaths; the first term is summed by person.
        share = hazard * _sum_from(deaths / at_risk, last)
        information = (x * share[:, None]).T @ x - (mean * deaths[:, None]).T @ mean
        try:
            step = np.linalg.solve(information, score)
        except np.linalg.LinAlgError as error:
            raise ValueError("a hazard regression did not converge") from error
        if step @ score < _CLOSE:
            break
        for _ in range(_HALVINGS):
            tried = measure(found + step)
            if tried[0] >= likelihood:
                break
            step = 0.5 * step
        found = found + step
        likelihood, hazard, at_risk = tried
    else:
        raise ValueError("a hazard regression did not converge")
    coefficients = found / scale
    highest = float((x @ found).max())
    cumulative = float((deaths / at_risk)[ends <= horizon_years].sum())
    return HazardRegression(
        coefficients, cumulative * float(np.exp(-highest - centre @ coefficients))
    )


def _sum_from(terms: Array, last: npt.NDArray[np.intp]) -> Array:
    """For each person the sum of the terms of all times that the person was at risk at.

    People stand by falling time; who is at risk at the time of place i stands at last[i] or
    before. So person j is at risk at the times of the places i with last[i] >= j.
    """
    total = np.cumsum(terms[::-1])[::-1]
    # last rises with i, and last[i] >= j holds from the first i of j's own tie on.
    first = np.searchsorted(last, np.arange(len(terms)), side="left")
    summed: Array = total[first]
    return summed
