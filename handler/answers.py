"""The graph's outputs as answers: numbers rounded, flags as warnings."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
from henaw.handler.metadata import Metadata
from henaw.handler.schema import People
from henaw.handler.wording import describe_implausible
from henaw.model.biomarkers import NAMES, PANEL
from henaw.model.runtime import Outputs

_YEAR_DECIMALS = 5
"""Ten times finer than the 1e-4 years within which runtimes agree."""

_PROBABILITY_DECIMALS = 7


def find_unusable_rows(outputs: Outputs) -> npt.NDArray[np.bool_]:
    """Return (n,) true where any number is not finite, and so must not be answered."""
    bad = np.zeros(len(outputs["biological_age"]), dtype=np.bool_)
    for values in outputs.values():
        if values.dtype != np.bool_:
            finite = np.isfinite(values)
            if not finite.all():
                bad |= ~finite.reshape(len(bad), -1).all(axis=1)
    return bad


def round_years(values: npt.NDArray[Any]) -> list[Any]:
    """Return years as Python numbers without the noise of float32, and without -0.0."""
    rounded: list[Any] = (values.astype(np.float64).round(_YEAR_DECIMALS) + 0.0).tolist()
    return rounded


def write_answers(
    outputs: Outputs, people: People, metadata: Metadata, *, runtime: str
) -> Iterator[dict[str, Any]]:
    """Yield one answer a person, ready to be encoded.

    Args:
        outputs: the graph's, for these people alone and in their order.
        people: the request.
        metadata: names of what the outputs hold.
        runtime: the one that answered.
    """
    columns = _write_columns(outputs, people, metadata, runtime)
    names = people.outputs
    for participant_id, values in zip(
        people.participant_ids, zip(*(columns[name] for name in names), strict=True), strict=True
    ):
        answer = dict(zip(names, values, strict=True))
        if participant_id is not None:
            answer = {"participant_id": participant_id, **answer}
        yield answer


def write_warnings(
    outputs: Outputs, people: People, metadata: Metadata
) -> list[list[dict[str, str]]]:
    """Return each person's warnings."""
    warnings: list[list[dict[str, str]]] = [[] for _ in range(len(people))]
    for row in np.flatnonzero(outputs["age_out_of_range"]):
        low, high = metadata.fitted_ages
        warnings[row].append(
            {
                "code": "age_outside_fitted",
                "field": "age",
                "message": f"{people.age[row]:.6g} years is outside the fitted {low:g} to {high:g}:"
                " the reference of the nearest fitted age was used",
            }
        )
    for row, column in np.argwhere(outputs["out_of_range"]):
        biomarker = PANEL[column]
        value = float(people.biomarkers[row, column])
        message = f"{value:.6g} {biomarker.unit} is outside what 99.8 % of the fitted people have"
        _, hint = describe_implausible(biomarker, value)
        if hint is not None:
            message += f"; {hint}"
        warnings[row].append(
            {"code": "outside_reference", "field": biomarker.name, "message": message}
        )
    return warnings


def _write_columns(
    outputs: Outputs, people: People, metadata: Metadata, runtime: str
) -> dict[str, Iterable[Any]]:
    """Return only the columns that are asked for: bulk requests often want one."""
    columns: dict[str, Iterable[Any]] = {}
    for name in people.outputs:
        if name in ("biological_age", "age_gap", "interval"):
            columns[name] = round_years(outputs[name])
        elif name == "mortality_10y":
            columns[name] = _round_probabilities(outputs[name])
        elif name == "cause_risk_10y":
            columns[name] = _name_rows(metadata.cause_names, _round_probabilities(outputs[name]))
        elif name == "contributions":
            columns[name] = _name_rows(metadata.contribution_names, round_years(outputs[name]))
        elif name == "systems":
            columns[name] = _name_rows(
                metadata.system_names, round_years(outputs["system_contributions"])
            )
        elif name == "imputed":
            columns[name] = [
                [biomarker for biomarker, missing in zip(NAMES, row, strict=True) if missing]
                for row in outputs["imputed"].tolist()
            ]
        elif name == "warnings":
            columns[name] = write_warnings(outputs, people, metadata)
        elif name == "model":
            model = {"name": metadata.name, "version": metadata.version, "runtime": runtime}
            columns[name] = [model] * len(people)
    return columns


def _round_probabilities(values: npt.NDArray[Any]) -> list[Any]:
    rounded: list[Any] = (values.astype(np.float64).round(_PROBABILITY_DECIMALS) + 0.0).tolist()
    return rounded


def _name_rows(names: tuple[str, ...], rows: list[list[float]]) -> list[dict[str, float]]:
    return [dict(zip(names, row, strict=True)) for row in rows]
