"""Arrow columns to the graph's arrays, and why a row cannot be scored."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from henaw.intake.cells import read_cell
from henaw.intake.fhir_codes import COMPARATORS
from henaw.intake.limits import find_useful
from henaw.intake.person_table import NO_RESULT
from henaw.model.biomarkers import (
    AGE_MAXIMUM_YEARS,
    AGE_MINIMUM_YEARS,
    INDEX,
    NAMES,
    PANEL,
    SEXES,
    Biomarker,
)
from henaw.model.errors import PanelError, ScoringError
from henaw.model.layout import BiomarkerColumn, Layout

FloatArray = npt.NDArray[np.floating[Any]]
Mask = npt.NDArray[np.bool_]

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
"""Why a row is not scored; a row's reasons are one bit each, by their place here."""

NOTES: tuple[str, ...] = (
    *(f"{name} is a limit, which is used as the value" for name in NAMES),
    *(f"{name} is a limit that says too little, and is missing" for name in NAMES),
    *(f"{name} is a word for no value, and is missing" for name in NAMES),
)
"""How a value of a row was read that is not plain; bits as of REASONS."""

LIMIT_USED, _LIMIT_DROPPED, _WORD = 0, len(NAMES), 2 * len(NAMES)
_NOT_A_NUMBER, _OUTSIDE, _NO_UNIT = 4, 4 + len(NAMES), 4 + 2 * len(NAMES)
_LOWS = np.array([b.minimum for b in PANEL], np.float32)
_HIGHS = np.array([b.maximum for b in PANEL], np.float32)
_ENOUGH_TO_TELL_A_UNIT = 100
_MOST_OUTSIDE = 0.5


class Inputs(NamedTuple):
    """People as the graph takes them.

    Shape:
        biomarkers: (n, 9) float32, the panel's units, NaN = missing
        age: (n,) float32, years
        sex: (n,) int64, 0 female, 1 male
        reasons: (n,) int64, bits of REASONS; 0 where the row can be scored
        notes: (n,) int64, bits of NOTES
    """

    biomarkers: npt.NDArray[np.float32]
    age: npt.NDArray[np.float32]
    sex: npt.NDArray[np.int64]
    reasons: npt.NDArray[np.int64]
    notes: npt.NDArray[np.int64]

    def select(self, rows: slice | npt.NDArray[np.int64]) -> Inputs:
        """The people at ``rows``."""
        return Inputs(
            self.biomarkers[rows],
            self.age[rows],
            self.sex[rows],
            self.reasons[rows],
            self.notes[rows],
        )


def read_inputs(batch: pa.RecordBatch, layout: Layout, reference: Mapping[str, Any]) -> Inputs:
    """Turn a batch of somebody's table into the graph's inputs.

    A value below or above a limit, such as "<0.3", stands for the limit where that is on its
    side of the median of that age and sex, and is missing otherwise: "CRP below 5 mg/L" says
    less than nothing known does. Words for no value are missing. Both are noted.

    Args:
        batch: n rows with the layout's columns, of any numeric or text type.
        layout: which column is what.
        reference: medians by age and sex, the model's ``reference``.

    Raises:
        ScoringError: sex is true or false.
    """
    rows = batch.num_rows
    reasons, notes = np.zeros(rows, np.int64), np.zeros(rows, np.int64)

    def note(place: int, wrong: Mask | None, bits: npt.NDArray[np.int64] = reasons) -> None:
        if wrong is not None and wrong.any():
            bits[wrong] |= 1 << place

    age, unreadable = _read_ages(batch.column(layout.age), layout.missing)
    note(1, unreadable)
    note(0, np.isnan(age) if unreadable is None else np.isnan(age) & ~unreadable)
    note(2, (age < AGE_MINIMUM_YEARS) | (age > AGE_MAXIMUM_YEARS))
    sex = _read_sex(batch.column(layout.sex.column), layout)
    note(3, sex < 0)
    biomarkers = np.full((rows, len(NAMES)), np.nan, np.float32)
    for mapped in layout.biomarkers:
        place = INDEX[mapped.name]
        cells = _read_numbers(batch.column(mapped.column), layout.missing)
        values, foreign = _convert(cells.values, mapped, batch, layout)
        note(_NOT_A_NUMBER + place, cells.unreadable)
        note(_NO_UNIT + place, foreign)
        note(_WORD + place, cells.word, notes)
        if cells.side is not None:
            useful = find_useful(
                mapped.name, values, cells.side, age=age, sex=sex, reference=reference
            )
            note(LIMIT_USED + place, (cells.side != 0) & useful, notes)
            note(_LIMIT_DROPPED + place, (cells.side != 0) & ~useful & ~np.isnan(values), notes)
            values = np.where(useful, values, np.nan)
        earlier = biomarkers[:, place]
        biomarkers[:, place] = np.where(np.isnan(earlier), values, earlier)
    outside = (biomarkers < _LOWS) | (biomarkers > _HIGHS)
    if outside.any():
        for place in range(len(NAMES)):
            note(_OUTSIDE + place, outside[:, place])
    return Inputs(biomarkers, age, sex, reasons, notes)


