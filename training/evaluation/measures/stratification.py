"""Measures of the age gap: its centre, its hazard ratio, and survival by thirds of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from henaw.training.evaluation.measures.estimates import (
    FEWEST_DEATHS,
    FEWEST_SHOWN,
    Array,
    Estimate,
    Rows,
    Z,
    describe_partition,
    estimate_normal,
)
from lifelines import CoxPHFitter, KaplanMeierFitter
from lifelines.statistics import multivariate_logrank_test
from scipy.stats import kstest

THIRDS: tuple[str, ...] = ("slow", "normal", "accelerated")


def select_decades(age_years: Array) -> dict[str, Rows]:
    """Rows by decade of age, 20-29 to 90-99: (n,) each.

    Example:
        >>> select_decades(np.array([29.0, 30.0]))["20-29"].tolist()
        [True, False]
    """
    return {
        f"{decade}-{decade + 9}": (age_years >= decade) & (age_years < decade + 10)
        for decade in range(20, 100, 10)
    }


def describe_gap(age_gap: Array, age_years: Array) -> dict[str, Any]:
    """Mean and spread of the gap by decade of age, and its correlation with age.

    The interval of the correlation is Fisher's: tanh(artanh(r) +- 1.96 / sqrt(n - 3)).

    Shape:
        age_gap: (n,) years; age_years: (n,)
    """
    by_decade = select_decades(age_years)
    counts = describe_partition([int(rows.sum()) for rows in by_decade.values()])
    decades = []
    for (ages, rows), count in zip(by_decade.items(), counts, strict=True):
        if not count:
            continue
        mean, spread = float(age_gap[rows].mean()), float(age_gap[rows].std(ddof=1))
        decades.append(
            {
                "ages": ages,
                "people": count,
                "median": round(float(np.median(age_gap[rows])), 2),
                "mean": estimate_normal(mean, spread / np.sqrt(count)).describe(2),
                "standard_deviation": round(spread, 2),
            }
        )
    correlation = float(np.corrcoef(age_gap, age_years)[0, 1])
    half = Z / np.sqrt(len(age_gap) - 3)
    low, high = (float(np.tanh(np.arctanh(correlation) + side)) for side in (-half, half))
    return {
        "mean": round(float(age_gap.mean()), 2),
        "median": round(float(np.median(age_gap)), 2),
        "standard_deviation": round(float(age_gap.std(ddof=1)), 2),
        "quantiles": {
            f"{share:g}": round(float(np.quantile(age_gap, share)), 2)
            for share in (0.05, 0.25, 0.5, 0.75, 0.95)
        },
        "correlation_with_age": Estimate(value=correlation, low=low, high=high).describe(3),
        "by_decade": decades,
    }


def compute_uniform_distance(percentile: Array) -> float:
    """Kolmogorov-Smirnov distance of percentiles from the uniform distribution.

    Shape:
        percentile: (n,) 0 to 100

    Example:
        >>> round(compute_uniform_distance(np.array([10.0, 30.0, 50.0, 70.0, 90.0])), 3)
        0.1
    """
    return float(kstest(percentile / 100.0, "uniform").statistic)


def describe_percentile(percentile: Array | None, age_years: Array) -> dict[str, Any]:
    """Distance of the gap's percentiles from uniform, of everyone and by decade of age.

    Args:
        percentile: (n,) 0 to 100, or None where the model has none.
        age_years: (n,).
    """
    if percentile is None:
        return {"shown": False, "reason": "the model has no percentile"}
    return {
        "shown": True,
        "distance": round(compute_uniform_distance(percentile), 4),
        "by_decade": [
            {"ages": ages, "distance": round(compute_uniform_distance(percentile[rows]), 4)}
            for ages, rows in select_decades(age_years).items()
            if rows.sum() >= FEWEST_SHOWN
        ],
    }


def fit_hazard_ratio(
    age_gap: Array, age_years: Array, sex: npt.NDArray[np.int64], time: Array, event: Rows
) -> dict[str, Any]:
    """Hazard ratio per standard deviation of the gap, in a Cox model with age and sex.

    Shape:
        age_gap and age_years (years), sex (0 female, 1 male), time (years, cut at the horizon),
        event: (n,)
    """
    spread = float(age_gap.std(ddof=1))
    columns = {"gap": age_gap / spread, "age": age_years / 10.0, "time": time, "event": event}
    if 0 < sex.mean() < 1:
        columns["sex"] = sex
    fit = CoxPHFitter().fit(pd.DataFrame(columns).astype(np.float64), "time", "event")
    row = fit.summary.loc["gap"]
    ratio = Estimate(
        value=float(row["exp(coef)"]),
        low=float(row["exp(coef) lower 95%"]),
        high=float(row["exp(coef) upper 95%"]),
    )
    return {"standard_deviation": round(spread, 2), "hazard_ratio": ratio.describe(3)}


def split_thirds(
    age_gap: Array, age_years: Array, sex: npt.NDArray[np.int64]
) -> npt.NDArray[np.int64]:
    """The third of the gap that each person is in, 0 slow to 2 accelerated.

    Thirds are taken within each sex and decade of age, so that the three groups have the same
    ages and sexes and differ by the gap alone.

    Shape:
        age_gap and age_years (years), sex, result: (n,)

    Example:
        >>> split_thirds(np.array([5.0, -3.0, 0.0]), np.full(3, 44.0), np.zeros(3, int)).tolist()
        [2, 0, 1]
    """
    third = np.zeros(len(age_gap), np.int64)
    cell = sex * 100 + (age_years // 10).astype(np.int64)
    for code in np.unique(cell):
        rows = np.flatnonzero(cell == code)
        rank = np.argsort(np.argsort(age_gap[rows], kind="stable"), kind="stable")
        third[rows] = 3 * rank // len(rows)
    return third


def trace_survival(
    third: npt.NDArray[np.int64], age_years: Array, time: Array, event: Rows, years: int
) -> dict[str, Any]:
    """Kaplan-Meier survival by third at whole years, and a log-rank test.

    Survival is given at whole years only, and only while FEWEST_SHOWN people are followed: a
    curve with every step would show when each person died.

    Shape:
        third, age_years, time (years, not cut), event: (n,)
    """
    cut, died = np.minimum(time, years), event & (time <= years)
    deaths = [int(died[third == code].sum()) for code in range(len(THIRDS))]
    if min(deaths) < FEWEST_DEATHS:
        # All three are withheld: two of them would give the last one away.
        return {
            "shown": False,
            "reason": f"a third of the gap has fewer than {FEWEST_DEATHS} deaths",
        }
    curves = {}
    for code, name in enumerate(THIRDS):
        rows = third == code
        followed = np.array([(time[rows] >= year).sum() for year in range(years + 1)])
        shown = np.flatnonzero(followed >= FEWEST_SHOWN)
        fitter = KaplanMeierFitter().fit(time[rows], event[rows], timeline=np.arange(years + 1.0))
        bounds = fitter.confidence_interval_survival_function_.to_numpy(np.float64)
        curves[name] = {
            "people": int(rows.sum()),
            "deaths": deaths[code],
            "mean_age": round(float(age_years[rows].mean()), 1),
            "years": [int(year) for year in shown],
            "followed": [int(followed[year]) for year in shown],
            "survival": np.round(fitter.predict(shown).to_numpy(np.float64), 4).tolist(),
            "low": np.round(bounds[shown, 0], 4).tolist(),
            "high": np.round(bounds[shown, 1], 4).tolist(),
        }
    test = multivariate_logrank_test(cut, third, died)
    return {
        "shown": True,
        "curves": curves,
        "logrank_chi_squared": round(float(test.test_statistic), 1),
        "logrank_p": float(f"{test.p_value:.2g}"),
    }
