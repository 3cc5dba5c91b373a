"""The description of an NHANES survey: its public files, their variables and units."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Host = Literal["survey", "mortality"]

SURVEY_SITE = "https://wwwn.cdc.gov"
MORTALITY_SITE = "https://ftp.cdc.gov"


@dataclass(frozen=True, kw_only=True)
class Field:
    """A variable of a fixed-width file: its first and last column, counted from 1."""

    name: str
    first: int
    last: int

    @property
    def width(self) -> int:
        """Number of characters."""
        return self.last - self.first + 1


@dataclass(frozen=True, kw_only=True)
class SurveyFile:
    """One public file.

    Attributes:
        path: on its host; the file is saved under the last part.
        host: the site of the surveys, or that of the linked mortality files.
        fields: the layout of a file of fixed width; empty: a SAS transport file.
    """

    path: str
    host: Host = "survey"
    fields: tuple[Field, ...] = ()

    @property
    def name(self) -> str:
        """The name that it is saved under."""
        return self.path.rsplit("/", 1)[-1]


@dataclass(frozen=True, kw_only=True)
class Measure:
    """A laboratory variable.

    Attributes:
        column: its column in the table.
        file: the file that it is read from.
        variable: its name in the file.
        unit: its unit in the file.
        calibration: intercept and slope, in that unit, of the line that converts it to the scale
            of an assay traceable to a reference method.
        fasting_hours: the value is missing for people who fasted for less.
    """

    column: str
    file: SurveyFile
    variable: str
    unit: str
    calibration: tuple[float, float] = (0.0, 1.0)
    fasting_hours: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Survey:
    """One survey and its files.

    Attributes:
        name: its years, as in the table's ``survey`` column.
        people: the file with everyone interviewed.
        sex: variable in ``people``: 1 male, 2 female.
        age: variable in ``people``: years at screening.
        pregnancy: file and variable: 1 where pregnant at the examination.
        measures: the laboratory variables.
        mortality: the linked mortality file.
        fasting: file and variable with hours of fasting, where a measure needs them.
        external: reserved for external validation.
    """

    name: str
    people: SurveyFile
    sex: str
    age: str
    pregnancy: tuple[SurveyFile, str]
    measures: tuple[Measure, ...]
    mortality: SurveyFile
    fasting: tuple[SurveyFile, str] | None = None
    external: bool = False

    @property
    def files(self) -> tuple[SurveyFile, ...]:
        """Every file, each once."""
        laboratory = (measure.file for measure in self.measures)
        return tuple(dict.fromkeys((self.people, self.pregnancy[0], *laboratory, self.mortality)))

    def list_variables(self, file: SurveyFile) -> tuple[str, ...]:
        """The variables that are read from one of the files, the person number first."""
        if file == self.mortality:
            return tuple(field.name for field in file.fields)
        wanted = ["SEQN"]
        if file == self.people:
            wanted += [self.sex, self.age]
        wanted += [
            variable
            for holder, variable in (self.pregnancy, *([self.fasting] if self.fasting else []))
            if holder == file
        ]
        wanted += [measure.variable for measure in self.measures if measure.file == file]
        return tuple(dict.fromkeys(wanted))


@dataclass(frozen=True, kw_only=True)
class Sites:
    """Sites of the public files.

    Attributes:
        survey: the site of the surveys.
        mortality: the site of the linked mortality files.
    """

    survey: str = SURVEY_SITE
    mortality: str = MORTALITY_SITE

    def locate(self, file: SurveyFile) -> str:
        """The address of a file."""
        hosts: dict[Host, str] = {"survey": self.survey, "mortality": self.mortality}
        return f"{hosts[file.host].rstrip('/')}/{file.path}"
