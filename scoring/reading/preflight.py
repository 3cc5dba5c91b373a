"""A check of people's values with a model, before any answer is computed."""

from __future__ import annotations

import collections
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from henaw.intake.doubts import ENOUGH_VALUES
from henaw.intake.preflight import (
    Finding,
    InputWarning,
    Report,
    Seen,
    find_quantiles,
    judge_names,
    judge_unusable,
    judge_values,
)
from henaw.intake.reference import Reference
from henaw.intake.results import Unusable
from henaw.intake.tables.layout import BiomarkerColumn, Layout, describe_layout
from henaw.model.biomarkers import AGE_MAXIMUM_YEARS, INDEX, NAMES, PANEL
from henaw.model.errors import ScoringError
from henaw.scoring.reading.inputs import (
    NOTES,
    CellCounts,
    Inputs,
    count_bits,
    count_cells,
    drop_limits,
    find_unit_problems,
)

if TYPE_CHECKING:
    from henaw.scoring.henaw import Henaw
    from henaw.scoring.reading.sources import Source

_MOST_OUTSIDE = 0.5


def look_over(
    model: Henaw,
    people: Iterable[tuple[pa.RecordBatch, Inputs]],
    layout: Layout,
    names: Sequence[str],
    *,
    notes: Sequence[str] = (),
    unusable: Sequence[Unusable] = (),
    is_brief: bool = False,
) -> Report:
    """Report how people were read and what looks wrong.

    Args:
        model: the values are compared with those of its fitted people.
        people: batches with the layout's columns, and the inputs read from them.
        layout: the meaning of each column.
        names: all columns.
        notes: sentences on how the file was read.
        unusable: biomarkers without a usable result.
        is_brief: whether to report only what looks wrong, which is faster.
    """
    sample = _Sample()
    counts = np.zeros((len(NAMES), len(CellCounts._fields)), np.int64)
    sexes = _Sexes(layout)
    rows = late = 0
    for batch, inputs in people:
        rows += len(inputs.age)
        counts += np.array(count_cells(inputs), np.int64)
        late += int((inputs.age > AGE_MAXIMUM_YEARS).sum())
        sexes.add(batch, inputs)
        sample.add(inputs)
    kept = sample.take()
    used = [name for name in NAMES if name in model.description["used_biomarkers"]]
    columns = _list_columns(layout)
    units = {name: _find_unit(name, columns[name]) for name in used if name in columns}
    reference = model.fitted_people
    findings = [
        *judge_unusable(unusable, reference),
        *(f for f in judge_names(layout, names) if f.name in used),
        *sexes.judge(rows),
    ]
    if late > _MOST_OUTSIDE * rows:
        findings.append(_doubt_ages(layout))
    if kept is not None:
        findings += judge_values(drop_limits(kept), kept.age, kept.sex, reference, units)
    cells = [CellCounts(*row) for row in counts.tolist()]
    known = {finding.name for finding in findings if finding.stops}
    findings += [
        Finding(name=name, message=message, stops=True)
        for name, message in find_unit_problems(cells, layout).items()
        if name not in known
    ]
    return Report(
        rows=rows,
        taken=() if is_brief else (*notes, *describe_layout(layout, names)),
        seen=() if is_brief else tuple(_describe(cells, rows, kept, reference, columns)),
        absent=tuple(name for name in used if name not in columns),
        ignored=tuple(name for name in names if name and name not in layout.columns),
        findings=tuple(findings),
    )


def look_over_source(
    model: Henaw,
    source: Source,
    layout: Layout,
    *,
    keep: Callable[[Inputs], object] = lambda _: None,
) -> Report:
    """Read a table on disk once and report on it as :func:`look_over` does.

    Args:
        model: as in :func:`look_over`.
        source: the table.
        layout: the meaning of each column.
        keep: called with the inputs of each chunk.

    Raises:
        ScoringError: the table cannot be read.
    """

    def read() -> Iterator[tuple[pa.RecordBatch, Inputs]]:
        for _, batch in source.read_chunks(layout, ()):
            if batch is not None:
                inputs = model.read(batch, layout)
                keep(inputs)
                yield batch, inputs

    return look_over(
        model, read(), layout, source.names, notes=source.notes, unusable=source.unusable
    )


def _list_columns(layout: Layout) -> dict[str, list[BiomarkerColumn]]:
    columns: dict[str, list[BiomarkerColumn]] = {}
    for mapped in layout.biomarkers:
        columns.setdefault(mapped.name, []).append(mapped)
    return columns


def _find_unit(name: str, columns: Sequence[BiomarkerColumn]) -> str:
    """Return the unit of all values; if units differ, the panel's, to which they are converted."""
    units = {column.unit for column in columns}
    unit = units.pop() if len(units) == 1 else None
    return PANEL[INDEX[name]].unit if unit is None else unit


