"""The panel: blood biomarkers, their order, and all that is known of each.

Everything that names a biomarker reads this table: the cohort reader, the request
validator, the graph, the export metadata and the documentation. A further biomarker is one
more entry at the end of :data:`PANEL`, a configuration and a fit.

Sources of the conversions: HbA1c NGSP to IFCC by the master equation
NGSP = 0.09148 IFCC + 2.152 (Hoelzel et al. 2004, Clin Chem 50:166-174,
doi:10.1373/clinchem.2003.024802); creatinine 88.42 umol/L per mg/dL from its molar
mass, 113.12 g/mol; 1 ukat = 60 U by definition of the katal.

The sources say how far each figure could be checked. Of reference intervals and critical
limits, "(from memory, not checked)" marks what was not looked up. Of variation, "abstract"
was read in the source's own abstract or text; "transcribed" was read in a transcription of
the source's table; "stand-in" is not a published figure for this quantity.
"""

from __future__ import annotations

import difflib
import math
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


SYSTEM_NAMES: tuple[str, ...] = ("inflammation", "metabolism", "organ_function", "hematology")
"""The systems that contributions are summed in, in this order."""


@dataclass(frozen=True, kw_only=True)
class ReferenceInterval:
    """The usual values of healthy adults, by sex code: (female, male).

    Attributes:
        low: lower limits, in the panel's unit; None where low values are not judged.
        high: upper limits, in the panel's unit; None where high values are not judged.
        source: where the limits are published.
    """

    low: tuple[float | None, float | None]
    high: tuple[float | None, float | None]
    source: str


@dataclass(frozen=True, kw_only=True)
class CriticalLimit:
    """A value beyond which a laboratory calls the doctor at once.

    Attributes:
        value: in the panel's unit; None where no limit is published. The fit then takes
            the 0.05 % (low) or 99.95 % (high) mark of the people that it is fitted on.
        source: where the limit is published, or that none is.
    """

    value: float | None
    source: str


@dataclass(frozen=True, kw_only=True)
class Variation:
    """How much a value changes between two blood draws of one person.

    The interval around a biological age rests on it. A repeat draw varies by
    sqrt(CV_I^2 + CV_A^2). Where a published CV_A is only a within-run figure it is raised
    to half of CV_I, the usual quality goal (Fraser & Petersen 1993, Clin Chem
    39:1447-1453).

    Attributes:
        within_person: CV_I, the within-person biological variation, percent of the value.
        analytical: CV_A, the analytical imprecision, percent of the value.
        source: where the figures are published, and how far they could be checked.
    """

    within_person: float
    analytical: float
    source: str

    @property
    def total_cv(self) -> float:
        """Coefficient of variation of a repeat draw, as a fraction of the value."""
        return math.hypot(self.within_person, self.analytical) / 100.0


@dataclass(frozen=True, kw_only=True)
class Biomarker:
    """One entry of the panel: all that is known of a biomarker.

    Attributes:
        name: the key in requests, tables and tensors.
        label: the name for people.
        unit: the panel's unit; a bare number is in this unit.
        minimum: lowest accepted value, in ``unit``.
        maximum: highest accepted value, in ``unit``.
        log_scaled: whether it is skewed and enters by its logarithm.
        systems: the systems it belongs to, of :data:`SYSTEM_NAMES`; its contribution is
            split evenly between them.
        reference: the usual values of healthy adults.
        critical_low: the limit below which a value needs a doctor; None where low values
            are not dangerous.
        critical_high: the limit above which a value needs a doctor; None where high
            values are not dangerous.
        harmful: the directions in which an abnormal value is a bad sign: "low", "high".
        variation: its change between two blood draws of one person.
        ukb_field: UK Biobank data field; None where UK Biobank has none.
        loinc: LOINC codes, panel unit first.
        synonyms: other names, as people and laboratories write them.
        other_units: other accepted units by canonical spelling.
        unit_spellings: spellings of a unit that mean it for this biomarker alone, to one
            of :attr:`units`; spellings for all biomarkers are in :data:`UNIT_ALIASES`.
        refused_units: units that look right and are not, with the reason.
    """

    name: str
    label: str
    unit: str
    minimum: float
    maximum: float
    log_scaled: bool
    systems: tuple[str, ...]
    reference: ReferenceInterval
    critical_low: CriticalLimit | None
    critical_high: CriticalLimit | None
    harmful: frozenset[str]
    variation: Variation
    ukb_field: int | None
    loinc: tuple[str, ...]
    synonyms: tuple[str, ...] = ()
    other_units: Mapping[str, Unit] = field(default_factory=dict)
    unit_spellings: Mapping[str, str] = field(default_factory=dict)
    refused_units: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("other_units", "unit_spellings", "refused_units"):
            object.__setattr__(self, name, MappingProxyType(dict(getattr(self, name))))

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


