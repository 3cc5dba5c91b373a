"""Where a table has the inputs of the graph: columns, units and codes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from henaw.intake.words.names import (
    AGE,
    FEMALE_WORDS,
    MALE_WORDS,
    PERSON,
    SEX,
    find_first,
    read_header,
)
from henaw.intake.words.ukb_names import (
    AGE_AT_RECRUITMENT,
    AGE_AT_VISIT,
    BIOMARKER_FIELDS,
    Place,
    is_participant,
    parse_column,
)
from henaw.intake.words.ukb_names import SEX as SEX_FIELD
from henaw.model.biomarkers import INDEX, NAMES, PANEL, explain_unknown, suggest_name
from henaw.model.errors import ConfigurationError, PanelError, ScoringError


@dataclass(frozen=True, kw_only=True)
class BiomarkerColumn:
    """A biomarker's column and its unit: one for all rows, or a column of units.

    Attributes:
        name: the biomarker, by the panel's name.
        column: of its values.
        unit: of the values, as people spell it.
        unit_column: of the unit of each row.
    """

    name: str
    column: str
    unit: str | None = None
    unit_column: str | None = None

    def __post_init__(self) -> None:
        problems = []
        if self.name not in INDEX:
            problems.append(explain_unknown(self.name))
        if (self.unit is None) == (self.unit_column is None):
            problems.append(f"{self.name}: give either unit or unit_column")
        if self.name in INDEX and self.unit is not None:
            try:
                PANEL[INDEX[self.name]].find_unit(self.unit)
            except PanelError as error:
                problems += [f"{self.name}: {problem}" for problem in error.problems]
        if problems:
            raise ConfigurationError("biomarker", problems)


@dataclass(frozen=True, kw_only=True)
class SexColumn:
    """The column of sex, and the codes of both sexes, as text."""

    column: str
    female: tuple[str, ...]
    male: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Layout:
    """The columns of a table with one row per person.

    Attributes:
        age: column of the age at the blood draw, years.
        sex: see :class:`SexColumn`.
        biomarkers: columns of the values; a biomarker without an entry is missing for everyone.
            Where a biomarker has several entries, each row takes the first with a value.
        participant_id: column of the identifier; None without one.
        missing: codes, as text, of a missing value, in every column.
        separator: between the columns of a CSV file; None takes the one in its header.
    """

    age: str
    sex: SexColumn
    biomarkers: tuple[BiomarkerColumn, ...]
    participant_id: str | None = None
    missing: tuple[str, ...] = ("", "NA")
    separator: str | None = None

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that are read, without repeats."""
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
        present = {biomarker.name for biomarker in self.biomarkers}
        return tuple(name for name in NAMES if name not in present)


def find_separator(header: str) -> str:
    """Find the separator of a CSV file: the most frequent one in its header, outside quotes.

    Example:
        >>> find_separator('age;sex;"CRP, mg/L, serum, high sensitivity"')
        ';'
    """
    return max(",;\t|", key=re.sub('"[^"]*"', "", header).count)


_NHANES_AGE, _NHANES_SEX = "RIDAGEYR", "RIAGENDR"
_NHANES_FEMALE, _NHANES_MALE = ("2", "female"), ("1", "male")
_UKB_FEMALE, _UKB_MALE = ("0", "female", "f"), ("1", "male", "m")


def find_layout(names: Sequence[str], *, visit: int | None = None) -> Layout:
    """Recognise the columns of a table by their names.

    Known are the panel's own names (with ``age``, ``sex`` and ``participant_id``), those of UK
    Biobank in every convention, the variables of NHANES, and the panel's synonyms, with or
    without a unit: "Kreatinin (mg/dl)". Case does not matter. A biomarker without a unit in its
    name or in a column beside it, such as "crp_unit", is in the panel's unit.

    Args:
        names: of the table's columns.
        visit: UK Biobank instance; None is the first one with a biomarker.

    Returns:
        The layout.

    Raises:
        ScoringError: age, sex or every biomarker is missing, or one of them has two columns.

    Example:
        >>> find_layout(["eid", "p31", "p21003_i0", "p30710_i0", "p30710_i1"]).biomarkers
        (BiomarkerColumn(name='crp', column='p30710_i0', unit='mg/L', unit_column=None),)
    """
    if any(name in INDEX for name in names):
        return _find_own(names)
    is_named = any(h is not None and h.problem is None for h in map(read_header, names))
    # "Sex" and "Albumin" alone are titles of UK Biobank too, whose ages have longer ones.
    if is_named and find_first(names, AGE) and find_first(names, SEX):
        return _find_own(names)
    places = {name: place for name in names if (place := parse_column(name)) is not None}
    if any(place.field in BIOMARKER_FIELDS.values() for place in places.values()):
        return _find_ukb(names, places, visit)
    upper = {name.upper() for name in names}
    if any(variable in upper for b in PANEL for variable, _ in b.nhanes):
        return _find_nhanes(names)
    if is_named:
        return _find_own(names)
    listed = (", ".join(names[:12]) + (", ..." if len(names) > 12 else "")) or "none"
    raise ScoringError(
        "columns",
        [
            f"columns must be age, sex and some of {', '.join(NAMES)}, or have the names of UK "
            f"Biobank or NHANES; got {listed}. A map of columns can name them"
        ],
    )