def _describe(
    cells: Sequence[CellCounts],
    rows: int,
    people: Inputs | None,
    reference: Reference,
    columns: Mapping[str, Sequence[BiomarkerColumn]],
) -> Iterator[Seen]:
    blank = np.full((len(NAMES), 3), np.nan)
    quantiles, expected = (
        (blank, blank)
        if people is None
        else find_quantiles(people.biomarkers, people.age, people.sex, reference)
    )
    for place, name in enumerate(NAMES):
        if name not in columns:
            continue
        counts = cells[place]
        is_known = bool(np.isfinite(quantiles[place]).all())
        yield Seen(
            name=name,
            columns=tuple(
                f"column {one.column!r}, in {one.unit or f'the unit of {one.unit_column!r}'}"
                for one in columns[name]
            ),
            values=counts.values,
            limits=counts.limits,
            missing=rows - counts.values - counts.unreadable,
            unreadable=counts.unreadable,
            outside=counts.outside,
            quantiles=tuple(quantiles[place].tolist()) if is_known else (),
            expected=tuple(expected[place].tolist()) if is_known else (),
        )


def question(
    report: Report, inputs: Inputs, accept: Sequence[str], *, is_table: bool, is_one: bool
) -> None:
    """Refuse people if a finding stops them, and warn of all other findings.

    A finding about one person only warns.

    Args:
        report: the report on the people.
        inputs: the inputs read from them.
        accept: names of findings to accept.
        is_table: whether they come as a table, whose columns may be missing.
        is_one: whether it is one person, not a list of people.

    Raises:
        ScoringError: a finding stops them.
    """
    if not is_one:
        require_accepted(report, accept)
    said = [finding.message for finding in report.findings]
    if is_table:
        if report.absent and report.rows:
            said.append(f"no column, so imputed for all: {', '.join(report.absent)}")
        said += [f"{count} rows: {note}" for note, count in count_bits(inputs.notes, NOTES).items()]
    for sentence in said:
        warnings.warn(sentence, InputWarning, stacklevel=4)


def require_accepted(report: Report, accept: Sequence[str]) -> None:
    """Refuse people if a finding that is not accepted by its name stops them.

    Raises:
        ScoringError: a finding stops them.
    """
    stops = report.find_stops(accept)
    if stops:
        names = ", ".join(dict.fromkeys(repr(finding.name) for finding in stops))
        raise ScoringError(
            "people",
            [
                *(finding.message for finding in stops),
                f"if they are right, accept {names}; else give the unit in the column's name, "
                "beside the value, or in a layout",
            ],
        )


class _Sample:
    """An evenly spread sample of the people whose age and sex are known."""

    def __init__(self) -> None:
        self._parts: list[Inputs] = []
        self._kept = self._seen = 0
        self._step = 1

    def add(self, inputs: Inputs) -> None:
        rows = np.flatnonzero(np.isfinite(inputs.age) & (inputs.sex >= 0))
        first = -self._seen % self._step
        self._seen += len(rows)
        self._parts.append(inputs.select(rows[first :: self._step]))
        self._kept += len(self._parts[-1].age)
        while self._kept > 2 * ENOUGH_VALUES:
            self._parts = [self._join().select(slice(0, None, 2))]
            self._kept, self._step = len(self._parts[0].age), self._step * 2

    def take(self) -> Inputs | None:
        return self._join() if self._kept else None

    def _join(self) -> Inputs:
        return Inputs(*(np.concatenate(part) for part in zip(*self._parts, strict=True)))


class _Sexes:
    """Counts of the values in the sex column that do not name a sex."""

    def __init__(self, layout: Layout) -> None:
        self._column = layout.sex.column
        self._females = 0
        self._others: collections.Counter[str] = collections.Counter()

    def add(self, batch: pa.RecordBatch, inputs: Inputs) -> None:
        self._females += int((inputs.sex == 0).sum())
        other = np.flatnonzero(inputs.sex < 0)
        if len(other) and len(self._others) < 100:
            cells = batch.column(self._column).take(pa.array(other))
            for one in pc.value_counts(pc.cast(cells, pa.string()).drop_null()).to_pylist():
                self._others[one["values"].strip().removesuffix(".0")] += one["counts"]

    def judge(self, rows: int) -> list[Finding]:
        if self._females or not self._others["2"]:
            return []
        return [
            Finding(
                name="sex",
                message=f"column {self._column!r} has 1 and 2, so no one is female. Is it NHANES "
                "coding, 1 male and 2 female? If so, name it RIAGENDR, or write female and male",
                stops=True,
            )
        ]


def _doubt_ages(layout: Layout) -> Finding:
    return Finding(
        name="age",
        message=f"most ages in column {layout.age!r} are above {AGE_MAXIMUM_YEARS:g} years. Are "
        "they years of birth, or months? Give years of age",
        stops=True,
    )
