"""What each part adds to the age gap: a table with one row for each person and part."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from henaw.model.biomarkers import NAMES, PANEL, SEXES
from henaw.model.runtime import Outputs
from henaw.scoring.reading.inputs import Inputs

_LABELS = {b.name: b.label for b in PANEL} | {"ast_alt_ratio": "AST/ALT ratio"}
_UNITS = {b.name: b.unit for b in PANEL}


def tabulate_parts(
    rows: npt.NDArray[np.intp],
    inputs: Inputs,
    outputs: Outputs,
    description: Mapping[str, Any],
    *,
    keep: bool,
) -> pa.RecordBatch:
    """Make a table of what the typical values, each biomarker and each interaction add.

    Args:
        rows: (n,) each person's row in their own table.
        inputs: n people who can be scored.
        outputs: the graph's outputs for them.
        description: the model's properties.
        keep: whether unreliable years are kept; else they are null.
    """
    names = description["contribution_names"]
    size, more = len(rows), len(names) - len(NAMES) - 1
    years = outputs["contributions"].astype(np.float32)
    told = years if keep else np.where(outputs["reliable"][:, np.newaxis], years, np.nan)
    others = [label_part(name) for name in names[1:]]

    def widen(values: Any, fill: Any) -> Any:
        """Fill the places of the typical value and the interactions: (n, 9) to (n * k,)."""
        return np.pad(values, ((0, 0), (1, more)), constant_values=fill).ravel()

    def number(values: Any) -> pa.Array:
        return pa.array(widen(values, np.nan).astype(np.float32), from_pandas=True)

    return pa.RecordBatch.from_pydict(
        {
            "row": np.repeat(rows, len(names)),
            "name": pa.array(list(names) * size, pa.string()),
            "label": pa.array(
                [
                    label
                    for typical in told[:, 0].tolist()
                    for label in (describe_typical(typical), *others)
                ],
                pa.string(),
            ),
            "unit": pa.array([_UNITS.get(name) for name in names] * size, pa.string()),
            "value": number(inputs.biomarkers),
            "reference_median": number(_find_medians(inputs, description)),
            "years": pa.array(told.ravel(), from_pandas=True),
            "imputed": widen(outputs["imputed"], False),
            "out_of_range": widen(outputs["out_of_range"], False),
            "critical": widen(outputs["critical"], False),
        }
    )


def label_part(name: str) -> str:
    """Return the common name of a biomarker or an interaction.

    Example:
        >>> label_part("crp"), label_part("crp_x_hba1c")
        ('C-reactive protein', 'C-reactive protein x Glycated haemoglobin')
    """
    if "_x_" in name:
        return " x ".join(map(label_part, name.split("_x_")))
    return _LABELS.get(name, name.replace("_", " "))


def describe_typical(years: float) -> str:
    """Say what the contribution of the typical values means.

    Example:
        >>> describe_typical(-5.2).partition(": ")[2]
        'people with all known values at the median die less than the typical person'
    """
    who = "Typical values: people with all known values at the median"
    if math.isnan(years):
        return who
    less = "less than" if years < 0 else "more than" if years > 0 else "as often as"
    return f"{who} die {less} the typical person"


def _find_medians(inputs: Inputs, description: Mapping[str, Any]) -> Any:
    """Return (n, 9) reference medians of each person's age and sex, in the panel's units.

    NaN for a biomarker that the model does not use.
    """
    reference = description["reference"]
    medians = np.empty(inputs.biomarkers.shape)
    for code, sex in enumerate(SEXES):
        rows = inputs.sex == code
        for place, name in enumerate(NAMES):
            medians[rows, place] = np.interp(
                inputs.age[rows], reference["age"], reference[sex][name]
            )
    medians[:, [name not in description["used_biomarkers"] for name in NAMES]] = np.nan
    return medians
