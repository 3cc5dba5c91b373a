"""The graph's outputs as answers: numbers rounded, flags as warnings."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cache
from itertools import repeat, starmap
from typing import Any

import numpy as np
import numpy.typing as npt
from henaw.handler.contract import ANSWER_FIELDS, Answer, Model, Unusual
from henaw.handler.metadata import Metadata
from henaw.handler.schema import People
from henaw.handler.wording import describe_implausible
from henaw.model.biomarkers import NAMES, PANEL
from henaw.model.runtime import Outputs
from msgspec import UNSET, Struct, defstruct

_YEAR_DECIMALS = 5
"""Ten times finer than the 1e-4 years within which runtimes agree."""

_PROBABILITY_DECIMALS = 7


def find_unusable_rows(outputs: Outputs) -> npt.NDArray[np.bool_] | None:
    """Return (n,) true where any number is not finite, and so must not be answered.

    None where all are, which a sum tells in one pass: it is finite only if they are.
    """
    numbers = [values for values in outputs.values() if values.dtype != np.bool_]
    if math.isfinite(sum(float(values.sum(dtype=np.float64)) for values in numbers)):
        return None
    bad = np.zeros(len(outputs["biological_age"]), dtype=np.bool_)
    for values in numbers:
        bad |= ~np.isfinite(values).reshape(len(bad), -1).all(axis=1)
    return bad


def round_years(values: npt.NDArray[Any]) -> list[Any]:
    """Return years as Python numbers without the noise of float32, and without -0.0."""
    rounded: list[Any] = (values.astype(np.float64).round(_YEAR_DECIMALS) + 0.0).tolist()
    return rounded


class Answers:
    """One evaluation's outputs as the values of answers, for every request that shared it.

    Each column is made when it is first asked for and then for all people at once: a
    batch of single people is most of what a server sees, and often a bulk request wants
    but one column.

    Args:
        outputs: the graph's.
        biomarkers: (n, 9) float32, what it was given, NaN = missing.
        age: (n,) float32, years.
        metadata: names of what the outputs hold.
        runtime: the one that answered.
    """

    def __init__(
        self,
        outputs: Outputs,
        biomarkers: npt.NDArray[np.float32],
        age: npt.NDArray[np.float32],
        metadata: Metadata,
        *,
        runtime: str,
    ) -> None:
        self._outputs = outputs
        self._biomarkers = biomarkers
        self._age = age
        self._metadata = metadata
        self.model = Model(name=metadata.name, version=metadata.version, runtime=runtime)
        self._columns: dict[str, list[Any]] = {}

    def write(self, people: People, rows: slice) -> Iterator[Answer]:
        """Return one answer a person, ready to be encoded.

        Args:
            people: a request.
            rows: where its people are.
        """
        columns = (
            self._get_column(name)[rows] if name in people.outputs else repeat(UNSET)
            for name in ANSWER_FIELDS
        )
        return map(Answer, people.participant_ids, *columns)

    def _get_column(self, name: str) -> list[Any]:
        column = self._columns.get(name)
        if column is None:
            column = self._columns[name] = self._write_column(name)
        return column

    def _write_column(self, name: str) -> list[Any]:
        outputs, metadata = self._outputs, self._metadata
        match name:
            case "biological_age" | "age_gap" | "interval":
                return round_years(outputs[name])
            case "mortality_10y":
                return _round_probabilities(outputs[name])
            case "cause_risk_10y":
                return _name_rows(metadata.cause_names, _round_probabilities(outputs[name]))
            case "contributions":
                return _name_rows(metadata.contribution_names, round_years(outputs[name]))
            case "systems":
                return _name_rows(
                    metadata.system_names, round_years(outputs["system_contributions"])
                )
            case "imputed":
                imputed: list[list[str]] = [[] for _ in range(len(self._age))]
                for row, biomarker in np.argwhere(outputs["imputed"]).tolist():
                    imputed[row].append(NAMES[biomarker])
                return imputed
            case "warnings":
                return write_warnings(outputs, self._biomarkers, self._age, metadata)
            case "model":
                return [self.model] * len(self._age)
        raise LookupError(f"expected a field of an answer, however: {name}")


def write_warnings(
    outputs: Outputs,
    biomarkers: npt.NDArray[np.float32],
    age: npt.NDArray[np.float32],
    metadata: Metadata,
) -> list[list[Unusual]]:
    """Return each person's warnings."""
    warnings: list[list[Unusual]] = [[] for _ in range(len(age))]
    for row in np.flatnonzero(outputs["age_out_of_range"]):
        low, high = metadata.fitted_ages
        warnings[row].append(
            Unusual(
                code="age_outside_fitted",
                field="age",
                message=f"{age[row]:.6g} years is outside the fitted {low:g} to {high:g}:"
                " the reference of the nearest fitted age was used",
            )
        )
    for row, column in np.argwhere(outputs["out_of_range"]):
        biomarker = PANEL[column]
        value = float(biomarkers[row, column])
        message = f"{value:.6g} {biomarker.unit} is outside what 99.8 % of the fitted people have"
        _, hint = describe_implausible(biomarker, value)
        if hint is not None:
            message += f"; {hint}"
        warnings[row].append(
            Unusual(code="outside_reference", field=biomarker.name, message=message)
        )
    return warnings


def _round_probabilities(values: npt.NDArray[Any]) -> list[Any]:
    rounded: list[Any] = (values.astype(np.float64).round(_PROBABILITY_DECIMALS) + 0.0).tolist()
    return rounded


def _name_rows(names: tuple[str, ...], rows: list[list[float]]) -> list[Any]:
    return list(starmap(_define_row(names), rows))


@cache
def _define_row(names: tuple[str, ...]) -> type[Struct]:
    """Make a type that is encoded as the dictionary would be, and made seven times faster."""
    return defstruct("Row", [(name, float) for name in names], gc=False)
