"""Arrow columns to the graph's inputs, with the reasons why a row cannot be scored."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from henaw.intake.limits import find_useful, pass_critical
from henaw.intake.person_table import NO_RESULT
from henaw.intake.tables.layout import Layout
from henaw.model.biomarkers import (
    AGE_MAXIMUM_YEARS,
    AGE_MINIMUM_YEARS,
    INDEX,
    NAMES,
    PANEL,
    SEXES,
)
from henaw.model.errors import ScoringError
from henaw.scoring.reading.cells import Mask, convert_units, read_ages, read_numbers, read_sex

REASONS: tuple[str, ...] = (
    "age is missing",
    "age is not a number",
    f"age is outside {AGE_MINIMUM_YEARS:g} to {AGE_MAXIMUM_YEARS:g} years",
    f"sex is not {' or '.join(SEXES)}",
    *(f"{name} is not a number" for name in NAMES),
    *(f"{b.name} is outside {b.minimum:g} to {b.maximum:g} {b.unit}" for b in PANEL),
    *(f"the unit of {b.name} must be one of {', '.join(b.units)}" for b in PANEL),
    NO_RESULT,
)
"""Why a row is not scored; each reason is one bit, at its position here."""

NOTES: tuple[str, ...] = (
    *(f"{name} is a limit, which is used as the value" for name in NAMES),
    *(f"{name} is a limit that says too little, and is missing" for name in NAMES),
    *(f"{name} is a word for no value, and is missing" for name in NAMES),
)
"""How a value that is not a plain number was read; bits as in REASONS."""

LIMIT_USED, _LIMIT_DROPPED, _WORD = 0, len(NAMES), 2 * len(NAMES)
_NOT_A_NUMBER, _OUTSIDE, _NO_UNIT = 4, 4 + len(NAMES), 4 + 2 * len(NAMES)
_LOWS = np.array([b.minimum for b in PANEL], np.float32)
_HIGHS = np.array([b.maximum for b in PANEL], np.float32)
_ENOUGH_TO_TELL_A_UNIT = 100
_MOST_OUTSIDE = 0.5


class Inputs(NamedTuple):
    """Inputs of the graph for n people.

    Shape:
        biomarkers: (n, 9) float32, the panel's units, NaN = missing
        age: (n,) float32, years
        sex: (n,) int64, 0 female, 1 male
        reasons: (n,) int64, bits of REASONS; 0 if the row can be scored
        notes: (n,) int64, bits of NOTES
    """

    biomarkers: npt.NDArray[np.float32]
    age: npt.NDArray[np.float32]
    sex: npt.NDArray[np.int64]
    reasons: npt.NDArray[np.int64]
    notes: npt.NDArray[np.int64]

    def select(self, rows: slice | npt.NDArray[np.int64]) -> Inputs:
        """Return the people at ``rows``."""
        return Inputs(
            self.biomarkers[rows],
            self.age[rows],
            self.sex[rows],
            self.reasons[rows],
            self.notes[rows],
        )


def read_inputs(batch: pa.RecordBatch, layout: Layout, reference: Mapping[str, Any]) -> Inputs:
    """Turn a batch of a user's table into the graph's inputs.

    A limit such as "<0.3" is used as the value if it is below the median of the person's age and
    sex, and one such as ">5" if it is above. Otherwise the value is missing: "CRP below 5
    mg/L" says less than the imputed value. Words for no value are missing. Both are noted.

    Args:
        batch: n rows with the layout's columns, of any numeric or text type.
        layout: the meaning of each column.
        reference: medians by age and sex, the model's property ``reference``.

    Raises:
        ScoringError: the column of sex has true and false.
    """
    rows = batch.num_rows
    reasons, notes = np.zeros(rows, np.int64), np.zeros(rows, np.int64)

    def note(place: int, wrong: Mask | None, bits: npt.NDArray[np.int64] = reasons) -> None:
        if wrong is not None and wrong.any():
            bits[wrong] |= 1 << place

    age, unreadable = read_ages(batch.column(layout.age), layout.missing)
    note(1, unreadable)
    note(0, np.isnan(age) if unreadable is None else np.isnan(age) & ~unreadable)
    note(2, (age < AGE_MINIMUM_YEARS) | (age > AGE_MAXIMUM_YEARS))
    sex = read_sex(batch.column(layout.sex.column), layout)
    note(3, sex < 0)
    biomarkers = np.full((rows, len(NAMES)), np.nan, np.float32)
    for mapped in layout.biomarkers:
        place = INDEX[mapped.name]
        cells = read_numbers(batch.column(mapped.column), layout.missing)
        values, foreign = convert_units(cells.values, mapped, batch, layout)
        note(_NOT_A_NUMBER + place, cells.unreadable)
        note(_NO_UNIT + place, foreign)
        note(_WORD + place, cells.word, notes)
        if cells.side is not None:
            useful = find_useful(
                mapped.name, values, cells.side, age=age, sex=sex, reference=reference
            )
            note(LIMIT_USED + place, (cells.side != 0) & useful, notes)
            note(_LIMIT_DROPPED + place, (cells.side != 0) & ~useful & ~np.isnan(values), notes)
            values = pass_critical(mapped.name, np.where(useful, values, np.nan), cells.side)
        earlier = biomarkers[:, place]
        biomarkers[:, place] = np.where(np.isnan(earlier), values, earlier)
    outside = (biomarkers < _LOWS) | (biomarkers > _HIGHS)
    if outside.any():
        for place in range(len(NAMES)):
            note(_OUTSIDE + place, outside[:, place])
    return Inputs(biomarkers, age, sex, reasons, notes)


def write_reasons(reasons: npt.NDArray[np.int64]) -> pa.Array:
    """Write reasons as (n,) text; null if the row was scored."""
    if not reasons.any():
        return pa.nulls(len(reasons), pa.string())
    return write_words(
        reasons, lambda code: "; ".join(r for bit, r in enumerate(REASONS) if code >> bit & 1)
    )


def write_words(codes: npt.NDArray[Any], spell: Callable[[int], str]) -> pa.Array:
    """Write (n,) codes as text; null for 0. ``spell`` is called once for each code."""
    seen, places = np.unique(codes, return_inverse=True)
    words = [spell(code).encode() for code in seen.tolist()]
    ends = np.cumsum([0, *map(len, words)], dtype=np.int32)
    # Not by pa.array, whose first use imports pandas and takes a quarter of a second.
    text = pa.StringArray.from_buffers(
        len(words),
        pa.py_buffer(ends),
        pa.py_buffer(b"".join(words)),
        pa.py_buffer(np.packbits(seen != 0, bitorder="little")),
    )
    indices = [None, pa.py_buffer(places.astype(np.int64))]
    return text.take(pa.Array.from_buffers(pa.int64(), len(places), indices))


def count_bits(bits: npt.NDArray[np.int64], words: Sequence[str]) -> dict[str, int]:
    """Count rows by reason or note of ``words``; a row with several counts for each."""
    some = bits[bits != 0]
    counts = {word: int((some >> place & 1).sum()) for place, word in enumerate(words)}
    return {word: count for word, count in counts.items() if count}


class CellCounts(NamedTuple):
    """Counts of a biomarker's cells in all rows, scored or not.

    Attributes:
        values: numbers, including limits that are used and values outside the accepted range.
        limits: limits among the values.
        unreadable: cells that are not numbers or have an unknown unit.
        outside: values outside the accepted range.
    """

    values: int
    limits: int
    unreadable: int
    outside: int


def count_cells(inputs: Inputs) -> list[CellCounts]:
    """Count the cells of each biomarker, in the panel's order."""
    known = np.isfinite(inputs.biomarkers).sum(axis=0).tolist()
    has_notes, has_reasons = bool(inputs.notes.any()), bool(inputs.reasons.any())

    def count(bits: npt.NDArray[np.int64], place: int) -> int:
        return int((bits >> place & 1).sum())

    return [
        CellCounts(
            values=known[place],
            limits=count(inputs.notes, LIMIT_USED + place) if has_notes else 0,
            unreadable=count(inputs.reasons, _NOT_A_NUMBER + place)
            + count(inputs.reasons, _NO_UNIT + place)
            if has_reasons
            else 0,
            outside=count(inputs.reasons, _OUTSIDE + place) if has_reasons else 0,
        )
        for place in range(len(NAMES))
    ]


