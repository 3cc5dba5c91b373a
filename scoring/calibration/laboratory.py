"""A laboratory's profile from a few hundred of its people, without follow-up."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from henaw.intake.preflight import Report
from henaw.intake.reference import LOGGED, Reference, transform
from henaw.intake.tables.layout import Layout, find_layout
from henaw.model.biomarkers import NAMES
from henaw.model.errors import ScoringError
from henaw.model.profile import LabProfile
from henaw.scoring.calibration.findings import Calibration, describe_biomarkers
from henaw.scoring.calibration.life_table import fit_level, read_life_tables
from henaw.scoring.calibration.shifts import Shifts, describe_usual, estimate, measure
from henaw.scoring.henaw import Henaw
from henaw.scoring.reading.frames import read_frame
from henaw.scoring.reading.inputs import REASONS, Inputs, count_bits
from henaw.scoring.reading.preflight import look_over, look_over_source, require_accepted

Array = npt.NDArray[np.float64]

FEWEST_PEOPLE = 200
"""With fewer people, chance moves the gap as far as the shifts of most laboratories do."""
ENOUGH_PEOPLE = 500
LARGEST_HEALTH_YEARS = 1.75
"""If the mean gap is further from the fitted people's, this is not a general population."""
NOTED_HEALTH_YEARS = 1.0
LEAST_CHANCE_OF_POPULATION = 0.5
LARGEST_MISFIT = 1.1
"""Samples of left-out surveys have a misfit of 0.3 to 0.7."""
LARGEST_SHIFT_SD = 2.5
"""A larger shift, in standard deviations, means another unit, not another laboratory: assays of
surveys differ by up to 0.8, creatinine from another country by 1.2, and lymphocytes given as a
fraction by 4."""
LARGEST_TIE = 0.1
"""If a larger share of people has the lowest value, it is a detection limit."""
SIMULATED_PEOPLE = 20_000
_SEED = 1


def calibrate(
    people: object,
    *,
    model: Henaw | str | Path,
    name: str = "laboratory",
    layout: Layout | None = None,
    life_tables: Sequence[Path] = (),
    accept: Sequence[str] = (),
) -> LabProfile:
    """Estimate how far a laboratory's values lie from those of the fitted people.

    Args:
        people: 500 or more unselected people of the laboratory (at least 200): a table of
            pandas, polars or pyarrow, or the path of one. No follow-up is needed.
        model: an ONNX file, or an opened :class:`Henaw`.
        name: the laboratory's name in answers.
        layout: the meaning of each column; if None, it is found from the columns' names.
        life_tables: life tables of the laboratory's country, as :func:`read_life_tables` reads
            them; they set the level of the risks.
        accept: names of findings to accept, as ``Henaw.predict`` takes them.

    Returns:
        The profile, for ``Henaw.load(lab=...)``.

    Raises:
        ScoringError: there are too few people, they were selected, or their values look wrong,
            for example because they are in another unit.

    Warns:
        UserWarning: what to know before the profile is used.
    """
    calibration = calibrate_people(
        people, model=model, name=name, layout=layout, life_tables=life_tables, accept=accept
    )
    for note in calibration.notes:
        warnings.warn(note, stacklevel=2)
    return calibration.profile


def calibrate_people(
    people: object,
    *,
    model: Henaw | str | Path,
    name: str = "laboratory",
    layout: Layout | None = None,
    life_tables: Sequence[Path] = (),
    accept: Sequence[str] = (),
) -> Calibration:
    """Estimate a profile as :func:`calibrate` does, and also return the evidence for it."""
    loaded = model if isinstance(model, Henaw) else Henaw.load(model)
    if loaded.lab is not None:
        raise ScoringError(
            "model",
            [
                f"it contains the profile of the laboratory {loaded.lab!r}. Calibrate with the "
                "file of `henaw export`"
            ],
        )
    level = fit_level(read_life_tables(life_tables), loaded) if life_tables else None
    inputs, layout, report = _read_people(people, layout, loaded)
    require_accepted(report, accept)
    calibration = _calibrate_inputs(inputs, layout, loaded, name)
    said = tuple(finding.message for finding in report.findings)
    calibration = replace(calibration, notes=(*said, *calibration.notes))
    if level is None:
        return calibration
    names = ", ".join(path.name for path in life_tables)
    profile = replace(calibration.profile, level=level, life_table=names)
    return replace(calibration, profile=profile)


