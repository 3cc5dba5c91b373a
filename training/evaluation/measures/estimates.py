"""What a figure of the evaluation looks like, and which counts may be shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Rows = npt.NDArray[np.bool_]

FEWEST_SHOWN = 10
"""Groups of fewer people than this are not shown, nor are figures that rest on them."""

FEWEST_DEATHS = 10
"""Fewer deaths give no figure: they are people too, and an interval says little of them."""


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A figure with its 95 % interval."""

    value: float
    low: float
    high: float

    def describe(self, digits: int = 4) -> dict[str, float]:
        """As JSON holds it."""
        return {
            "value": round(self.value, digits),
            "low": round(self.low, digits),
            "high": round(self.high, digits),
        }


def estimate_from_draws(value: float, draws: Array) -> Estimate:
    """A figure with the 2.5 % and 97.5 % quantiles of its bootstrap draws: (draws,)."""
    low, high = np.quantile(draws[np.isfinite(draws)], [0.025, 0.975])
    return Estimate(value=value, low=float(low), high=float(high))


def describe_count(count: int) -> int | None:
    """A number of people as it may be shown: None where it is 1 to FEWEST_SHOWN - 1.

    Example:
        >>> describe_count(0), describe_count(9), describe_count(10)
        (0, None, 10)
    """
    return None if 0 < count < FEWEST_SHOWN else count


def describe_partition(counts: Sequence[int]) -> list[int | None]:
    """Counts of groups whose total is known, so that none can be told from the others.

    Where a single group is too small to show, the next smallest is withheld with it.

    Example:
        >>> describe_partition([100, 4, 30, 0])
        [100, None, None, 0]
    """
    shown = [describe_count(count) for count in counts]
    if shown.count(None) == 1:
        others = [i for i, count in enumerate(shown) if count]
        if others:
            shown[min(others, key=counts.__getitem__)] = None
    return shown


def describe_group(people: int, deaths: int) -> dict[str, Any]:
    """Counts of a group, and whether figures about it may be shown at all."""
    return {
        "people": describe_count(people),
        "deaths": describe_count(deaths),
        "shown": people >= FEWEST_SHOWN
        and deaths >= FEWEST_DEATHS
        and people - deaths >= FEWEST_SHOWN,
    }


def withhold(row: dict[str, Any]) -> None:
    """Take out of a group's row what :func:`describe_group` would not show."""
    for key in set(row) - {"group", "people"}:
        del row[key]
    row |= {"deaths": None, "shown": False}
