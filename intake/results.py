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
        age: (n,) float64, the person's years at that time; NaN where it is not told
    """

    person: pa.Array
    biomarker: npt.NDArray[np.int64]
    comparator: npt.NDArray[np.int8]
    value: npt.NDArray[np.float64]
    unit: pa.Array
    specimen: pa.Array
    time: npt.NDArray[np.int64]
    age: npt.NDArray[np.float64]

    def select(self, rows: npt.NDArray[Any]) -> Results:
        """The results at ``rows``: places, or a mask."""
        places = np.flatnonzero(rows) if rows.dtype == np.bool_ else rows
        taken = pa.array(places)
        parts: Any = (
            part.take(taken) if isinstance(part, pa.Array) else part[places] for part in self
        )
        return Results(*parts)
