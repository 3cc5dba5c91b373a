"""What a table was taken for, and what is doubtful in it, before any number is computed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from henaw.intake.doubts import Doubt, find_doubts
from henaw.intake.reference import LOGGED, Array, Reference
from henaw.intake.results import Unusable
from henaw.intake.tables.layout import Layout
from henaw.intake.words.names import read_header
from henaw.intake.words.near_names import find_near_names
from henaw.model.biomarkers import INDEX, NAMES, PANEL

ALL = "all"
"""The name that accepts every finding."""

_SHARES = (0.05, 0.5, 0.95)
_MOST_LISTED = 12


class InputWarning(UserWarning):
    """Values or columns of a table look like something else, or are imputed."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Something to know before the numbers are used.

    Attributes:
        name: a biomarker, "age", "sex" or a column; it is accepted by this name.
        message: what was seen and the likely fix, in sentences.
        stops: whether nothing is computed until it is fixed or accepted.
    """

    name: str
    message: str
    stops: bool

    def is_accepted(self, accepted: Sequence[str]) -> bool:
        """Whether its name, or "all", is accepted."""
        return self.name in accepted or ALL in accepted


@dataclass(frozen=True, kw_only=True)
class Seen:
    """The content of a biomarker's columns.

    Attributes:
        name: of the biomarker.
        columns: its columns, and the unit of each.
        values: number of values.
        limits: number of limits among them, such as "<0.3", that are used as the value.
        missing: number of empty cells, words for a missing value, and limits that are not used.
        unreadable: number of cells that are not numbers, or whose unit is not known.
        outside: number of values outside the accepted range.
        quantiles: 5, 50 and 95 % of the values looked at, in the panel's unit; empty without any.
        expected: the same of the fitted people of those ages and sexes.
    """

    name: str
    columns: tuple[str, ...]
    values: int
    limits: int
    missing: int
    unreadable: int
    outside: int
    quantiles: tuple[float, ...]
    expected: tuple[float, ...]

    def __str__(self) -> str:
        text = f"{self.name}: {' and '.join(self.columns)}; {self.values} values"
        for count, words in (
            (self.limits, "limits among them"),
            (self.missing, "missing"),
            (self.unreadable, "not readable"),
            (self.outside, "outside the accepted range"),
        ):
            if count:
                text += f", {count} {words}"
        if self.quantiles:
            unit = PANEL[INDEX[self.name]].unit
            seen, usual = (
                ", ".join(f"{number:.3g}" for number in three)
                for three in (self.quantiles, self.expected)
            )
            text += f"; 5, 50, 95 % are {seen} {unit}, of the fitted people {usual}"
        return text


@dataclass(frozen=True, kw_only=True)
class Report:
    """The report of a look at a table before it is scored.

    Attributes:
        rows: number of people.
        taken: what the file and its columns were taken for, in sentences.
        seen: each biomarker with a column.
        absent: biomarkers without a column, which are imputed for everyone.
        ignored: columns that are not used.
        findings: what is doubtful.
    """

    rows: int
    taken: tuple[str, ...]
    seen: tuple[Seen, ...]
    absent: tuple[str, ...]
    ignored: tuple[str, ...]
    findings: tuple[Finding, ...]

    def find_stops(self, accepted: Sequence[str] = ()) -> list[Finding]:
        """Findings that stop a run, except those accepted by their name or by "all"."""
        return [f for f in self.findings if f.stops and not f.is_accepted(accepted)]

    def list_lines(self) -> list[str]:
        """The report in lines, without the findings."""
        lines = [*self.taken, f"{self.rows} people", *map(str, self.seen)]
        if self.absent:
            lines.append(f"no column, so imputed for all: {', '.join(self.absent)}")
        if self.ignored:
            more = len(self.ignored) - _MOST_LISTED
            named = ", ".join(map(repr, self.ignored[:_MOST_LISTED]))
            lines.append(f"ignored: {named}" + (f" and {more} more" if more > 0 else ""))
        return lines

    def describe(self, accepted: Sequence[str] = ()) -> dict[str, Any]:
        """The report as JSON values, with the names that stop the run."""
        return asdict(self) | {"stops": [finding.name for finding in self.find_stops(accepted)]}


def judge_names(layout: Layout, names: Sequence[str]) -> list[Finding]:
    """Find unused columns that may be a biomarker without a column."""
    unused = [name for name in dict.fromkeys(names) if name and name not in layout.columns]
    findings = []
    for near in find_near_names(unused, layout.absent):
        header = read_header(near.name)
        problem = None if header is None else header.problem
        findings.append(
            Finding(
                name=near.meant,
                message=f"column {near.name!r} is not used, and {near.meant} has no other column: "
                "it would be imputed for everyone. "
                + (
                    f"{problem[0].upper()}{problem[1:]}"
                    if problem
                    else f"If it is {near.meant}, rename it to {near.meant}, with its unit"
                ),
                stops=True,
            )
        )
    return findings


def judge_unusable(unusable: Sequence[Unusable], reference: Reference) -> list[Finding]:
    """Report biomarkers none of whose results can be used, with the likely unit."""
    findings = []
    for one in unusable:
        hint = ""
        if one.outside:
            values = np.full((len(one.outside), len(NAMES)), np.nan, np.float32)
            values[:, INDEX[one.name]] = one.outside
            age, sex = np.full(len(values), 50, np.float32), np.zeros(len(values), np.int64)
            units = {one.name: PANEL[INDEX[one.name]].unit}
            doubt = find_doubts(values, age, sex, reference, units).get(one.name)
            if doubt is not None:
                hint = f". They may be {_describe_doubt(doubt, units[one.name], one.name)}"
        findings.append(
            Finding(
                name=one.name,
                message=f"none of the {one.results} results of {one.name} can be used, so that it "
                f"would be imputed: {'; '.join(one.reasons)}{hint}",
                stops=True,
            )
        )
    return findings


def judge_values(
    biomarkers: npt.NDArray[np.float32],
    age: npt.NDArray[np.float32],
    sex: npt.NDArray[np.int64],
    reference: Reference,
    units: Mapping[str, str],
) -> list[Finding]:
    """Find values that look much more like something else than what they were taken for.

    Args:
        biomarkers: (n, 9) in the panel's units, NaN = missing.
        age: (n,) years.
        sex: (n,) 0 or 1.
        reference: the fitted people.
        units: that each biomarker was taken to be in.
    """
    findings = []
    for name, doubt in find_doubts(biomarkers, age, sex, reference, units).items():
        known = int(np.isfinite(biomarkers[:, INDEX[name]]).sum())
        count = "the values" if doubt.is_whole else f"{doubt.values} of {known} values"
        text = _describe_doubt(doubt, units[name], name)
        findings.append(
            Finding(
                name=name,
                message=f"{name}, taken to be in {units[name]}: {count} may be {text}",
                stops=doubt.is_whole,
            )
        )
    return findings


def find_quantiles(
    biomarkers: npt.NDArray[np.float32],
    age: npt.NDArray[np.float32],
    sex: npt.NDArray[np.int64],
    reference: Reference,
) -> tuple[Array, Array]:
    """(9, 3) quantiles of the values, and of the fitted people alike; NaN without values."""
    location, scale = reference.look_up(age, sex)
    # Each person is given one quantile of the fitted people, spread evenly over the people.
    shares = (np.arange(len(age)) * 0.6180339887 + 0.5) % 1.0
    seen, expected = (np.full((len(NAMES), len(_SHARES)), np.nan) for _ in range(2))
    for place in range(len(NAMES)):
        known = np.isfinite(biomarkers[:, place])
        if not known.any():
            continue
        seen[place] = np.quantile(biomarkers[known, place], _SHARES)
        standardised = np.interp(shares, reference.shares, reference.margin[place])
        values = (location[:, place] + scale[:, place] * standardised)[known]
        expected[place] = np.quantile(np.exp(values) if LOGGED[place] else values, _SHARES)
    return seen, expected


def _describe_doubt(doubt: Doubt, stated: str, name: str) -> str:
    would = ""
    if doubt.converted is not None:
        unit = PANEL[INDEX[name]].unit
        would = f": {doubt.example:.3g} {stated} would be {doubt.converted:.3g} {unit}"
    return f"{doubt.what}{would}. If so, {doubt.fix}"
