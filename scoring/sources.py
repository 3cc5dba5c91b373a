"""Tables to score: read in chunks, always cut at the same rows."""

from __future__ import annotations

import csv
import io
from collections.abc import Container, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
from henaw.model.errors import ScoringError
from henaw.model.layout import Layout, find_separator

CHUNK = 65_536
"""Rows at most: what is held in memory, scored at once and kept when a run is killed."""

TEXT_SUFFIXES: tuple[str, ...] = (".csv", ".csv.gz", ".tsv", ".tsv.gz")

_CSV_BLOCK_BYTES = 8 << 20
_PARQUET_BUFFER_BYTES = 1 << 20
"""Of each column."""

Chunks = Iterator[tuple[int, pa.RecordBatch | None]]


class Source(Protocol):
    """A table on disk.

    Attributes:
        names: of its columns.
        rows: how many; None where only reading tells.
    """

    names: list[str]
    rows: int | None

    def read_schema(self, layout: Layout) -> pa.Schema:
        """The types of the layout's columns."""
        ...

    def read_chunks(self, layout: Layout, done: Container[int]) -> Chunks:
        """Yield numbered chunks of the layout's columns; None for those that are ``done``.

        Raises:
            ScoringError: the file holds what cannot be read.
        """
        ...


def open_source(path: Path, *, threads: int = 1, separator: str | None = None) -> Source:
    """Open a table by its suffix: .parquet, .csv, .csv.gz or .arrow.

    Args:
        path: of the table.
        threads: more than one: columns are decoded at once.
        separator: between the columns of CSV; None: what its header shows.

    Raises:
        ScoringError: it is of another kind, or cannot be read.
    """
    name = path.name.lower()
    try:
        if name.endswith((".parquet", ".pq")):
            return _Parquet(path, threads)
        if name.endswith(TEXT_SUFFIXES):
            return _Csv(path, threads, separator)
        if name.endswith((".arrow", ".feather", ".ipc")):
            return _Arrow(path)
    except FileNotFoundError as error:
        raise ScoringError(str(path), ["expected a table, found no such file"]) from error
    except (pa.ArrowException, OSError, UnicodeDecodeError, EOFError, csv.Error) as error:
        raise ScoringError(str(path), [f"the file cannot be read: {error}"]) from error
    raise ScoringError(
        str(path),
        ["expected a name that ends in .parquet, .csv, .csv.gz, .arrow or, for FHIR, .json"],
    )


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Say of a file whose content is not what it should be that it cannot be read.

    What the machine refuses, which has a number, is not the file's fault and stays as it is.
    """
    try:
        yield
    except _UNREADABLE as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise ScoringError(str(path), [f"the file cannot be read: {error}"]) from error


_UNREADABLE = (
    pa.ArrowInvalid,
    pa.ArrowKeyError,
    pa.ArrowNotImplementedError,
    pa.ArrowSerializationError,
    OSError,
    EOFError,
)


class _Parquet:
    """Row groups that are done are not decoded again."""

    def __init__(self, path: Path, threads: int) -> None:
        # Mapped, or read ahead, a large file or row group would be held whole.
        self._path = path
        self._file = pq.ParquetFile(path, buffer_size=_PARQUET_BUFFER_BYTES, pre_buffer=False)
        self._threads = threads > 1
        self.names = list(self._file.schema_arrow.names)
        self.rows: int | None = self._file.metadata.num_rows

    def read_schema(self, layout: Layout) -> pa.Schema:
        schema = self._file.schema_arrow
        return pa.schema([schema.field(name) for name in layout.columns])

    def read_chunks(self, layout: Layout, done: Container[int]) -> Chunks:
        first = 0
        for group in range(self._file.num_row_groups):
            rows = self._file.metadata.row_group(group).num_rows
            numbers = range(first, first + -(-rows // CHUNK))
            first = numbers.stop
            if all(number in done for number in numbers):
                yield from ((number, None) for number in numbers)
                continue
            batches = self._file.iter_batches(
                CHUNK, row_groups=[group], columns=layout.columns, use_threads=self._threads
            )
            with _reading(self._path):
                for number, batch in zip(numbers, batches, strict=True):
                    yield number, None if number in done else batch.select(layout.columns)


class _Csv:
    """Every column is read as text: what is not a number becomes a reason, not an error."""

    def __init__(self, path: Path, threads: int, separator: str | None) -> None:
        self._path = path
        self._threads = threads > 1
        self.rows: int | None = None
        if separator is not None and len(separator) != 1:
            raise ScoringError(
                str(path), [f"expected a separator of one character, however: {separator!r}"]
            )
        with pa.input_stream(str(path), compression="detect") as stream:
            self._header = io.TextIOWrapper(stream, encoding="utf-8-sig").readline()
        self._separator = separator or find_separator(self._header)
        self.names = next(csv.reader([self._header], delimiter=self._separator), [])

    def read_schema(self, layout: Layout) -> pa.Schema:
        return pa.schema([pa.field(name, pa.string()) for name in layout.columns])

    def read_chunks(self, layout: Layout, done: Container[int]) -> Chunks:
        with _reading(self._path):
            try:
                batches = pa_csv.open_csv(
                    str(self._path),
                    read_options=pa_csv.ReadOptions(
                        block_size=_CSV_BLOCK_BYTES, use_threads=self._threads
                    ),
                    parse_options=pa_csv.ParseOptions(delimiter=self._separator),
                    convert_options=pa_csv.ConvertOptions(
                        include_columns=layout.columns,
                        column_types=self.read_schema(layout),
                        strings_can_be_null=False,
                    ),
                )
            except pa.ArrowInvalid as error:
                if self._header and "Empty CSV file" in str(error):
                    return
                raise
            yield from ((n, None if n in done else batch) for n, batch in enumerate(batches))


class _Arrow:
    """An IPC file, Feather included, or a stream."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with pa.memory_map(str(path)) as source:
            try:
                reader = pa.ipc.open_file(source)
            except pa.ArrowInvalid:
                reader = pa.ipc.open_stream(source)
        self._schema: pa.Schema = reader.schema
        self.names = list(self._schema.names)
        self.rows: int | None = None

    def read_schema(self, layout: Layout) -> pa.Schema:
        return pa.schema([self._schema.field(name) for name in layout.columns])

    def read_chunks(self, layout: Layout, done: Container[int]) -> Chunks:
        number = 0
        with _reading(self._path), pa.memory_map(str(self._path)) as source:
            for batch in _iterate_batches(source):
                for start in range(0, batch.num_rows, CHUNK):
                    chunk = batch.slice(start, CHUNK).select(layout.columns)
                    yield number, None if number in done else chunk
                    number += 1


def _iterate_batches(source: pa.NativeFile) -> Iterator[pa.RecordBatch]:
    try:
        reader = pa.ipc.open_file(source)
    except pa.ArrowInvalid:
        source.seek(0)
        yield from pa.ipc.open_stream(source)
        return
    for number in range(reader.num_record_batches):
        yield reader.get_batch(number)
