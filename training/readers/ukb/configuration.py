"""How a UK Biobank extract is turned into a cohort table."""

from __future__ import annotations

import datetime
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import yaml
from henaw.model.biomarkers import INDEX, NAMES
from henaw.model.configuration import read_configuration
from henaw.model.errors import ConfigurationError
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

    UK Biobank names them at
    https://biobank.ndph.ox.ac.uk/showcase/exinfo.cgi?src=Data_providers_and_dates and
    moves them with every release: **set them to those of your extract**. The defaults, 30
    November 2022, are what public analyses copied from that page in 2023 for England,
    Wales and Scotland alike; a date too early loses follow-up, one too late invents
    survivors, which is why the defaults are old.
    """

    england: str = "2022-11-30"
    scotland: str = "2022-11-30"
    wales: str = "2022-11-30"

    def __post_init__(self) -> None:
        problems = [
            f"{nation}: expected YYYY-MM-DD, however: {getattr(self, nation)!r}"
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
    """What a value gets that the assay could only call too low or too high.

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
            problems.append(f"biomarker: unknown {self.biomarker!r}, the panel is {list(NAMES)}")
        if not 0 < self.low < self.high < math.inf:
            problems.append(
                f"expected 0 < low < high, finite, however: low={self.low}, high={self.high}"
            )
        if problems:
            raise ConfigurationError("detection limits", problems)


@dataclass(frozen=True, kw_only=True)
class UkbConfiguration:
    """Which visit counts, when follow-up ends, and what is done with special values.

    Attributes:
        visit: the visit whose values, age and date are taken, 0 the first assessment, 1
            its repeat, 2 and 3 imaging; none: the first visit at which at least one
            biomarker of the panel was measured.
        mix_visits: take each biomarker from the first visit that has it. Follow-up then
            starts at the latest visit that was used, since the person was alive then. For
            data where visits were filled up from each other; off by default, because
            values years apart are not one person's state.
        censoring: where follow-up ends.
        beyond_limit: ``limit`` gives a value below or above what the assay reports the
            limit; ``missing`` leaves it out. CRP below its limit is common and means
            little inflammation: leaving it out loses the healthiest.
        limits: the assays' limits. Without them the lowest and the highest value in the
            extract stand for a biomarker, where at least 1 000 people have one.
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
            problems.append(f"visit must be in [0, {LAST_VISIT}], however: {self.visit}")
        if self.visit is not None and self.mix_visits:
            problems.append(f"expected one visit or mixed ones, however: visit={self.visit}")
        named = [limits.biomarker for limits in self.limits]
        problems += [
            f"limits: expected {name} once, however: {named.count(name)} times"
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
    """Read a YAML file, if there is one, and let the command line have the last word.

    Args:
        path: the file, or None.
        visit: instead of the file's, unless it is None.
        mix_visits: true where either says so.
        censor: ``nation=YYYY-MM-DD`` each, instead of the file's.

    Raises:
        ConfigurationError: the file is not there or is not YAML, or an entry is wrong;
            all of them are listed.
    """
    mapping: Any = {}
    if path is not None:
        try:
            mapping = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
        except FileNotFoundError as error:
            raise ConfigurationError(str(path), ["expected a YAML file, found none"]) from error
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise ConfigurationError(str(path), [f"expected YAML, however: {error}"]) from error
        except OSError as error:
            raise ConfigurationError(str(path), [f"the file cannot be read: {error}"]) from error
    if not isinstance(mapping, dict):
        raise ConfigurationError(str(path), ["expected a mapping at the top level"])
    if visit is not None:
        mapping["visit"] = visit
    if mix_visits:
        mapping["mix_visits"] = True
    if censor:
        bad = [entry for entry in censor if "=" not in entry]
        if bad:
            raise ConfigurationError(
                "--censor", [f"expected NATION=YYYY-MM-DD, however: {entry}" for entry in bad]
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
