"""Tables to score: read in chunks, always cut at the same rows."""

from __future__ import annotations

import csv
import itertools
import json
from collections.abc import Container, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
from henaw.intake.columns import find_result_columns
from henaw.intake.fhir import FhirPeople
from henaw.intake.fhir_files import is_fhir, list_files, read_files
from henaw.intake.json_stream import SUFFIXES, JsonStream, open_text
from henaw.intake.people import ReadColumns, tabulate_people
from henaw.intake.person_table import DRAWN, PersonTable
from henaw.intake.preflight import Unusable
from henaw.intake.text import find_shape
from henaw.model.errors import ScoringError
from henaw.model.layout import Layout

CHUNK = 65_536
"""Rows at most: what is held in memory, scored at once and kept when a run is killed."""

TEXT_SUFFIXES: tuple[str, ...] = (".csv", ".csv.gz", ".tsv", ".tsv.gz", ".txt", ".txt.gz")

_CSV_BLOCK_BYTES = 8 << 20
_PARQUET_BUFFER_BYTES = 1 << 20
"""Of each column."""

Chunks = Iterator[tuple[int, pa.RecordBatch | None]]


class Source(Protocol):
    """A table on disk.

    Attributes:
        names: of its columns.
        rows: how many; None where only reading tells.
        notes: what the file was taken for, in sentences, where that is not plain.
        from_results: whether a row was put together from results, so that an answer says which
            values were used; its chunks have :data:`DRAWN` besides.
        unusable: biomarkers of a table with a result a row, none of whose results can be used.
    """

    from_results: bool
    names: list[str]
    rows: int | None
    notes: list[str]
    unusable: Sequence[Unusable]

    def read_schema(self, layout: Layout) -> pa.Schema:
        """The types of the layout's columns."""
        ...

    def read_chunks(self, layout: Layout, done: Container[int]) -> Chunks:
        """Yield numbered chunks of the layout's columns; None for those that are ``done``.

        Raises:
            ScoringError: the file holds what cannot be read.
        """
        ...


class _Table(Protocol):
    """A file of columns, as it is written."""

    names: list[str]
    decimal: str

    def read_columns(self, columns: Sequence[str], done: Container[int]) -> Chunks:
        """Yield numbered chunks of some columns; None for those that are ``done``."""
        ...


def open_source(
    path: Path,
    *,
    threads: int = 1,
    separator: str | None = None,
    people: Path | None = None,
    tests: Mapping[str, str] | None = None,
    by_draw: bool = False,
) -> Source:
    """Open a table by its suffix, or FHIR: .json, .ndjson or a folder of them.

    FHIR, and a table with a result a row, become one with a row a person: of each biomarker
    the newest usable result (see :mod:`henaw.intake.newest`).

    Args:
        path: of the table.
        threads: more than one: columns are decoded at once.
        separator: between the columns of text; None: what its header shows.
        people: a table with a row a person, for one with a result a row: their ages or birth
            dates, and sexes.
        tests: biomarkers by the laboratory's own codes or names of tests.
        by_draw: of results, whether each day of a person is a row.

    Raises:
        ScoringError: it is of another kind, or cannot be read.
    """
    if list_files(path):
        source = _open_fhir(path, people, tests, by_draw=by_draw)
        if source is not None:
            return source
    table = _open_table(path, threads, separator)
    columns = find_result_columns(table.names)
    if columns is not None:
        beside = None if people is None else _open_table(people, threads, None)
        with _reading(path):
            found, notes, unusable = tabulate_people(
                _reader(table),
                columns,
                table.names,
                decimal=table.decimal,
                local=tests or {},
                people=None if beside is None else (_reader(beside), beside.names),
                by_draw=by_draw,
            )
        return ResultsSource(found, notes, unusable=unusable)
    if people is not None or tests:
        raise ScoringError(
            str(path),
            ["--people and --tests are for a table with one result a row; this is none"],
        )
    return table


def _open_fhir(
    path: Path, people: Path | None, tests: Mapping[str, str] | None, *, by_draw: bool
) -> ResultsSource | None:
    """The people of FHIR; None where JSON is of another kind."""
    try:
        if not is_fhir(path):
            return None
        if people is not None:
            raise ScoringError(str(path), ["--people is for tables: FHIR has Patient resources"])
        found = read_files(path, local=tests, by_draw=by_draw)
    except OSError as error:
        raise ScoringError(str(path), [f"the file cannot be read: {error}"]) from error
    rows = f"FHIR: {len(found.patients)} {'draws' if by_draw else 'people'}"
    return ResultsSource(found.table, [rows, *found.notes], found)


