"""The newest usable result of each biomarker and person, in one pass and any order of rows."""

from __future__ import annotations

import collections
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from henaw.intake.results import UNDATED, Results
from henaw.model.biomarkers import NAMES, PANEL, Biomarker
from henaw.model.errors import PanelError
from henaw.model.names import is_blood
from henaw.model.units import Unit

WINDOW_DAYS = 365
"""A value that is older than this before the person's newest is not used with it."""

_DAY_MICROSECONDS = 86_400_000_000
_ENOUGH_TO_FOLD = 1 << 20
_MOST_KEPT_OUTSIDE = 256


class Values(NamedTuple):
    """The value of each person and biomarker; a person without any is not among them.

    Shape:
        value: (people, 9) float64, the panel's units, NaN where there is none
        comparator: (people, 9) int8, the place in COMPARATORS
        drawn: (people,) int64, time of the newest value; UNDATED where there is none
        age: (people,) float64, years told with the newest value, NaN where none is
    """

    value: npt.NDArray[np.float64]
    comparator: npt.NDArray[np.int8]
    drawn: npt.NDArray[np.int64]
    age: npt.NDArray[np.float64]


class _Rows(NamedTuple):
    """Usable results in the panel's units: what is ordered by."""

    key: npt.NDArray[np.int64]
    time: npt.NDArray[np.int64]
    comparator: npt.NDArray[np.int8]
    value: npt.NDArray[np.float64]
    age: npt.NDArray[np.float64]


