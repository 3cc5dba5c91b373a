"""Where in somebody's table the inputs of the graph are: columns, units and codes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from henaw.model.biomarkers import INDEX, NAMES, PANEL, suggest_name
from henaw.model.errors import ConfigurationError, PanelError, ScoringError
from henaw.model.ukb_names import (
    AGE_AT_RECRUITMENT,
    AGE_AT_VISIT,
    BIOMARKER_FIELDS,
    SEX,
    Place,
    is_participant,
    parse_column,
)


@dataclass(frozen=True, kw_only=True)
class BiomarkerColumn:
    """A biomarker's column and its unit, one for all rows or a column of units.

    Attributes:
        name: the biomarker, by the panel's name.
        column: where its values are.
        unit: their unit, as people spell it.
        unit_column: where each row's unit is.
    """

    name: str
    column: str
    unit: str | None = None
    unit_column: str | None = None

    def __post_init__(self) -> None:
        problems = []
        if self.name not in INDEX:
            near = suggest_name(self.name)
            problems.append(
                f"unknown biomarker {self.name!r}" + (f": did you mean {near}?" if near else "")
            )
        if (self.unit is None) == (self.unit_column is None):
            problems.append(f"{self.name}: expected one of unit and unit_column")
        if self.name in INDEX and self.unit is not None:
            try:
                PANEL[INDEX[self.name]].find_unit(self.unit)
            except PanelError as error:
                problems += [f"{self.name}: {problem}" for problem in error.problems]
        if problems:
            raise ConfigurationError("biomarker", problems)


@dataclass(frozen=True, kw_only=True)
class SexColumn:
    """The column of sex, and the codes of either, as text."""

    column: str
    female: tuple[str, ...]
    male: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Where everything is.

    Attributes:
        age: column of the age at the blood draw, years.
        sex: see :class:`SexColumn`.
        biomarkers: one entry a biomarker; those without an entry are missing for all.
        participant_id: column of the identifier, where there is one.
        missing: codes, as text, that mean there is no value, in every column.
        separator: between the columns of a CSV file; None: what its header shows.
    """

    age: str
    sex: SexColumn
    biomarkers: tuple[BiomarkerColumn, ...]
    participant_id: str | None = None
    missing: tuple[str, ...] = ("", "NA")
    separator: str | None = None

    @property
    def columns(self) -> tuple[str, ...]:
        """Every column that is read, each once."""
        named = [] if self.participant_id is None else [self.participant_id]
        named += [self.age, self.sex.column]
        for biomarker in self.biomarkers:
            named.append(biomarker.column)
            if biomarker.unit_column is not None:
                named.append(biomarker.unit_column)
        return tuple(dict.fromkeys(named))

    @property
    def absent(self) -> tuple[str, ...]:
        """Biomarkers without a column."""
        there = {biomarker.name for biomarker in self.biomarkers}
        return tuple(name for name in NAMES if name not in there)


def find_separator(header: str) -> str:
    """The separator of a CSV file: what is most often in its first line, outside of quotes.

    Example:
        >>> find_separator('age;sex;"CRP, mg/L, serum, high sensitivity"')
        ';'
    """
    return max(",;\t", key=re.sub('"[^"]*"', "", header).count)


_FEMALE, _MALE = ("0", "female", "f"), ("1", "male", "m")


