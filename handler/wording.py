"""What a client is told about a wrong value: what it is, and what was probably meant."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from typing import Final

from henaw.model.biomarkers import Biomarker, suggest_name
from henaw.model.panel.units import Unit

LONGEST_ECHO: Final = 40
"""Characters of a client's own text that are repeated to it."""

_DECIMAL_COMMA = re.compile(r"\s*[-+]?\d+,\d+\s*")
_SAME = Unit(factor=1.0)


def describe_implausible(
    biomarker: Biomarker, value: float, *, given: str | None = None
) -> tuple[str, str | None]:
    """Say how ``value`` is out of range, and which unit it was probably in.

    Args:
        biomarker: which one.
        value: as given.
        given: the unit it was given in; None is the panel's.

    Returns:
        The message, and a hint where another unit would make the value plausible.

    Example:
        >>> from henaw.model.biomarkers import PANEL
        >>> describe_implausible(PANEL[2], 0.9)
        ('0.9 umol/L is outside 5 to 2000', 'as mg/dL it would be 79.6 umol/L: give the unit')
    """
    bounds = f"{biomarker.minimum:g} to {biomarker.maximum:g}"
    unit = _SAME if given is None else biomarker.find_unit(given)
    if unit == _SAME:
        message = f"{value:.10g} {biomarker.unit} is outside {bounds}"
    else:
        message = (
            f"{value:.10g} {given} is {unit.to_si(value):.6g} {biomarker.unit}, outside {bounds}"
        )
    return message, _hint_unit(biomarker, value, unit, explicit=given is not None)


def describe_type(value: object) -> tuple[str, str | None]:
    """Say that ``value`` is not a number, and how to write the number it looks like.

    Example:
        >>> describe_type("12,5")
        ('"12,5" is a string with a decimal comma', 'write 12.5')
    """
    if isinstance(value, str):
        text = value.strip()[:LONGEST_ECHO]
        if _DECIMAL_COMMA.fullmatch(value):
            return (
                f"{show_value(value)} is a string with a decimal comma",
                f"write {text.replace(',', '.')}",
            )
        if _is_number(value):
            return f"{show_value(value)} is a string", f"write {text} without the quotes"
    return f"expected a number, however: {show_value(value)}", None


def suggest(name: str, names: Iterable[str]) -> str | None:
    """Return the one of ``names`` that a misspelt or foreign name probably means.

    Example:
        >>> suggest("gamma-GT", ["ast", "ggt"])
        'ggt'
    """
    if len(name) > LONGEST_ECHO:
        return None
    return suggest_name(name, tuple(names))


def show_value(value: object) -> str:
    """Name a JSON value as JSON spells it, shortened.

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
    """Return a JSON number as a float, infinite where it is too large for one."""
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def _hint_unit(biomarker: Biomarker, value: float, seen: Unit, *, explicit: bool) -> str | None:
    for name in biomarker.units:
        unit = biomarker.find_unit(name)
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
