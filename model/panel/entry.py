"""The fields of an entry of the panel; :data:`henaw.model.panel.table.PANEL` has the entries."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from henaw.model.errors import PanelError
from henaw.model.panel.units import COUNT_PER_VOLUME, Unit, drop_annotations, fold_unit

SYSTEM_NAMES: tuple[str, ...] = ("inflammation", "metabolism", "organ_function", "hematology")
"""The systems by which contributions are summed, in this order."""


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
    """A value beyond which a laboratory phones the doctor immediately.

    Attributes:
        value: in the panel's unit; None where no limit is published. The fit then takes
            the 0.05 % (low) or 99.95 % (high) mark of the fitted people.
        source: where the limit is published, or that no limit is.
    """

    value: float | None
    source: str


@dataclass(frozen=True, kw_only=True)
class Variation:
    """How much a value changes between two blood draws of one person.

    The interval around a biological age depends on it. The coefficient of variation of a repeat
    draw is sqrt(CV_I^2 + CV_A^2). Where the published CV_A is only a within-run figure, half of
    CV_I is used, the usual quality goal (Fraser & Petersen 1993, Clin Chem 39:1447-1453).

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
        """Coefficient of variation of a repeat draw, as a fraction of the value.

        Example:
            >>> Variation(within_person=3.0, analytical=4.0, source="").total_cv
            0.05
        """
        return math.hypot(self.within_person, self.analytical) / 100.0


@dataclass(frozen=True, kw_only=True)
class Biomarker:
    """One entry of the panel: all that is known about a biomarker.

    Attributes:
        name: the key in requests, tables and tensors.
        label: the name that people read.
        unit: the panel's unit; a bare number is in this unit.
        minimum: lowest accepted value, in ``unit``.
        maximum: highest accepted value, in ``unit``.
        log_scaled: whether it is skewed and enters by its logarithm.
        systems: the systems it belongs to, of :data:`SYSTEM_NAMES`; its contribution is
            split evenly between them.
        reference: the usual values of healthy adults.
        critical_low: the limit below which a value needs a doctor; None where low values are
            not dangerous.
        critical_high: the limit above which a value needs a doctor; None where high
            values are not dangerous.
        harmful: the directions in which an abnormal value is a bad sign: "low", "high".
        reporting_step: the step in which laboratories round it, in ``unit``.
        variation: how much it changes between two blood draws of one person.
        ukb_field: UK Biobank data field; None where UK Biobank has none.
        ukb_title: the field's name in the UK Biobank Showcase; None: the label.
        nhanes: variables of NHANES with their units; the first that a table has is used.
        loinc: LOINC codes of any method, panel unit first.
        loinc_by_method: LOINC codes of the same quantity by one method.
        loinc_refused: LOINC codes of look-alikes, with why they are not this biomarker.
        synonyms: other names, as people and laboratories write them, in the languages of
            several countries; each means this biomarker and nothing else.
        shared_synonyms: names that another quantity has as well, which its unit tells apart.
        other_units: other accepted units by canonical spelling.
        unit_spellings: spellings of a unit for this biomarker only, to one of :attr:`units`;
            spellings for all biomarkers are in :mod:`henaw.model.panel.units`.
        refused_units: units that look right but are not, with the reason.
        spellings: every folded spelling of an accepted unit, to its name in :attr:`units`.
    """

    name: str
    label: str
    unit: str
    minimum: float
    maximum: float
    log_scaled: bool
    systems: tuple[str, ...]
    reference: ReferenceInterval
    critical_low: CriticalLimit | None = None
    critical_high: CriticalLimit | None = None
    harmful: frozenset[str]
    reporting_step: float
    variation: Variation
    ukb_field: int | None
    loinc: tuple[str, ...]
    ukb_title: str | None = None
    nhanes: tuple[tuple[str, str], ...] = ()
    loinc_by_method: tuple[str, ...] = ()
    loinc_refused: Mapping[str, str] = field(default_factory=dict)
    synonyms: tuple[str, ...] = ()
    shared_synonyms: tuple[str, ...] = ()
    other_units: Mapping[str, Unit] = field(default_factory=dict)
    unit_spellings: Mapping[str, str] = field(default_factory=dict)
    refused_units: Mapping[str, str] = field(default_factory=dict)
    spellings: Mapping[str, str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for name in ("loinc_refused", "other_units", "unit_spellings", "refused_units"):
            object.__setattr__(self, name, MappingProxyType(dict(getattr(self, name))))
        named = {name: name for name in self.units} | dict(self.unit_spellings)
        folded = {fold_unit(spelling): name for spelling, name in named.items()}
        object.__setattr__(self, "spellings", MappingProxyType(folded))

    @property
    def units(self) -> tuple[str, ...]:
        """All accepted units, the panel's first."""
        return (self.unit, *self.other_units)

    @property
    def typical(self) -> float:
        """A usual value of either sex: the geometric middle of the reference interval.

        Where the interval has no lower limit, a third of the upper one; where it has no
        upper limit, twice the lower one.
        """
        logs = []
        for low, high in zip(self.reference.low, self.reference.high, strict=True):
            if low is not None and high is not None:
                logs.append(math.log(low * high) / 2)
            elif high is not None:
                logs.append(math.log(high / 3))
            elif low is not None:
                logs.append(math.log(low * 2))
        return math.exp(sum(logs) / len(logs))

    def find_unit(self, spelling: str) -> Unit:
        """Return the conversion for a unit as people spell it.

        Raises:
            PanelError: the unit is unknown, or is refused with the reason.

        Example:
            >>> from henaw.model.biomarkers import PANEL
            >>> round(PANEL[1].find_unit("%").to_si(5.4), 1)
            35.5
        """
        # With the annotation first: "% (JDS)" is refused, "% (whole blood)" is %.
        for folded in dict.fromkeys((fold_unit(spelling), fold_unit(drop_annotations(spelling)))):
            if folded in self.spellings:
                name = self.spellings[folded]
                return Unit(factor=1.0) if name == self.unit else self.other_units[name]
            for name, reason in self.refused_units.items():
                if folded == fold_unit(name):
                    raise PanelError(self.name, [reason])
            if COUNT_PER_VOLUME.fullmatch(folded):
                share = ", a share" if self.unit == "%" else ""
                raise PanelError(
                    self.name,
                    [f"{spelling} is a count per volume; {self.name} is in {self.unit}{share}"],
                )
        raise PanelError(
            self.name, [f"unit must be one of {', '.join(self.units)}; got {spelling!r}"]
        )