def _read_people(
    people: object, layout: Layout | None, model: Henaw
) -> tuple[Inputs, Layout, Report]:
    """Return everyone's inputs, the layout, and the report on the values."""
    if not isinstance(people, (str, Path)):
        batch, layout, names = read_frame(people, layout)
        inputs = model.read(batch, layout)
        return inputs, layout, look_over(model, [(batch, inputs)], layout, names)
    path = Path(people)
    from henaw.scoring.reading.sources import open_source

    source = open_source(path, separator=None if layout is None else layout.separator)
    layout = find_layout(source.names) if layout is None else layout
    absent = [column for column in layout.columns if column not in source.names]
    if absent:
        raise ScoringError("columns", [f"there is no column {column!r}" for column in absent])
    parts: list[Inputs] = []
    report = look_over_source(model, source, layout, keep=parts.append)
    if not parts:
        raise ScoringError(str(path), ["the table has no rows"])
    inputs = Inputs(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))
    return inputs, layout, report


def _calibrate_inputs(inputs: Inputs, layout: Layout, model: Henaw, name: str) -> Calibration:
    reference = model.fitted_people
    first, last = reference.ages[0], reference.ages[-1]
    fitted = (inputs.age >= first) & (inputs.age <= last)
    known: npt.NDArray[np.bool_] = np.asarray(np.isfinite(inputs.biomarkers).any(1))
    used = np.flatnonzero((inputs.reasons == 0) & fitted & known)
    notes = _note_unused(inputs, fitted, known, (first, last))
    if len(used) < FEWEST_PEOPLE:
        raise ScoringError(
            "people",
            [
                f"a profile needs at least {FEWEST_PEOPLE} people, better {ENOUGH_PEOPLE} or more; "
                f"got {len(used)}",
                *notes,
            ],
        )
    people = inputs.select(used)
    values = transform(people.biomarkers)
    location, scale = reference.look_up(people.age, people.sex)
    why_not = _find_unusable(values)
    values[:, [NAMES.index(biomarker) for biomarker in why_not]] = np.nan
    found = measure(values, location, scale, reference.usual_score, FEWEST_PEOPLE)
    if not np.isfinite(found.shift).any():
        problems = [f"{biomarker}: {reason}" for biomarker, reason in why_not.items()]
        raise ScoringError("people", ["no biomarker can be calibrated", *problems])
    _require_units(found.shift * found.rate)
    usual = describe_usual(*_simulate(people, reference, model), reference.usual_score)
    shifts = estimate(found, usual, reference.laboratory_sd)
    notes += _judge_people(shifts)

    findings = describe_biomarkers(people, shifts, why_not, layout)
    few = [
        f"{finding.name} ({finding.people})"
        for finding in findings
        if finding.why_not is None and finding.people < ENOUGH_PEOPLE
    ]
    if few:
        notes.append(
            f"{ENOUGH_PEOPLE} people or more are better; these have fewer: {', '.join(few)}"
        )
    notes += [f"{f.name} has no shift: {f.why_not}" for f in findings if f.why_not is not None]
    shifted = [finding for finding in findings if finding.why_not is None]
    error = dict(zip(NAMES, shifts.standard_error.tolist(), strict=True))
    shift = dict(zip(NAMES, shifts.shift.tolist(), strict=True))
    return Calibration(
        profile=LabProfile(
            name=name,
            shift={finding.name: shift[finding.name] for finding in shifted},
            standard_error={finding.name: error[finding.name] for finding in shifted},
            people={finding.name: finding.people for finding in shifted},
            model=str(model.description["checkpoint_sha256"]),
        ),
        people=len(used),
        findings=findings,
        health_years=shifts.health_years,
        health_standard_error=shifts.health_standard_error,
        notes=tuple(notes),
        before=(values - location) / scale,
        after=(values - shifts.shift - location) / scale,
        expected=reference.margin,
        shares=reference.shares,
    )


