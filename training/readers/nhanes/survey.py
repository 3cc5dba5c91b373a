"""What is said about an NHANES survey: its public files, their variables and units."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Host = Literal["survey", "mortality"]

SURVEY_SITE = "https://wwwn.cdc.gov"
MORTALITY_SITE = "https://ftp.cdc.gov"


@dataclass(frozen=True, kw_only=True)
class Field:
    """Where a fixed-width file holds a variable: first and last column, counted from 1."""

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
        path: where it is on its host; it is saved under the last part.
        host: the site of the surveys, or that of the linked mortality files.
        fields: its layout if it is of fixed width; none: a SAS transport file.
    """

    path: str
    host: Host = "survey"
    fields: tuple[Field, ...] = ()

    @property
    def name(self) -> str:
        """What it is saved as."""
        return self.path.rsplit("/", 1)[-1]


@dataclass(frozen=True, kw_only=True)
class Measure:
    """A laboratory variable.

    Attributes:
        column: its column in the table.
        file: the file that holds it.
        variable: its name there.
        unit: its unit there.
        calibration: intercept and slope, in that unit, of the line that takes it to an
            assay traceable to a reference method.
        fasting_hours: shorter fasts make the value missing.
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
        name: the years, as in the table's ``survey`` column.
        people: the file with everyone interviewed.
        sex: variable in ``people``: 1 male, 2 female.
        age: variable in ``people``: years at screening.
        pregnancy: file and variable: 1 where pregnant at the examination.
        measures: the laboratory variables.
        mortality: the linked mortality file.
        fasting: file and variable with hours of fasting, where a measure asks for it.
        external: kept apart for an external validation.
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
        """The variables that are read from one of the files, the person's number first."""
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
    """Addresses of the public files, without the path.

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
