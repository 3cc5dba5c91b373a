"""The reasons why an answer is not reliable and is withheld, in codes and in words.

The graph always computes numbers, and flags those that are not reliable. Its callers withhold
them and give these reasons instead.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import numpy.typing as npt
from henaw.model.biomarkers import NAMES, PANEL

Code = Literal["critical_value", "age_outside_fitted", "nothing_known", "unlike_fitted"]
CODES: tuple[Code, ...] = get_args(Code)
"""The reasons; bit i of a person's reasons is the code at index i."""

WORDS: Mapping[Code, str] = {
    "critical_value": "a value is beyond its critical limit",
    "age_outside_fitted": "the age is outside the fitted ages",
    "nothing_known": "no biomarker is known",
    "unlike_fitted": "the values together are unlike those of the fitted people",
}
"""The codes in words, for a summary."""

_CRITICAL, _AGE, _NOTHING, _UNLIKE = (1 << place for place in range(len(CODES)))

CriticalLimits = Mapping[str, Sequence[float | None]]
"""By biomarker: the lowest and the highest value that is not critical; None without a limit."""


class Reason(NamedTuple):
    """One reason for which one person's answer is not reliable.

    Attributes:
        code: one of :data:`CODES`.
        field: "age", "biomarkers" or the name of a biomarker.
        message: what is wrong and what to do.
    """

    code: Code
    field: str
    message: str


def find_codes(outputs: Mapping[str, npt.NDArray[Any]]) -> npt.NDArray[np.uint8]:
    """Return (n,) bits of :data:`CODES`, 0 where an answer is reliable.

    Args:
        outputs: the graph's; ``reliable``, ``critical``, ``age_out_of_range`` and ``imputed``
            are read.

    Example:
        >>> outputs = {
        ...     "reliable": np.array([True, False, False]),
        ...     "critical": np.array([[False] * 9, [True] + [False] * 8, [False] * 9]),
        ...     "age_out_of_range": np.array([False, True, False]),
        ...     "imputed": np.zeros((3, 9), bool),
        ... }
        >>> [list_codes(bits) for bits in find_codes(outputs)]
        [(), ('critical_value', 'age_outside_fitted'), ('unlike_fitted',)]
    """
    unreliable = ~outputs["reliable"]
    codes = np.zeros(len(unreliable), np.uint8)
    if not unreliable.any():
        return codes
    codes |= _CRITICAL * outputs["critical"].any(axis=1).astype(np.uint8)
    codes |= _AGE * outputs["age_out_of_range"].astype(np.uint8)
    codes |= _NOTHING * outputs["imputed"].all(axis=1).astype(np.uint8)
    codes *= unreliable
    codes[unreliable & (codes == 0)] = _UNLIKE
    return codes


def list_codes(bits: int) -> tuple[Code, ...]:
    """Return the codes of a person's bits.

    Example:
        >>> list_codes(0b1001)
        ('critical_value', 'unlike_fitted')
    """
    return tuple(code for place, code in enumerate(CODES) if bits >> place & 1)


def count_codes(bits: npt.NDArray[np.uint8]) -> dict[Code, int]:
    """Count people by code, without codes of no person; a person with several counts in each."""
    some = bits[bits != 0]
    counts = {code: int((some >> place & 1).sum()) for place, code in enumerate(CODES)}
    return {code: count for code, count in counts.items() if count}


def find_reasons(
    outputs: Mapping[str, npt.NDArray[Any]],
    biomarkers: npt.NDArray[np.float32],
    age: npt.NDArray[np.float32],
    *,
    critical_limits: CriticalLimits,
    fitted_ages: tuple[float, float],
) -> dict[int, list[Reason]]:
    """Return the reasons of people whose answer is not reliable, by row.

    Args:
        outputs: the graph's.
        biomarkers: (n, 9) float32 in the panel's units, before any shift.
        age: (n,) float32, years.
        critical_limits: of the model.
        fitted_ages: lowest and highest age of the fit, years.
    """
    codes = find_codes(outputs)
    reasons: dict[int, list[Reason]] = {}
    for row in np.flatnonzero(codes).tolist():
        bits = int(codes[row])
        found = []
        if bits & _CRITICAL:
            found += [
                _describe_critical(place, float(biomarkers[row, place]), critical_limits)
                for place in np.flatnonzero(outputs["critical"][row]).tolist()
            ]
        if bits & _AGE:
            found.append(_describe_age(float(age[row]), fitted_ages))
        if bits & _NOTHING:
            found.append(_NOTHING_KNOWN)
        if bits & _UNLIKE:
            found.append(_UNLIKE_FITTED)
        reasons[row] = found
    return reasons


def find_limit_problems(limits: Mapping[str, Any]) -> list[str]:
    """List what is wrong with the critical limits of a model's description."""

    def is_usable(pair: object) -> bool:
        return (
            isinstance(pair, list)
            and len(pair) == 2
            and all(end is None or isinstance(end, (int, float)) for end in pair)
        )

    return [
        f"critical_limits.{name} must be two numbers, or null where there is no limit"
        for name in NAMES
        if not is_usable(limits.get(name))
    ]


def _describe_critical(place: int, value: float, limits: CriticalLimits) -> Reason:
    biomarker = PANEL[place]
    low, high = limits[NAMES[place]]
    # The nearer limit: these are rounded, and the graph has compared with the exact ones.
    is_low = high is None or (low is not None and value < (low + high) / 2)
    limit, side = (low, "below") if is_low else (high, "above")
    return Reason(
        "critical_value",
        biomarker.name,
        f"{biomarker.label} {value:.6g} {biomarker.unit} is {side} {limit:.6g} {biomarker.unit}. "
        "Such a value needs a doctor, not a calculator: show it to one soon, if none has seen it.",
    )


def _describe_age(age: float, fitted_ages: tuple[float, float]) -> Reason:
    low, high = fitted_ages
    return Reason(
        "age_outside_fitted",
        "age",
        f"Age {age:.6g} is outside {low:g} to {high:g} years, the ages of the people the model "
        "was fitted on. At this age its answer would be a guess.",
    )


_NOTHING_KNOWN = Reason(
    "nothing_known",
    "biomarkers",
    "No biomarker is given, so there is nothing to compute an age from. Give at least one.",
)
_UNLIKE_FITTED = Reason(
    "unlike_fitted",
    "biomarkers",
    "The values together are unlike those of anybody the model was fitted on. Check each value "
    "and its unit. If they are right, ask a doctor what they mean.",
)
