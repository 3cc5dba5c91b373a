"""Columns of any Arrow type to numbers, codes of sex and values in the panel's units."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from henaw.intake.tables.layout import BiomarkerColumn, Layout
from henaw.intake.words.cells import read_cell
from henaw.intake.words.loinc import COMPARATORS
from henaw.model.biomarkers import INDEX, PANEL, SEXES, Biomarker
from henaw.model.errors import PanelError, ScoringError

FloatArray = npt.NDArray[np.floating[Any]]
Mask = npt.NDArray[np.bool_]


class Cells(NamedTuple):
    """The cells of a column; an array is None if it would be all False or 0.

    Shape:
        values: (n,) numbers, NaN for any other cell
        unreadable: (n,) whether the cell is not empty and is not a number
        word: (n,) whether the cell is a word for no value
        side: (n,) int8, -1 below the value, 1 above it, 0 the value itself
    """

    values: FloatArray
    unreadable: Mask | None = None
    word: Mask | None = None
    side: npt.NDArray[np.int8] | None = None


def read_numbers(column: pa.Array, missing: tuple[str, ...]) -> Cells:
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_float32(column.type) or pa.types.is_float64(column.type):
        return Cells(_drop_codes(_to_numpy(column), missing))
    if _is_text(column.type):
        text = _strip(column, missing)
        try:
            return Cells(_to_numpy(pc.cast(text, pa.float64())))
        except pa.ArrowInvalid:
            return _read_text(text)
    if pa.types.is_boolean(column.type) or pa.types.is_nested(column.type):
        return _refuse(column)
    try:
        values = _to_numpy(pc.cast(column, pa.float64(), safe=False))
        return Cells(_drop_codes(values, missing))
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return _refuse(column)


def _refuse(column: pa.Array) -> Cells:
    valid = column.is_valid().to_numpy(zero_copy_only=False)
    return Cells(np.full(len(column), np.nan), valid)


def _read_text(text: pa.Array) -> Cells:
    """Read plain numbers by Arrow; then limits, decimal commas and words cell by cell."""
    number = pc.match_substring_regex(text, _NUMBER).fill_null(True)
    plain = pc.if_else(number, text, pa.scalar(None, text.type))
    values = _to_numpy(pc.cast(plain, pa.float64())).copy()
    rows = np.flatnonzero(~number.to_numpy(zero_copy_only=False))
    coded = pc.dictionary_encode(text.take(pa.array(rows)))
    places = coded.indices.to_numpy(zero_copy_only=False)
    cells = [read_cell(cell) for cell in coded.dictionary.to_pylist()]
    # A unit in a cell may differ from the column's.
    read = [None if cell.unit else cell.value for cell in cells]
    values[rows] = np.array([np.nan if one is None else one for one in read])[places]
    word, unreadable = np.zeros(len(text), np.bool_), np.zeros(len(text), np.bool_)
    word[rows] = np.array([cell.is_absent for cell in cells])[places]
    unreadable[rows] = np.isnan(values[rows]) & ~word[rows]
    side = np.zeros(len(text), np.int8)
    side[rows] = np.array([_SIDES.get(cell.comparator, 0) for cell in cells], np.int8)[places]
    return Cells(values, unreadable, word, side if side.any() else None)


_SIDES = {sign: -1 if side == "below" else 1 for sign, side in COMPARATORS.items()}


def read_ages(
    column: pa.Array, missing: tuple[str, ...]
) -> tuple[npt.NDArray[np.float32], Mask | None]:
    """Return years (NaN if missing) and which cells are not a number; "> 89" is not an age."""
    cells = read_numbers(column, missing)
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

# The text that Arrow's cast accepts, so that a row is read alike in any chunk.
_NUMBER = r"(?i)^[+-]?((\d+\.?\d*|\.\d+)(e[+-]?\d+)?|nan|inf(inity)?)$"


def _drop_codes(values: FloatArray, missing: tuple[str, ...]) -> FloatArray:
    codes = [float(code) for code in missing if re.fullmatch(_NUMBER, code)]
    return np.where(np.isin(values, codes), np.nan, values) if codes else values


def _is_text(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    )


def _strip(column: pa.Array, missing: tuple[str, ...]) -> pa.Array:
    # Some kernels do not take string views.
    text = pc.utf8_trim_whitespace(pc.cast(column, pa.large_string()))
    absent = pc.is_in(text, value_set=pa.array(missing, pa.large_string()))
    return pc.if_else(absent, pa.scalar(None, pa.large_string()), text)


def read_sex(column: pa.Array, layout: Layout) -> npt.NDArray[np.int64]:
    """Return codes of sex, -1 if a cell is neither."""
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
        numbers = read_numbers(column, layout.missing).values
        answer = np.full(len(numbers), -1, np.int64)
        for code, sex in codes.items():
            if code.isdecimal():
                answer[numbers == float(code)] = sex
        return answer
    text = pc.utf8_lower(_strip(column, layout.missing))
    # A whole number is written as 1.0 if some rows of its column are empty.
    text = pc.replace_substring_regex(text, r"^(\d+)\.0+$", r"\1")
    found = pc.index_in(text, value_set=pa.array(list(codes), pa.large_string()))
    answers = np.array([*codes.values(), -1], np.int64)
    answer = answers[found.fill_null(len(codes)).to_numpy()]
    return answer


def convert_units(
    values: FloatArray, mapped: BiomarkerColumn, batch: pa.RecordBatch, layout: Layout
) -> tuple[FloatArray, Mask | None]:
    """Return values in the panel's unit, and which cells have an unknown unit."""
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
