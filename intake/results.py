"""Laboratory results from any file, one per row."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

COMPARATORS: tuple[str, ...] = ("", "<", "<=", ">", ">=")
"""The code of a comparator is its index here."""

UNDATED = -(2**62)
"""The time of a result without a date: before every date, and safe to negate."""


class Results(NamedTuple):
    """Results of n tests, before units are converted and specimens are checked.

    Shape:
        person: (n,) text
        biomarker: (n,) int64, the index in the panel
        comparator: (n,) int8, the index in COMPARATORS
        value: (n,) float64, in the unit; never NaN
        unit: (n,) text, "" where none is given
        specimen: (n,) text, "" where none is given
        time: (n,) int64, microseconds since 1970 in UTC; UNDATED where none is given
        day: (n,) int64, days since 1970 of the date as it is written, in any time zone
        age: (n,) float64, years, of the person at that time; NaN if not given
        source: (n,) text, the name of the result in its source, "" without one
    """

    person: pa.Array
    biomarker: npt.NDArray[np.int64]
    comparator: npt.NDArray[np.int8]
    value: npt.NDArray[np.float64]
    unit: pa.Array
    specimen: pa.Array
    time: npt.NDArray[np.int64]
    day: npt.NDArray[np.int64]
    age: npt.NDArray[np.float64]
    source: pa.Array

    def select(self, rows: npt.NDArray[Any]) -> Results:
        """The results at ``rows``: indices, or a mask."""
        places = np.flatnonzero(rows) if rows.dtype == np.bool_ else rows
        parts: Any = (take(part, places) for part in self)
        return Results(*parts)


class Unusable(NamedTuple):
    """A biomarker of a table with one result per row, none of whose results can be used.

    Attributes:
        name: of the biomarker.
        results: number of its rows.
        reasons: why they are not used, with counts.
        outside: some values outside the accepted range, in the panel's unit.
    """

    name: str
    results: int
    reasons: tuple[str, ...]
    outside: tuple[float, ...]


def take(column: Any, places: npt.NDArray[np.int64]) -> Any:
    """The cells of a column of Arrow or NumPy at the indices ``places``."""
    return column.take(pa.array(places)) if isinstance(column, pa.Array) else column[places]


def repeat(text: str, count: int) -> pa.Array:
    """A column that repeats one text."""
    return pa.array([text], pa.string()).take(pa.array(np.zeros(count, np.int64)))
