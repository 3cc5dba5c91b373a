"""What a calibration found, biomarker by biomarker."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from henaw.intake.tables.layout import Layout
from henaw.model.biomarkers import PANEL
from henaw.model.profile import LabProfile
from henaw.scoring.calibration.life_table import describe_level
from henaw.scoring.calibration.shifts import Shifts
from henaw.scoring.reading.inputs import Inputs

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class BiomarkerFinding:
    """The shift of one biomarker.

    Attributes:
        name: the biomarker.
        unit: the laboratory's unit, of ``typical``, ``shift`` and ``standard_error``.
        people: number of people with a value.
        typical: the median value.
        shift: how much too high a typical value reads.
        standard_error: standard error of the shift.
        percent: the shift in per cent of a typical value.
        why_not: why there is no shift; None if there is one.
    """

    name: str
    unit: str
    people: int
    typical: float
    shift: float = 0.0
    standard_error: float = 0.0
    percent: float = 0.0
    why_not: str | None = None

    def __str__(self) -> str:
        if self.why_not is not None:
            return f"{self.name}: no shift, {self.why_not}"
        if f"{abs(self.shift):.1g}" == "0":
            return f"{self.name}: reads as expected ({self.people} people)"
        direction = "high" if self.shift > 0 else "low"
        return (
            f"{self.name}: reads {abs(self.shift):.2g} {self.unit} {direction} "
            f"(+-{self.standard_error:.1g}), {abs(self.percent):.1f} % of a typical value of "
            f"{self.typical:.3g} {self.unit} ({self.people} people)"
        )


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """A profile and its evidence.

    Attributes:
        profile: the shifts to subtract from the laboratory's values.
        people: number of people used.
        findings: one for each biomarker, in the panel's order.
        health_years: mean age gap of these people over that of the fitted people, in years,
            after the shifts are subtracted.
        health_standard_error: its standard error, years.
        notes: what to know before the profile is used.
        before: (n, 9) standardised values as the laboratory gives them, NaN = missing.
        after: (n, 9) the same after the shifts are subtracted.
        expected: (9, k) quantiles of the fitted people's standardised values.
        shares: (k,) share of the fitted people below each quantile.
    """

    profile: LabProfile
    people: int
    findings: tuple[BiomarkerFinding, ...]
    health_years: float
    health_standard_error: float
    notes: tuple[str, ...]
    before: Array
    after: Array
    expected: Array
    shares: Array


def describe_biomarkers(
    people: Inputs, shifts: Shifts, why_not: Mapping[str, str], layout: Layout
) -> tuple[BiomarkerFinding, ...]:
    """Describe the shift of each biomarker in the laboratory's unit.

    Args:
        people: the laboratory's people.
        shifts: their shifts, on each biomarker's scale.
        why_not: biomarkers without a shift, and why.
        layout: the laboratory's units.
    """
    units = {mapped.name: mapped.unit for mapped in layout.biomarkers}
    findings = []
    for place, biomarker in enumerate(PANEL):
        values = people.biomarkers[:, place]
        values = values[np.isfinite(values)].astype(np.float64)
        spelled = units.get(biomarker.name) or biomarker.unit
        unit = biomarker.find_unit(spelled)
        typical = float(np.median(values)) if len(values) else float("nan")
        shift, error = float(shifts.shift[place]), float(shifts.standard_error[place])
        if biomarker.log_scaled:
            # For a typical value as it is read, which includes the shift.
            shift, error = typical * -np.expm1(-shift), typical * error
        findings.append(
            BiomarkerFinding(
                name=biomarker.name,
                unit=spelled,
                people=len(values),
                typical=unit.from_si(typical),
                shift=float(shift / unit.factor),
                standard_error=float(error / unit.factor),
                percent=float(100.0 * shift / (typical - shift)),
                why_not=why_not.get(biomarker.name),
            )
        )
    return tuple(findings)


def list_lines(calibration: Calibration) -> Sequence[str]:
    """Return what a calibration found, one line a finding."""
    level = calibration.profile.level
    return [
        f"{calibration.profile.name}: {calibration.people} people, whose biological age is "
        f"{calibration.health_years:+.1f} years (+-{calibration.health_standard_error:.1f}) from "
        "that of the fitted people after the shifts are subtracted",
        *map(str, calibration.findings),
        *([] if level is None else describe_level(level)),
    ]
