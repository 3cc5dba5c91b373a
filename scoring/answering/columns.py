"""The graph's outputs as Arrow columns with one number a cell."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from henaw.model.biomarkers import NAMES, SYSTEMS
from henaw.model.errors import ScoringError
from henaw.model.reliability import find_codes, list_codes
from henaw.model.runtime import OUTPUT_NAMES, Outputs
from henaw.scoring.reading.inputs import write_reasons, write_words

REASON = "reason"
"""The last column: why a row was not scored; null if it was scored."""

WITHHELD = "withheld"
"""The column before it: codes of why numbers are not reliable; null if they are."""

LAB = "lab"
"""The column before that, if the model contains a profile: the laboratory."""

WITHHOLD, KEEP = "withhold", "keep"
UNRELIABLE_CHOICES: tuple[str, str] = (WITHHOLD, KEEP)
"""What happens to numbers that are not reliable: they are left empty, or kept."""

_BLOCK = 1024
"""Rows in one run of the graph, whose arrays fit into the processor's cache."""
_CUDA_BLOCK = 65_536
"""The same on CUDA, where larger blocks share the cost of launches and copies."""

_BOOLEAN = ("imputed", "out_of_range", "age_out_of_range", "critical", "reliable")
_PATTERNS: Mapping[str, str] = MappingProxyType(
    {"contributions": "contribution_{}", "system_contributions": "system_{}"}
)


def list_columns(
    contribution_names: Sequence[str], cause_names: Sequence[str]
) -> dict[str, tuple[str, ...]]:
    """List the columns of each output of the graph.

    Example:
        >>> columns = list_columns(["crp"], ["cancer"])
        >>> columns["interval"], columns["contributions"], columns["cause_risk_10y"]
        (('interval_low', 'interval_high'), ('contribution_crp',), ('cause_risk_10y_cancer',))
    """
    parts: dict[str, Sequence[str]] = {
        "interval": ("low", "high"),
        "cause_risk_10y": cause_names,
        "contributions": contribution_names,
        "system_contributions": tuple(SYSTEMS),
        "imputed": NAMES,
        "out_of_range": NAMES,
        "critical": NAMES,
    }
    return {
        name: tuple(_PATTERNS.get(name, f"{name}_{{}}").format(part) for part in parts[name])
        if name in parts
        else (name,)
        for name in OUTPUT_NAMES
    }


def make_schema(
    columns: Mapping[str, Sequence[str]], outputs: Sequence[str], *, lab: str | None = None
) -> pa.Schema:
    """Return the schema of answers: numbers in float32, boolean flags, and two text columns.

    With a laboratory's profile, a third text column names the laboratory.
    """
    fields = [
        pa.field(column, pa.bool_() if name in _BOOLEAN else pa.float32())
        for name in outputs
        for column in columns[name]
    ]
    words = [WITHHELD, REASON] if lab is None else [LAB, WITHHELD, REASON]
    return pa.schema([*fields, *(pa.field(word, pa.string()) for word in words)])


def check_unreliable(choice: str) -> bool:
    """Return whether numbers that are not reliable are kept.

    Raises:
        ScoringError: the choice is neither "withhold" nor "keep".
    """
    if choice not in UNRELIABLE_CHOICES:
        expected = " or ".join(map(repr, UNRELIABLE_CHOICES))
        raise ScoringError("unreliable", [f"unreliable must be {expected}; got {choice!r}"])
    return choice == KEEP


def check_outputs(outputs: Sequence[str]) -> tuple[str, ...]:
    """Return the named outputs, each once, in the order of the graph.

    Raises:
        ScoringError: no output is named, or the graph lacks one.
    """
    if isinstance(outputs, str):
        raise ScoringError("outputs", [f"outputs must be a list of names; got {outputs!r}"])
    unknown = [name for name in outputs if name not in OUTPUT_NAMES]
    problems = [
        f"an output must be one of {', '.join(OUTPUT_NAMES)}; got {name!r}" for name in unknown
    ]
    if not outputs:
        problems.append("name at least one output; got none")
    if problems:
        raise ScoringError("outputs", problems)
    return tuple(name for name in OUTPUT_NAMES if name in outputs)


