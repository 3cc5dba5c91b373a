"""Estimates with intervals, and the rules about which counts of people may be shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Rows = npt.NDArray[np.bool_]

FEWEST_SHOWN = 10
"""Groups of fewer people than this are not shown, nor are figures that rest on them."""

FEWEST_DEATHS = 10
"""Figures that rest on fewer deaths are not shown: the dead are people too, and the interval
would be too wide to say anything."""

Z = 1.959963984540054
"""97.5 % quantile of the standard normal distribution."""


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A figure with its 95 % interval."""

    value: float
    low: float
    high: float

    def describe(self, digits: int = 4) -> dict[str, float]:
        """The three numbers, rounded, for JSON.

        Example:
            >>> Estimate(value=0.87019, low=0.85, high=0.9).describe()
            {'value': 0.8702, 'low': 0.85, 'high': 0.9}
        """
        return {
            "value": round(self.value, digits),
            "low": round(self.low, digits),
            "high": round(self.high, digits),
        }


def estimate_normal(value: float, standard_error: float) -> Estimate:
    """A figure with a normal interval: value plus or minus 1.96 standard errors.

    Example:
        >>> estimate_normal(1.0, 0.1).describe(3)
        {'value': 1.0, 'low': 0.804, 'high': 1.196}
    """
    half = Z * standard_error
    return Estimate(value=value, low=value - half, high=value + half)


def estimate_from_draws(value: float, draws: Array) -> Estimate:
    """A figure with the 2.5 % and 97.5 % quantiles of its bootstrap draws.

    Shape:
        draws: (d,); draws that are not finite are left out
    """
    low, high = np.quantile(draws[np.isfinite(draws)], [0.025, 0.975])
    return Estimate(value=value, low=float(low), high=float(high))


def estimate_with_gains(
    values: Mapping[str, float], draws: Mapping[str, Array]
) -> tuple[dict[str, Estimate], dict[str, Estimate]]:
    """Estimate each score's figure, and by how much the first score's is above each other's.

    The scores share their bootstrap samples, so the differences are paired.

    Args:
        values: figures by score.
        draws: (d,) bootstrap draws of the same figures.

    Returns:
        Figures by score; gains by every score but the first.
    """
    first = next(iter(values))
    figures = {name: estimate_from_draws(value, draws[name]) for name, value in values.items()}
    gains = {
        name: estimate_from_draws(values[first] - values[name], draws[first] - draws[name])
        for name in values
        if name != first
    }
    return figures, gains


def describe_all(estimates: Mapping[str, Estimate]) -> dict[str, dict[str, float]]:
    """Estimates by name, for JSON."""
    return {name: estimate.describe() for name, estimate in estimates.items()}


def describe_count(count: int) -> int | None:
    """A number of people as it may be shown: None where it is 1 to FEWEST_SHOWN - 1.

    Example:
        >>> describe_count(0), describe_count(9), describe_count(10)
        (0, None, 10)
    """
    return None if 0 < count < FEWEST_SHOWN else count


def describe_partition(counts: Sequence[int]) -> list[int | None]:
    """Counts of groups whose total is known, so that no small one can be computed.

    If only one group is too small to show, the next smallest group is withheld too.

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
    """Counts of a group, and whether figures about it may be shown.

    Example:
        >>> describe_group(100, 4)
        {'people': 100, 'deaths': None, 'shown': False}
    """
    return {
        "people": describe_count(people),
        "deaths": describe_count(deaths),
        "shown": people >= FEWEST_SHOWN
        and deaths >= FEWEST_DEATHS
        and people - deaths >= FEWEST_SHOWN,
    }


def withhold(row: dict[str, Any]) -> None:
    """Remove from a group's row what :func:`describe_group` would not show."""
    for key in set(row) - {"group", "people"}:
        del row[key]
    row |= {"deaths": None, "shown": False}


def withhold_unless_both(first: dict[str, Any], second: dict[str, Any]) -> None:
    """Withhold both rows unless both are shown: the group of both less one is the other."""
    if not (first["shown"] and second["shown"]):
        withhold(first)
        withhold(second)
