"""A figure of one person's biological age, biomarker by biomarker."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from henaw.model.configuration import TYPICAL_VALUES
from henaw.model.distribution import suggest_install
from henaw.model.errors import RuntimeUnavailableError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_LABEL_WIDTH = 36
"""Characters in a line of a label."""
_ROW_INCHES = 0.42

_OLDER, _YOUNGER, _WHOLE = "#b2182b", "#2166ac", "#444444"


def draw_waterfall(
    answer: Mapping[str, Any], parts: Sequence[Mapping[str, Any]], *, age: float, sex: str
) -> Figure:
    """Draw the steps from age to biological age, sorted by their years.

    Args:
        answer: the person's row of ``Henaw.predict``.
        parts: the person's rows of ``Henaw.explain``.
        age: years.
        sex: female or male.

    Raises:
        RuntimeUnavailableError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise RuntimeUnavailableError(
            f"a plot needs matplotlib: {suggest_install('plot')}"
        ) from error

    ordered = sorted(parts, key=lambda part: part["years"])
    # Not by pyplot, which keeps every figure in memory and may need a screen.
    figure = Figure(figsize=(8, 1 + _ROW_INCHES * (len(ordered) + 1)), layout="constrained")
    axes = figure.subplots()
    start = age
    for place, part in enumerate(ordered):
        years = part["years"]
        color = _OLDER if years > 0 else _YOUNGER
        axes.barh(place, years, left=start, color=color, height=0.7)
        axes.annotate(
            f"{years:+.1f}",
            (max(start, start + years), place),
            (4, 0),
            textcoords="offset points",
            va="center",
        )
        start += years
    biological_age = answer["biological_age"]
    low, high = answer["interval_low"], answer["interval_high"]
    axes.errorbar(
        biological_age,
        len(ordered),
        xerr=[[biological_age - low], [high - biological_age]],
        fmt="o",
        color=_WHOLE,
        capsize=4,
    )
    labels = [_write_label(part) for part in ordered]
    axes.set_yticks(range(len(ordered) + 1), [*labels, "Biological age, 90 % interval"])
    axes.axvline(age, color=_WHOLE, linewidth=0.8, linestyle="--")
    axes.use_sticky_edges = False
    axes.margins(x=0.06)
    axes.set_xlabel("years")
    axes.set_title(
        f"{sex.capitalize()} of {age:.4g}, biological age {biological_age:.1f} "
        f"({low:.1f} to {high:.1f})" + ("" if answer["reliable"] else ", not reliable"),
        loc="left",
    )
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def _write_label(part: Mapping[str, Any]) -> str:
    if part["name"] == TYPICAL_VALUES:
        return textwrap.fill(part["label"], _LABEL_WIDTH)
    if part["imputed"]:
        return f"{part['label']}, not measured"
    if part["value"] is None:
        return str(part["label"])
    return f"{part['label']}, {part['value']:.4g} {part['unit']}"
