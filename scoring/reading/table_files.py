"""Files of columns: Parquet, CSV, Arrow and JSON, read in chunks that are always cut alike."""

from __future__ import annotations

import csv
import itertools
import json
from collections.abc import Container, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
from henaw.intake.json_stream import SUFFIXES, JsonStream, open_text
from henaw.intake.results import Unusable
from henaw.intake.tables.layout import Layout
from henaw.intake.tables.text import find_shape
from henaw.model.errors import ScoringError

CHUNK = 65_536
"""Largest number of rows that are in memory, are scored together and are kept after a kill."""

TEXT_SUFFIXES: tuple[str, ...] = (".csv", ".csv.gz", ".tsv", ".tsv.gz", ".txt", ".txt.gz")

_CSV_BLOCK_BYTES = 8 << 20
_PARQUET_BUFFER_BYTES = 1 << 20
"""The buffer of each column, bytes."""

Chunks = Iterator[tuple[int, pa.RecordBatch | None]]


def open_table(path: Path, threads: int, separator: str | None) -> TableFile:
    """Open a file of columns by its suffix.

    Args:
        path: the file.
        threads: the number of threads; with more than one, columns are decoded in parallel.
        separator: the separator of columns in text; None to find it in the header.

    Raises:
        ScoringError: the file has another suffix, or cannot be read.
    """
    name = path.name.lower()
    try:
        if name.endswith((".parquet", ".pq")):
            return _Parquet(path, threads)
        if name.endswith(TEXT_SUFFIXES):
            return _Csv(path, threads, separator)
        if name.endswith((".arrow", ".feather", ".ipc")):
            return _Arrow(path)
        if name.endswith(SUFFIXES) and path.is_file():
            return _JsonRows(path)
    except FileNotFoundError as error:
        raise ScoringError(str(path), ["there is no such file"]) from error
    except (pa.ArrowException, OSError, UnicodeDecodeError, EOFError, csv.Error) as error:
        raise ScoringError(str(path), [f"the file cannot be read: {error}"]) from error
    raise ScoringError(
        str(path),
        [
            "the name must end in .parquet, .csv, .tsv, .txt, .arrow, .xlsx, .ndjson or .json, or "
            "name a folder of FHIR files that end in .ndjson or .json"
        ],
    )


@contextmanager
def explain_unreadable(path: Path) -> Iterator[None]:
    """Replace the error that a damaged file causes by one that names the file.

    An error with a number, such as for a full disk, is not the file's fault and stays as it is.
    """
    try:
        yield
    except ScoringError:
        raise
    except _UNREADABLE as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise ScoringError(str(path), [f"the file cannot be read: {error}"]) from error


_UNREADABLE = (
    ValueError,
    pa.ArrowKeyError,
    pa.ArrowNotImplementedError,
    pa.ArrowSerializationError,
    OSError,
    EOFError,
)


class TableFile:
    """A file of columns, a :class:`henaw.scoring.reading.sources.Source` by itself.

    Attributes:
        names: the columns.
        schema: their types; None if all are text.
        decimal: the decimal sign of numbers in text.
        rows: the number of rows; None if it is unknown before reading.
        notes: how the file was read, in sentences, if that is not obvious.
    """

    from_results = False
    unusable: Sequence[Unusable] = ()
    schema: pa.Schema | None = None
    decimal = "."
    rows: int | None = None

    def __init__(self, path: Path, names: Sequence[str], notes: Sequence[str] = ()) -> None:
        self._path = path
        self.names = list(names)
        self.notes = list(notes)

    def read_schema(self, layout: Layout) -> pa.Schema:
        """Return the types of the layout's columns."""
        if self.schema is None:
            return pa.schema([pa.field(name, pa.string()) for name in layout.columns])
        return pa.schema([self.schema.field(name) for name in layout.columns])

    def read_chunks(self, layout: Layout, done: Container[int]) -> Chunks:
        """Yield numbered chunks of the layout's columns; None for those that are ``done``."""
        yield from self.read_columns(layout.columns, done)

    def read_columns(self, columns: Sequence[str], done: Container[int]) -> Chunks:
        """Yield numbered chunks of some columns, as they are in the file."""
        raise NotImplementedError


