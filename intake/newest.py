"""The newest usable result of each biomarker and person, in one pass over rows in any order."""

from __future__ import annotations

import collections
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from henaw.intake.results import UNDATED, Results, take
from henaw.intake.words.names import is_blood
from henaw.model.biomarkers import NAMES, PANEL, Biomarker
from henaw.model.errors import PanelError
from henaw.model.panel.units import Unit

WINDOW_DAYS = 365
"""A value is not used if it is older than the person's newest value by more than this."""

DAY_MICROSECONDS = 86_400_000_000
_ENOUGH_TO_FOLD = 1 << 20
_MOST_KEPT_OUTSIDE = 256


class Values(NamedTuple):
    """The value of each person and biomarker; a person without any value has no row.

    Shape:
        value: (people, 9) float64, the panel's units, NaN without a value
        comparator: (people, 9) int8, the index in COMPARATORS
        drawn: (people,) int64, days since 1970 of the newest value; UNDATED without a date
        age: (people,) float64, years, given with the newest value; NaN if not given
        source: (people, 9) int64, the index of the result's name in ``sources``; -1 without a
            value
        sources: (n,) text, names of results
    """

    value: npt.NDArray[np.float64]
    comparator: npt.NDArray[np.int8]
    drawn: npt.NDArray[np.int64]
    age: npt.NDArray[np.float64]
    source: npt.NDArray[np.int64]
    sources: pa.Array

    def select(self, rows: npt.NDArray[np.int64]) -> Values:
        """The values of the people at ``rows``."""
        return Values(
            value=self.value[rows],
            comparator=self.comparator[rows],
            drawn=self.drawn[rows],
            age=self.age[rows],
            source=self.source[rows],
            sources=self.sources,
        )


class _Rows(NamedTuple):
    """Usable results in the panel's units, with the columns that they are sorted by."""

    key: npt.NDArray[np.int64]
    time: npt.NDArray[np.int64]
    comparator: npt.NDArray[np.int8]
    value: npt.NDArray[np.float64]
    day: npt.NDArray[np.int64]
    age: npt.NDArray[np.float64]
    source: pa.Array