def _open_table(
    path: Path, threads: int, separator: str | None
) -> _Parquet | _Csv | _Arrow | _JsonRows:
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
def _reading(path: Path) -> Iterator[None]:
    """Say of a file whose content is not what it should be that it cannot be read.

    What the machine refuses, which has a number, is not the file's fault and stays as it is.
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


class _Parquet:
    """Row groups that are done are not decoded again."""

    from_results = False
    decimal = "."
    unusable: Sequence[Unusable] = ()

    def __init__(self, path: Path, threads: int) -> None:
        # Mapped, or read ahead, a large file or row group would be held whole.
        self._path = path
        self._file = pq.ParquetFile(path, buffer_size=_PARQUET_BUFFER_BYTES, pre_buffer=False)
        self._threads = threads > 1
        self.names = list(self._file.schema_arrow.names)
        self.rows: int | None = self._file.metadata.num_rows
        self.notes: list[str] = []

    def read_schema(self, layout: Layout) -> pa.Schema:
        schema = self._file.schema_arrow
        return pa.schema([schema.field(name) for name in layout.columns])

    def read_chunks(self, layout: Layout, done: Container[int]) -> Chunks:
        yield from self.read_columns(layout.columns, done)

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
            with _reading(self._path):
                for number, batch in zip(numbers, batches, strict=True):
                    yield number, None if number in done else batch.select(columns)


class _Csv:
    """Every column is read as text: what is not a number becomes a reason, not an error."""

    from_results = False
    unusable: Sequence[Unusable] = ()

    def __init__(self, path: Path, threads: int, separator: str | None) -> None:
        self._path = path
        self._threads = threads > 1
        self._shape = find_shape(path, separator)
        self.decimal = self._shape.decimal
        self.names = list(self._shape.names)
        self.rows: int | None = None
        self.notes = list(self._shape.notes)

    def read_schema(self, layout: Layout) -> pa.Schema:
        return pa.schema([pa.field(name, pa.string()) for name in layout.columns])

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
        with _reading(self._path):
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
    """Numbers with a decimal point, of such as have a decimal comma: 1.079,6 becomes 1079.6."""
    grouped = pc.match_substring_regex(column, r"^\D*\d{1,3}(\.\d{3})+(,\d+)?\D*$")
    joined = pc.if_else(grouped, pc.replace_substring(column, ".", ""), column)
    return pc.replace_substring_regex(joined, r"(\d),(\d)", r"\1.\2")


class _Arrow:
    """An IPC file, Feather included, or a stream."""

    from_results = False
    decimal = "."
    unusable: Sequence[Unusable] = ()

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
        self.notes: list[str] = []

    def read_schema(self, layout: Layout) -> pa.Schema:
        return pa.schema([self._schema.field(name) for name in layout.columns])

    def read_chunks(self, layout: Layout, done: Container[int]) -> Chunks:
        yield from self.read_columns(layout.columns, done)

    def read_columns(self, columns: Sequence[str], done: Container[int]) -> Chunks:
        number = 0
        with _reading(self._path), pa.memory_map(str(self._path)) as source:
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


class _JsonRows:
    """A person an object, one a line or in a list; every value is read as text, as of CSV."""

    from_results = False
    unusable: Sequence[Unusable] = ()
    decimal = "."

    def __init__(self, path: Path) -> None:
        self._path = path
        self.rows: int | None = 0
        names: dict[str, None] = {}
        for row in self._read_rows():
            names.update(dict.fromkeys(row))
            self.rows += 1
        self.names = list(names)
        self.notes: list[str] = []

    def read_schema(self, layout: Layout) -> pa.Schema:
        return pa.schema([pa.field(name, pa.string()) for name in layout.columns])

    def read_chunks(self, layout: Layout, done: Container[int]) -> Chunks:
        yield from self.read_columns(layout.columns, done)

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


class ResultsSource:
    """People from results, as a table with a row a person.

    Attributes:
        people: all of them.
        fhir: who they are in FHIR, where they come from it.
    """

    from_results = True

    def __init__(
        self,
        people: PersonTable,
        notes: list[str],
        fhir: FhirPeople | None = None,
        *,
        unusable: Sequence[Unusable] = (),
    ) -> None:
        self.people = people
        self.fhir = fhir
        self.notes = notes
        self.unusable = unusable
        self._table = people.to_batch()
        self.names = list(self._table.schema.names)
        self.rows: int | None = self._table.num_rows

    def read_schema(self, layout: Layout) -> pa.Schema:
        return pa.schema([self._table.schema.field(name) for name in (*layout.columns, DRAWN)])

    def read_chunks(self, layout: Layout, done: Container[int]) -> Chunks:
        for number, start in enumerate(range(0, self._table.num_rows, CHUNK)):
            chunk = self._table.slice(start, CHUNK).select([*layout.columns, DRAWN])
            yield number, None if number in done else chunk


def _reader(table: _Table) -> ReadColumns:
    def read(columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        return (batch for _, batch in table.read_columns(columns, ()) if batch is not None)

    return read
