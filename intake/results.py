"""Results of a laboratory, one a row, whatever file they come from."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

COMPARATORS: tuple[str, ...] = ("", "<", "<=", ">", ">=")
"""The code of a comparator is its place here."""

UNDATED = -(2**62)
"""The time of a result without one: before any other, and safe to negate."""


class Results(NamedTuple):
    """Results of n tests, before a unit is converted or a specimen looked at.

    Shape:
        person: (n,) text
        biomarker: (n,) int64, the place in the panel
        comparator: (n,) int8, the place in COMPARATORS
        value: (n,) float64, in the unit; never NaN
        unit: (n,) text, "" where none is given
        specimen: (n,) text, "" where none is given
        time: (n,) int64, microseconds since 1970 in UTC; UNDATED where none is given
        day: (n,) int64, days since 1970 as the date is written there, whatever its zone
        age: (n,) float64, the person's years at that time; NaN where it is not told
        source: (n,) text, what the result is called where it comes from, "" for nothing
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
        """The results at ``rows``: places, or a mask."""
        places = np.flatnonzero(rows) if rows.dtype == np.bool_ else rows
        parts: Any = (take(part, places) for part in self)
        return Results(*parts)


def take(column: Any, places: npt.NDArray[np.int64]) -> Any:
    """The cells of a column of Arrow or NumPy at ``places``."""
    return column.take(pa.array(places)) if isinstance(column, pa.Array) else column[places]


def repeat(text: str, count: int) -> pa.Array:
    """A column of one text."""
    return pa.array([text], pa.string()).take(pa.array(np.zeros(count, np.int64)))
