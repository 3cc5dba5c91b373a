"""One person's biological age, biomarker by biomarker, as a figure.

python examples/python/plot_contributions.py EXPORTED OUT.svg

EXPORTED is a folder of `henaw export`. The person is made up.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import onnxruntime

PERSON = {
    "crp": 4.8,
    "hba1c": 41.0,
    "creatinine": 71.0,
    "albumin": 41.0,
    "lymphocyte_pct": 24.0,
    "rdw": 14.1,
    "ggt": 38.0,
    "ast": 22.0,
    "alt": 24.0,
}
AGE_YEARS, SEX = 54.0, 0
OLDER, YOUNGER, WHOLE = "#b2182b", "#2166ac", "#444444"


def main() -> None:
    folder, out = Path(sys.argv[1]), Path(sys.argv[2])
    description = json.loads((folder / "henaw.json").read_text(encoding="utf-8"))
    session = onnxruntime.InferenceSession(str(folder / "henaw.onnx"))
    names = [output.name for output in session.get_outputs()]
    row = np.array([[PERSON[item["name"]] for item in description["panel"]]], np.float32)
    inputs = {"biomarkers": row, "age": np.float32([AGE_YEARS]), "sex": np.int64([SEX])}
    answer = dict(zip(names, session.run(None, inputs), strict=True))

    units = {item["name"]: item["unit"] for item in description["panel"]}
    labels = {item["name"]: item["label"] for item in description["panel"]}
    labels |= {
        "ast_alt_ratio": "AST/ALT ratio",
        "typical_values": "Typical values: people with all\nvalues at the median die less",
    }
    if not answer["reliable"][0]:
        sys.exit("the answer is not reliable: there is nothing to draw")
    years = answer["contributions"][0]
    order = np.argsort(years)
    starts = AGE_YEARS + np.concatenate([[0.0], np.cumsum(years[order])[:-1]])

    mpl.rcParams["svg.hashsalt"] = "henaw"
    mpl.rcParams["font.size"] = 10
    figure, axes = plt.subplots(figsize=(8, 5), layout="constrained")
    for position, (index, start) in enumerate(zip(order, starts, strict=True)):
        value = years[index]
        axes.barh(position, value, left=start, color=OLDER if value > 0 else YOUNGER, height=0.7)
        end = max(start, start + value)
        axes.annotate(
            f"{value:+.1f}",
            (end, position),
            (4, 0),
            textcoords="offset points",
            va="center",
            fontsize=9,
        )
    ticks = []
    for index in order:
        name = description["contribution_names"][index]
        title = labels.get(name, name.replace("_x_", " x "))
        ticks.append(f"{title}, {PERSON[name]:g} {units[name]}" if name in units else title)
    total = len(order)
    low, high = answer["interval"][0]
    biological_age = float(answer["biological_age"][0])
    axes.errorbar(
        biological_age,
        total,
        xerr=[[biological_age - low], [high - biological_age]],
        fmt="o",
        color=WHOLE,
        capsize=4,
    )
    axes.set_yticks(range(total + 1), [*ticks, "Biological age, 90 % interval"])
    axes.axvline(AGE_YEARS, color=WHOLE, linewidth=0.8, linestyle="--")
    axes.use_sticky_edges = False
    axes.margins(x=0.06)
    axes.set_xlabel("years")
    axes.set_title(
        f"Woman of {AGE_YEARS:g}, biological age {biological_age:.1f} ({low:.1f} to {high:.1f})",
        loc="left",
    )
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    figure.savefig(out, metadata={"Date": None} if out.suffix == ".svg" else None)


if __name__ == "__main__":
    main()
