"""Words for a wrong value: what it must be, what it is, and what the client probably meant."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from typing import Final

from henaw.model.biomarkers import Biomarker, suggest_name
from henaw.model.panel.units import Unit

LONGEST_ECHO: Final = 40
"""Characters of the client's own text that a message repeats."""

_DECIMAL_COMMA = re.compile(r"\s*[-+]?\d+,\d+\s*")
_SAME = Unit(factor=1.0)


def describe_implausible(
    biomarker: Biomarker, value: float, *, given: str | None = None
) -> tuple[str, str | None]:
    """Say that ``value`` is out of range, and which unit it is probably in.

    Args:
        biomarker: the one that was measured.
        value: as given.
        given: the unit that came with it; None is the panel's.

    Returns:
        The message, and a hint where another unit makes the value plausible.

    Example:
        >>> from henaw.model.biomarkers import PANEL
        >>> message, hint = describe_implausible(PANEL[2], 0.9)
        >>> message
        'creatinine must be 5 to 2000 umol/L; got 0.9'
        >>> hint
        'as mg/dL it would be 79.6 umol/L: give the unit'
    """
    unit = _SAME if given is None else biomarker.find_unit(given)
    got = f"{value:.10g}"
    if unit != _SAME:
        got += f" {given}, which is {unit.to_si(value):.6g} {biomarker.unit}"
    message = (
        f"{biomarker.name} must be {biomarker.minimum:g} to {biomarker.maximum:g} "
        f"{biomarker.unit}; got {got}"
    )
    return message, _hint_unit(biomarker, value, unit, explicit=given is not None)


def describe_type(name: str, value: object) -> tuple[str, str | None]:
    """Say that ``value`` is not a number, and how to write the number that it looks like.

    Args:
        name: of the field.
        value: as decoded from JSON.

    Returns:
        The message, and a hint where the value looks like a number.

    Example:
        >>> describe_type("age", "54,5")
        ('age must be a number; got the string "54,5", which has a decimal comma', 'write 54.5')
    """
    got = show_value(value)
    if isinstance(value, str) and len(value) <= LONGEST_ECHO:
        text = value.strip()
        if _DECIMAL_COMMA.fullmatch(value):
            return (
                f"{name} must be a number; got the string {got}, which has a decimal comma",
                f"write {text.replace(',', '.')}",
            )
        if _is_number(value):
            return (
                f"{name} must be a number; got the string {got}",
                f"write {text} without the quotes",
            )
    return f"{name} must be a number; got {got}", None


def suggest(name: str, names: Iterable[str]) -> str | None:
    """Return the one of ``names`` that a misspelt or foreign name probably means; None if unclear.

    Example:
        >>> suggest("gamma-GT", ["ast", "ggt"])
        'ggt'
    """
    if len(name) > LONGEST_ECHO:
        return None
    return suggest_name(name, tuple(names))


def show_value(value: object) -> str:
    """Return a JSON value as JSON spells it, shortened.

    Example:
        >>> show_value(True), show_value("x" * 50)[-5:], show_value([])
        ('true', 'x"...', 'an array')
    """
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        shown = f'"{value[:LONGEST_ECHO]}"'
        return shown if len(value) <= LONGEST_ECHO else f"{shown}..."
    if isinstance(value, (int, float)):
        return f"{as_float(value):.10g}"
    return "an object" if isinstance(value, dict) else "an array"


def as_float(value: float) -> float:
    """Return a JSON number as a float, infinite where it is too large for one.

    Example:
        >>> as_float(10**400)
        inf
    """
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def _hint_unit(biomarker: Biomarker, value: float, seen: Unit, *, explicit: bool) -> str | None:
    for name, unit in ((biomarker.unit, _SAME), *biomarker.other_units.items()):
        si = unit.to_si(value)
        if unit != seen and biomarker.minimum <= si <= biomarker.maximum:
            shown = f"{si:.3g}" if si < 1000 else f"{si:.0f}"
            ask = "check the unit" if explicit else "give the unit"
            return f"as {name} it would be {shown} {biomarker.unit}: {ask}"
    return None


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False