def drop_limits(inputs: Inputs) -> npt.NDArray[np.float32]:
    """Return the (n, 9) values with NaN in place of limits."""
    if not inputs.notes.any():
        return inputs.biomarkers
    limits = np.stack([inputs.notes >> LIMIT_USED + place & 1 for place in range(len(NAMES))], 1)
    return np.where(limits == 1, np.float32(np.nan), inputs.biomarkers)


def find_unit_problems(cells: Sequence[CellCounts], layout: Layout) -> dict[str, str]:
    """Find the biomarkers for which most values are impossible in the assumed unit.

    With fewer than a hundred values nothing is found; each impossible value is then refused
    by itself.
    """
    problems = {}
    for mapped in layout.biomarkers:
        counts = cells[INDEX[mapped.name]]
        if counts.values < _ENOUGH_TO_TELL_A_UNIT:
            continue
        share = counts.outside / counts.values
        if share > _MOST_OUTSIDE:
            biomarker = PANEL[INDEX[mapped.name]]
            problems[mapped.name] = (
                f"{mapped.name} must be in [{biomarker.minimum:g}, {biomarker.maximum:g}] "
                f"{biomarker.unit}; {share:.0%} of the values are not. Is "
                f"{mapped.unit or mapped.unit_column!r} the unit of {mapped.column!r}? "
                f"Accepted: {', '.join(biomarker.units)}"
            )
    return problems


def check_units(inputs: Inputs, layout: Layout) -> None:
    """Refuse people by :func:`find_unit_problems`.

    Raises:
        ScoringError: there is such a problem.
    """
    problems = find_unit_problems(count_cells(inputs), layout)
    if problems:
        raise ScoringError("table", problems.values())
