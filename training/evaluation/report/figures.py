"""The report's figures, each an SVG drawn from the evaluation's JSON alone."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

Json = dict[str, Any]

# Okabe and Ito's colours, which people who are colour-blind can tell apart.
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
"""What stands for each colour on a dark page."""

# Any: matplotlib names each key of its settings in a type.
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


class Drawn(NamedTuple):
    """A figure as data URIs, for a light page and a dark one."""

    light: str
    dark: str


def encode(figure: Figure) -> Drawn:
    """A figure as data URIs, the same bytes each time."""
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
    """Every figure that this evaluation has the figures for, by name."""
    with mpl.rc_context(_STYLE):
        drawn = {
            "discrimination": draw_discrimination(evaluation),
            "calibration": draw_calibration(evaluation["calibration"]),
            "smoothed": draw_smoothed(evaluation["smoothed"]),
            "decisions": draw_decisions(evaluation["decisions"]),
            "survival": draw_survival(evaluation["survival"]),
            "gap": draw_gap(evaluation["gap"]),
            "shapes": draw_shapes(evaluation["shapes"]),
            "contributions": draw_contributions(evaluation["contributions"]),
            "missing": draw_missing(evaluation["missing"]),
        }
        return {name: encode(figure) for name, figure in drawn.items() if figure is not None}


def _draw_interval(
    axes: Axes, figure: Json, place: float, colour: str, label: str | None, *, marker: str = "o"
) -> None:
    axes.plot([figure["low"], figure["high"]], [place, place], color=colour, lw=1.4)
    axes.plot(figure["value"], place, marker, color=colour, ms=5, label=label)


def draw_discrimination(evaluation: Json) -> Figure:
    """C by group: the model, age and sex, and PhenoAge where it is known."""
    clocks = evaluation["clocks"].get("phenoage", {})
    other = {row["group"]: row for row in clocks.get("groups", ())}
    rows = [row for row in evaluation["c_index"] if row["shown"]]
    figure = Figure(figsize=(7.2, 0.42 * len(rows) + 0.9))
    axes = figure.subplots()
    for place, row in enumerate(rows):
        label = None if place else ""
        _draw_interval(
            axes,
            row["c"]["mortality_10y"],
            place - 0.22,
            BLUE,
            "HENAW, 10-year risk" if label is not None else None,
        )
        compared = other.get(row["group"], {"shown": False})
        if compared["shown"]:
            _draw_interval(
                axes,
                compared["c"]["phenoage"],
                place,
                ORANGE,
                "PhenoAge" if label is not None else None,
                marker="s",
            )
        _draw_interval(
            axes,
            row["c"]["age_sex"],
            place + 0.22,
            GREY,
            "age and sex (Cox)" if label is not None else None,
            marker="D",
        )
    axes.set_yticks(range(len(rows)), [_name_group(row["group"]) for row in rows])
    axes.axvline(0.5, color=INK, lw=0.6, ls=":")
    axes.set_xlabel("C-index for death within 10 years (95 % bootstrap interval)")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, 1.1), ncols=3)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    return figure


def _name_group(group: str) -> str:
    return "all ages" if group == "all" else group


def draw_calibration(calibration: Json) -> Figure | None:
    """Observed against expected risk by groups of rising risk, on logarithmic axes."""
    if not calibration["shown"]:
        return None
    panels = {"all causes": calibration["all_causes"], **calibration["by_cause"]}
    panels = {name: panel for name, panel in panels.items() if panel["shown"]}
    rows = math.ceil(len(panels) / 3)
    figure = Figure(figsize=(9.6, 3.2 * rows))
    grid = np.atleast_1d(figure.subplots(rows, min(3, len(panels)))).ravel()
    for axes, (name, panel) in zip(grid, panels.items(), strict=False):
        groups = panel["by_risk"] or [panel["overall"]]
        expected = [group["expected"] for group in groups]
        observed = [group["observed"]["value"] for group in groups]
        low = [group["observed"]["low"] for group in groups]
        high = [group["observed"]["high"] for group in groups]
        least = max(1e-4, 0.6 * min([*expected, *low]))
        most = min(1.0, 1.5 * max([*expected, *high]))
        axes.plot([least, most], [least, most], color=GREY, lw=0.8, ls="--")
        axes.vlines(expected, np.maximum(low, least), high, color=BLUE, lw=1.4)
        axes.plot(expected, observed, "o", color=BLUE, ms=4.5)
        axes.set(xscale="log", yscale="log", xlim=(least, most), ylim=(least, most))
        _format_percent(axes, least, most)
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
        axes.set_xlabel("expected, %")
        axes.set_ylabel("observed, %")
    for axes in grid[len(panels) :]:
        axes.set_visible(False)
    figure.tight_layout()
    return figure


def draw_smoothed(smoothed: Json) -> Figure | None:
    """The smooth calibration curve with its band, on logarithmic axes."""
    if not smoothed["shown"]:
        return None
    expected = np.array(smoothed["expected"])
    observed, low, high = (np.array(smoothed[key]) for key in ("observed", "low", "high"))
    least = max(1e-4, 0.7 * float(expected.min()))
    most = min(1.0, 1.3 * float(expected.max()))
    figure = Figure(figsize=(5.2, 4.4))
    axes = figure.subplots()
    axes.plot([least, most], [least, most], color=GREY, lw=0.8, ls="--", label="ideal")
    axes.fill_between(expected, np.maximum(low, least), np.minimum(high, most), color=BLUE,
                      alpha=0.2, lw=0, label="95 % band")  # fmt: skip
    axes.plot(expected, observed, color=BLUE, lw=1.8, label="observed, smoothed")
    axes.set(xscale="log", yscale="log", xlim=(least, most), ylim=(least, most))
    _format_percent(axes, least, most)
    axes.set_xlabel("expected, %")
    axes.set_ylabel("observed, %")
    axes.legend(loc="upper left")
    return figure


def draw_decisions(decisions: Json) -> Figure | None:
    """Net benefit by the risk at which one acts, as deaths met per 1 000 people."""
    if not decisions["shown"]:
        return None
    rows = decisions["rows"]
    places = np.arange(len(rows))
    figure = Figure(figsize=(6.4, 3.4))
    axes = figure.subplots()
    axes.axhline(0, color=INK, lw=0.8, label="act on nobody")
    curves = {
        "act on everybody": ([row["everybody"] for row in rows], INK, ":", None),
        "age and sex": ([row["net_benefit"]["age_sex"] for row in rows], ORANGE, "--", "D"),
        "HENAW": ([row["net_benefit"]["mortality_10y"] for row in rows], BLUE, "-", "o"),
    }
    most = 0.0
    for name, (values, colour, line, marker) in curves.items():
        benefit = 1000 * np.array(values, np.float64)
        axes.plot(places, benefit, color=colour, ls=line, marker=marker, ms=4, lw=1.6, label=name)
        most = max(most, float(np.nanmax(benefit, initial=0.0)))
    axes.set_ylim(-0.15 * most - 1.0, 1.1 * most + 1.0)
    axes.set_xticks(places, [f"{100 * row['threshold']:g}" for row in rows])
    axes.set_xlabel("10-year risk at which one acts, %")
    axes.set_ylabel("net benefit per 1 000 people")
    axes.legend(loc="upper right")
    return figure


def _format_percent(axes: Axes, least: float, most: float) -> None:
    ticks = [
        tick
        for tick in (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
        if least <= tick <= most
    ]
    labels = [f"{100 * tick:g}" for tick in ticks]
    axes.set_xticks(ticks, labels)
    axes.set_yticks(ticks, labels)
    axes.minorticks_off()


def draw_survival(survival: Json) -> Figure | None:
    """Survival by third of the gap."""
    if not survival["shown"]:
        return None
    figure = Figure(figsize=(6.4, 3.6))
    axes = figure.subplots()
    lowest = 1.0
    colours = {"slow": GREEN, "normal": GREY, "accelerated": ORANGE}
    for name, curve in survival["curves"].items():
        percent = [100 * value for value in curve["survival"]]
        axes.plot(curve["years"], percent, color=colours[name], lw=1.8, marker="o", ms=3)
        axes.fill_between(
            curve["years"],
            [100 * value for value in curve["low"]],
            [100 * value for value in curve["high"]],
            color=colours[name],
            alpha=0.18,
            lw=0,
        )
        axes.annotate(
            name, (curve["years"][-1], percent[-1]), xytext=(6, -3), textcoords="offset points",
            color=colours[name], fontweight="bold",
        )  # fmt: skip
        lowest = min(lowest, *curve["low"])
    axes.set(xlabel="years from the blood draw", ylabel="alive, %")
    axes.set_ylim(max(0.0, 100 * lowest - 5), 100.5)
    axes.set_xlim(0, None)
    return figure


def draw_gap(gap: Json) -> Figure:
    """Mean gap by decade with its interval, and the spread of people."""
    figure = Figure(figsize=(6.4, 2.9))
    axes = figure.subplots()
    rows = gap["by_decade"]
    places = np.arange(len(rows))
    means = np.array([row["mean"]["value"] for row in rows])
    spread = np.array([row["standard_deviation"] for row in rows])
    axes.axhspan(-0.3, 0.3, color=GREEN, alpha=0.25, lw=0, label="within 0.3 years of 0")
    axes.vlines(places, means - spread, means + spread, color=GREY, lw=5, alpha=0.4,
                label="mean ± 1 standard deviation of people")  # fmt: skip
    low = [row["mean"]["low"] for row in rows]
    high = [row["mean"]["high"] for row in rows]
    axes.vlines(places, low, high, color=BLUE, lw=1.6)
    axes.plot(places, means, "o", color=BLUE, ms=5, label="mean, 95 % interval")
    axes.set_xticks(places, [row["ages"] for row in rows])
    axes.set(xlabel="age, years", ylabel="age gap, years")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, 1.2), ncols=3)
    return figure


def draw_shapes(shapes: Sequence[Json]) -> Figure:
    """Years against value, one panel a biomarker."""
    columns = 3
    rows = -(-len(shapes) // columns)
    figure = Figure(figsize=(9.6, 2.5 * rows))
    grid = figure.subplots(rows, columns).ravel()
    colours = dict(zip((35.0, 55.0, 75.0), (GREEN, BLUE, ORANGE), strict=True))
    for axes, shape in zip(grid, shapes, strict=False):
        for curve in shape["curves"]:
            dashed = curve["sex"] == "male"
            axes.plot(
                curve["values"],
                curve["years"],
                color=colours[curve["age"]],
                ls="--" if dashed else "-",
                lw=1.2,
            )
            axes.plot(
                curve["median"],
                np.interp(curve["median"], curve["values"], curve["years"]),
                "o",
                color=colours[curve["age"]],
                mfc=PAPER if dashed else colours[curve["age"]],
                ms=4,
            )
        axes.axhline(0, color=INK, lw=0.6, ls=":")
        if shape["log_axis"]:
            axes.set_xscale("log")
            least = min(min(curve["values"]) for curve in shape["curves"])
            most = max(max(curve["values"]) for curve in shape["curves"])
            ticks = _choose_ticks(least, most)
            axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
            axes.minorticks_off()
        axes.set_title(shape["label"])
        axes.set_xlabel(shape["unit"] or "ratio")
        axes.set_ylabel("years")
    for axes in grid[len(shapes) :]:
        axes.set_axis_off()
    legend = grid[-1]
    for age, colour in colours.items():
        legend.plot([], [], color=colour, label=f"age {age:g}")
    legend.plot([], [], color=INK, label="women")
    legend.plot([], [], color=INK, ls="--", label="men")
    legend.plot([], [], "o", color=INK, label="median of that age and sex")
    legend.legend(loc="center left", fontsize=9)
    figure.tight_layout()
    return figure


def _choose_ticks(least: float, most: float) -> list[float]:
    """About four round numbers over a range that is drawn on a logarithmic axis."""
    steps = np.array([1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 7, 8])
    round_numbers = np.concatenate([steps * 10.0**power for power in range(-3, 5)])
    ticks: list[float] = []
    for target in np.geomspace(least * 1.1, most / 1.1, 4):
        tick = float(round_numbers[np.abs(np.log(round_numbers / target)).argmin()])
        if tick not in ticks and least <= tick <= most:
            ticks.append(tick)
    return ticks


def draw_contributions(contributions: Sequence[Json]) -> Figure:
    """Mean size of each contribution, and the range of nine people in ten."""
    rows = sorted(contributions, key=lambda row: row["mean_size"])
    figure = Figure(figsize=(7.2, 0.3 * len(rows) + 0.8))
    axes = figure.subplots()
    places = np.arange(len(rows))
    axes.barh(places, [row["mean_size"] for row in rows], color=BLUE, height=0.55, alpha=0.85,
              label="mean size")  # fmt: skip
    axes.hlines(places, [row["low"] for row in rows], [row["high"] for row in rows], color=INK,
                lw=1.2, label="5 % to 95 % of people")  # fmt: skip
    axes.axvline(0, color=INK, lw=0.6)
    axes.set_yticks(places, [row["name"].replace("_", " ") for row in rows])
    axes.set_xlabel("years")
    axes.legend(loc="lower right")
    return figure


def draw_missing(missing: Sequence[Json]) -> Figure:
    """C lost with each biomarker missing."""
    figure = Figure(figsize=(7.2, 3.1))
    axes = figure.subplots()
    for place, row in enumerate(missing):
        _draw_interval(axes, row["loss"], place, BLUE, None if place else "imputed by the model")
        filled = row["loss"]["value"] + row["gain"]["value"]
        axes.plot(filled, place, "D", mfc=PAPER, color=ORANGE, ms=5,
                  label=None if place else "median of the age and sex")  # fmt: skip
    axes.axvline(0, color=INK, lw=0.6, ls=":")
    axes.set_yticks(range(len(missing)), [row["biomarker"].replace("_", " ") for row in missing])
    axes.invert_yaxis()
    axes.set_xlabel("loss of C-index when the biomarker is missing")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, 1.14), ncols=2)
    return figure
