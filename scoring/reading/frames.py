"""Tables of any library to Arrow and back; no other library is imported."""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
from henaw.intake.tables.layout import Layout, find_layout
from henaw.model.biomarkers import NAMES
from henaw.model.errors import ScoringError
from henaw.scoring.reading.records import find_people, read_people

Frame = TypeVar("Frame")

ARRAY_COLUMNS: tuple[str, ...] = ("age", "sex", *NAMES)
"""The columns of a NumPy array without names, in the panel's units."""


def read_frame(frame: object, layout: Layout | None) -> tuple[pa.RecordBatch, Layout, list[str]]:
    """Read the columns of people that are needed.

    Returns:
        One batch of these columns, their layout, and the names of all columns.

    Raises:
        ScoringError: it is not a table, or a column is missing or not recognised.
    """
    people = find_people(frame)
    if people is not None:
        if layout is not None:
            raise ScoringError(
                "layout", ["layout is for a table; a person's values have the panel's names"]
            )
        batch = read_people(people)
        return batch, find_layout(batch.schema.names), batch.schema.names
    kind = _find_kind(frame)
    table: Any = frame
    if kind in _IMPORTERS:
        table = _IMPORTERS[kind](table)
    names = [str(name) for name in table.columns] if kind in _FRAMES else table.schema.names
    layout = find_layout(names) if layout is None else layout
    problems = [f"there is no column {name!r}" for name in layout.columns if name not in names]
    if problems:
        raise ScoringError("columns", problems)
    columns = list(layout.columns)
    try:
        if kind == "pandas":
            arrow = pa.Table.from_pandas(_require_dense(table[columns]), preserve_index=False)
        elif kind == "polars":
            arrow = table.select(columns).to_arrow()
        else:
            arrow = table.select(columns)
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise ScoringError("columns", [f"each column must have one type: {error}"]) from error
    return to_batch(arrow), layout, names


def to_batch(table: pa.Table | pa.RecordBatch) -> pa.RecordBatch:
    """Return all rows as one batch, even if there are none."""
    if isinstance(table, pa.RecordBatch):
        return table
    batches = table.combine_chunks().to_batches()
    if len(batches) == 1:
        return batches[0]
    return pa.RecordBatch.from_arrays(
        [column.combine_chunks() for column in table.columns], schema=table.schema
    )


def write_like(frame: Any, batch: pa.RecordBatch, *, keep_index: bool = True) -> Any:
    """Return a batch as a table like ``frame``; for people as dicts, a list of dicts."""
    if find_people(frame) is not None:
        return batch.to_pylist()
    kind = _find_kind(frame)
    if kind == "pandas":
        import pandas as pd

        # By default a boolean column with a null becomes a column of objects.
        types = {pa.bool_(): pd.BooleanDtype(), pa.string(): pd.StringDtype()}
        table = batch.to_pandas(types_mapper=types.get)
        if keep_index:
            table.index = frame.index
        return table
    if kind == "polars":
        import polars as pl

        return pl.from_arrow(batch)
    if kind == "numpy":
        return _write_array(batch)
    return batch if isinstance(frame, pa.RecordBatch) else pa.Table.from_batches([batch])


def _read_array(array: np.ndarray[Any, Any]) -> pa.Table:
    """Read a structured array, or an array whose columns are ARRAY_COLUMNS."""
    names = array.dtype.names
    try:
        if names is not None:
            rows = array.reshape(-1)
            return pa.table({name: np.ascontiguousarray(rows[name]) for name in names})
        if array.ndim == 2 and array.shape[1] == len(ARRAY_COLUMNS) and array.dtype.kind in "fiu":
            return pa.table(dict(zip(ARRAY_COLUMNS, np.asfortranarray(array).T, strict=True)))
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as error:
        raise ScoringError("array", [f"Arrow cannot read its columns: {error}"]) from error
    raise ScoringError(
        "array",
        [
            f"an array of numbers must have one row per person and {len(ARRAY_COLUMNS)} columns: "
            f"{', '.join(ARRAY_COLUMNS)}; got shape {array.shape} of {array.dtype}. Or give an "
            "array with field names, a table, or a list of dicts"
        ],
    )


def _write_array(batch: pa.RecordBatch) -> np.ndarray[Any, Any]:
    """Write a structured array, with NaN, False and None for missing values."""
    kinds: dict[Any, Any] = {pa.bool_(): np.bool_, pa.string(): np.object_}
    fields = [
        (field.name, kinds.get(field.type) or field.type.to_pandas_dtype())
        for field in batch.schema
    ]
    array = np.empty(batch.num_rows, fields)
    for field in batch.schema:
        column = batch.column(field.name)
        if field.type == pa.bool_():
            column = column.fill_null(False)
        array[field.name] = column.to_numpy(zero_copy_only=False)
    return array


def _read_stream(frame: Any) -> pa.Table:
    try:
        return pa.table(frame)
    except (pa.ArrowInvalid, pa.ArrowTypeError, TypeError, ValueError) as error:
        raise ScoringError(
            "table",
            [f"Arrow cannot read a {type(frame).__qualname__} as a table: {error}"],
        ) from error


def _require_dense(table: Any) -> Any:
    import pandas as pd

    sparse = [str(name) for name, kind in table.dtypes.items() if isinstance(kind, pd.SparseDtype)]
    if sparse:
        raise ScoringError(
            "columns", [f"{name} is sparse: call .sparse.to_dense() first" for name in sparse]
        )
    return table


_FRAMES = ("pandas", "polars")
_KINDS = {
    ("pandas", "DataFrame"): "pandas",
    ("polars", "DataFrame"): "polars",
    ("pyarrow", "Table"): "pyarrow",
    ("pyarrow", "RecordBatch"): "pyarrow",
    ("numpy", "ndarray"): "numpy",
}
_IMPORTERS = {"numpy": _read_array, "stream": _read_stream}
_STREAMS = ("__arrow_c_stream__", "__arrow_c_array__")
"""Methods of the tables, from any library, that Arrow can read (PyCapsule protocol)."""
_COLLECTORS = ("collect", "to_table", "read_all")
"""Methods of polars and pyarrow that load a lazy table into memory."""


def _find_kind(frame: object) -> str:
    libraries = set()
    for base in type(frame).__mro__:
        library = base.__module__.partition(".")[0]
        kind = _KINDS.get((library, base.__name__))
        if kind is not None:
            return kind
        libraries.add(library)
    if any(hasattr(frame, method) for method in _STREAMS):
        return "stream"
    seen = type(frame).__qualname__
    if isinstance(frame, (list, tuple)):
        seen += f" of {', '.join(sorted({type(item).__qualname__ for item in frame}))}"
    if libraries & {"polars", "pyarrow"}:
        seen += "".join(f"; call .{name}()" for name in _COLLECTORS if hasattr(frame, name))
    raise ScoringError(
        "table",
        [
            "people must be a dict, a list of dicts, or a table of pandas, polars, pyarrow, NumPy "
            f"or anything that Arrow reads; got {seen}"
        ],
    )
