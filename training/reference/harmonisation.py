"""Shifts between laboratories: estimated for each survey, and subtracted.

A laboratory that measures higher than the others moves all its people's values by the same
amount, on the biomarker's scale. Each survey counts as one laboratory.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from henaw.model.biomarkers import NAMES, PANEL
from henaw.model.configuration import NetworkConfiguration
from henaw.model.profile import estimate_shift, shrink_shift
from henaw.training.cohorts.cohort import Cohort
from henaw.training.reference.tables import (
    Array,
    Rows,
    look_up,
    restore,
    tabulate_quartiles,
    transform,
)
from torch import Tensor

FEWEST_FOR_SHIFT = 200
"""If fewer people of a survey than this have a biomarker, its shift is 0."""
MOST_ROUNDS = 6
CLOSE_SHIFT = 0.002
"""A change of the shifts, in standard deviations, that ends the rounds."""


def harmonise(cohort: Cohort, known: Rows, configuration: NetworkConfiguration) -> Cohort:
    """Subtract each survey's shift of each biomarker; ``shifts`` says what was subtracted.

    The shifts are relative to the mean over the surveys, weighted by their people. They are
    estimated in rounds, because the reference that they are measured against depends on them.

    Args:
        cohort: the people.
        known: (n, 9) values that count: measured, and not at a detection floor.
        configuration: the network's shape.
    """
    surveys, place = np.unique(cohort.survey, return_inverse=True)
    counts = np.stack([known[place == survey].sum(0) for survey in range(len(surveys))])
    shifts = np.zeros(counts.shape)
    # A survey that hardly measured a biomarker keeps its values.
    measured = counts >= FEWEST_FOR_SHIFT
    values = transform(cohort.biomarkers)[:, : len(NAMES)]
    for _ in range(MOST_ROUNDS if len(surveys) > 1 else 0):
        shifted = values - shifts[place]
        location, scale = look_up(
            cohort, configuration, *tabulate_quartiles(cohort, shifted, known, configuration)
        )
        change = np.zeros(shifts.shape)
        for survey, column in zip(*np.nonzero(measured), strict=True):
            rows = (place == survey) & known[:, column]
            change[survey, column], _ = estimate_shift(
                shifted[rows, column], location[rows, column], scale[rows, column]
            )
        weight = np.where(measured, counts, 0)
        change -= (change * weight).sum(0) / np.maximum(weight.sum(0), 1)
        shifts += np.where(measured, change, 0.0)
        if np.abs(change / np.median(scale[:, : len(NAMES)], 0)).max() < CLOSE_SHIFT:
            break
    harmonised = restore(values - shifts[place])
    return replace(
        cohort,
        # Where nothing is subtracted, the values stay as read, to the last bit.
        biomarkers=np.where(shifts[place] == 0.0, cohort.biomarkers, harmonised),
        shifts={
            str(survey): {
                name: float(shifts[row, column])
                for column, name in enumerate(NAMES)
                if measured[row, column]
            }
            for row, survey in enumerate(surveys)
        },
    )


def estimate_profiles(
    cohort: Cohort, configuration: NetworkConfiguration, tensors: Mapping[str, Tensor]
) -> dict[str, Array]:
    """Each survey's shifts against a finished fit, as for a laboratory that sends its people.

    Only the people's values, age and sex are used. A biomarker that fewer than
    :data:`FEWEST_FOR_SHIFT` people have keeps the shift 0.

    Args:
        cohort: the people.
        configuration: the network's shape.
        tensors: of a fit without these people.

    Returns:
        (9,) shifts by survey, on each biomarker's scale.
    """
    tables = [tensors[name].double().numpy() for name in ("location", "scale")]
    location, scale = look_up(cohort, configuration, *tables)
    values = transform(cohort.biomarkers)
    profiles = {}
    for survey in np.unique(cohort.survey):
        shifts = np.zeros(len(NAMES))
        for column in range(len(NAMES)):
            rows = (cohort.survey == survey) & np.isfinite(values[:, column])
            if rows.sum() < FEWEST_FOR_SHIFT:
                continue
            shift, error = estimate_shift(
                values[rows, column],
                location[rows, column],
                scale[rows, column],
                usual=float(tensors["usual_score"][column]),
            )
            shifts[column], _ = shrink_shift(shift, error, float(tensors["laboratory_sd"][column]))
        profiles[str(survey)] = shifts
    return profiles


def take_profiles_off(cohort: Cohort, profiles: Mapping[str, Array]) -> Cohort:
    """Subtract each survey's shifts; people of a survey without a profile keep their values."""
    none = np.zeros(len(NAMES))
    shifts = np.array([profiles.get(str(survey), none) for survey in cohort.survey])
    values = transform(cohort.biomarkers)[:, : len(NAMES)]
    return replace(cohort, biomarkers=restore(values - shifts.reshape(-1, len(NAMES))))


def measure_laboratory_sd(cohort: Cohort, location: Array) -> Array:
    """Standard deviation of the shifts between laboratories, on each biomarker's scale.

    That of the surveys' shifts. Where fewer than two surveys measured a biomarker, it is what
    the configuration gives, or else the assay's analytical imprecision.

    Shape:
        location: (2, ages, V) medians; result: (9,)

    Args:
        cohort: with its ``shifts``.
        location: medians on each variable's scale.
    """
    spreads = []
    for column, biomarker in enumerate(PANEL):
        shifts = [of[biomarker.name] for of in cohort.shifts.values() if biomarker.name in of]
        if len(shifts) > 1:
            spreads.append(float(np.std(shifts, ddof=1)))
        elif biomarker.name in cohort.laboratory_sd:
            spreads.append(cohort.laboratory_sd[biomarker.name])
        else:
            size = 1.0 if biomarker.log_scaled else float(np.median(location[:, :, column]))
            spreads.append(biomarker.variation.analytical / 100.0 * size)
    return np.array(spreads)