def find_flagged(outputs: Mapping[str, npt.NDArray[Any]]) -> npt.NDArray[np.bool_]:
    """Return for each person whether the age or a value is outside the fitted range: (n,)."""
    flags: npt.NDArray[np.bool_] = outputs["out_of_range"].any(axis=1) | outputs["age_out_of_range"]
    return flags


class AnswerColumns:
    """The answers of n people, column by column, so that Arrow takes them without a copy.

    Args:
        sizes: number of columns of each output, by name.
        rows: n.

    Attributes:
        codes: (n,) uint8, bits of why each answer is not reliable.
        flagged: (n,) whether the age or a value is outside the fitted range.
    """

    def __init__(self, sizes: Mapping[str, int], rows: int) -> None:
        self.values: dict[str, npt.NDArray[Any]] = {
            name: np.empty((size, rows), np.bool_ if name in _BOOLEAN else np.float32)
            for name, size in sizes.items()
        }
        self.codes = np.zeros(rows, np.uint8)
        self.flagged = np.zeros(rows, np.bool_)

    def fill(self, run: Callable[[slice], Outputs], device: str, threads: int) -> None:
        """Run the graph on blocks of rows and store its outputs.

        Args:
            run: returns the outputs of a block of rows.
            device: cpu or cuda:N, which decides the size of a block.
            threads: number of blocks that run in parallel.
        """
        size = _BLOCK if device == "cpu" else _CUDA_BLOCK

        def run_block(start: int) -> None:
            block = slice(start, min(start + size, len(self.codes)))
            self._put(block, run(block))

        starts = range(0, len(self.codes), size)
        if threads > 1 and len(starts) > 1:
            with ThreadPoolExecutor(threads) as pool:
                list(pool.map(run_block, starts))
        else:
            for start in starts:
                run_block(start)

    def _put(self, rows: slice, outputs: Outputs) -> None:
        for name, values in self.values.items():
            values[:, rows] = outputs[name].T
        self.codes[rows] = find_codes(outputs)
        self.flagged[rows] = find_flagged(outputs)

    def to_arrow(
        self,
        schema: pa.Schema,
        reasons: npt.NDArray[np.int64],
        *,
        keep: bool,
        lab: str | None = None,
    ) -> pa.RecordBatch:
        """Return the columns; rows with a reason are null.

        Args:
            schema: the schema of :func:`make_schema`.
            reasons: (n,) bits of why a row was not scored.
            keep: whether unreliable numbers are kept; else they are null.
            lab: the laboratory whose profile the model contains.
        """
        good = reasons == 0
        codes = np.where(good, self.codes, np.uint8(0))
        scored = _pack_valid(good)
        told = scored if keep else _pack_valid(good & (codes == 0))
        # Not by pa.array, whose first use imports pandas and takes a quarter of a second.
        arrays = [
            pa.Array.from_buffers(
                pa.from_numpy_dtype(column.dtype),
                len(column),
                [scored, _pack(column)]
                if column.dtype == np.bool_
                else [told, pa.py_buffer(column)],
            )
            for column in itertools.chain.from_iterable(self.values.values())
        ]
        if lab is not None:
            refused = None if scored is None else ~good
            arrays.append(
                pa.array([lab]).take(pa.array(np.zeros(len(good), np.int64), mask=refused))
            )
        return pa.RecordBatch.from_arrays(
            [*arrays, write_codes(codes), write_reasons(reasons)], schema=schema
        )


def write_codes(codes: npt.NDArray[np.uint8]) -> pa.Array:
    """Write codes as (n,) text; null if the answer is reliable."""
    if not codes.any():
        return pa.nulls(len(codes), pa.string())
    return write_words(codes, lambda bits: ";".join(list_codes(bits)))


def _pack_valid(valid: npt.NDArray[np.bool_]) -> pa.Buffer | None:
    return None if valid.all() else _pack(valid)


def _pack(flags: npt.NDArray[np.bool_]) -> pa.Buffer:
    """Pack booleans as Arrow does: eight in a byte, the first in the lowest bit."""
    return pa.py_buffer(np.packbits(flags, bitorder="little"))