def _simulate(people: Inputs, reference: Reference, model: Henaw) -> tuple[Array, Array]:
    """Simulate people like the fitted ones, with the laboratory's ages and sexes.

    Returns:
        Their standardised values (m, 9) and gaps (m,) in years.
    """
    rng = np.random.default_rng(_SEED)
    chosen = rng.integers(len(people.age), size=SIMULATED_PEOPLE)
    factor = np.linalg.cholesky(reference.correlation)
    normal = rng.standard_normal((SIMULATED_PEOPLE, len(NAMES))) @ factor.T
    standardised = np.column_stack(
        [
            np.interp(column, reference.scores, m)
            for column, m in zip(normal.T, reference.margin, strict=True)
        ]
    )
    like = people.select(chosen)
    location, scale = reference.look_up(like.age, like.sex)
    moved = location + standardised * scale
    raw = np.where(LOGGED, np.exp(moved), moved).astype(np.float32)
    return standardised, model.run(like._replace(biomarkers=raw))["age_gap"].astype(np.float64)


def _note_unused(
    inputs: Inputs,
    fitted: npt.NDArray[np.bool_],
    known: npt.NDArray[np.bool_],
    ages: tuple[float, float],
) -> list[str]:
    notes = [
        f"{count} people are not used: {reason}"
        for reason, count in count_bits(inputs.reasons, REASONS).items()
    ]
    outside = int(((inputs.reasons == 0) & ~fitted).sum())
    if outside:
        notes.append(
            f"{outside} people are not used: the model was fitted on ages {ages[0]:g} to "
            f"{ages[1]:g}"
        )
    blank = int(((inputs.reasons == 0) & fitted & ~known).sum())
    if blank:
        notes.append(f"{blank} people are not used: no biomarker is known")
    return notes


def _find_unusable(values: Array) -> dict[str, str]:
    """Find biomarkers without a usable shift, and say why."""
    reasons = {}
    for place, name in enumerate(NAMES):
        known = values[np.isfinite(values[:, place]), place]
        if len(known) < FEWEST_PEOPLE:
            reasons[name] = f"{len(known)} people have a value, fewer than {FEWEST_PEOPLE}"
            continue
        tied = float((known == known.min()).mean())
        if tied > LARGEST_TIE:
            reasons[name] = (
                f"{tied:.0%} of the people have its lowest value. It looks like a detection limit"
            )
    return reasons


def _require_units(standardised: Array) -> None:
    wrong = [
        f"{name} lies {shift:+.1f} standard deviations from the fitted people's. Is its unit right?"
        for name, shift in zip(NAMES, standardised.tolist(), strict=True)
        if abs(shift) > LARGEST_SHIFT_SD
    ]
    if wrong:
        raise ScoringError("people", wrong)


def _judge_people(shifts: Shifts) -> list[str]:
    """Refuse people who are not a general population; note a smaller difference.

    Raises:
        ScoringError: they look like patients or like healthy volunteers.
    """
    years, error = shifts.health_years, shifts.health_standard_error
    direction, kind = ("older", "patients") if years > 0 else ("younger", "healthy volunteers")
    said = (
        f"the people look like {kind}: {abs(years):.1f} years {direction} than a population "
        f"(+-{error:.1f})"
    )
    take = "Take everyone whose blood was drawn in primary care or at a check-up"
    unlike = shifts.misfit > LARGEST_MISFIT
    if unlike or shifts.chance_of_population < LEAST_CHANCE_OF_POPULATION:
        place = int(np.argmax(np.abs(shifts.tilts)))
        side = "high" if shifts.tilts[place] > 0 else "low"
        raise ScoringError(
            "people",
            [
                f"they look selected, like the patients of one clinic: {side} values of "
                f"{NAMES[place]} are more frequent than a shift of the assay explains. {take}"
            ],
        )
    if abs(years) > LARGEST_HEALTH_YEARS:
        raise ScoringError("people", [f"{said}. {take}"])
    return (
        [f"{said}. The profile takes this into account"] if abs(years) > NOTED_HEALTH_YEARS else []
    )
