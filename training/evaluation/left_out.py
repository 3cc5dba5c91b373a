"""What a fit is worth on people it did not see, in a few numbers and in seconds.

For studies that fit many times: no bootstrap, no report, nothing withheld. What it returns
is for the desk of who holds the data; a report takes :mod:`henaw.training.evaluation`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt
from henaw.model.checkpoint import Checkpoint
from henaw.model.runtime import Outputs
from henaw.training.cohort import Cohort
from henaw.training.evaluation.measures.calibration import observe_risk
from henaw.training.evaluation.measures.estimates import Array, Rows
from henaw.training.evaluation.measures.follow_up import (
    Hazard,
    accumulate_hazard,
    compare_deaths,
    compute_hazard,
    compute_hazard_slope,
    cut_follow_up,
)
from henaw.training.evaluation.measures.stratification import measure_distance
from henaw.training.metrics import AGE_BANDS, HORIZON_YEARS
from lifelines.utils import concordance_index

FEWEST_FOLLOWED = 10
"""Fewer people followed to the horizon, and Kaplan-Meier says nothing there."""


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """Answers and follow-up of people whom a fit did not see.

    Attributes:
        biological_age: (n,) years.
        age_gap: (n,) years.
        mortality_10y: (n,) probability.
        age_years: (n,).
        sex: (n,) 0 female, 1 male.
        time_years: (n,) follow-up, not cut.
        event: (n,) died at the end of it.
        intercept: (n,) log hazard at biological age 0, of each person's fit and sex.
        slope: (n,) rise of the log hazard a year.
        percentile: (n,) 0 to 100, of the gap, where the model says it.
        reliable: (n,), where the model says it.
    """

    biological_age: Array
    age_gap: Array
    mortality_10y: Array
    age_years: Array
    sex: npt.NDArray[np.int64]
    time_years: Array
    event: Rows
    intercept: Array
    slope: Array
    percentile: Array | None = None
    reliable: Rows | None = None

    def __len__(self) -> int:
        return len(self.age_years)

    @property
    def hazard(self) -> Hazard:
        """Each person's hazard under the fit."""
        return Hazard(self.intercept + self.slope * self.biological_age, self.slope)

    def select(self, rows: npt.NDArray[Any]) -> LeftOut:
        """Some of the people: (n,) bool, or (m,) places."""
        chosen: dict[str, Any] = {}
        for field in fields(self):
            values = getattr(self, field.name)
            chosen[field.name] = None if values is None else values[rows]
        return LeftOut(**chosen)


def collect_left_out(checkpoint: Checkpoint, answers: Outputs, people: Cohort) -> LeftOut:
    """Answers of a checkpoint about people, with their follow-up."""
    biological_age = np.asarray(answers["biological_age"], np.float64)
    hazard = compute_hazard(biological_age, people.sex, checkpoint.tensors)
    return LeftOut(
        biological_age=biological_age,
        age_gap=np.asarray(answers["age_gap"], np.float64),
        mortality_10y=np.asarray(answers["mortality_10y"], np.float64),
        age_years=people.age_years.astype(np.float64),
        sex=people.sex,
        time_years=people.time_years,
        event=people.event,
        intercept=hazard.at_draw - hazard.slope * biological_age,
        slope=hazard.slope,
        percentile=np.asarray(answers["percentile"], np.float64)
        if "percentile" in answers
        else None,
        reliable=np.asarray(answers["reliable"], bool) if "reliable" in answers else None,
    )


def join_left_out(parts: Sequence[LeftOut]) -> LeftOut:
    """People of several fits as one group, each with the baseline of its own fit.

    An answer that one of the parts has not got is left out of the whole.
    """
    joined: dict[str, Any] = {}
    for field in fields(LeftOut):
        columns = [getattr(part, field.name) for part in parts]
        known = all(column is not None for column in columns)
        joined[field.name] = np.concatenate(columns) if known else None
    return LeftOut(**joined)


def measure_left_out(people: LeftOut) -> dict[str, Any]:
    """Order, centre and calibration.

    Returns:
        ``people``, ``deaths`` (within ten years);
        ``c``: Harrell's C of the 10-year risk by age band, bands with nothing to compare
        left out;
        ``gap``: ``mean``, ``median``, and ``median_by_decade`` of age, in years;
        ``kaplan_meier``: ``observed`` and ``expected`` risk at ten years and their
        ``ratio``, or None where follow-up is too short;
        ``own_follow_up``: ``observed`` and ``expected`` deaths, ``ratio``, ``low``, ``high``;
        ``slope``: of the log hazard, with ``low`` and ``high``, or None where nobody died;
        ``percentile``: ``distance`` of Kolmogorov and Smirnov from the uniform, and
        ``distance_by_decade``, or None where the model has no percentile;
        ``unreliable``: ``share``, and O/E by own follow-up of those people, or None.
    """
    time, dead = cut_follow_up(people.time_years, people.event)
    decades = {
        f"{decade}-{decade + 9}": (people.age_years >= decade) & (people.age_years < decade + 10)
        for decade in range(10, 120, 10)
    }
    decades = {name: rows for name, rows in decades.items() if rows.any()}
    spread = dead.any() and np.ptp(people.hazard.at_draw) > 0.0
    slope = compute_hazard_slope(people.hazard, time, dead) if spread else None
    return {
        "people": len(people),
        "deaths": int(dead.sum()),
        "c": _order(people, time, dead),
        "gap": {
            "mean": float(people.age_gap.mean()),
            "median": float(np.median(people.age_gap)),
            "median_by_decade": {
                name: float(np.median(people.age_gap[rows])) for name, rows in decades.items()
            },
        },
        "kaplan_meier": _compare_risk(people),
        "own_follow_up": _compare_deaths(people),
        "slope": None
        if slope is None
        else {"value": slope.value, "low": slope.low, "high": slope.high},
        "percentile": None
        if people.percentile is None
        else {
            "distance": measure_distance(people.percentile),
            "distance_by_decade": {
                name: measure_distance(people.percentile[rows]) for name, rows in decades.items()
            },
        },
        "unreliable": None
        if people.reliable is None
        else {
            "share": float((~people.reliable).mean()),
            **(_compare_deaths(people.select(~people.reliable)) or {}),
        },
    }


def _order(people: LeftOut, time: Array, dead: Rows) -> dict[str, float]:
    found = {}
    for band, (low, high) in AGE_BANDS.items():
        rows = (people.age_years >= low) & (people.age_years < high)
        first = time[rows][dead[rows]].min(initial=np.inf)
        if (time[rows] > first).any() or (~dead[rows] & (time[rows] == first)).any():
            found[band] = float(
                concordance_index(time[rows], -people.mortality_10y[rows], dead[rows])
            )
    return found


def _compare_risk(people: LeftOut) -> dict[str, float] | None:
    if (people.time_years >= HORIZON_YEARS).sum() < FEWEST_FOLLOWED:
        return None
    observed = observe_risk(people.time_years, people.event, HORIZON_YEARS).value
    expected = float(people.mortality_10y.mean())
    return {"observed": observed, "expected": expected, "ratio": observed / expected}


def _compare_deaths(people: LeftOut) -> dict[str, float] | None:
    if not len(people):
        return None
    time, dead = cut_follow_up(people.time_years, people.event)
    observed, expected = int(dead.sum()), float(accumulate_hazard(people.hazard, time).sum())
    ratio = compare_deaths(observed, expected)
    return {
        "observed": observed,
        "expected": expected,
        "ratio": ratio.value,
        "low": ratio.low,
        "high": ratio.high,
    }
