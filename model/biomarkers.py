"""The panel: nine blood biomarkers, their order, units, codes and accepted ranges.

Everything that names a biomarker reads this table: the cohort reader, the request
validator, the graph, the export metadata and the documentation.

Sources of the conversions: HbA1c NGSP to IFCC by the master equation
NGSP = 0.09148 IFCC + 2.152 (Hoelzel et al. 2004, Clin Chem 50:166-174,
doi:10.1373/clinchem.2003.024802); creatinine 88.42 umol/L per mg/dL from its molar
mass, 113.12 g/mol; 1 ukat = 60 U by definition of the katal.
"""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from henaw.model.errors import PanelError


@dataclass(frozen=True, kw_only=True)
class Unit:
    """A unit that is converted to the panel's by ``si = (value - offset) * factor``."""

    factor: float
    offset: float = 0.0

    def to_si(self, value: float) -> float:
        """Return ``value``, given in this unit, in the panel's unit."""
        return (value - self.offset) * self.factor

    def from_si(self, value: float) -> float:
        """Return ``value``, given in the panel's unit, in this unit."""
        return value / self.factor + self.offset


@dataclass(frozen=True, kw_only=True)
class Biomarker:
    """One row of the panel.

    Attributes:
        name: the key in requests, tables and tensors.
        label: the name for people.
        unit: the panel's unit; a bare number is in this unit.
        minimum: lowest accepted value, in ``unit``.
        maximum: highest accepted value, in ``unit``.
        ukb_field: UK Biobank data field.
        loinc: LOINC codes, panel unit first.
        other_units: other accepted units by canonical spelling.
        refused_units: units that look right and are not, with the reason.
    """

    name: str
    label: str
    unit: str
    minimum: float
    maximum: float
    ukb_field: int
    loinc: tuple[str, ...]
    other_units: Mapping[str, Unit] = field(default_factory=dict)
    refused_units: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "other_units", MappingProxyType(dict(self.other_units)))
        object.__setattr__(self, "refused_units", MappingProxyType(dict(self.refused_units)))

    @property
    def units(self) -> tuple[str, ...]:
        """All accepted units, the panel's first."""
        return (self.unit, *self.other_units)

    def find_unit(self, spelling: str) -> Unit:
        """Return the conversion for a unit as people spell it.

        Raises:
            PanelError: the unit is refused, with the reason, or not known.

        Example:
            >>> round(PANEL[1].find_unit("%").to_si(5.4), 1)
            35.5
        """
        canonical = _canonical_unit(spelling)
        if canonical == _canonical_unit(self.unit):
            return Unit(factor=1.0)
        for name, unit in self.other_units.items():
            if canonical == _canonical_unit(name):
                return unit
        for name, reason in self.refused_units.items():
            if canonical == _canonical_unit(name):
                raise PanelError(self.name, [reason])
        if COUNT_PER_VOLUME.fullmatch(canonical):
            share = ", a share" if self.unit == "%" else ""
            raise PanelError(
                self.name,
                [f"{spelling} is a count per volume; {self.name} is in {self.unit}{share}"],
            )
        raise PanelError(
            self.name, [f"unit must be one of {', '.join(self.units)}, however: unit={spelling!r}"]
        )


UNIT_ALIASES: Mapping[str, str] = MappingProxyType(
    {
        "iu/l": "u/l",
        "ui/l": "u/l",
        "{iu}/l": "u/l",
        "[iu]/l": "u/l",
        "ucat/l": "ukat/l",
        "mcmol/l": "umol/l",
        "%{hb}": "%",
        "%{ngsp}": "%",
        "%ngsp": "%",
        "percent": "%",
    }
)
"""Spellings of a unit, once folded; see :func:`_canonical_unit`."""


COUNT_PER_VOLUME = re.compile(
    r"[x\u00d7*]?(1|10|1\.0)?(\*|e|exp)*\d{0,2}"  # 10*9, 10e9, 1e9, x10*3, 109 (superscript)
    r"(#|k|th|thou|giga|gpt|mio|cells?)?"
    r"((/|per)([dmunp]?l|mm\*?3|cu?mm)|[dmunp]?l\*?-1)"
)


def _canonical_unit(spelling: str) -> str:
    """Fold the spellings of one unit: both micro signs, case, spaces, IU for U.

    Case folding is safe here: no two units of the panel differ by case alone.
    """
    # NFKC makes one of the two micro signs and plain digits of superscripts.
    folded = unicodedata.normalize("NFKC", spelling).replace("\u03bc", "u")
    folded = folded.replace("\u2212", "-").replace("^", "*")
    folded = "".join(folded.split()).casefold()
    return UNIT_ALIASES.get(folded, folded)


_ENZYME_UNITS = {"ukat/L": Unit(factor=60.0)}

