"""The figures of docs/science.md, drawn from the shipped model and from the model card.

    python docs/drawings.py docs/contributions.svg

writes the README's figure.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import henaw
import matplotlib as mpl
import numpy as np
import pandas as pd
from henaw.model.shipped import find_shipped
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

AGE_YEARS = 60
WOMEN, MEN, PLAIN = "#8e4585", "#2166ac", "#444444"
COLOURS = {"female": WOMEN, "male": MEN}
WORDS = {"female": "women", "male": "men"}
CARD = Path(__file__).with_name("model-card.md")
INTERVAL = re.compile(r"([-\d.]+) \(([-\d.]+) to ([-\d.]+)\)")

mpl.rcParams.update(
    {"font.size": 10, "axes.spines.top": False, "axes.spines.right": False, "figure.dpi": 130}
)
sidecar: dict[str, Any] = json.loads(find_shipped("henaw.json").read_text(encoding="utf-8"))
model = henaw.Henaw()


def draw_contributions() -> Figure:
    """One person's sum, biomarker by biomarker. The person is made up."""
    values = (4.8, 41.0, 71.0, 41.0, 24.0, 14.1, 38.0, 22.0, 24.0)
    names = [item["name"] for item in sidecar["panel"]]
    person = dict(zip(names, values, strict=True)) | {"age": 54, "sex": "female"}
    return model.plot(pd.DataFrame([person]))


def find_medians(sex: str, age: int = AGE_YEARS) -> dict[str, float]:
    """Each biomarker's median at an age, in the panel's units."""
    row = sidecar["reference"]["age"].index(age)
    return {item["name"]: sidecar["reference"][sex][item["name"]][row] for item in sidecar["panel"]}


def draw_curves() -> Figure:
    """Years that each value adds, for both sexes."""
    figure, grid = plt.subplots(3, 3, figsize=(8, 7), sharey=True, layout="constrained")
    for axes, item in zip(grid.flat, sidecar["panel"], strict=True):
        name = item["name"]
        low, high = find_shown_range(item)
        values = np.geomspace(low, high, 60) if item["log_scaled"] else np.linspace(low, high, 60)
        for sex, colour in COLOURS.items():
            middle = find_medians(sex)
            people = pd.DataFrame([middle] * len(values)).assign(age=AGE_YEARS, sex=sex)
            people[name] = values
            answers = model.predict(people, unreliable="keep", accept=["all"])
            at_median = model.predict({**middle, "age": AGE_YEARS, "sex": sex})
            years = answers["biological_age"] - at_median.biological_age
            axes.plot(values, years, color=colour, label=WORDS[sex])
        shade_usual(axes, item["reference"], low, high)
        if item["log_scaled"]:
            axes.set_xscale("log")
            axes.set_xticks(*label_ticks(low, high), minor=False)
            axes.minorticks_off()
        axes.axhline(0, color=PLAIN, linewidth=0.6)
        axes.set_title(item["label"], fontsize=9, loc="left")
        axes.set_xlabel(item["unit"], fontsize=9)
    grid[0, 0].legend(frameon=False)
    figure.supylabel("years")
    return figure


def find_shown_range(item: dict[str, Any]) -> tuple[float, float]:
    """The middle 98 % of the fitted people's values, all ages and both sexes."""
    low, high = sidecar["fitted_range"][item["name"]]
    middle = find_medians("female")[item["name"]]
    # The fitted range is that of 99.8 %, 3.09 standard deviations; 98 % are 2.33.
    share = 2.326 / 3.090
    if item["log_scaled"]:
        return middle * (low / middle) ** share, middle * (high / middle) ** share
    return middle + (low - middle) * share, middle + (high - middle) * share


def shade_usual(axes: Axes, reference: dict[str, Any], low: float, high: float) -> None:
    """The usual interval, which may have one end."""
    lowest = max(limit for limit in (reference["low"][0], low) if limit is not None)
    highest = min(limit for limit in (reference["high"][0], high) if limit is not None)
    axes.axvspan(lowest, highest, color="#999999", alpha=0.18, linewidth=0)


def label_ticks(low: float, high: float) -> tuple[Sequence[float], Sequence[str]]:
    """Four round numbers on a logarithmic axis."""
    ticks = sorted({float(f"{value:.1g}") for value in np.geomspace(low, high, 4)})
    return ticks, [f"{tick:g}" for tick in ticks]


