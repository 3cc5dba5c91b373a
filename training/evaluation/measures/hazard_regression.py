"""Cox regression that is fast enough for hundreds of bootstrap samples.

Newton's method on the partial likelihood with Breslow's handling of ties and with weights.
:mod:`lifelines` fits the same model, and tests compare with it; a bootstrap of it would take
minutes.

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
"""The search stops where one more step would add less than this to twice the log likelihood."""


class HazardRegression(NamedTuple):
    """A fitted model, risk = 1 - exp(-cumulative_hazard exp(columns coefficients)).

    Shape:
        coefficients: (p,) log hazard ratios
        cumulative_hazard: at the horizon, of a person whose columns are all 0
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
        weight: (n,) how often each person counts, 0 or more; None: once.

    Raises:
        ValueError: no one died, or the search does not converge: a column orders all deaths.

    Sources:
        Cox (1972), Breslow (1974), as above.
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
        """Log likelihood, hazards, and their sums over the people at risk."""
        score = x @ at
        hazard = each * np.exp(score - score.max())
        at_risk = np.cumsum(hazard)[last]
        # After too long a step the sum at risk may round to 0: the step is then halved.
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
    """For each person, the sum of the terms of all times at which the person was at risk.

    People are sorted by falling time, and the people at risk at the time of place i are at
    places 0 to last[i]. So person j is at risk at the times of the places i with last[i] >= j.
    """
    total = np.cumsum(terms[::-1])[::-1]
    # last rises with i, so last[i] >= j is true from the first place of j's own tie.
    first = np.searchsorted(last, np.arange(len(terms)), side="left")
    summed: Array = total[first]
    return summed
