"""pandas, polars and pyarrow tables to Arrow and back; only the one at hand is imported."""

from __future__ import annotations

from typing import Any, TypeVar

import pyarrow as pa
from henaw.model.errors import ScoringError
from henaw.model.layout import Layout, find_layout

Frame = TypeVar("Frame")


def read_frame(frame: object, layout: Layout | None) -> tuple[pa.RecordBatch, Layout]:
    """The columns that are needed, as one batch, and where what is.

    Raises:
        ScoringError: it is no table, or its columns are not there or not recognised.
    """
    table: Any = frame
    kind = _find_kind(table)
    names = table.schema.names if kind == "pyarrow" else [str(name) for name in table.columns]
    layout = find_layout(names) if layout is None else layout
    problems = [
        f"expected the column {name!r}, found none" for name in layout.columns if name not in names
    ]
    if problems:
        raise ScoringError("columns", problems)
    columns = list(layout.columns)
    try:
        if kind == "pandas":
            arrow = pa.Table.from_pandas(table[columns], preserve_index=False)
        elif kind == "polars":
            arrow = table.select(columns).to_arrow()
        else:
            arrow = table.select(columns)
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise ScoringError("columns", [f"expected one type a column, however: {error}"]) from error
    return to_batch(arrow), layout


def to_batch(table: pa.Table | pa.RecordBatch) -> pa.RecordBatch:
    """One batch of all rows, also of none."""
    if isinstance(table, pa.RecordBatch):
        return table
    batches = table.combine_chunks().to_batches()
    if len(batches) == 1:
        return batches[0]
    return pa.RecordBatch.from_arrays(
        [column.combine_chunks() for column in table.columns], schema=table.schema
    )


def write_like(frame: Frame, batch: pa.RecordBatch, *, keep_index: bool = True) -> Frame:
    """A batch as the same kind of table as ``frame``."""
    kind = _find_kind(frame)
    table: Any
    if kind == "pandas":
        import pandas as pd

        # Else a column of truth values with a null becomes one of objects.
        types = {pa.bool_(): pd.BooleanDtype(), pa.string(): pd.StringDtype()}
        table = batch.to_pandas(types_mapper=types.get)
        if keep_index:
            table.index = frame.index  # type: ignore[attr-defined]
    elif kind == "polars":
        import polars as pl

        table = pl.from_arrow(batch)
    else:
        table = batch if isinstance(frame, pa.RecordBatch) else pa.Table.from_batches([batch])
    result: Frame = table
    return result


_KINDS = {
    ("pandas", "DataFrame"): "pandas",
    ("polars", "DataFrame"): "polars",
    ("pyarrow", "Table"): "pyarrow",
    ("pyarrow", "RecordBatch"): "pyarrow",
}
_COLLECTORS = ("collect", "to_table", "read_all")
"""Methods of polars and pyarrow that make a table of what is not in memory yet."""


def _find_kind(frame: object) -> str:
    libraries = set()
    for base in type(frame).__mro__:
        library = base.__module__.partition(".")[0]
        kind = _KINDS.get((library, base.__name__))
        if kind is not None:
            return kind
        libraries.add(library)
    seen = type(frame).__qualname__
    if libraries & {"polars", "pyarrow"}:
        seen += "".join(f"; call .{name}()" for name in _COLLECTORS if hasattr(frame, name))
    raise ScoringError("table", [f"expected a table of pandas, polars or pyarrow, however: {seen}"])