def describe_layout(layout: Layout, names: Sequence[str]) -> list[str]:
    """Describe what each column was taken for, where its name differs, and which are not used.

    Example:
        >>> names = ["age", "sex", "Kreatinin (mg/dl)", "RDW (fL)"]
        >>> for line in describe_layout(find_layout(names), names):
        ...     print(line)
        creatinine: column 'Kreatinin (mg/dl)', in mg/dl
        not used: column 'RDW (fL)': RDW-SD (fL) is another measurement than RDW-CV (%) and ...
    """
    lines = [
        f"{part}: column {column!r}"
        for part, column in (
            ("participant_id", layout.participant_id),
            ("age", layout.age),
            ("sex", layout.sex.column),
        )
        if column not in (part, None)
    ]
    for mapped in layout.biomarkers:
        if mapped.column != mapped.name or mapped.unit != PANEL[INDEX[mapped.name]].unit:
            unit = mapped.unit if mapped.unit_column is None else f"column {mapped.unit_column!r}"
            lines.append(f"{mapped.name}: column {mapped.column!r}, in {unit}")
    unused = [name for name in names if name not in layout.columns]
    for name in unused:
        header = read_header(name)
        if header is not None:
            reason = header.problem or f"{header.biomarker} is taken from another column"
            lines.append(f"not used: column {name!r}: {reason}")
    return lines


def _find_own(names: Sequence[str]) -> Layout:
    problems = []
    places: dict[str, str] = {}
    for part, known in (("age", (*AGE, _NHANES_AGE)), ("sex", (*SEX, _NHANES_SEX))):
        found = part if part in names else find_first(names, known)
        if found is None:
            near = suggest_name(part, names)
            hint = f"; is it {near!r}?" if near else ""
            problems.append(f"there is no column {part!r}{hint}")
            continue
        places[part] = found
    columns: dict[str, list[str]] = {}
    for name in dict.fromkeys(names):
        header = read_header(name)
        if header is not None and header.problem is None:
            columns.setdefault(header.biomarker, []).append(name)
    for biomarker, mine in columns.items():
        if biomarker in mine:
            mine[:] = [biomarker]
        if len(mine) > 1:
            listed = ", ".join(map(repr, mine))
            problems.append(
                f"{biomarker} must have one column; got {listed}. Name the right one "
                f"{biomarker}, or give a map of columns"
            )
    used = [*places.values(), *(mine[0] for mine in columns.values())]
    twice = [name for name in used if names.count(name) > 1]
    problems += [f"there must be one column {name!r}; got {names.count(name)}" for name in twice]
    if problems:
        raise ScoringError("columns", problems)
    is_nhanes = places["sex"].upper() == _NHANES_SEX
    return Layout(
        age=places["age"],
        sex=SexColumn(
            column=places["sex"],
            female=_NHANES_FEMALE if is_nhanes else FEMALE_WORDS,
            male=_NHANES_MALE if is_nhanes else MALE_WORDS,
        ),
        biomarkers=tuple(
            _find_unit(b.name, columns[b.name][0], names) for b in PANEL if b.name in columns
        ),
        participant_id="participant_id" if "participant_id" in names else find_first(names, PERSON),
    )


def _find_unit(biomarker: str, column: str, names: Sequence[str]) -> BiomarkerColumn:
    """The unit in a column's name, else the column of units beside it, else the panel's unit."""
    header = read_header(column)
    unit = None if header is None else header.unit
    beside = [f"{column} unit", f"{column} units", f"unit {column}", f"{column} Einheit"]
    unit_column = find_first(names, beside) if unit is None else None
    if unit is None and unit_column is None:
        unit = PANEL[INDEX[biomarker]].unit
    return BiomarkerColumn(name=biomarker, column=column, unit=unit, unit_column=unit_column)


def _find_ukb(names: Sequence[str], places: Mapping[str, Place], visit: int | None) -> Layout:
    fields = BIOMARKER_FIELDS.values()
    if visit is None:
        visit = min(place.instance for place in places.values() if place.field in fields)
    wanted = {
        SEX_FIELD: Place(SEX_FIELD),
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
                f"field {place.field} at visit {visit} must have one column; got "
                f"{columns[place.field]!r} and {name!r}"
            )
        columns[place.field] = name
    age = columns.get(AGE_AT_VISIT, columns.get(AGE_AT_RECRUITMENT))
    if age is None:
        problems.append(f"there is no field {AGE_AT_VISIT} (age) at visit {visit}")
    if SEX_FIELD not in columns:
        problems.append(f"there is no field {SEX_FIELD} (sex)")
    if not set(columns) & set(fields):
        problems.append(f"there is no biomarker at visit {visit}")
    if problems or age is None:
        raise ScoringError("UK Biobank columns", problems)
    return Layout(
        age=age,
        sex=SexColumn(column=columns[SEX_FIELD], female=_UKB_FEMALE, male=_UKB_MALE),
        biomarkers=tuple(
            BiomarkerColumn(name=b.name, column=columns[b.ukb_field], unit=b.unit)
            for b in PANEL
            if b.ukb_field in columns
        ),
        participant_id=next(filter(is_participant, names), None),
    )


def _find_nhanes(names: Sequence[str]) -> Layout:
    """Find the variables of NHANES, in any case; a row has one of the two of a biomarker."""
    upper = {name.upper(): name for name in reversed(names)}
    problems = [
        f"there is no variable {name}" for name in (_NHANES_AGE, _NHANES_SEX) if name not in upper
    ]
    if problems:
        raise ScoringError("NHANES columns", problems)
    return Layout(
        age=upper[_NHANES_AGE],
        sex=SexColumn(column=upper[_NHANES_SEX], female=_NHANES_FEMALE, male=_NHANES_MALE),
        biomarkers=tuple(
            BiomarkerColumn(name=b.name, column=upper[column], unit=unit)
            for b in PANEL
            for column, unit in b.nhanes
            if column in upper
        ),
        participant_id=upper.get("SEQN"),
    )