_NONE_PUBLISHED = (
    "no published limit: the 0.05 % or 99.95 % mark of the people that the model is fitted on"
)
_ENZYME_UNITS = {"ukat/L": Unit(factor=60.0)}

PANEL: tuple[Biomarker, ...] = (
    Biomarker(
        name="crp",
        label="C-reactive protein",
        unit="mg/L",
        minimum=0.01,
        maximum=500.0,
        log_scaled=True,
        systems=("inflammation",),
        reference=ReferenceInterval(
            low=(None, None),
            high=(5.0, 5.0),
            source="5 mg/L, the usual limit of routine assays (from memory, not checked)",
        ),
        critical_low=None,
        critical_high=CriticalLimit(value=200.0, source="(from memory, not checked)"),
        harmful=frozenset({"high"}),
        variation=Variation(
            within_person=42.2,
            analytical=5.2,
            source="Macy, Hayes & Tracy 1997, Clin Chem 43:52-58, doi:10.1093/clinchem/43.1.52 "
            "(abstract)",
        ),
        ukb_field=30710,
        loinc=("1988-5", "30522-7"),
        synonyms=(
            "CRP",
            "C-reactive protein",
            "C reactive protein",
            "hsCRP",
            "hs-CRP",
            "CRP, high sensitivity",
        ),
        other_units={"mg/dL": Unit(factor=10.0)},
    ),
    Biomarker(
        name="hba1c",
        label="Glycated haemoglobin",
        unit="mmol/mol",
        minimum=15.0,
        maximum=200.0,
        log_scaled=True,
        systems=("metabolism",),
        reference=ReferenceInterval(
            low=(None, None),
            high=(42.0, 42.0),
            source="42 mmol/mol (6.0 %), where prediabetes begins: International Expert "
            "Committee 2009, Diabetes Care 32:1327-1334 (from memory, not checked)",
        ),
        critical_low=None,
        critical_high=CriticalLimit(value=None, source=_NONE_PUBLISHED),
        harmful=frozenset({"high"}),
        variation=Variation(
            within_person=2.0,
            analytical=2.7,
            source="CV_I 1.2 % on the NGSP scale, Ricos et al. 2020, Adv Lab Med 1:20200029, "
            "doi:10.1515/almed-2020-0029 (abstract), and CV_A 1.6 % NGSP; both times 1.65, the "
            "ratio of the scales at 36 mmol/mol",
        ),
        ukb_field=30750,
        loinc=("59261-8", "4548-4"),
        synonyms=(
            "HbA1c",
            "Hb A1c",
            "A1c",
            "Hemoglobin A1c",
            "Haemoglobin A1c",
            "Glycated haemoglobin",
            "Glycated hemoglobin",
            "Glycosylated hemoglobin",
            "Glycohemoglobin",
        ),
        other_units={"%": Unit(factor=1 / 0.09148, offset=2.152)},
    ),
    Biomarker(
        name="creatinine",
        label="Creatinine",
        unit="umol/L",
        minimum=5.0,
        maximum=2000.0,
        log_scaled=True,
        systems=("organ_function",),
        reference=ReferenceInterval(
            low=(50.0, 60.0),
            high=(90.0, 105.0),
            source="NORIP: Rustad et al. 2004, Scand J Clin Lab Invest 64:271-284 "
            "(from memory, not checked)",
        ),
        critical_low=None,
        critical_high=CriticalLimit(value=442.0, source="(from memory, not checked)"),
        harmful=frozenset({"high"}),
        variation=Variation(
            within_person=4.4,
            analytical=2.2,
            source="Carobene et al. 2017, Clin Chem 63:1527-1536, "
            "doi:10.1373/clinchem.2017.275115 (transcribed)",
        ),
        ukb_field=30700,
        loinc=("14682-9", "2160-0"),
        synonyms=("Creatinine", "Creat", "Crea", "Serum creatinine"),
        other_units={"mg/dL": Unit(factor=88.42)},
    ),
    Biomarker(
        name="albumin",
        label="Albumin",
        unit="g/L",
        minimum=10.0,
        maximum=70.0,
        log_scaled=False,
        systems=("organ_function",),
        reference=ReferenceInterval(
            low=(36.0, 36.0),
            high=(48.0, 48.0),
            source="NORIP: Rustad et al. 2004, Scand J Clin Lab Invest 64:271-284 "
            "(from memory, not checked)",
        ),
        critical_low=CriticalLimit(value=20.0, source="(from memory, not checked)"),
        critical_high=None,
        harmful=frozenset({"low"}),
        variation=Variation(
            within_person=2.5,
            analytical=1.5,
            source="Carobene et al. 2022, Clin Chem Lab Med 60:505-517, "
            "doi:10.1515/cclm-2021-0370 (transcribed); Qi et al. 2016, Clin Chim Acta 452:87-91 "
            "gives the same CV_I (abstract)",
        ),
        ukb_field=30600,
        loinc=("1751-7",),
        synonyms=("Albumin", "Alb", "Serum albumin"),
        other_units={"g/dL": Unit(factor=10.0)},
    ),
    Biomarker(
        name="lymphocyte_pct",
        label="Lymphocyte percentage",
        unit="%",
        minimum=0.1,
        maximum=99.0,
        log_scaled=False,
        systems=("inflammation", "hematology"),
        reference=ReferenceInterval(
            low=(20.0, 20.0), high=(45.0, 45.0), source="20 to 45 % (from memory, not checked)"
        ),
        critical_low=CriticalLimit(value=None, source=_NONE_PUBLISHED),
        critical_high=CriticalLimit(value=None, source=_NONE_PUBLISHED),
        harmful=frozenset({"low", "high"}),
        variation=Variation(
            within_person=10.0,
            analytical=5.0,
            source="stand-in: the absolute count, CV_I 9.8 %, Coskun et al. 2018, Clin Chem Lab "
            "Med 56:1309-1318, doi:10.1515/cclm-2017-1155 (transcribed); 10.3 to 13.2 % in "
            "Statland et al. 1978, Am J Clin Pathol 69:48-54 (abstract)",
        ),
        ukb_field=30180,
        loinc=("736-9",),
        synonyms=(
            "Lymphocyte percentage",
            "Lymphocytes %",
            "Lymphocytes",
            "Lymphs",
            "Lymphs %",
            "Lymph %",
            "LYM%",
        ),
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
        log_scaled=True,
        systems=("hematology",),
        reference=ReferenceInterval(
            low=(None, None), high=(14.5, 14.5), source="11.5 to 14.5 % (from memory, not checked)"
        ),
        critical_low=None,
        critical_high=CriticalLimit(value=None, source=_NONE_PUBLISHED),
        harmful=frozenset({"high"}),
        variation=Variation(
            within_person=2.0,
            analytical=1.0,
            source="stand-in: below 3 % for erythrocyte quantities, Coskun et al. 2020, Clin Chem "
            "Lab Med 58:25-32, doi:10.1515/cclm-2019-0658 (abstract)",
        ),
        ukb_field=30070,
        loinc=("788-0",),
        synonyms=(
            "RDW",
            "RDW-CV",
            "Red cell distribution width",
            "Red blood cell distribution width",
            "Erythrocyte distribution width",
        ),
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
        log_scaled=True,
        systems=("metabolism",),
        reference=ReferenceInterval(
            low=(None, None), high=(40.0, 60.0), source="(from memory, not checked)"
        ),
        critical_low=None,
        critical_high=CriticalLimit(value=1000.0, source="(from memory, not checked)"),
        harmful=frozenset({"high"}),
        variation=Variation(
            within_person=8.9,
            analytical=8.7,
            source="Carobene et al. 2017, Clin Chem 63:1141-1150, "
            "doi:10.1373/clinchem.2016.269811 (CV_I abstract, CV_A transcribed)",
        ),
        ukb_field=30730,
        loinc=("2324-2",),
        synonyms=(
            "GGT",
            "GGTP",
            "Gamma GT",
            "Gamma-GT",
            "y-GT",
            "Gamma-glutamyltransferase",
            "Gamma glutamyl transferase",
            "Gamma-glutamyl transpeptidase",
        ),
        other_units=_ENZYME_UNITS,
    ),
    Biomarker(
        name="ast",
        label="Aspartate aminotransferase",
        unit="U/L",
        minimum=1.0,
        maximum=10000.0,
        log_scaled=True,
        systems=("metabolism",),
        reference=ReferenceInterval(
            low=(None, None),
            high=(35.0, 45.0),
            source="NORIP: Stromme et al. 2004, Scand J Clin Lab Invest 64:371-384 "
            "(from memory, not checked)",
        ),
        critical_low=None,
        critical_high=CriticalLimit(value=500.0, source="(from memory, not checked)"),
        harmful=frozenset({"high"}),
        variation=Variation(
            within_person=9.5,
            analytical=5.5,
            source="Carobene et al. 2017, Clin Chem 63:1141-1150 (CV_I abstract, CV_A transcribed)",
        ),
        ukb_field=30650,
        loinc=("1920-8",),
        synonyms=(
            "AST",
            "ASAT",
            "SGOT",
            "GOT",
            "AST (SGOT)",
            "Aspartate aminotransferase",
            "Aspartate transaminase",
        ),
        other_units=_ENZYME_UNITS,
    ),
    Biomarker(
        name="alt",
        label="Alanine aminotransferase",
        unit="U/L",
        minimum=1.0,
        maximum=10000.0,
        log_scaled=True,
        systems=("metabolism",),
        reference=ReferenceInterval(
            low=(None, None), high=(45.0, 50.0), source="(from memory, not checked)"
        ),
        critical_low=None,
        critical_high=CriticalLimit(value=500.0, source="(from memory, not checked)"),
        harmful=frozenset({"high"}),
        variation=Variation(
            within_person=9.3,
            analytical=6.7,
            source="Carobene et al. 2017, Clin Chem 63:1141-1150 (CV_I abstract, CV_A transcribed)",
        ),
        ukb_field=30620,
        loinc=("1742-6",),
        synonyms=(
            "ALT",
            "ALAT",
            "SGPT",
            "GPT",
            "ALT (SGPT)",
            "Alanine aminotransferase",
            "Alanine transaminase",
        ),
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
        system: tuple(biomarker.name for biomarker in PANEL if system in biomarker.systems)
        for system in SYSTEM_NAMES
    }
)

CAUSES: tuple[str, ...] = ("cardiovascular", "cancer", "diabetes", "dementia")


def list_total_cv() -> list[float]:
    """Coefficients of variation of a repeat draw in the panel's order, as fractions."""
    return [biomarker.variation.total_cv for biomarker in PANEL]


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
