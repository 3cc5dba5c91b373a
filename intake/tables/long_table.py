"""Tables with one result per row: exports of laboratories, and OMOP's MEASUREMENT."""

from __future__ import annotations

import collections
import math
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from henaw.intake.newest import DAY_MICROSECONDS, encode, pair
from henaw.intake.results import COMPARATORS, UNDATED, Results, repeat
from henaw.intake.words.analytes import OMOP_OPERATORS, OMOP_UNITS, find_analyte
from henaw.intake.words.cells import read_cell, read_comparator
from henaw.intake.words.columns import BIRTH, ResultColumns
from henaw.intake.words.dates import count_moment
from henaw.intake.words.days import read_day
from henaw.intake.words.names import AGE, SEX, means
from henaw.model.biomarkers import INDEX, NAMES, PANEL
from henaw.model.panel.folding import fold_name
from henaw.model.panel.units import fold_unit

_PERSON_TESTS = {"age": AGE, "sex": SEX, "birth": BIRTH}
_SIGNS = {sign: place for place, sign in enumerate(COMPARATORS)}


class LongTable:
    """Read batches of a table with one result per row.

    Args:
        columns: the table's columns.
        local: biomarkers by the laboratory's own codes or names of tests.
        decimal: the decimal mark of text.
        order: the order of day and month in dates such as 03/01/2024: "mdy" or "dmy".

    Attributes:
        rows: number of rows read so far.
        others: number of rows of tests outside the panel, by name.
        refused: number of rows that are not used, by reason.
        found: number of rows by biomarker, used or not.
        doubted: number of rows by biomarker with a result that cannot be read.
    """

    def __init__(
        self,
        columns: ResultColumns,
        *,
        local: Mapping[str, str],
        decimal: str,
        order: str,
    ) -> None:
        self._parts = columns.parts
        self._local = local
        self._decimal = decimal
        self._order = order
        self._is_concept = fold_name(columns.parts.get("code", "")) == "measurementconceptid"
        self._allowed: list[tuple[str, ...]] = []
        now = datetime.now(timezone.utc)
        # In some time zone it is already tomorrow.
        self._latest = (now + timedelta(days=1)).timestamp() * 1e6
        self.rows = 0
        self.others: collections.Counter[str] = collections.Counter()
        self.refused: collections.Counter[str] = collections.Counter()
        self.found: collections.Counter[str] = collections.Counter()
        self.doubted: collections.Counter[str] = collections.Counter()

    def read(self, batch: pa.RecordBatch) -> tuple[Results, dict[str, pa.RecordBatch]]:
        """Read the results of a batch, and the rows that are properties of people.

        Returns:
            The results; and, by "age", "sex" and "birth", a batch of ``person`` and ``text`` with
            the rows whose test is an age, a sex or a birth date.
        """
        self.rows += batch.num_rows
        places, allowed, named_units, facts = self._find_tests(batch)
        found = np.flatnonzero(places >= 0)
        properties = {
            part: pa.RecordBatch.from_pydict(
                {
                    "person": self._text(batch, "person").take(pa.array(rows)),
                    "text": self._text(batch, "value").take(pa.array(rows)),
                }
            )
            for part, rows in facts.items()
        }
        batch, places, allowed = batch.take(pa.array(found)), places[found], allowed[found]
        named_units = named_units.take(pa.array(found))
        comparator, value, unit = self._read_values(batch, places)
        time, day = self._read_times(batch)
        concepts, indices = encode(self._text(batch, "unit_concept"))
        known = [OMOP_UNITS.get(concept, "") for concept in concepts]
        # The unit column, else the unit's concept, else the unit in the cell or the test's name.
        units = self._text(batch, "unit")
        for other in (pa.array(known, pa.string()).take(pa.array(indices)), unit, named_units):
            units = pc.if_else(pc.equal(units, ""), other, units)
        results = Results(
            person=self._text(batch, "person"),
            biomarker=places,
            comparator=comparator,
            value=value,
            unit=units,
            specimen=self._text(batch, "specimen"),
            time=time,
            day=day,
            age=self._read_ages(batch),
            source=repeat("", batch.num_rows),
        )
        usable = ~np.isnan(value) & (time != _UNUSABLE) & self._check_codes(places, allowed, units)
        return results.select(usable), properties

    def _text(self, batch: pa.RecordBatch, part: str) -> pa.Array:
        """(n,) trimmed text of a part; "" for a missing cell or column."""
        column = self._parts.get(part)
        if column is None:
            return repeat("", batch.num_rows)
        return to_text(batch.column(column))

    def _find_tests(
        self, batch: pa.RecordBatch
    ) -> tuple[
        npt.NDArray[np.int64], npt.NDArray[np.int64], pa.Array, dict[str, npt.NDArray[np.int64]]
    ]:
        """Find the test of each row.

        Returns:
            (n,) the biomarker's index, -1 for other tests; (n,) the index of the units that its
            code allows, -1 if it allows all; (n,) the unit in the test's name, "" without one;
            and the rows that are properties of people.
        """
        tests, test = encode(self._text(batch, "test"))
        codes, code = encode(self._text(batch, "code"))
        test_of, code_of, inverse = pair(test, code)
        counts = np.bincount(inverse, minlength=len(test_of))
        places = np.full(len(test_of), -1)
        allowed = np.full(len(test_of), -1)
        units = [""] * len(test_of)
        facts: dict[str, list[int]] = {}
        for number, (at, of) in enumerate(zip(test_of, code_of, strict=True)):
            name = tests[at] or codes[of]
            part = next((p for p, known in _PERSON_TESTS.items() if means(name, known)), None)
            if part is not None:
                facts.setdefault(part, []).append(number)
                continue
            analyte = find_analyte(
                tests[at], codes[of], local=self._local, is_concept=self._is_concept
            )
            if analyte.biomarker is not None:
                places[number] = INDEX[analyte.biomarker]
                self.found[analyte.biomarker] += int(counts[number])
                units[number] = analyte.unit or ""
                if analyte.units is not None:
                    if analyte.units not in self._allowed:
                        self._allowed.append(analyte.units)
                    allowed[number] = self._allowed.index(analyte.units)
            elif analyte.problem is not None:
                self.refused[analyte.problem] += int(counts[number])
            else:
                self.others[name] += int(counts[number])
        rows = {part: np.flatnonzero(np.isin(inverse, numbers)) for part, numbers in facts.items()}
        named = pa.array(units, pa.string()).take(pa.array(inverse))
        return places[inverse], allowed[inverse], named, rows

    def _check_codes(
        self,
        places: npt.NDArray[np.int64],
        allowed: npt.NDArray[np.int64],
        units: pa.Array,
    ) -> npt.NDArray[np.bool_]:
        """Whether the unit of each row is one that its code allows."""
        good = np.ones(len(places), np.bool_)
        spelled, indices = encode(units)
        limited = np.flatnonzero(allowed >= 0)
        kinds, numbers, inverse = pair(allowed[limited], indices[limited])
        for at, (kind, number) in enumerate(zip(kinds, numbers, strict=True)):
            rows = limited[inverse == at]
            biomarker = PANEL[places[rows[0]]]
            key = biomarker.spellings.get(fold_unit(spelled[number]))
            if key is not None and key not in self._allowed[kind]:
                names = ", ".join(self._allowed[kind])
                self.refused[
                    f"{biomarker.name}: its code comes in {names}; got {spelled[number]!r}"
                ] += len(rows)
                self.doubted[biomarker.name] += len(rows)
                good[rows] = False
        return good

    def _read_values(
        self, batch: pa.RecordBatch, places: npt.NDArray[np.int64]
    ) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.float64], pa.Array]:
        column = batch.column(self._parts["value"])
        comparator = np.zeros(batch.num_rows, np.int8)
        if pa.types.is_floating(column.type) or pa.types.is_integer(column.type):
            value: Any = pc.cast(column, pa.float64()).to_numpy(zero_copy_only=False)
            absent = np.isnan(value)
            for place in np.unique(places[absent]):
                count = int((absent & (places == place)).sum())
                self.refused[f"{NAMES[place]}: no value"] += count
            unit = repeat("", batch.num_rows)
        else:
            texts, indices = encode(self._text(batch, "value"))
            cells = [read_cell(text, self._decimal) for text in texts]
            value = np.array([np.nan if c.value is None else c.value for c in cells], np.float64)
            unread = np.flatnonzero(np.isnan(value)[indices])
            where, numbers, inverse = pair(places[unread], indices[unread])
            for place, number, count in zip(where, numbers, np.bincount(inverse), strict=True):
                what = "means no value" if cells[number].is_absent else "is not a number"
                self.refused[f"{NAMES[place]}: {texts[number]!r} {what}"] += int(count)
                self.doubted[NAMES[place]] += 0 if cells[number].is_absent else int(count)
            value = value[indices]
            signs = np.array([_SIGNS[cell.comparator] for cell in cells], np.int8)
            comparator = signs[indices]
            unit = pa.array([cell.unit for cell in cells], pa.string()).take(pa.array(indices))
        if "comparator" in self._parts:
            signs_given, indices = encode(self._text(batch, "comparator"))
            given = [read_comparator(OMOP_OPERATORS.get(sign, sign)) for sign in signs_given]
            known = np.array(
                [_SIGNS.get(sign or "", 0) if sign is not None else -1 for sign in given]
            )[indices]
            for number in np.unique(indices[known < 0]):
                count = int((indices == number).sum())
                self.refused[f"comparator {signs_given[number]!r} is not known"] += count
            value = np.where(known < 0, np.nan, value)
            comparator = np.where(known > 0, known, comparator).astype(np.int8)
        return comparator, value, unit

    def _read_ages(self, batch: pa.RecordBatch) -> npt.NDArray[np.float64]:
        texts, indices = encode(self._text(batch, "age"))
        return np.array([read_age(text) for text in texts], np.float64)[indices]

    def _read_times(
        self, batch: pa.RecordBatch
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """(n,) microseconds, and days; UNDATED for empty text, _UNUSABLE for unusable text."""
        if "time" not in self._parts:
            return np.full(batch.num_rows, UNDATED), np.full(batch.num_rows, UNDATED)
        texts, indices = encode(self._text(batch, "time"))
        times, days = _count_times(texts, self._order)
        wrong = times == _UNUSABLE
        late = times > self._latest
        for marks, what in ((wrong, "is not a date"), (late, "is in the future")):
            for number in np.flatnonzero(marks):
                count = int((indices == number).sum())
                self.refused[f"{self._parts['time']}: {texts[number]!r} {what}"] += count
        times[late] = _UNUSABLE
        return times[indices], days[indices]


def read_age(text: str) -> float:
    """Read an age in years, such as 54, "54 y" or "54 Jahre"; NaN for other text.

    Example:
        >>> read_age("54,5 ans"), read_age("6 months")
        (54.5, nan)
    """
    cell = read_cell(text)
    is_years = not cell.unit or fold_name(cell.unit)[:1] in ("y", "j", "a")
    return cell.value if cell.value is not None and not cell.comparator and is_years else math.nan


def to_text(column: pa.Array) -> pa.Array:
    """(n,) trimmed text of any column, "" for a missing cell; whole numbers without ".0"."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    text = pc.utf8_trim_whitespace(pc.cast(column, pa.string())).fill_null("")
    if pa.types.is_floating(column.type):
        text = pc.replace_substring_regex(text, r"^(\d+)\.0$", r"\1")
    return text


_UNUSABLE = UNDATED - 1


def _count_times(
    texts: list[str], order: str
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """(n,) microseconds and days of dates. Arrow reads ISO without a zone; others one by one."""
    column = pa.array(texts, pa.string())
    plain = pc.match_substring_regex(column, _ISO)
    parsed = pc.cast(pc.if_else(plain, column, pa.scalar(None, pa.string())), pa.timestamp("us"))
    times: npt.NDArray[np.int64] = np.array(parsed.cast(pa.int64()).fill_null(0))
    days = times // DAY_MICROSECONDS
    for place in np.flatnonzero(~plain.to_numpy(zero_copy_only=False)):
        times[place], days[place] = _count_time(texts[place], order)
    return times, days


# Days up to 28, which every month has.
_ISO = r"^[12]\d{3}-(0[1-9]|1[0-2])-(0[1-9]|1\d|2[0-8])([ T]([01]\d|2[0-3]):[0-5]\d(:[0-5]\d)?)?$"


def _count_time(text: str, order: str) -> tuple[int, int]:
    if not text:
        return UNDATED, UNDATED
    moment = read_day(text, order)
    return (_UNUSABLE, UNDATED) if moment is None else count_moment(moment)