PANEL: tuple[Biomarker, ...] = (
    Biomarker(
        name="crp",
        label="C-reactive protein",
        unit="mg/L",
        minimum=0.01,
        maximum=500.0,
        ukb_field=30710,
        loinc=("1988-5", "30522-7"),
        other_units={"mg/dL": Unit(factor=10.0)},
    ),
    Biomarker(
        name="hba1c",
        label="Glycated haemoglobin",
        unit="mmol/mol",
        minimum=15.0,
        maximum=200.0,
        ukb_field=30750,
        loinc=("59261-8", "4548-4"),
        other_units={"%": Unit(factor=1 / 0.09148, offset=2.152)},
    ),
    Biomarker(
        name="creatinine",
        label="Creatinine",
        unit="umol/L",
        minimum=5.0,
        maximum=2000.0,
        ukb_field=30700,
        loinc=("14682-9", "2160-0"),
        other_units={"mg/dL": Unit(factor=88.42)},
    ),
    Biomarker(
        name="albumin",
        label="Albumin",
        unit="g/L",
        minimum=10.0,
        maximum=70.0,
        ukb_field=30600,
        loinc=("1751-7",),
        other_units={"g/dL": Unit(factor=10.0)},
    ),
    Biomarker(
        name="lymphocyte_pct",
        label="Lymphocyte percentage",
        unit="%",
        minimum=0.1,
        maximum=99.0,
        ukb_field=30180,
        loinc=("736-9",),
        other_units={"fraction": Unit(factor=100.0)},
        refused_units={
            "G/L": "G/L is a count per volume (giga per litre); lymphocyte_pct is in %, a share"
        },
    ),
    Biomarker(
        name="rdw",
        label="Red cell distribution width (RDW-CV)",
        unit="%",
        minimum=8.0,
        maximum=40.0,
        ukb_field=30070,
        loinc=("788-0",),
        refused_units={
            "fL": "RDW-SD (fL) is another measurement than RDW-CV (%) and cannot be "
            "converted without the mean cell volume: give RDW-CV"
        },
    ),
    Biomarker(
        name="ggt",
        label="Gamma-glutamyltransferase",
        unit="U/L",
        minimum=1.0,
        maximum=5000.0,
        ukb_field=30730,
        loinc=("2324-2",),
        other_units=_ENZYME_UNITS,
    ),
    Biomarker(
        name="ast",
        label="Aspartate aminotransferase",
        unit="U/L",
        minimum=1.0,
        maximum=10000.0,
        ukb_field=30650,
        loinc=("1920-8",),
        other_units=_ENZYME_UNITS,
    ),
    Biomarker(
        name="alt",
        label="Alanine aminotransferase",
        unit="U/L",
        minimum=1.0,
        maximum=10000.0,
        ukb_field=30620,
        loinc=("1742-6",),
        other_units=_ENZYME_UNITS,
    ),
)

NAMES: tuple[str, ...] = tuple(biomarker.name for biomarker in PANEL)
INDEX: Mapping[str, int] = MappingProxyType({name: i for i, name in enumerate(NAMES)})

AGE_MINIMUM_YEARS = 18.0
AGE_MAXIMUM_YEARS = 120.0

SEXES: tuple[str, ...] = ("female", "male")
"""The code of a sex is its place here: 0 female, 1 male."""

SYSTEMS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "inflammation": ("crp", "lymphocyte_pct"),
        "metabolism": ("hba1c", "ggt", "ast", "alt"),
        "organ_function": ("creatinine", "albumin"),
        "hematology": ("rdw", "lymphocyte_pct"),
    }
)

CAUSES: tuple[str, ...] = ("cardiovascular", "cancer", "diabetes", "dementia")


def suggest_name(unknown: str, names: Sequence[str] = NAMES) -> str | None:
    """Return the name nearest to a misspelt one, or None where nothing is near.

    Example:
        >>> suggest_name("creatinin"), suggest_name("gamma_gt"), suggest_name("zzz")
        ('creatinine', None, None)
    """
    near = difflib.get_close_matches(unknown.casefold(), names, n=1, cutoff=0.6)
    return near[0] if near else None


def check_names(names: Iterable[str], *, subject: str) -> None:
    """Refuse a biomarker list that is not the panel, in the panel's order.

    Args:
        names: names as found in a configuration or a checkpoint.
        subject: where they were found, for the message.

    Raises:
        PanelError: listing every unknown, missing and misplaced name.
    """
    seen = list(names)
    problems = []
    for name in dict.fromkeys(seen):
        if name not in INDEX:
            near = suggest_name(name)
            problems.append(
                f"unknown biomarker {name!r}" + (f": did you mean {near}?" if near else "")
            )
        elif seen.count(name) > 1:
            problems.append(f"{name} is listed {seen.count(name)} times")
    problems += [f"missing biomarker {name!r}" for name in NAMES if name not in seen]
    if not problems and tuple(seen) != NAMES:
        problems.append(f"order must be {', '.join(NAMES)}, however: {', '.join(seen)}")
    if problems:
        raise PanelError(subject, problems)
