"""The configuration of `henaw data ukb`: visit, censoring, special values."""

from __future__ import annotations

import datetime
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from henaw.model.biomarkers import INDEX, NAMES
from henaw.model.configuration import read_configuration
from henaw.model.errors import ConfigurationError
from henaw.training.configuration import read_mapping
from henaw.training.readers.ukb.values import NATIONS

LAST_VISIT = 3


def _is_date(text: str) -> bool:
    try:
        datetime.date.fromisoformat(text)
    except ValueError:
        return False
    return True


@dataclass(frozen=True, kw_only=True)
class CensoringDates:
    """Last day, YYYY-MM-DD, up to which each nation's registry of deaths is complete.

    UK Biobank gives these days at
    https://biobank.ndph.ox.ac.uk/showcase/exinfo.cgi?src=Data_providers_and_dates and
    changes them with every release: **set them to those of your extract**. The default, 30
    November 2022 for each nation, is from public analyses of 2023. A date that is too early
    loses follow-up; one that is too late counts people who died as alive. So the default is old.
    """

    england: str = "2022-11-30"
    scotland: str = "2022-11-30"
    wales: str = "2022-11-30"

    def __post_init__(self) -> None:
        problems = [
            f"{nation} must be YYYY-MM-DD; got {getattr(self, nation)!r}"
            for nation in NATIONS
            if not _is_date(getattr(self, nation))
        ]
        if problems:
            raise ConfigurationError("censoring", problems)

    def list_dates(self) -> list[datetime.date]:
        """The dates in the order of NATIONS."""
        return [datetime.date.fromisoformat(getattr(self, nation)) for nation in NATIONS]


@dataclass(frozen=True, kw_only=True)
class DetectionLimits:
    """The limits of an assay, given to values that it could only report as too low or too high.

    Attributes:
        biomarker: what was measured.
        low: lowest value the assay reports, in the panel's unit.
        high: highest value the assay reports, in the panel's unit.
    """

    biomarker: str
    low: float
    high: float

    def __post_init__(self) -> None:
        problems = []
        if self.biomarker not in INDEX:
            problems.append(f"biomarker must be one of {', '.join(NAMES)}; got {self.biomarker!r}")
        if not 0 < self.low < self.high < math.inf:
            problems.append(
                f"low must be above 0 and high above low; got low={self.low}, high={self.high}"
            )
        if problems:
            raise ConfigurationError("detection limits", problems)


@dataclass(frozen=True, kw_only=True)
class UkbConfiguration:
    """Which visit counts, when follow-up ends, and how special values are treated.

    Attributes:
        visit: the visit for values, age and date: 0 the first assessment, 1 its repeat, 2 and 3
            imaging; None: the first visit at which a biomarker of the panel was measured.
        mix_visits: take each biomarker from the first visit that has it. Follow-up then starts
            at the latest visit used, since the person was alive then. For data in which visits
            complete each other; off by default, because values years apart do not describe one
            state of a person.
        censoring: when follow-up ends.
        beyond_limit: ``limit`` sets a value that is too low or too high for the assay to the
            assay's limit; ``missing`` leaves it out. CRP below its limit is common and means
            little inflammation: leaving it out loses the healthiest people.
        limits: the assays' limits. A biomarker without them has the lowest and highest value in
            the extract as limits, if at least 1 000 people have a value.
        dementia: ``all`` counts F00-F03 with Alzheimer's disease (G30), as the Office for
            National Statistics does; ``alzheimer`` counts G30 alone, as NCHS does.
    """

    visit: int | None = None
    mix_visits: bool = False
    censoring: CensoringDates = field(default_factory=CensoringDates)
    beyond_limit: Literal["limit", "missing"] = "limit"
    limits: tuple[DetectionLimits, ...] = ()
    dementia: Literal["all", "alzheimer"] = "all"

    def __post_init__(self) -> None:
        problems = []
        if self.visit is not None and not 0 <= self.visit <= LAST_VISIT:
            problems.append(f"visit must be 0 to {LAST_VISIT}; got {self.visit}")
        if self.visit is not None and self.mix_visits:
            problems.append(f"mix_visits must be off where visit is set; got visit={self.visit}")
        named = [limits.biomarker for limits in self.limits]
        problems += [
            f"limits: {name} must occur once; got {named.count(name)} entries"
            for name in sorted(set(named))
            if named.count(name) > 1
        ]
        if problems:
            raise ConfigurationError("UK Biobank", problems)


def read_ukb_configuration(
    path: Path | None,
    *,
    visit: int | None = None,
    mix_visits: bool = False,
    censor: Sequence[str] = (),
) -> UkbConfiguration:
    """Read a YAML file, if there is one; options of the command line override it.

    Args:
        path: the file, or None.
        visit: replaces the file's, unless it is None.
        mix_visits: true replaces the file's.
        censor: ``nation=YYYY-MM-DD`` each; they replace the file's.

    Raises:
        ConfigurationError: the file cannot be read, or entries are wrong; all are listed.
    """
    mapping: Any = {} if path is None else read_mapping(path) or {}
    if not isinstance(mapping, dict):
        raise ConfigurationError(str(path), ["the top level must be a mapping of keys to values"])
    if visit is not None:
        mapping["visit"] = visit
    if mix_visits:
        mapping["mix_visits"] = True
    if censor:
        bad = [entry for entry in censor if "=" not in entry]
        if bad:
            raise ConfigurationError(
                "--censor", [f"each must be NATION=YYYY-MM-DD; got {entry}" for entry in bad]
            )
        dates = dict(mapping.get("censoring") or {})
        mapping["censoring"] = dates | dict(entry.split("=", 1) for entry in censor)
    # YAML reads an unquoted date as a date.
    if isinstance(mapping.get("censoring"), dict):
        mapping["censoring"] = {
            nation: date.isoformat() if isinstance(date, datetime.date) else date
            for nation, date in mapping["censoring"].items()
        }
    return read_configuration(
        UkbConfiguration, mapping, subject=str(path) if path else "UK Biobank"
    )
