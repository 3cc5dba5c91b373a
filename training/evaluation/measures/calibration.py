"""Calibration of predicted risks: do as many people die as predicted?

Observed risks are Kaplan-Meier for all causes and Aalen-Johansen for one cause among
competing ones, both by lifelines. The calibration slope is the coefficient b of a binomial
regression of being dead (of the cause) at the horizon on the predicted risk,

    log(-log(1 - P[dead])) = a + b log(-log(1 - risk)),

people weighted by the inverse probability that their status is known. The ideal slope is 1;
below 1 the predictions spread too widely.

Sources: Austin PC, Harrell FE, van Klaveren D (2020), Stat Med 39:2714-2742; Scheike TH,
Zhang MJ, Gerds TA (2008), Biometrika 95:205-220 (the weighted regression); van Geloven N
et al. (2022), BMJ 377:e069249 (competing risks).
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import numpy.typing as npt
import statsmodels.api as sm
from henaw.model.biomarkers import SEXES
from henaw.training.evaluation.measures.discrimination import weigh_known
from henaw.training.evaluation.measures.estimates import (
    FEWEST_DEATHS,
    FEWEST_SHOWN,
    Array,
    Estimate,
    Rows,
    describe_count,
    estimate_normal,
)
from lifelines import AalenJohansenFitter, KaplanMeierFitter

FEWEST_DEATHS_IN_CELL = 50
RISK_GROUPS = 10
_SMALLEST_RISK = 1e-9


def observe_risk(time: Array, event: Rows, horizon_years: float) -> Estimate:
    """Kaplan-Meier risk of death by the horizon, with its log-log interval.

    Shape:
        time: (n,) years; event: (n,) died at that time

    Example:
        One of four dies; one is lost after the death.

        >>> time, event = np.array([1.0, 2.0, 9.0, 9.0]), np.array([True, False, False, False])
        >>> round(observe_risk(time, event, 5.0).value, 6)
        0.25
    """
    fitter = KaplanMeierFitter().fit(time, event)
    bounds = fitter.confidence_interval_survival_function_
    place = int(np.searchsorted(bounds.index.to_numpy(np.float64), horizon_years, "right")) - 1
    low, high = sorted(1.0 - float(value) for value in bounds.iloc[place])
    return Estimate(value=1.0 - float(fitter.predict(horizon_years)), low=low, high=high)


def observe_incidence(
    time: Array, cause: npt.NDArray[np.int64], of_interest: int, horizon_years: float
) -> Estimate:
    """Aalen-Johansen risk of death of one cause by the horizon.

    Args:
        time: (n,) years.
        cause: (n,) 0 for people alive at the end of follow-up, else a code.
        of_interest: the code of the cause.
        horizon_years: the horizon.
    """
    with warnings.catch_warnings():
        # lifelines breaks ties by a jitter of 0.0001 years, seeded here, and warns of it.
        warnings.filterwarnings("ignore", message="Tied event times")
        fitter = AalenJohansenFitter(calculate_variance=True, seed=1).fit(
            time, cause, event_of_interest=of_interest
        )
    bounds = fitter.confidence_interval_
    place = int(np.searchsorted(bounds.index.to_numpy(np.float64), horizon_years + 1e-3)) - 1
    low, high = sorted(float(value) for value in bounds.iloc[place])
    return Estimate(value=float(fitter.cumulative_density_.iloc[place, 0]), low=low, high=high)


def compute_slope(risk: Array, dead: Rows, weight: Array) -> Estimate:
    """Calibration slope; the module has the formula.

    Shape:
        risk: (n,) predicted; dead: (n,) of the cause by the horizon; weight: (n,) of
        :func:`weigh_known`
    """
    known = weight > 0
    inside = np.clip(risk[known], _SMALLEST_RISK, 1.0 - 1e-6)
    fit = sm.GLM(
        dead[known].astype(np.float64),
        sm.add_constant(np.log(-np.log1p(-inside))),
        family=sm.families.Binomial(link=sm.families.links.CLogLog()),
        var_weights=weight[known],
    ).fit(cov_type="HC0")
    return estimate_normal(float(fit.params[1]), float(fit.bse[1]))


def describe_ratio(observed: Estimate, expected: float, people: int) -> dict[str, Any]:
    """Observed and expected risk of a group, and their ratio O/E.

    Args:
        observed: risk.
        expected: mean predicted risk, taken as known.
        people: size of the group.
    """
    return {
        "people": describe_count(people),
        "observed": observed.describe(),
        "expected": round(expected, 4),
        "ratio": Estimate(
            value=observed.value / expected,
            low=observed.low / expected,
            high=observed.high / expected,
        ).describe(3),
    }


def group_by_risk(risk: Array, dead: Rows) -> list[npt.NDArray[np.int64]]:
    """People by rising risk, in tenths, joined until each group has FEWEST_DEATHS deaths.

    Shape:
        risk, dead: (n,); result: places among the n people, group by group
    """
    groups: list[npt.NDArray[np.int64]] = []
    pending = np.empty(0, np.int64)
    for tenth in np.array_split(np.argsort(risk, kind="stable"), RISK_GROUPS):
        pending = np.concatenate([pending, tenth])
        if dead[pending].sum() >= FEWEST_DEATHS and len(pending) >= FEWEST_SHOWN:
            groups.append(pending)
            pending = np.empty(0, np.int64)
    if len(pending) and groups:
        groups[-1] = np.concatenate([groups[-1], pending])
    return groups


def calibrate(
    risk: Array,
    time: Array,
    event: Rows,
    horizon_years: float,
    *,
    cause: npt.NDArray[np.int64] | None = None,
    of_interest: int = 1,
) -> dict[str, Any]:
    """O/E overall, the slope, and observed against expected risk by tenths of the risk.

    Args:
        risk: (n,) predicted by the horizon.
        time: (n,) years, not cut.
        event: (n,) died at the end of it, of any cause.
        horizon_years: the horizon.
        cause: (n,) 0 or a code; None: deaths of all causes count.
        of_interest: the code of the cause that counts.
    """
    counted = event if cause is None else event & (cause == of_interest)
    dead = counted & (time <= horizon_years)
    result: dict[str, Any] = {"deaths": describe_count(int(dead.sum()))}
    if dead.sum() < FEWEST_DEATHS:
        return result | {"shown": False}

    def observe(rows: npt.NDArray[np.int64]) -> dict[str, Any]:
        observed = (
            observe_risk(time[rows], event[rows], horizon_years)
            if cause is None
            else observe_incidence(time[rows], cause[rows], of_interest, horizon_years)
        )
        return describe_ratio(observed, float(risk[rows].mean()), len(rows))

    weight = weigh_known(time, event, horizon_years)
    return result | {
        "shown": True,
        "overall": observe(np.arange(len(risk))),
        "slope": compute_slope(risk, dead, weight).describe(3),
        "by_risk": [observe(rows) for rows in group_by_risk(risk, dead)],
    }


def calibrate_cells(
    risk: Array,
    time: Array,
    event: Rows,
    *,
    age_years: Array,
    sex: npt.NDArray[np.int64],
    horizon_years: float,
) -> list[dict[str, Any]]:
    """O/E by sex and decade of age, in cells of FEWEST_DEATHS_IN_CELL deaths or more.

    Shape:
        risk, time (years, not cut), event, age_years, sex (0 female, 1 male): (n,)
    """
    cells = []
    dead = event & (time <= horizon_years)
    for code, name in enumerate(SEXES):
        for decade in range(20, 100, 10):
            rows = (sex == code) & (age_years >= decade) & (age_years < decade + 10)
            if dead[rows].sum() < FEWEST_DEATHS_IN_CELL:
                continue
            observed = observe_risk(time[rows], event[rows], horizon_years)
            cells.append(
                {"sex": name, "ages": f"{decade}-{decade + 9}", "deaths": int(dead[rows].sum())}
                | describe_ratio(observed, float(risk[rows].mean()), int(rows.sum()))
            )
    return cells