def find_layout(names: Sequence[str], *, visit: int | None = None) -> Layout:
    """Recognise the columns of a table by their names.

    Known are the panel's own names (with ``age``, ``sex`` and ``participant_id``), UK
    Biobank's in every convention, and the variables of NHANES.

    Args:
        names: of the table's columns.
        visit: UK Biobank instance; None is the first that has a biomarker.

    Raises:
        ScoringError: age, sex or every biomarker is not there, or one is there twice.

    Example:
        >>> find_layout(["eid", "p31", "p21003_i0", "p30710_i0", "p30710_i1"]).biomarkers
        (BiomarkerColumn(name='crp', column='p30710_i0', unit='mg/L', unit_column=None),)
    """
    if any(name in INDEX for name in names):
        return _find_own(names)
    places = {name: place for name in names if (place := parse_column(name)) is not None}
    if any(place.field in BIOMARKER_FIELDS.values() for place in places.values()):
        return _find_ukb(names, places, visit)
    if any(variable in names for b in PANEL for variable, _ in b.nhanes):
        return _find_nhanes(names)
    listed = ", ".join(names[:12]) + (", ..." if len(names) > 12 else "")
    raise ScoringError(
        "columns",
        [
            f"expected age, sex and some of {', '.join(NAMES)}, or the names of UK Biobank or "
            f"NHANES, however: {listed}; a map of columns can say what is what"
        ],
    )


def _find_own(names: Sequence[str]) -> Layout:
    problems = []
    for name in ("age", "sex"):
        if name not in names:
            near = suggest_name(name, names)
            hint = f": is it {near!r}?" if near else ""
            problems.append(f"expected the column {name!r}, found none{hint}")
    twice = [name for name in (*NAMES, "age", "sex") if names.count(name) > 1]
    problems += [f"expected the column {name!r} once, found it again" for name in twice]
    if problems:
        raise ScoringError("columns", problems)
    return Layout(
        age="age",
        sex=SexColumn(column="sex", female=_FEMALE, male=_MALE),
        biomarkers=tuple(
            BiomarkerColumn(name=b.name, column=b.name, unit=b.unit)
            for b in PANEL
            if b.name in names
        ),
        participant_id="participant_id" if "participant_id" in names else None,
    )


def _find_ukb(names: Sequence[str], places: Mapping[str, Place], visit: int | None) -> Layout:
    fields = BIOMARKER_FIELDS.values()
    if visit is None:
        visit = min(place.instance for place in places.values() if place.field in fields)
    wanted = {
        SEX: Place(SEX),
        AGE_AT_VISIT: Place(AGE_AT_VISIT, visit),
        **{field: Place(field, visit) for field in fields},
    }
    if visit == 0:
        wanted[AGE_AT_RECRUITMENT] = Place(AGE_AT_RECRUITMENT)
    columns: dict[int, str] = {}
    problems = []
    for name, place in places.items():
        if wanted.get(place.field) != place:
            continue
        if place.field in columns:
            problems.append(
                f"expected field {place.field} at visit {visit} once, however: "
                f"{columns[place.field]!r} and {name!r}"
            )
        columns[place.field] = name
    age = columns.get(AGE_AT_VISIT, columns.get(AGE_AT_RECRUITMENT))
    if age is None:
        problems.append(f"expected field {AGE_AT_VISIT} (age) at visit {visit}, found none")
    if SEX not in columns:
        problems.append(f"expected field {SEX} (sex), found none")
    if not set(columns) & set(fields):
        problems.append(f"expected biomarkers at visit {visit}, found none")
    if problems or age is None:
        raise ScoringError("UK Biobank columns", problems)
    return Layout(
        age=age,
        sex=SexColumn(column=columns[SEX], female=_FEMALE, male=_MALE),
        biomarkers=tuple(
            BiomarkerColumn(name=b.name, column=columns[b.ukb_field], unit=b.unit)
            for b in PANEL
            if b.ukb_field in columns
        ),
        participant_id=next(filter(is_participant, names), None),
    )


def _find_nhanes(names: Sequence[str]) -> Layout:
    problems = [
        f"expected the variable {name}, found none"
        for name in ("RIDAGEYR", "RIAGENDR")
        if name not in names
    ]
    if problems:
        raise ScoringError("NHANES columns", problems)
    return Layout(
        age="RIDAGEYR",
        sex=SexColumn(column="RIAGENDR", female=("2",), male=("1",)),
        biomarkers=tuple(
            BiomarkerColumn(name=b.name, column=column, unit=unit)
            for b in PANEL
            for column, unit in [v for v in b.nhanes if v[0] in names][:1]
        ),
        participant_id="SEQN" if "SEQN" in names else None,
    )