def draw_risk() -> Figure:
    """The typical person's ten-year risk of death, by age."""
    figure, axes = plt.subplots(figsize=(6, 3.2), layout="constrained")
    reference = sidecar["reference"]
    for sex, colour in COLOURS.items():
        risks = 100 * np.array(reference[sex]["mortality_10y"])
        axes.plot(reference["age"], risks, color=colour, label=WORDS[sex])
    axes.set_yscale("log")
    axes.set_yticks([0.1, 1, 10, 50], ["0.1 %", "1 %", "10 %", "50 %"])
    axes.minorticks_off()
    axes.set_xlabel("biological age, years")
    axes.set_ylabel("risk of death in 10 years")
    axes.legend(frameon=False)
    return figure


def draw_missing() -> Figure:
    """The interval of a woman with all values at the median, and without one of them."""
    names = [item["name"] for item in sidecar["panel"]]
    labels = [item["label"] for item in sidecar["panel"]]
    known = find_medians("female") | {"age": AGE_YEARS, "sex": "female"}
    people = pd.DataFrame([known] * (len(names) + 1))
    for row, name in enumerate(names, start=1):
        people.loc[row, name] = np.nan
    answers = model.predict(people, accept=["all"])
    widths = ((answers["interval_high"] - answers["interval_low"]) / 2).to_numpy()
    order = np.argsort(widths)
    titles = ["all nine values given", *(f"without {label}" for label in labels)]
    figure, axes = plt.subplots(figsize=(7, 3.6), layout="constrained")
    bars = axes.barh([titles[row] for row in order], widths[order], color=WOMEN, height=0.7)
    axes.bar_label(bars, fmt="%.1f", padding=3)
    axes.set_xlabel("years on either side (90 % interval, woman of 60 at the median)")
    return figure


def read_card(heading: str) -> pd.DataFrame:
    """The first table of the model card under a heading."""
    text = CARD.read_text(encoding="utf-8").replace("\N{MINUS SIGN}", "-")
    lines = text[text.index(f"### {heading}") :].split("\n")
    first = next(row for row, line in enumerate(lines) if line.startswith("|"))
    rows = []
    for line in lines[first:]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("| ").split("|")])
    return pd.DataFrame(rows[2:], columns=rows[0])


def read_intervals(cells: Sequence[str]) -> np.ndarray[Any, Any]:
    """Value, lower and upper end of each cell: (n, 3)."""
    found = [INTERVAL.search(cell) for cell in cells]
    return np.array([[float(end) for end in match.groups()] for match in found if match])


def draw_intervals(axes: Axes, places: Any, cells: Sequence[str], **options: Any) -> None:
    """Points with their intervals."""
    value, low, high = read_intervals(cells).T
    axes.errorbar(value, places, xerr=[value - low, high - value], fmt="o", capsize=3, **options)


def draw_discrimination() -> Figure:
    """C-index by group of HENAW, PhenoAge, and age and sex."""
    table = read_card("Order of deaths, 2003-2004")
    table = table[table["group"].isin(["all ages", "20-49", "40-69", "65+", "women", "men"])]
    places = np.arange(len(table))[::-1]
    figure, axes = plt.subplots(figsize=(7, 3.6), layout="constrained")
    clocks = (("HENAW", WOMEN, 0.2), ("PhenoAge", MEN, 0.0), ("age and sex", PLAIN, -0.2))
    for name, colour, offset in clocks:
        draw_intervals(axes, places + offset, table[name].tolist(), color=colour, label=name)
    axes.set_yticks(places, table["group"])
    axes.set_xlabel("C-index, death within 10 years")
    axes.legend(frameon=False, loc="lower left")
    return figure


def draw_calibration() -> Figure:
    """Observed over expected and slope by the survey that was left out."""
    table = read_card("One survey left out at a time [12d, 23b]")
    table["left out"] = table["left out"].str.replace("mean by deaths", "together")
    places = np.arange(len(table))[::-1]
    figure, pair = plt.subplots(1, 2, figsize=(7, 2.8), sharey=True, layout="constrained")
    titles = {"O/E": "deaths observed / expected", "slope": "slope of the log hazard"}
    for axes, (column, title) in zip(pair, titles.items(), strict=True):
        axes.axvline(1, color=PLAIN, linewidth=0.8, linestyle="--")
        draw_intervals(axes, places, table[column].tolist(), color=WOMEN)
        axes.set_xlabel(title)
    pair[0].set_yticks(places, table["left out"])
    return figure


if __name__ == "__main__":
    mpl.rcParams["svg.hashsalt"] = "henaw"
    draw_contributions().savefig(sys.argv[1], metadata={"Date": None})
