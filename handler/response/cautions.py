"""What a client is told about unusual values, and about numbers that are not reliable."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from henaw.handler.contract.types import Unusual, Withheld
from henaw.handler.metadata import Metadata
from henaw.handler.wording import describe_implausible
from henaw.model.biomarkers import NAMES, PANEL
from henaw.model.reliability import Reason, find_reasons
from henaw.model.runtime import Outputs


def list_reasons(
    outputs: Outputs,
    biomarkers: npt.NDArray[np.float32],
    age: npt.NDArray[np.float32],
    metadata: Metadata,
) -> dict[int, list[Reason]]:
    """Return why numbers are not reliable, by row; rows with reliable numbers are left out.

    Args:
        outputs: the graph's outputs.
        biomarkers: (n, 9) float32, the panel's units and order, NaN = missing.
        age: (n,) float32, years.
        metadata: the model's metadata.
    """
    return find_reasons(
        outputs,
        biomarkers,
        age,
        critical_limits=metadata.critical_limits,
        fitted_ages=metadata.fitted_ages,
    )


def find_withheld(
    outputs: Outputs,
    biomarkers: npt.NDArray[np.float32],
    age: npt.NDArray[np.float32],
    metadata: Metadata,
) -> dict[int, list[Withheld]]:
    """Return :func:`list_reasons` in the form of an answer."""
    reasons = list_reasons(outputs, biomarkers, age, metadata)
    return {row: [Withheld(*reason) for reason in found] for row, found in reasons.items()}


def find_warnings(
    outputs: Outputs,
    biomarkers: npt.NDArray[np.float32],
    age: npt.NDArray[np.float32],
    metadata: Metadata,
) -> dict[int, list[Unusual]]:
    """Return warnings by row; rows without any are left out.

    Args:
        outputs: the graph's outputs.
        biomarkers: (n, 9) float32, the panel's units and order, NaN = missing.
        age: (n,) float32, years.
        metadata: the model's metadata.
    """
    warnings: dict[int, list[Unusual]] = {}
    for row in np.flatnonzero(outputs["age_out_of_range"]).tolist():
        low, high = metadata.fitted_ages
        warnings[row] = [
            Unusual(
                code="age_outside_fitted",
                field="age",
                message=f"Age {age[row]:.6g} is outside {low:g} to {high:g} years, the ages of the "
                "people the model was fitted on; the reference of the nearest of these ages is "
                "used",
            )
        ]
    for place, name in enumerate(NAMES):
        if name in metadata.used_biomarkers:
            continue
        for row in np.flatnonzero(np.isfinite(biomarkers[:, place])).tolist():
            warnings.setdefault(row, []).append(
                Unusual(
                    code="not_in_model",
                    field=name,
                    message=f"{PANEL[place].label} is not part of this model; "
                    "its value is not used",
                )
            )
    if not outputs["out_of_range"].any():
        return warnings
    for row, column in np.argwhere(outputs["out_of_range"]).tolist():
        biomarker = PANEL[column]
        value = float(biomarkers[row, column])
        message = (
            f"{value:.6g} {biomarker.unit} is outside the range of 99.8 % of the people the model "
            "was fitted on"
        )
        _, hint = describe_implausible(biomarker, value)
        if hint is not None:
            message += f"; {hint}"
        warnings.setdefault(row, []).append(
            Unusual(code="outside_reference", field=biomarker.name, message=message)
        )
    return warnings
