"""People with their values, age and sex: what every source of results is read into."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from henaw.intake.limits import find_useful, pass_critical
from henaw.intake.newest import Values
from henaw.intake.results import COMPARATORS, UNDATED
from henaw.intake.words.dates import find_day
from henaw.model.biomarkers import AGE_MAXIMUM_YEARS, AGE_MINIMUM_YEARS, NAMES, SEXES

DRAWN = "drawn"
"""The column of the day of the newest value, YYYY-MM-DD. The age is that of this day."""


NO_RESULT = "no result can be used"
"""Why a person without any usable result is not scored."""


class PersonTable(NamedTuple):
    """People in the order of their source.

    Attributes:
        identifiers: of each person; None where the source has no column of them.
        age: (n,) float64, years on the day of the newest value, NaN where not known.
        sex: as the source writes it.
        values: of each person.
    """

    identifiers: list[str] | None
    age: npt.NDArray[np.float64]
    sex: list[str | None]
    values: Values

    def to_batch(self) -> pa.RecordBatch:
        """Make the table that is scored, in the panel's units.

        A biomarker with any limit among its values is a column of text, such as "<0.3".
        """
        columns: dict[str, pa.Array] = {}
        if self.identifiers is not None:
            columns["participant_id"] = pa.array(self.identifiers, pa.string())
        days = [
            None if day == UNDATED else str(find_day(day)) for day in self.values.drawn.tolist()
        ]
        columns[DRAWN] = pa.array(days, pa.string())
        columns["age"] = pa.array(self.age, from_pandas=True)
        columns["sex"] = pa.array(self.sex, pa.string())
        for place, name in enumerate(NAMES):
            numbers = self.values.value[:, place]
            signs = self.values.comparator[:, place]
            column = pa.array(numbers, from_pandas=True)
            if signs.any():
                texts = [
                    None if math.isnan(number) else f"{COMPARATORS[sign]}{number!r}"
                    for number, sign in zip(numbers.tolist(), signs.tolist(), strict=True)
                ]
                column = pa.array(texts, pa.string())
            columns[name] = column
        return pa.RecordBatch.from_pydict(columns)

    def to_arrays(
        self, reference: Mapping[str, Any]
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32], npt.NDArray[np.int64]]:
        """Make the inputs of the graph, from people whose sex is "female" or "male".

        Args:
            reference: medians by age and sex, the model's ``reference``.

        Returns:
            (n, 9) float32 biomarkers, NaN where missing or a limit that cannot be used; (n,)
            float32 years; (n,) int64 sex, -1 for any other text.
        """
        sex = np.array([SEXES.index(one) if one in SEXES else -1 for one in self.sex], np.int64)
        values = self.values.value.copy()
        for place, name in enumerate(NAMES):
            side = SIDES[self.values.comparator[:, place]]
            useful = find_useful(
                name, values[:, place], side, age=self.age, sex=sex, reference=reference
            )
            values[~useful, place] = np.nan
            values[:, place] = pass_critical(name, values[:, place], side)
        return values.astype(np.float32), self.age.astype(np.float32), sex

    def describe_limits(self, biomarkers: npt.NDArray[np.float32]) -> list[str]:
        """Say which limits were used as values, and which were not.

        Args:
            biomarkers: (n, 9) of :meth:`to_arrays`.
        """
        is_limit, is_used = self.values.comparator > 0, ~np.isnan(biomarkers)
        lines = []
        for what, chosen in (
            ("limits, used as values", is_limit & is_used),
            ("limits that say too little, not used", is_limit & ~is_used),
        ):
            counts = np.count_nonzero(chosen, axis=0).tolist()
            named = [
                f"{name} ({count})" for name, count in zip(NAMES, counts, strict=True) if count
            ]
            if named:
                lines.append(f"{what}: {', '.join(named)}")
        return lines

    def find_problems(self) -> list[list[str]]:
        """List why each person cannot be scored, in sentences; empty for those who can."""
        known: Any = ~np.isnan(self.values.value)
        empty = (~known.any(axis=1)).tolist()
        problems = []
        for age, sex, is_empty in zip(self.age.tolist(), self.sex, empty, strict=True):
            found = []
            if is_empty:
                found.append(NO_RESULT)
            elif math.isnan(age):
                found.append("the age is not known: a birth date is missing or is no date")
            elif not AGE_MINIMUM_YEARS <= age <= AGE_MAXIMUM_YEARS:
                # Three decimals, because one day is 0.003 years.
                found.append(
                    f"the age must be {AGE_MINIMUM_YEARS:g} to {AGE_MAXIMUM_YEARS:g} years; got "
                    f"{age:.3f}"
                )
            if sex not in SEXES:
                found.append(f"the sex must be {' or '.join(SEXES)}; got {sex!r:.60}")
            problems.append(found)
        return problems

    def select(self, rows: npt.NDArray[np.int64]) -> PersonTable:
        """The people at ``rows``."""
        names, places = self.identifiers, rows.tolist()
        return PersonTable(
            None if names is None else [names[place] for place in places],
            self.age[rows],
            [self.sex[place] for place in places],
            self.values.select(rows),
        )


SIDES = np.array([0, -1, -1, 1, 1], np.int8)
"""Side of the limit that a value is on, by the index of its comparator in COMPARATORS."""
