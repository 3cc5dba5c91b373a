"""Observed against expected deaths over each person's own follow-up.

Under the model a person with log hazard ``eta`` at the blood draw dies at the rate
exp(eta + b t) after t years; b is the slope of the baseline for that sex. The expected number
of deaths is the sum of people's cumulative hazards, each up to the end of that person's own
follow-up. No one is left out: a person followed for two years counts with two years. Short
follow-up needs no special care.

Sources: Crowson CS, Atkinson EJ, Therneau TM (2016), Stat Methods Med Res 25:1692-1706 (the
ratio, and the slope by Poisson regression); Ulm K (1990), Am J Epidemiol 131:373-375 (the
exact interval).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import statsmodels.api as sm
from henaw.training.evaluation.measures.estimates import Array, Estimate, Rows, estimate_normal
from henaw.training.metrics import HORIZON_YEARS
from scipy.stats import chi2
from torch import Tensor

_NO_TIME_YEARS = 1e-6
"""Follow-up of 0 years has no logarithm."""


class Hazard(NamedTuple):
    """Hazards of n people under the model: log h(t) = at_draw + slope t.

    Shape:
        at_draw: (n,) log of deaths a year, at the blood draw
        slope: (n,) rise of the log hazard a year
    """

    at_draw: Array
    slope: Array

    def select(self, rows: Rows) -> Hazard:
        """The people where ``rows`` is true: (n,) bool."""
        return Hazard(self.at_draw[rows], self.slope[rows])


def compute_hazard(
    biological_age: Array, sex: npt.NDArray[np.int64], tensors: Mapping[str, Tensor]
) -> Hazard:
    """Each person's hazard by the Gompertz law of a checkpoint, log h = c + b (age + t).

    Args:
        biological_age: (n,) years.
        sex: (n,) 0 female, 1 male.
        tensors: a checkpoint's, with ``baseline_intercept`` and ``baseline_slope``, (2,) each.
    """
    intercept = tensors["baseline_intercept"].double().numpy()[sex]
    slope = tensors["baseline_slope"].double().numpy()[sex]
    return Hazard(intercept + slope * biological_age, slope)


def accumulate_hazard(hazard: Hazard, time_years: Array) -> Array:
    """Cumulative hazard up to a time, exp(at_draw) (exp(slope t) - 1) / slope.

    Args:
        hazard: of n people.
        time_years: (n,).

    Returns:
        (n,) expected deaths.

    Example:
        >>> hazard = Hazard(np.log([0.01, 0.01]), np.array([1e-9, 0.1]))
        >>> accumulate_hazard(hazard, np.array([10.0, 10.0])).round(4).tolist()
        [0.1, 0.1718]
    """
    grown: Array = np.exp(hazard.at_draw) * np.expm1(hazard.slope * time_years) / hazard.slope
    return grown


def cut_follow_up(time_years: Array, event: Rows) -> tuple[Array, Rows]:
    """Cut follow-up at the horizon.

    Returns:
        (n,) years, and (n,) whether the person died by then.

    Example:
        >>> cut_follow_up(np.array([4.0, 12.0]), np.array([True, True]))
        (array([ 4., 10.]), array([ True, False]))
    """
    return np.minimum(time_years, HORIZON_YEARS), event & (time_years <= HORIZON_YEARS)


def compare_deaths(observed: int, expected: float) -> Estimate:
    """Observed over expected deaths with the exact Poisson interval.

    Args:
        observed: number of deaths.
        expected: number of deaths, taken as known.

    Source:
        Ulm (1990), as above.

    Example:
        >>> compare_deaths(10, 20.0).describe(3)
        {'value': 0.5, 'low': 0.24, 'high': 0.92}
    """
    low = 0.5 * float(chi2.ppf(0.025, 2 * observed)) if observed else 0.0
    high = 0.5 * float(chi2.ppf(0.975, 2 * observed + 2))
    return Estimate(value=observed / expected, low=low / expected, high=high / expected)


def compute_hazard_slope(hazard: Hazard, time_years: Array, event: Rows) -> Estimate:
    """Slope of the log hazard; 1 where people's hazards differ as much as predicted.

    A Poisson regression of deaths during follow-up,

        log E[deaths] = a + slope at_draw + log((exp(b t) - 1) / b),

    with the last term fixed. The intercept a absorbs a wrong level. The slope is above 1 where
    hazards differ more than predicted, below 1 where they differ less.

    Args:
        hazard: of n people.
        time_years: (n,) follow-up, cut or not.
        event: (n,) died at the end of it.

    Raises:
        ValueError: no one died, or everyone has the same hazard.

    Source:
        Crowson et al. (2016), as above, sections 3.2 and 3.3.
    """
    if not event.any() or np.ptp(hazard.at_draw) == 0.0:
        raise ValueError("the slope needs deaths, and people with different hazards")
    lived = np.maximum(time_years, _NO_TIME_YEARS)
    centred = hazard.at_draw - hazard.at_draw.mean()
    fit = sm.GLM(
        event.astype(np.float64),
        sm.add_constant(centred),
        family=sm.families.Poisson(),
        offset=hazard.at_draw.mean() + np.log(np.expm1(hazard.slope * lived) / hazard.slope),
    ).fit()
    return estimate_normal(float(fit.params[1]), float(fit.bse[1]))


def describe_deaths(hazard: Hazard, time_years: Array, event: Rows) -> dict[str, Any]:
    """Observed, expected and O/E of a group, follow-up cut at the horizon."""
    time, died = cut_follow_up(time_years, event)
    observed, expected = int(died.sum()), float(accumulate_hazard(hazard, time).sum())
    return {
        "observed": observed,
        "expected": round(expected, 1),
        "ratio": compare_deaths(observed, expected).describe(3),
    }
