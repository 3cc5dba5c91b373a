"""The report's figures, each an SVG drawn from the evaluation's JSON alone."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from henaw.training.evaluation.comparison import SCORES
from henaw.training.evaluation.measures.stratification import THIRDS
from henaw.training.evaluation.shapes import AGES_YEARS
from matplotlib.axes import Axes
from matplotlib.figure import Figure

Json = dict[str, Any]

# Okabe and Ito's colours, which people with colour blindness can tell apart.
BLUE, ORANGE, GREEN, GREY, INK = "#0072B2", "#D55E00", "#009E73", "#8c8c8c", "#222222"
PAPER = "#ffffff"
DARK: dict[str, str] = {
    BLUE: "#56b4e9",
    ORANGE: "#f0a050",
    GREEN: "#2fc99b",
    GREY: "#a0a0a0",
    INK: "#e8e8e8",
    PAPER: "#16191d",
}
"""The colour that replaces each one on a dark page."""

# Any: matplotlib's type of settings lists every key.
_STYLE: Any = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "savefig.transparent": True,
    "axes.linewidth": 0.8,
    "axes.titlesize": 9,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "legend.frameon": False,
    "legend.fontsize": 8,
    # Glyphs as paths: the page looks the same on a machine without the font.
    "svg.fonttype": "path",
    "svg.hashsalt": "henaw",
}
_PERCENT_TICKS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
_ROUND_STEPS = (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 7, 8)


class Drawn(NamedTuple):
    """A figure as data URIs, for a light page and a dark one."""

    light: str
    dark: str


def encode(figure: Figure) -> Drawn:
    """Encode a figure as data URIs; the same figure gives the same bytes."""
    buffer = io.BytesIO()
    figure.savefig(
        buffer,
        format="svg",
        bbox_inches="tight",
        metadata={"Date": None, "Creator": None, "Format": None, "Type": None},
    )
    light = dark = buffer.getvalue().decode("utf-8")
    for colour, other in DARK.items():
        dark = dark.replace(colour.lower(), other)
    return Drawn(*(_as_uri(text) for text in (light, dark)))


def _as_uri(svg: str) -> str:
    return "data:image/svg+xml;base64," + base64.b64encode(svg.encode()).decode("ascii")


def draw_figures(evaluation: Json) -> dict[str, Drawn]:
    """Draw every figure that the evaluation has data for, by name."""
    with mpl.rc_context(_STYLE):
        drawn = {
            "discrimination": draw_discrimination(evaluation),
            "gap": draw_gap(evaluation["gap"]),
            "shapes": draw_shapes(evaluation["shapes"]),
            "contributions": draw_contributions(evaluation["contributions"]),
            "missing": draw_missing(evaluation["missing"]),
        }
        for name, draw in {
            "calibration": draw_calibration,
            "smoothed": draw_smoothed,
            "decisions": draw_decisions,
            "survival": draw_survival,
        }.items():
            if evaluation[name]["shown"]:
                drawn[name] = draw(evaluation[name])
        return {name: encode(figure) for name, figure in drawn.items()}


def _start(width: float, height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height))
    return figure, figure.subplots()


def _get_columns(rows: Sequence[Json], *keys: str) -> list[npt.NDArray[np.float64]]:
    """The numbers under each key, in the order of the rows; None becomes NaN."""
    return [np.array([row[key] for row in rows], np.float64) for key in keys]


def _draw_interval(
    axes: Axes, figure: Json, place: float, colour: str, label: str | None, *, marker: str = "o"
) -> None:
    axes.plot([figure["low"], figure["high"]], [place, place], color=colour, lw=1.4)
    axes.plot(figure["value"], place, marker, color=colour, ms=5, label=label)


def draw_discrimination(evaluation: Json) -> Figure:
    """C by group: the model, age and sex, and PhenoAge where it is known."""
    clocks = evaluation["clocks"].get("phenoage", {})
    other = {row["group"]: row["c"] for row in clocks.get("groups", ()) if row["shown"]}
    rows = [row for row in evaluation["c_index"] if row["shown"]]
    figure, axes = _start(7.2, 0.42 * len(rows) + 0.9)
    for place, row in enumerate(rows):
        # Of both sources, the model's own C is that of everyone.
        c = other.get(row["group"], {}) | row["c"]
        for score, shift, colour, marker in (
            ("mortality_10y", -0.22, BLUE, "o"),
            ("phenoage", 0.0, ORANGE, "s"),
            ("age_sex", 0.22, GREY, "D"),
        ):
            if score in c:
                label = None if place else SCORES[score]
                _draw_interval(axes, c[score], place + shift, colour, label, marker=marker)
    names = ["all ages" if row["group"] == "all" else row["group"] for row in rows]
    axes.set_yticks(range(len(rows)), names)
    axes.axvline(0.5, color=INK, lw=0.6, ls=":")
    axes.set_xlabel("C-index for death within 10 years (95 % bootstrap interval)")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, 1.1), ncols=3)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    return figure


def draw_calibration(calibration: Json) -> Figure:
    """Observed against expected risk by groups of rising risk, on logarithmic axes."""
    panels = {"all causes": calibration["all_causes"], **calibration["by_cause"]}
    panels = {name: panel for name, panel in panels.items() if panel["shown"]}
    rows = math.ceil(len(panels) / 3)
    figure = Figure(figsize=(9.6, 3.2 * rows))
    grid = np.atleast_1d(figure.subplots(rows, min(3, len(panels)))).ravel()
    for axes, (name, panel) in zip(grid, panels.items(), strict=False):
        groups = panel["by_risk"] or [panel["overall"]]
        (expected,) = _get_columns(groups, "expected")
        observed, low, high = _get_columns(
            [group["observed"] for group in groups], "value", "low", "high"
        )
        least = max(1e-4, 0.6 * min(expected.min(), low.min()))
        most = min(1.0, 1.5 * max(expected.max(), high.max()))
        axes.plot([least, most], [least, most], color=GREY, lw=0.8, ls="--")
        axes.vlines(expected, np.maximum(low, least), high, color=BLUE, lw=1.4)
        axes.plot(expected, observed, "o", color=BLUE, ms=4.5)
        _label_risks(axes, least, most)
        ratio, slope = panel["overall"]["ratio"], panel["slope"]
        axes.set_title(name)
        axes.text(
            0.04,
            0.96,
            f"O/E {ratio['value']:.2f} ({ratio['low']:.2f}-{ratio['high']:.2f})\n"
            f"slope {slope['value']:.2f} ({slope['low']:.2f}-{slope['high']:.2f})",
            transform=axes.transAxes,
            va="top",
            fontsize=8,
        )
    for axes in grid[len(panels) :]:
        axes.set_visible(False)
    figure.tight_layout()
    return figure


def draw_smoothed(smoothed: Json) -> Figure:
    """The smooth calibration curve with its band, on logarithmic axes."""
    expected, observed, low, high = (
        np.array(smoothed[key]) for key in ("expected", "observed", "low", "high")
    )
    least = max(1e-4, 0.7 * float(expected.min()))
    most = min(1.0, 1.3 * float(expected.max()))
    figure, axes = _start(5.2, 4.4)
    axes.plot([least, most], [least, most], color=GREY, lw=0.8, ls="--", label="ideal")
    axes.fill_between(expected, np.maximum(low, least), np.minimum(high, most), color=BLUE,
                      alpha=0.2, lw=0, label="95 % band")  # fmt: skip
    axes.plot(expected, observed, color=BLUE, lw=1.8, label="observed, smoothed")
    _label_risks(axes, least, most)
    axes.legend(loc="upper left")
    return figure


def _label_risks(axes: Axes, least: float, most: float) -> None:
    """Give both axes the same logarithmic scale of risks, in percent."""
    axes.set(xscale="log", yscale="log", xlim=(least, most), ylim=(least, most))
    ticks = [tick for tick in _PERCENT_TICKS if least <= tick <= most]
    labels = [f"{100 * tick:g}" for tick in ticks]
    axes.set_xticks(ticks, labels)
    axes.set_yticks(ticks, labels)
    axes.minorticks_off()
    axes.set(xlabel="expected, %", ylabel="observed, %")


def draw_decisions(decisions: Json) -> Figure:
    """Net benefit per 1 000 people, by the risk from which one acts."""
    rows = decisions["rows"]
    places = np.arange(len(rows))
    figure, axes = _start(6.4, 3.4)
    axes.axhline(0, color=INK, lw=0.8, label="act on no one")
    (everybody,) = _get_columns(rows, "everybody")
    by_age_sex, henaw = _get_columns(
        [row["net_benefit"] for row in rows], "age_sex", "mortality_10y"
    )
    most = 0.0
    for name, values, colour, line, marker in (
        ("act on everyone", everybody, INK, ":", None),
        ("age and sex", by_age_sex, ORANGE, "--", "D"),
        ("HENAW", henaw, BLUE, "-", "o"),
    ):
        benefit = 1000 * values
        axes.plot(places, benefit, color=colour, ls=line, marker=marker, ms=4, lw=1.6, label=name)
        most = max(most, float(np.nanmax(benefit, initial=0.0)))
    axes.set_ylim(-0.15 * most - 1.0, 1.1 * most + 1.0)
    axes.set_xticks(places, [f"{100 * row['threshold']:g}" for row in rows])
    axes.set(xlabel="10-year risk from which one acts, %", ylabel="net benefit per 1 000 people")
    axes.legend(loc="upper right")
    return figure


def draw_survival(survival: Json) -> Figure:
    """Survival by third of the gap."""
    figure, axes = _start(6.4, 3.6)
    lowest = 100.0
    for name, colour in zip(THIRDS, (GREEN, GREY, ORANGE), strict=True):
        curve = survival["curves"][name]
        years = curve["years"]
        percent, low, high = (100 * np.array(curve[key]) for key in ("survival", "low", "high"))
        axes.plot(years, percent, color=colour, lw=1.8, marker="o", ms=3)
        axes.fill_between(years, low, high, color=colour, alpha=0.18, lw=0)
        axes.annotate(
            name, (years[-1], percent[-1]), xytext=(6, -3), textcoords="offset points",
            color=colour, fontweight="bold",
        )  # fmt: skip
        lowest = min(lowest, float(low.min()))
    axes.set(xlabel="years from the blood draw", ylabel="alive, %")
    axes.set_ylim(max(0.0, lowest - 5), 100.5)
    axes.set_xlim(0, None)
    return figure


def draw_gap(gap: Json) -> Figure:
    """Mean gap by decade of age with its interval, and the spread between people."""
    figure, axes = _start(6.4, 2.9)
    rows = gap["by_decade"]
    places = np.arange(len(rows))
    (spread,) = _get_columns(rows, "standard_deviation")
    means, low, high = _get_columns([row["mean"] for row in rows], "value", "low", "high")
    axes.axhspan(-0.3, 0.3, color=GREEN, alpha=0.25, lw=0, label="within 0.3 years of 0")
    axes.vlines(places, means - spread, means + spread, color=GREY, lw=5, alpha=0.4,
                label="mean ± 1 standard deviation of people")  # fmt: skip
    axes.vlines(places, low, high, color=BLUE, lw=1.6)
    axes.plot(places, means, "o", color=BLUE, ms=5, label="mean, 95 % interval")
    axes.set_xticks(places, [row["ages"] for row in rows])
    axes.set(xlabel="age, years", ylabel="age gap, years")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, 1.2), ncols=3)
    return figure


def draw_shapes(shapes: Sequence[Json]) -> Figure:
    """Years against value, one panel a biomarker, by age and sex."""
    columns = 3
    rows = -(-len(shapes) // columns)
    figure = Figure(figsize=(9.6, 2.5 * rows))
    grid = figure.subplots(rows, columns).ravel()
    colours = dict(zip(AGES_YEARS, (GREEN, BLUE, ORANGE), strict=True))
    for axes, shape in zip(grid, shapes, strict=False):
        for curve in shape["curves"]:
            is_male, colour = curve["sex"] == "male", colours[curve["age"]]
            line = "--" if is_male else "-"
            axes.plot(curve["values"], curve["years"], color=colour, ls=line, lw=1.2)
            at_median = np.interp(curve["median"], curve["values"], curve["years"])
            filling = PAPER if is_male else colour
            axes.plot(curve["median"], at_median, "o", color=colour, mfc=filling, ms=4)
        axes.axhline(0, color=INK, lw=0.6, ls=":")
        if shape["log_axis"]:
            axes.set_xscale("log")
            values = np.concatenate([curve["values"] for curve in shape["curves"]])
            ticks = _choose_ticks(float(values.min()), float(values.max()))
            axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
            axes.minorticks_off()
        axes.set_title(shape["label"])
        axes.set(xlabel=shape["unit"] or "ratio", ylabel="years")
    for axes in grid[len(shapes) :]:
        axes.set_axis_off()
    legend = grid[-1]
    for age, colour in colours.items():
        legend.plot([], [], color=colour, label=f"age {age:g}")
    legend.plot([], [], color=INK, label="women")
    legend.plot([], [], color=INK, ls="--", label="men")
    legend.plot([], [], "o", color=INK, label="median at that age and sex")
    legend.legend(loc="center left", fontsize=9)
    figure.tight_layout()
    return figure


def _choose_ticks(least: float, most: float) -> list[float]:
    """About four round numbers over the range of a logarithmic axis."""
    round_numbers = np.concatenate([np.array(_ROUND_STEPS) * 10.0**n for n in range(-3, 5)])
    ticks: list[float] = []
    for target in np.geomspace(least * 1.1, most / 1.1, 4):
        tick = float(round_numbers[np.abs(np.log(round_numbers / target)).argmin()])
        if tick not in ticks and least <= tick <= most:
            ticks.append(tick)
    return ticks


def draw_contributions(contributions: Sequence[Json]) -> Figure:
    """Mean size of each contribution, and the range of 90 % of people."""
    rows = sorted(contributions, key=lambda row: row["mean_size"])
    figure, axes = _start(7.2, 0.3 * len(rows) + 0.8)
    places = np.arange(len(rows))
    size, low, high = _get_columns(rows, "mean_size", "low", "high")
    axes.barh(places, size, color=BLUE, height=0.55, alpha=0.85, label="mean size")
    axes.hlines(places, low, high, color=INK, lw=1.2, label="5 % to 95 % of people")
    axes.axvline(0, color=INK, lw=0.6)
    axes.set_yticks(places, [row["name"].replace("_", " ") for row in rows])
    axes.set_xlabel("years")
    axes.legend(loc="lower right")
    return figure


def draw_missing(missing: Sequence[Json]) -> Figure:
    """C lost with each biomarker missing."""
    figure, axes = _start(7.2, 3.1)
    for place, row in enumerate(missing):
        _draw_interval(axes, row["loss"], place, BLUE, None if place else "imputed by the model")
        at_median = row["loss"]["value"] + row["gain"]["value"]
        axes.plot(at_median, place, "D", mfc=PAPER, color=ORANGE, ms=5,
                  label=None if place else "median for the age and sex")  # fmt: skip
    axes.axvline(0, color=INK, lw=0.6, ls=":")
    axes.set_yticks(range(len(missing)), [row["biomarker"].replace("_", " ") for row in missing])
    axes.invert_yaxis()
    axes.set_xlabel("loss of C-index when the biomarker is missing")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, 1.14), ncols=2)
    return figure
