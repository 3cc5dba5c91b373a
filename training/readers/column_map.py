"""A map of a table's columns, read from a small YAML file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from henaw.intake.tables.layout import BiomarkerColumn, Layout, SexColumn
from henaw.model.configuration import check_causes, read_configuration
from henaw.model.errors import ConfigurationError
from henaw.training.configuration import read_mapping


@dataclass(frozen=True, kw_only=True)
class DeathColumn:
    """The column that says who died, and the codes, as text."""

    column: str
    dead: tuple[str, ...]
    alive: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class FollowUpColumn:
    """The column with the time from the blood draw to death or the end of follow-up."""

    column: str
    unit: Literal["days", "months", "years"]


@dataclass(frozen=True, kw_only=True)
class DateColumns:
    """Columns of dates, YYYY-MM-DD: of the blood draw, and of death or end of follow-up."""

    start: str
    end: str


@dataclass(frozen=True, kw_only=True)
class CauseColumn:
    """The column with the underlying cause of death, and the codes of each cause by name.

    A code may contain the wildcards ``*``, ``?`` and ``[0-4]``. A code that matches none is
    "other".
    """

    column: str
    codes: Mapping[str, tuple[str, ...]]

    def __post_init__(self) -> None:
        problems = check_causes(tuple(self.codes))
        if problems:
            raise ConfigurationError("cause", [f"codes: {problem}" for problem in problems])


@dataclass(frozen=True, kw_only=True)
class PregnancyColumn:
    """The column of pregnancy and its codes for "pregnant"; all others mean not pregnant."""

    column: str
    pregnant: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class ColumnMap:
    """Which column of a table has what.

    Attributes:
        participant_id: column of the identifier; a cohort needs one, scoring does not.
        age: column of the age at the blood draw, years.
        sex: see :class:`SexColumn`.
        biomarkers: one entry a biomarker; biomarkers without an entry are missing for everyone.
        death: column that says who died.
        follow_up: column of the length of follow-up; excludes ``dates``.
        dates: columns of the start and end of follow-up; excludes ``follow_up``.
        cause: column of the cause of death.
        pregnant: column that says who was pregnant.
        survey: name of the survey, if there is one for everyone.
        survey_column: column of the survey, if there are several.
        missing: text that means "no value", in every column.
        separator: between the columns of a CSV file; None: found from the header.
    """

    participant_id: str | None = None
    age: str
    sex: SexColumn
    biomarkers: tuple[BiomarkerColumn, ...]
    death: DeathColumn | None = None
    follow_up: FollowUpColumn | None = None
    dates: DateColumns | None = None
    cause: CauseColumn | None = None
    pregnant: PregnancyColumn | None = None
    survey: str = "all"
    survey_column: str | None = None
    missing: tuple[str, ...] = ("", "NA")
    separator: str | None = None

    def __post_init__(self) -> None:
        names = [biomarker.name for biomarker in self.biomarkers]
        problems = [
            f"biomarkers: {name} must occur once; got {names.count(name)} entries"
            for name in dict.fromkeys(names)
            if names.count(name) > 1
        ]
        if not names:
            problems.append("biomarkers: add at least one")
        if self.follow_up is not None and self.dates is not None:
            problems.append("give follow_up or dates, not both")
        timed = self.follow_up is not None or self.dates is not None
        if timed != (self.death is not None):
            problems.append("death needs follow_up or dates, and they need death")
        if self.cause is not None and self.death is None:
            problems.append("cause needs death")
        if problems:
            raise ConfigurationError("columns", problems)

    @property
    def layout(self) -> Layout:
        """The part that scoring needs."""
        return Layout(
            age=self.age,
            sex=self.sex,
            biomarkers=self.biomarkers,
            participant_id=self.participant_id,
            missing=self.missing,
            separator=self.separator,
        )

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that are read, each once."""
        named = [*self.layout.columns]
        coded = (self.death, self.follow_up, self.cause, self.pregnant)
        named += [part.column for part in coded if part is not None]
        if self.dates is not None:
            named += [self.dates.start, self.dates.end]
        if self.survey_column is not None:
            named.append(self.survey_column)
        return tuple(dict.fromkeys(named))


def read_column_map(path: Path) -> ColumnMap:
    """Read a map from a YAML file.

    Raises:
        ConfigurationError: the file cannot be read, or has wrong, missing or unknown entries;
            all are listed.
    """
    return read_configuration(ColumnMap, read_mapping(path), subject=str(path))
