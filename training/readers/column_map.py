"""Which column of somebody's table holds what, as a small YAML file says it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import yaml
from henaw.model.configuration import check_causes, read_configuration
from henaw.model.errors import ConfigurationError
from henaw.model.layout import BiomarkerColumn, Layout, SexColumn


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

    A code may hold the wildcards ``*``, ``?`` and ``[0-4]``; what matches none is "other".
    """

    column: str
    codes: Mapping[str, tuple[str, ...]]

    def __post_init__(self) -> None:
        problems = check_causes(tuple(self.codes))
        if problems:
            raise ConfigurationError("cause", [f"codes: {problem}" for problem in problems])


@dataclass(frozen=True, kw_only=True)
class PregnancyColumn:
    """The column of pregnancy; every other code, and none, is not pregnant."""

    column: str
    pregnant: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class ColumnMap:
    """Where in a table everything is.

    Attributes:
        participant_id: column of the identifier; a cohort needs one, scoring does not.
        age: column of the age at the blood draw, years.
        sex: see :class:`SexColumn`.
        biomarkers: one entry a biomarker; those without an entry are missing for all.
        death: who died.
        follow_up: for how long people were followed; or ``dates``.
        dates: from when to when people were followed; or ``follow_up``.
        cause: of what they died.
        pregnant: who was pregnant.
        survey: name of the wave, if it is one for all.
        survey_column: column of the wave, if there are several.
        missing: codes, as text, that mean there is no value, in every column.
        separator: between the columns of a CSV file; None: what its header shows.
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
            f"biomarkers: expected {name} once, however: {names.count(name)} times"
            for name in dict.fromkeys(names)
            if names.count(name) > 1
        ]
        if not names:
            problems.append("biomarkers: expected at least one")
        if self.follow_up is not None and self.dates is not None:
            problems.append("expected one of follow_up and dates, however: both")
        timed = self.follow_up is not None or self.dates is not None
        if timed != (self.death is not None):
            problems.append("expected death together with follow_up or dates, however: one alone")
        if self.cause is not None and self.death is None:
            problems.append("cause: expected death too, however: none")
        if problems:
            raise ConfigurationError("columns", problems)

    @property
    def layout(self) -> Layout:
        """What scoring needs of it."""
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
        """Every column that is read, each once."""
        named = [*self.layout.columns]
        coded = (self.death, self.follow_up, self.cause, self.pregnant)
        named += [part.column for part in coded if part is not None]
        if self.dates is not None:
            named += [self.dates.start, self.dates.end]
        if self.survey_column is not None:
            named.append(self.survey_column)
        return tuple(dict.fromkeys(named))


def read_column_map(path: Path) -> ColumnMap:
    """Read a YAML file.

    Raises:
        ConfigurationError: it cannot be read, or has wrong, missing or unknown entries;
            all are listed.
    """
    try:
        mapping = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigurationError(str(path), [f"expected a YAML file, however: {error}"]) from error
    return read_configuration(ColumnMap, mapping, subject=str(path))