class Newest:
    """Takes results, in any order, and keeps what is needed of them.

    Of one time a number comes before a limit, and of several numbers the lowest is taken, so
    that the order of the rows changes nothing.

    Attributes:
        people: identifiers, in the order in which they were first seen.
        refused: results that are not used, in counts by reason.
        tied: people by biomarker of which several results are the newest, and differ.
        outside: some values by biomarker that are outside the accepted range.
        doubted: rows by biomarker whose unit or value cannot be right.
    """

    def __init__(self) -> None:
        self.people: dict[str, int] = {}
        self.refused: collections.Counter[str] = collections.Counter()
        self.tied: collections.Counter[str] = collections.Counter()
        self.outside: dict[str, list[float]] = {}
        self.doubted: collections.Counter[str] = collections.Counter()
        self._rows: list[_Rows] = []
        self._waiting = 0

    def number(self, identifiers: pa.Array) -> npt.NDArray[np.int64]:
        """(n,) the place of each identifier among the people; new ones are added."""
        names, indices = encode(identifiers)
        places = [self.people.setdefault(one, len(self.people)) for one in names]
        numbers: npt.NDArray[np.int64] = np.array(places, np.int64)[indices]
        return numbers

    def add(self, results: Results) -> None:
        """Take results; those that cannot be used are counted."""
        if not len(results.value):
            return
        results = self._check_specimens(results)
        results, values = self._convert(results)
        low = np.array([b.minimum for b in PANEL])[results.biomarker]
        high = np.array([b.maximum for b in PANEL])[results.biomarker]
        inside = (values >= low) & (values <= high)
        for place in np.unique(results.biomarker[~inside]):
            b = PANEL[place]
            wrong = values[~inside & (results.biomarker == place)]
            self.refused[f"{b.name} is outside {b.minimum:g} to {b.maximum:g} {b.unit}"] += len(
                wrong
            )
            self.doubted[b.name] += len(wrong)
            if b.name not in self.outside:
                self.outside[b.name] = wrong[:_MOST_KEPT_OUTSIDE].tolist()
        results, values = results.select(inside), values[inside]
        key = self.number(results.person) * len(NAMES) + results.biomarker
        self._rows.append(_Rows(key, results.time, results.comparator, values, results.age))
        self._waiting += len(key)
        if self._waiting > _ENOUGH_TO_FOLD:
            self._fold()

    def finish(self) -> Values:
        """The values; those beyond the window are counted as refused."""
        self._fold()
        count = len(self.people)
        shape = (count, len(NAMES))
        value, age = np.full(shape, np.nan), np.full(shape, np.nan)
        comparator = np.zeros(shape, np.int8)
        time = np.full(shape, UNDATED)
        for rows in self._rows:
            places = np.divmod(rows.key, len(NAMES))
            value[places], comparator[places] = rows.value, rows.comparator
            time[places], age[places] = rows.time, rows.age
        drawn = time.max(axis=1, initial=UNDATED)
        oldest = drawn - WINDOW_DAYS * _DAY_MICROSECONDS
        old = (time != UNDATED) & (time < oldest[:, np.newaxis])
        for place in np.flatnonzero(old.any(axis=0)):
            self.refused[
                f"{NAMES[place]} is more than {WINDOW_DAYS} days older than the newest value"
            ] += int(old[:, place].sum())
        value[old], comparator[old] = np.nan, 0
        told = np.where((time == drawn[:, np.newaxis]) & ~np.isnan(value), age, np.nan)
        return Values(value, comparator, drawn, np.fmin.reduce(told, axis=1, initial=np.nan))

    def _fold(self) -> None:
        """Keep one row a person and biomarker."""
        if not self._rows:
            return
        joined: Any = (np.concatenate(parts) for parts in zip(*self._rows, strict=True))
        rows = _Rows(*joined)
        order = np.lexsort((rows.age, rows.value, rows.comparator, -rows.time, rows.key))
        key = rows.key[order]
        starts = np.flatnonzero(np.diff(key, prepend=-1))
        first = order[starts]
        after = order[np.minimum(starts + 1, len(order) - 1)]
        same = (rows.key[first] == rows.key[after]) & (rows.time[first] == rows.time[after])
        limits = (rows.comparator[first] > 0) | (rows.comparator[after] > 0)
        tied = rows.key[first[same & ~limits & (rows.value[first] != rows.value[after])]]
        self.tied.update(NAMES[place] for place in (tied % len(NAMES)).tolist())
        kept: Any = (part[first] for part in rows)
        self._rows = [_Rows(*kept)]
        self._waiting = 0

    def _check_specimens(self, results: Results) -> Results:
        names, indices = encode(results.specimen)
        good = np.array([not name or is_blood(name) for name in names], np.bool_)
        usable = good[indices]
        if usable.all():
            return results
        places, specimens, inverse = pair(results.biomarker[~usable], indices[~usable])
        for place, specimen, count in zip(places, specimens, np.bincount(inverse), strict=True):
            self.refused[f"{NAMES[place]}: the specimen is {names[specimen]!r}, not blood"] += int(
                count
            )
        return results.select(usable)

    def _convert(self, results: Results) -> tuple[Results, npt.NDArray[np.float64]]:
        """Values in the panel's units, without those whose unit is none."""
        units, indices = encode(results.unit)
        places, spelled, inverse = pair(results.biomarker, indices)
        offset, factor = np.zeros(len(places)), np.full(len(places), np.nan)
        for number, count in enumerate(np.bincount(inverse)):
            biomarker = PANEL[places[number]]
            try:
                unit = _find_unit(biomarker, units[spelled[number]])
            except PanelError as error:
                self.refused[f"{biomarker.name}: {'; '.join(error.problems)}"] += int(count)
                self.doubted[biomarker.name] += int(count)
                continue
            offset[number], factor[number] = unit.offset, unit.factor
        values = (results.value - offset[inverse]) * factor[inverse]
        known = ~np.isnan(values)
        return results.select(known), values[known]


def _find_unit(biomarker: Biomarker, spelling: str) -> Unit:
    if not spelling and len(biomarker.units) > 1:
        raise PanelError(
            biomarker.name, [f"it has no unit; expected one of {', '.join(biomarker.units)}"]
        )
    return biomarker.find_unit(spelling or biomarker.unit)


def encode(column: pa.Array) -> tuple[list[str], npt.NDArray[np.int64]]:
    """The different texts of a column, and (n,) the place of each row's among them."""
    coded = pc.dictionary_encode(column)
    return coded.dictionary.to_pylist(), _to_numpy(coded.indices)


def pair(
    first: npt.NDArray[np.int64], second: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The different pairs of two columns of codes, and (n,) the place of each row's among them."""
    size = int(second.max(initial=0)) + 1
    pairs, inverse = np.unique(first * size + second, return_inverse=True)
    return pairs // size, pairs % size, inverse


def _to_numpy(indices: pa.Array) -> npt.NDArray[np.int64]:
    numbers: npt.NDArray[np.int64] = indices.cast(pa.int64()).to_numpy(zero_copy_only=False)
    return numbers
