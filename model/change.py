"""The change of a person's biological age between two blood draws, and whether it is noise."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

INTERVAL_SCORE = 1.6448536269514722
"""The 95 % quantile of the normal distribution: it leaves 5 % on each side."""

FloatArray = npt.NDArray[np.floating[Any]]


class Change(NamedTuple):
    """The change from one draw to a later one.

    Shape:
        change: (n,) years, the later biological age minus the earlier one
        gap_change: (n,) years, the same without the time between the draws
        low, high: (n,) years, the 90 % interval of ``gap_change``
        within_noise: (n,) whether two draws of an unchanged person may differ by as much
    """

    change: FloatArray
    gap_change: FloatArray
    low: FloatArray
    high: FloatArray
    within_noise: npt.NDArray[np.bool_]


def compare_draws(
    before: FloatArray,
    after: FloatArray,
    *,
    years: FloatArray,
    sd_before: FloatArray,
    sd_after: FloatArray,
) -> Change:
    """Compare two draws of each of n people.

    Each draw has its own noise (within-person and analytical variation), with the standard
    deviation ``draw_sd`` of the model. The standard deviation of the difference is
    sqrt(sd_before^2 + sd_after^2). A change is within the noise where its 90 % interval contains
    0. The errors of the fit, and of the laboratory where it is the same one, cancel.

    Args:
        before: (n,) biological age of the earlier draw, years.
        after: (n,) of the later one.
        years: (n,) time between the draws, years. It is not counted as a change.
        sd_before: (n,) ``draw_sd`` of the earlier draw, years.
        sd_after: (n,) of the later one.

    Example:
        >>> change = compare_draws(np.array([50.0]), np.array([54.0]), years=np.array([1.0]),
        ...     sd_before=np.array([2.0]), sd_after=np.array([2.0]))
        >>> change.gap_change[0], round(change.high[0], 2), bool(change.within_noise[0])
        (np.float64(3.0), np.float64(7.65), True)
    """
    change = after - before
    gap_change = change - years
    half = INTERVAL_SCORE * np.hypot(sd_before, sd_after)
    low, high = gap_change - half, gap_change + half
    return Change(change, gap_change, low, high, (low <= 0) & (high >= 0))
