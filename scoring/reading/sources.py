"""People to score, from a file of any kind: a table, results or FHIR."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import pyarrow as pa
from henaw.intake.fhir.files import is_fhir, list_files, read_files
from henaw.intake.fhir.reader import FhirPeople
from henaw.intake.person_table import DRAWN, PersonTable
from henaw.intake.results import Unusable
from henaw.intake.tables.layout import Layout
from henaw.intake.tables.people import ReadColumns, tabulate_people
from henaw.intake.words.columns import find_result_columns
from henaw.model.errors import ScoringError
from henaw.scoring.reading.table_files import (
    CHUNK,
    Chunks,
    TableFile,
    explain_unreadable,
    open_table,
)


class Source(Protocol):
    """A table with one row per person, on disk or built from results.

    Attributes:
        names: the columns.
        rows: the number of rows; None if it is unknown before reading.
        notes: how the file was read, in sentences, if that is not obvious.
        from_results: whether each row was built from results, so that an answer says which
            values were used; its chunks also have the column :data:`DRAWN`.
        unusable: biomarkers without a usable result, in a table with one result per row.
    """

    from_results: bool
    names: list[str]
    rows: int | None
    notes: list[str]
    unusable: Sequence[Unusable]

    def read_schema(self, layout: Layout) -> pa.Schema:
        """Return the types of the layout's columns."""
        ...

    def read_chunks(self, layout: Layout, done: Container[int]) -> Chunks:
        """Yield numbered chunks of the layout's columns; None for those that are ``done``.

        Raises:
            ScoringError: the file cannot be read.
        """
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

    FHIR, and a table with one result per row, become a table with one row per person, which has
    the newest usable result of each biomarker (see :mod:`henaw.intake.newest`).

    Args:
        path: the file or folder.
        threads: the number of threads; with more than one, columns are decoded in parallel.
        separator: the separator of columns in text; None to find it in the header.
        people: a table with one row per person, in addition to a table with one result per row:
            ages or birth dates, and sexes.
        tests: biomarkers by the laboratory's own codes or names of tests.
        by_draw: for results, whether each day of a person is a row.

    Raises:
        ScoringError: the file is of another kind, or cannot be read.
    """
    if list_files(path):
        source = _open_fhir(path, people, tests, by_draw=by_draw)
        if source is not None:
            return source
    table = open_table(path, threads, separator)
    columns = find_result_columns(table.names)
    if columns is not None:
        beside = None if people is None else open_table(people, threads, None)
        with explain_unreadable(path):
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
            ["--people and --tests are for a table with one result per row; IN is not one"],
        )
    return table


def _open_fhir(
    path: Path, people: Path | None, tests: Mapping[str, str] | None, *, by_draw: bool
) -> ResultsSource | None:
    """The people of FHIR; None if the JSON is of another kind."""
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


class ResultsSource:
    """A :class:`Source` built from results.

    Attributes:
        people: all people.
        fhir: their FHIR resources, if they come from FHIR.
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


def _reader(table: TableFile) -> ReadColumns:
    def read(columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        return (batch for _, batch in table.read_columns(columns, ()) if batch is not None)

    return read
