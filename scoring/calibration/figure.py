"""A figure of a laboratory's values and the fitted people's, before and after calibration."""

from __future__ import annotations

import html
import io
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from henaw.model.biomarkers import PANEL
from henaw.model.distribution import suggest_install
from henaw.model.errors import RuntimeUnavailableError, ScoringError
from henaw.model.files import write_whole
from henaw.scoring.calibration.findings import Calibration, list_lines

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SUFFIXES = (".png", ".html")
_EDGES = np.linspace(-4.0, 4.0, 33)
_FITTED, _BEFORE, _AFTER = "#777777", "#b2182b", "#2166ac"
_COLUMNS = 3


def check_figure(path: Path) -> None:
    """Check the name of a figure before any work is done.

    Raises:
        ScoringError: it ends in neither .png nor .html.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise ScoringError(str(path), [f"the name must end in {' or '.join(SUFFIXES)}"])


def write_figure(calibration: Calibration, path: Path) -> None:
    """Draw the distributions into a PNG, or into an HTML file with the findings below.

    Raises:
        ScoringError: the name ends in neither .png nor .html.
        RuntimeUnavailableError: matplotlib is not installed.
    """
    check_figure(path)
    figure = draw_calibration(calibration)
    drawn = io.BytesIO()
    if path.suffix.lower() == ".png":
        figure.savefig(drawn, format="png", dpi=120)
        write_whole(path, drawn.getvalue())
        return
    figure.savefig(drawn, format="svg", metadata={"Date": None})
    picture = drawn.getvalue().decode()
    title = html.escape(f"Calibration of {calibration.profile.name}")
    rows = "".join(f"<li>{html.escape(line)}</li>" for line in list_lines(calibration)[1:])
    notes = "".join(f"<p>{html.escape(note)}.</p>" for note in calibration.notes)
    page = (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>'
        f"<body><h1>{title}</h1>{picture[picture.index('<svg') :]}<ul>{rows}</ul>{notes}"
        "</body></html>\n"
    )
    write_whole(path, page.encode())


def draw_calibration(calibration: Calibration) -> Figure:
    """Draw one panel for each biomarker.

    Raises:
        RuntimeUnavailableError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise RuntimeUnavailableError(
            f"a figure needs matplotlib: {suggest_install('plot')}"
        ) from error

    figure = Figure(figsize=(11, 9), layout="constrained")
    panels = figure.subplots(-(-len(PANEL) // _COLUMNS), _COLUMNS, squeeze=False).ravel()
    for axes in panels[len(PANEL) :]:
        axes.set_visible(False)
    middles = (_EDGES[1:] + _EDGES[:-1]) / 2
    for place, (axes, finding) in enumerate(
        zip(panels[: len(PANEL)], calibration.findings, strict=True)
    ):
        below = np.interp(_EDGES, calibration.expected[place], calibration.shares, 0.0, 1.0)
        axes.fill_between(middles, np.diff(below), color=_FITTED, alpha=0.35, label="fitted people")
        for values, color, style, words in (
            (calibration.before, _BEFORE, "--", "laboratory, as read"),
            (calibration.after, _AFTER, "-", "laboratory, shift subtracted"),
        ):
            known = values[np.isfinite(values[:, place]), place]
            if len(known):
                counts, _ = np.histogram(known, _EDGES)
                axes.plot(middles, counts / len(known), color=color, linestyle=style, label=words)
        axes.set_title(PANEL[place].label, loc="left", fontsize=10)
        said = (
            "no shift"
            if finding.why_not is not None
            else f"{finding.shift:+.2g} {finding.unit}\n(+-{finding.standard_error:.1g})"
        )
        axes.annotate(
            said, (0.98, 0.95), xycoords="axes fraction", ha="right", va="top", fontsize=9
        )
        axes.set_yticks([])
        axes.spines[["top", "right", "left"]].set_visible(False)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False)
    figure.suptitle(
        f"{calibration.profile.name}: standard deviations from the median of people of the same "
        "age and sex",
        fontsize=11,
    )
    return figure