def write_reasons(reasons: npt.NDArray[np.int64]) -> pa.Array:
    """(n,) text, null where the row was scored."""
    if not reasons.any():
        return pa.nulls(len(reasons), pa.string())
    return write_words(
        reasons, lambda code: "; ".join(r for bit, r in enumerate(REASONS) if code >> bit & 1)
    )


def write_words(codes: npt.NDArray[Any], spell: Callable[[int], str]) -> pa.Array:
    """Arrow text of (n,) codes, null where a code is 0; ``spell`` is called once for each."""
    seen, places = np.unique(codes, return_inverse=True)
    words = [spell(code).encode() for code in seen.tolist()]
    ends = np.cumsum([0, *map(len, words)], dtype=np.int32)
    # Not by pa.array: its first use imports pandas, a quarter of a second.
    text = pa.StringArray.from_buffers(
        len(words),
        pa.py_buffer(ends),
        pa.py_buffer(b"".join(words)),
        pa.py_buffer(np.packbits(seen != 0, bitorder="little")),
    )
    indices = [None, pa.py_buffer(places.astype(np.int64))]
    return text.take(pa.Array.from_buffers(pa.int64(), len(places), indices))


def count_bits(bits: npt.NDArray[np.int64], words: Sequence[str]) -> dict[str, int]:
    """Rows by reason or note, those of ``words``; a row with several is counted at each."""
    some = bits[bits != 0]
    counts = {word: int((some >> place & 1).sum()) for place, word in enumerate(words)}
    return {word: count for word, count in counts.items() if count}


class CellCounts(NamedTuple):
    """How many cells of a biomarker are what, in rows that are scored or not.

    Attributes:
        values: numbers, limits that are used and values outside the accepted range included.
        limits: of them, limits.
        unreadable: cells that are no numbers, or whose unit is not known.
        outside: values outside the accepted range.
    """

    values: int
    limits: int
    unreadable: int
    outside: int


def count_cells(inputs: Inputs) -> list[CellCounts]:
    """What the cells of each biomarker are, in the panel's order."""
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
    """(n, 9) the values that are no limits, NaN where there is none."""
    if not inputs.notes.any():
        return inputs.biomarkers
    limits = np.stack([inputs.notes >> LIMIT_USED + place & 1 for place in range(len(NAMES))], 1)
    return np.where(limits == 1, np.float32(np.nan), inputs.biomarkers)


class _Cells(NamedTuple):
    """A column's cells; None where no cell is such.

    Shape:
        values: (n,) NaN where there is no number
        unreadable: (n,) whether something else than a number is there
        word: (n,) whether that is a word for no value
        side: (n,) int8, -1 below the value, 1 above it, 0 the value itself
    """

    values: FloatArray
    unreadable: Mask | None = None
    word: Mask | None = None
    side: npt.NDArray[np.int8] | None = None


def _read_numbers(column: pa.Array, missing: tuple[str, ...]) -> _Cells:
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_float32(column.type) or pa.types.is_float64(column.type):
        return _Cells(_drop_codes(_to_numpy(column), missing))
    if _is_text(column.type):
        text = _strip(column, missing)
        try:
            return _Cells(_to_numpy(pc.cast(text, pa.float64())))
        except pa.ArrowInvalid:
            return _read_text(text)
    if pa.types.is_boolean(column.type) or pa.types.is_nested(column.type):
        return _refuse(column)
    try:
        values = _to_numpy(pc.cast(column, pa.float64(), safe=False))
        return _Cells(_drop_codes(values, missing))
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return _refuse(column)


def _refuse(column: pa.Array) -> _Cells:
    valid = column.is_valid().to_numpy(zero_copy_only=False)
    return _Cells(np.full(len(column), np.nan), valid)


def _read_text(text: pa.Array) -> _Cells:
    """Plain numbers by Arrow; what is left, limits, decimal commas and words, cell by cell."""
    number = pc.match_substring_regex(text, _NUMBER).fill_null(True)
    plain = pc.if_else(number, text, pa.scalar(None, text.type))
    values = _to_numpy(pc.cast(plain, pa.float64())).copy()
    rows = np.flatnonzero(~number.to_numpy(zero_copy_only=False))
    coded = pc.dictionary_encode(text.take(pa.array(rows)))
    places = coded.indices.to_numpy(zero_copy_only=False)
    cells = [read_cell(cell) for cell in coded.dictionary.to_pylist()]
    # A unit in a cell may be another than the column's.
    read = [None if cell.unit else cell.value for cell in cells]
    values[rows] = np.array([np.nan if one is None else one for one in read])[places]
    word, unreadable = np.zeros(len(text), np.bool_), np.zeros(len(text), np.bool_)
    word[rows] = np.array([cell.is_absent for cell in cells])[places]
    unreadable[rows] = np.isnan(values[rows]) & ~word[rows]
    side = np.zeros(len(text), np.int8)
    side[rows] = np.array([_SIDES.get(cell.comparator, 0) for cell in cells], np.int8)[places]
    return _Cells(values, unreadable, word, side if side.any() else None)


_SIDES = {sign: -1 if side == "below" else 1 for sign, side in COMPARATORS.items()}