class Newest:
    """Take results in any order, and keep the newest of each person and biomarker.

    Of results at the same time, a number is preferred to a limit, and the lowest number to higher
    ones, so that the order of the rows does not matter.

    Args:
        by_draw: whether each day of a person counts as a separate person, named by
            :func:`name_draw`.

    Attributes:
        by_draw: as given.
        people: identifiers, in the order in which they were first seen.
        refused: number of results that are not used, by reason.
        tied: number of people with several different newest results, by biomarker.
        outside: some values outside the accepted range, by biomarker.
        doubted: number of rows whose unit or value cannot be right, by biomarker.
    """

    def __init__(self, *, by_draw: bool = False) -> None:
        self.by_draw = by_draw
        self.people: dict[str, int] = {}
        self.refused: collections.Counter[str] = collections.Counter()
        self.tied: collections.Counter[str] = collections.Counter()
        self.outside: dict[str, list[float]] = {}
        self.doubted: collections.Counter[str] = collections.Counter()
        self._rows: list[_Rows] = []
        self._waiting = 0

    def number(self, identifiers: pa.Array) -> npt.NDArray[np.int64]:
        """(n,) the index of each identifier among the people; new ones are added."""
        names, indices = encode(identifiers)
        places = [self.people.setdefault(one, len(self.people)) for one in names]
        numbers: npt.NDArray[np.int64] = np.array(places, np.int64)[indices]
        return numbers

    def add(self, results: Results) -> None:
        """Add results; those that cannot be used are counted."""
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
        person = results.person
        if self.by_draw:
            person = name_draw(person, pa.array(results.day))
        key = self.number(person) * len(NAMES) + results.biomarker
        self._rows.append(
            _Rows(
                *(key, results.time, results.comparator, values),
                *(results.day, results.age, results.source),
            )
        )
        self._waiting += len(key)
        if self._waiting > _ENOUGH_TO_FOLD:
            self._fold()

    def merge(self, people: Sequence[str], places: npt.NDArray[np.int64]) -> None:
        """Replace the people so far by other people; several people may become one.

        Args:
            people: new identifiers.
            places: (people so far,) the index of each person in ``people``; with -1, the person's
                results are dropped.
        """
        self._fold()
        self.people = {one: place for place, one in enumerate(people)}
        if not self._rows:
            return
        (rows,) = self._rows
        owner, biomarker = np.divmod(rows.key, len(NAMES))
        known = np.flatnonzero(places[owner] >= 0)
        rows = rows._replace(key=places[owner] * len(NAMES) + biomarker)
        self._rows = [_Rows(*(take(part, known) for part in rows))]

    def finish(self) -> Values:
        """Return the values; those that are too old for the window are counted as refused."""
        self._fold()
        count = len(self.people)
        shape = (count, len(NAMES))
        value, age = np.full(shape, np.nan), np.full(shape, np.nan)
        comparator = np.zeros(shape, np.int8)
        time, day, source = np.full(shape, UNDATED), np.full(shape, UNDATED), np.full(shape, -1)
        sources = pa.array([], pa.string())
        for rows in self._rows:
            places = np.divmod(rows.key, len(NAMES))
            value[places], comparator[places] = rows.value, rows.comparator
            time[places], day[places], age[places] = rows.time, rows.day, rows.age
            source[places], sources = np.arange(len(rows.key)), rows.source
        newest = time.max(axis=1, initial=UNDATED)
        oldest = newest - WINDOW_DAYS * DAY_MICROSECONDS
        old = (time != UNDATED) & (time < oldest[:, np.newaxis])
        for place in np.flatnonzero(old.any(axis=0)):
            self.refused[
                f"{NAMES[place]} is more than {WINDOW_DAYS} days older than the newest value"
            ] += int(old[:, place].sum())
        value[old], comparator[old], source[old] = np.nan, 0, -1
        is_newest = (time == newest[:, np.newaxis]) & ~np.isnan(value)
        drawn = np.where(is_newest, day, UNDATED).max(axis=1, initial=UNDATED)
        given = np.fmin.reduce(np.where(is_newest, age, np.nan), axis=1, initial=np.nan)
        return Values(value, comparator, drawn, given, source, sources)

    def _fold(self) -> None:
        """Keep one row for each person and biomarker."""
        if not self._rows:
            return
        rows = _Rows(*(_join(parts) for parts in zip(*self._rows, strict=True)))
        order = np.lexsort((rows.age, rows.value, rows.comparator, -rows.time, rows.key))
        key = rows.key[order]
        starts = np.flatnonzero(np.diff(key, prepend=-1))
        first = order[starts]
        after = order[np.minimum(starts + 1, len(order) - 1)]
        same = (rows.key[first] == rows.key[after]) & (rows.time[first] == rows.time[after])
        limits = (rows.comparator[first] > 0) | (rows.comparator[after] > 0)
        tied = rows.key[first[same & ~limits & (rows.value[first] != rows.value[after])]]
        self.tied.update(NAMES[place] for place in (tied % len(NAMES)).tolist())
        self._rows = [_Rows(*(take(part, first) for part in rows))]
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
        """Convert values to the panel's units, and leave out those whose unit is not accepted."""
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
            biomarker.name, [f"it has no unit; give one of {', '.join(biomarker.units)}"]
        )
    return biomarker.find_unit(spelling or biomarker.unit)


def name_draw(person: pa.Array, day: pa.Array) -> pa.Array:
    """(n,) the name of one day of a person; :func:`split_draw` splits it."""
    return pc.binary_join_element_wise(person, pc.cast(day, pa.string()), _DRAW)


def split_draw(name: str) -> tuple[str, int]:
    """Split the name of a draw into the person and the days since 1970.

    Example:
        >>> split_draw(name_draw(pa.array(["a"]), pa.array([19783]))[0].as_py())
        ('a', 19783)
    """
    person, _, day = name.rpartition(_DRAW)
    return person, int(day)


_DRAW = "\x1f"


def _join(parts: Sequence[Any]) -> Any:
    return pa.concat_arrays(parts) if isinstance(parts[0], pa.Array) else np.concatenate(parts)


def encode(column: pa.Array) -> tuple[list[str], npt.NDArray[np.int64]]:
    """The distinct texts of a column, and (n,) the index of the text of each row."""
    coded = pc.dictionary_encode(column)
    return coded.dictionary.to_pylist(), _to_numpy(coded.indices)


def pair(
    first: npt.NDArray[np.int64], second: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The distinct pairs of two columns of codes, and (n,) the index of the pair of each row."""
    size = int(second.max(initial=0)) + 1
    pairs, inverse = np.unique(first * size + second, return_inverse=True)
    return pairs // size, pairs % size, inverse


def _to_numpy(indices: pa.Array) -> npt.NDArray[np.int64]:
    numbers: npt.NDArray[np.int64] = indices.cast(pa.int64()).to_numpy(zero_copy_only=False)
    return numbers
