"""The fitted curves: years that each biomarker adds, by its value, age and sex."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from henaw.model.biomarkers import INDEX, NAMES, PANEL, SEXES
from henaw.model.checkpoint import Checkpoint
from henaw.model.configuration import RATIO, VARIABLES
from henaw.model.graph.transforms import LOG_SCALED
from henaw.model.runtime import Runtime, TorchRuntime
from henaw.training.evaluation.reference_tables import look_up

AGES_YEARS: tuple[float, ...] = (35.0, 55.0, 75.0)
POINTS = 41


def _contribute(
    runtime: Runtime, biomarkers: npt.NDArray[np.float32], age: float, sex: int, column: int
) -> list[float]:
    count = len(biomarkers)
    answers = runtime.predict(
        biomarkers, np.full(count, age, np.float32), np.full(count, sex, np.int64)
    )
    own = answers["contributions"][:, column].astype(np.float64)
    years: list[float] = np.round(own, 4).tolist()
    return years


def trace_shapes(checkpoint: Checkpoint) -> list[dict[str, Any]]:
    """Years that the model adds to the gap by a biomarker's value, for both sexes and three ages.

    A biomarker's curve is computed with every other biomarker missing, that of AST/ALT with ALT
    at its median. Values are those of the fitted population.
    """
    runtime = TorchRuntime(checkpoint.build_network(), name="eager")
    columns = checkpoint.network.contribution_names
    shapes = []
    for name, used in zip(VARIABLES, checkpoint.network.used, strict=True):
        if not used:
            continue
        curves = []
        for sex, sex_name in enumerate(SEXES):
            for age in AGES_YEARS:
                values, rows, median = _place(checkpoint, name, age, sex)
                curves.append(
                    {
                        "sex": sex_name,
                        "age": age,
                        "median": round(median, 3),
                        "values": np.round(values, 4).tolist(),
                        "years": _contribute(runtime, rows, age, sex, columns.index(name)),
                    }
                )
        unit = "" if name == RATIO else PANEL[INDEX[name]].unit
        label = "AST/ALT" if name == RATIO else PANEL[INDEX[name]].label
        log_scaled = name == RATIO or LOG_SCALED[INDEX[name]]
        shapes.append(
            {"name": name, "label": label, "unit": unit, "log_axis": log_scaled, "curves": curves}
        )
    return shapes


def _place(
    checkpoint: Checkpoint, name: str, age: float, sex: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float32], float]:
    """Values along the axis, the people who have them, and the reference's median."""
    location = look_up(checkpoint, "location", [age], [sex])[0]
    scale = look_up(checkpoint, "scale", [age], [sex])[0]
    column = VARIABLES.index(name)
    along = location[column] + np.linspace(-3.0, 3.0, POINTS) * scale[column]
    rows = np.full((POINTS, len(NAMES)), np.nan, np.float32)
    if name == RATIO:
        alt = np.exp(location[INDEX["alt"]])
        rows[:, INDEX["alt"]] = alt
        rows[:, INDEX["ast"]] = np.exp(along) * alt
        return np.exp(along), rows, float(np.exp(location[column]))
    values = np.exp(along) if LOG_SCALED[column] else along
    low = float(checkpoint.tensors["range_low"][column])
    high = float(checkpoint.tensors["range_high"][column])
    values = np.clip(values, low, high)
    rows[:, column] = values
    median = float(np.exp(location[column]) if LOG_SCALED[column] else location[column])
    return values, rows, median


def summarise_contributions(
    contributions: npt.NDArray[np.float64], names: tuple[str, ...]
) -> list[dict[str, Any]]:
    """Summarise each contribution in years: mean size, mean, spread and 5 % to 95 % range.

    Shape:
        contributions: (n, K) years
    """
    return [
        {
            "name": name,
            "mean_size": round(float(np.abs(column).mean()), 3),
            "mean": round(float(column.mean()), 3),
            "standard_deviation": round(float(column.std(ddof=1)), 3),
            "low": round(float(np.quantile(column, 0.05)), 2),
            "high": round(float(np.quantile(column, 0.95)), 2),
        }
        for name, column in zip(names, contributions.T, strict=True)
    ]