def _read_ages(
    column: pa.Array, missing: tuple[str, ...]
) -> tuple[npt.NDArray[np.float32], Mask | None]:
    """Years, NaN where there is none, and where something else is; a limit is no age."""
    cells = _read_numbers(column, missing)
    if cells.side is None or cells.unreadable is None:
        return cells.values.astype(np.float32), cells.unreadable
    limits = cells.side != 0
    values = np.where(limits, np.nan, cells.values)
    return values.astype(np.float32), cells.unreadable | limits


def _to_numpy(column: pa.Array) -> FloatArray:
    """Floating-point numbers, NaN for null; Arrow's own conversions import pandas."""
    if column.null_count:
        column = pc.coalesce(column, _NANS[column.type])
    values: Any = np.from_dlpack(column)
    numbers: FloatArray = values
    return numbers


def _make_nan(kind: pa.DataType, nan: np.floating[Any]) -> pa.Scalar:
    return pa.Array.from_buffers(kind, 1, [None, pa.py_buffer(nan.tobytes())])[0]


_NANS = {
    pa.float32(): _make_nan(pa.float32(), np.float32(np.nan)),
    pa.float64(): _make_nan(pa.float64(), np.float64(np.nan)),
}

# What the cast takes, so that a row reads alike whatever is in its chunk.
_NUMBER = r"(?i)^[+-]?((\d+\.?\d*|\.\d+)(e[+-]?\d+)?|nan|inf(inity)?)$"


def _drop_codes(values: FloatArray, missing: tuple[str, ...]) -> FloatArray:
    codes = [float(code) for code in missing if re.fullmatch(_NUMBER, code)]
    return np.where(np.isin(values, codes), np.nan, values) if codes else values


def _is_text(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    )


def _strip(column: pa.Array, missing: tuple[str, ...]) -> pa.Array:
    # Some kernels know no string views.
    text = pc.utf8_trim_whitespace(pc.cast(column, pa.large_string()))
    absent = pc.is_in(text, value_set=pa.array(missing, pa.large_string()))
    return pc.if_else(absent, pa.scalar(None, pa.large_string()), text)


def _read_sex(column: pa.Array, layout: Layout) -> npt.NDArray[np.int64]:
    """Codes, -1 where it is neither."""
    if pa.types.is_boolean(column.type):
        raise ScoringError(
            "columns",
            [
                f"{layout.sex.column!r} must be {' or '.join(map(repr, SEXES))}, or 0 or 1; got "
                "true and false, which do not say who is female"
            ],
        )
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    codes: dict[str, int] = {
        code.casefold(): sex
        for sex, group in enumerate((layout.sex.female, layout.sex.male))
        for code in group
    }
    answer: npt.NDArray[np.int64]
    if not _is_text(column.type):
        numbers = _read_numbers(column, layout.missing).values
        answer = np.full(len(numbers), -1, np.int64)
        for code, sex in codes.items():
            if code.isdecimal():
                answer[numbers == float(code)] = sex
        return answer
    text = pc.utf8_lower(_strip(column, layout.missing))
    # A whole number becomes 1.0 wherever some rows of its column have none.
    text = pc.replace_substring_regex(text, r"^(\d+)\.0+$", r"\1")
    found = pc.index_in(text, value_set=pa.array(list(codes), pa.large_string()))
    answers = np.array([*codes.values(), -1], np.int64)
    answer = answers[found.fill_null(len(codes)).to_numpy()]
    return answer


def _convert(
    values: FloatArray, mapped: BiomarkerColumn, batch: pa.RecordBatch, layout: Layout
) -> tuple[FloatArray, Mask | None]:
    """Values in the panel's unit, and where the unit is none that is known."""
    biomarker = PANEL[INDEX[mapped.name]]
    if mapped.unit is not None:
        unit = biomarker.find_unit(mapped.unit)
        if unit.factor == 1.0 and unit.offset == 0.0:
            return values, None
        return (values.astype(np.float64) - unit.offset) * unit.factor, None
    spelled = pc.dictionary_encode(
        _strip(pc.cast(batch.column(mapped.unit_column), pa.large_string()), layout.missing)
    )
    lines = [_find_line(biomarker, spelling) for spelling in spelled.dictionary.to_pylist()]
    lines.append((np.nan, np.nan))
    offset, factor = np.array(lines)[spelled.indices.fill_null(len(lines) - 1).to_numpy()].T
    return (values - offset) * factor, ~np.isnan(values) & np.isnan(factor)


def _find_line(biomarker: Biomarker, spelling: str) -> tuple[float, float]:
    try:
        unit = biomarker.find_unit(spelling)
    except PanelError:
        return np.nan, np.nan
    return unit.offset, unit.factor


def find_unit_problems(cells: Sequence[CellCounts], layout: Layout) -> dict[str, str]:
    """Biomarkers most of whose values cannot be in the unit that they were taken to be in.

    Of fewer than a hundred values, each is refused by itself.
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
        ScoringError: there are some.
    """
    problems = find_unit_problems(count_cells(inputs), layout)
    if problems:
        raise ScoringError("table", problems.values())