class _Parquet(TableFile):
    """Row groups that are done are not decoded again."""

    def __init__(self, path: Path, threads: int) -> None:
        # Mapping or prefetching would bring a large file or row group into memory as a whole.
        self._file = pq.ParquetFile(path, buffer_size=_PARQUET_BUFFER_BYTES, pre_buffer=False)
        self._threads = threads > 1
        self.schema = self._file.schema_arrow
        self.rows = self._file.metadata.num_rows
        super().__init__(path, self._file.schema_arrow.names)

    def read_columns(self, columns: Sequence[str], done: Container[int]) -> Chunks:
        first = 0
        for group in range(self._file.num_row_groups):
            rows = self._file.metadata.row_group(group).num_rows
            numbers = range(first, first + -(-rows // CHUNK))
            first = numbers.stop
            if all(number in done for number in numbers):
                yield from ((number, None) for number in numbers)
                continue
            batches = self._file.iter_batches(
                CHUNK, row_groups=[group], columns=list(columns), use_threads=self._threads
            )
            with explain_unreadable(self._path):
                for number, batch in zip(numbers, batches, strict=True):
                    yield number, None if number in done else batch.select(columns)


class _Csv(TableFile):
    """Every column is read as text: what is not a number becomes a reason, not an error."""

    def __init__(self, path: Path, threads: int, separator: str | None) -> None:
        self._threads = threads > 1
        self._shape = find_shape(path, separator)
        self.decimal = self._shape.decimal
        super().__init__(path, self._shape.names, self._shape.notes)

    def read_chunks(self, layout: Layout, done: Container[int]) -> Chunks:
        numbers = {layout.age, *(mapped.column for mapped in layout.biomarkers)}
        for number, batch in self.read_columns(layout.columns, done):
            if batch is None or self.decimal == ".":
                yield number, batch
                continue
            pairs = zip(batch.schema.names, batch.columns, strict=True)
            columns = [_write_points(cells) if name in numbers else cells for name, cells in pairs]
            yield number, pa.RecordBatch.from_arrays(columns, schema=batch.schema)

    def read_columns(self, columns: Sequence[str], done: Container[int]) -> Chunks:
        shape = self._shape
        with explain_unreadable(self._path):
            try:
                batches = pa_csv.open_csv(
                    str(self._path),
                    read_options=pa_csv.ReadOptions(
                        block_size=_CSV_BLOCK_BYTES,
                        use_threads=self._threads,
                        encoding="utf8" if shape.encoding.startswith("utf-8") else shape.encoding,
                        column_names=self.names,
                        skip_rows=shape.skip,
                        skip_rows_after_names=1,
                    ),
                    parse_options=pa_csv.ParseOptions(
                        delimiter=shape.separator, newlines_in_values=True
                    ),
                    convert_options=pa_csv.ConvertOptions(
                        include_columns=list(columns),
                        column_types=dict.fromkeys(columns, pa.string()),
                        strings_can_be_null=False,
                    ),
                )
            except pa.ArrowInvalid as error:
                if not shape.is_empty and "Empty CSV file" in str(error):
                    return
                raise
            yield from ((n, None if n in done else batch) for n, batch in enumerate(batches))


def _write_points(column: pa.Array) -> pa.Array:
    """Replace decimal commas by points: 1.079,6 becomes 1079.6."""
    grouped = pc.match_substring_regex(column, r"^\D*\d{1,3}(\.\d{3})+(,\d+)?\D*$")
    joined = pc.if_else(grouped, pc.replace_substring(column, ".", ""), column)
    return pc.replace_substring_regex(joined, r"(\d),(\d)", r"\1.\2")


class _Arrow(TableFile):
    """An IPC file, Feather included, or a stream."""

    def __init__(self, path: Path) -> None:
        with pa.memory_map(str(path)) as source:
            try:
                reader = pa.ipc.open_file(source)
            except pa.ArrowInvalid:
                reader = pa.ipc.open_stream(source)
        self.schema = reader.schema
        super().__init__(path, reader.schema.names)

    def read_columns(self, columns: Sequence[str], done: Container[int]) -> Chunks:
        number = 0
        with explain_unreadable(self._path), pa.memory_map(str(self._path)) as source:
            for batch in _iterate_batches(source):
                for start in range(0, batch.num_rows, CHUNK):
                    chunk = batch.slice(start, CHUNK).select(columns)
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


class _JsonRows(TableFile):
    """One object per person, one per line or in a list; every value is read as text, as in CSV."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, ())
        names: dict[str, None] = {}
        self.rows = 0
        for row in self._read_rows():
            names.update(dict.fromkeys(row))
            self.rows += 1
        self.names = list(names)

    def read_columns(self, columns: Sequence[str], done: Container[int]) -> Chunks:
        rows = self._read_rows()
        number = 0
        while chunk := list(itertools.islice(rows, CHUNK)):
            batch = None
            if number not in done:
                cells = {name: [_write_cell(row.get(name)) for row in chunk] for name in columns}
                schema = pa.schema([pa.field(name, pa.string()) for name in columns])
                batch = pa.RecordBatch.from_pydict(cells, schema=schema)
            yield number, batch
            number += 1

    def _read_rows(self) -> Iterator[Mapping[str, Any]]:
        with open_text(self._path) as file:
            stream = JsonStream(file)
            try:
                for value, _ in stream.read("entry"):
                    if not isinstance(value, Mapping):
                        raise ScoringError(
                            str(self._path), [f"each row must be an object; got {value!r:.60}"]
                        )
                    yield value
            except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
                raise ScoringError(
                    str(self._path),
                    [f"the file is not JSON after {stream.count} rows: {error}"],
                ) from error


def _write_cell(value: object) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value)
