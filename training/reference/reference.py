"""The reference: what is usual at each age and sex, tabulated from a cohort.

Only aggregates leave this module: medians, spreads, quantiles, means and correlations.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch
from henaw.model.biomarkers import INDEX, NAMES, PANEL, list_total_cv
from henaw.model.configuration import RATIO_CAPS, RATIO_PARTS, VARIABLES, NetworkConfiguration
from henaw.model.constants import HIGHEST_RATIO, LOWEST_RATIO
from henaw.model.errors import CohortError
from henaw.model.network import Network
from henaw.model.profile import CLIP_SCORE, estimate_shift, shrink_shift
from henaw.model.tables import PERCENTILES, list_published_limits, list_tensor_shapes
from henaw.model.transforms import LOG_SCALED, compute_safe_ratio
from henaw.training.cohorts.cohort import Cohort
from henaw.training.configuration import DetectionFloor
from torch import Tensor

Array = npt.NDArray[np.float64]
Rows = npt.NDArray[np.bool_]

WINDOW_YEARS = 5
NARROWEST_PIECE = 0.02
"""Least width of a margin's piece, in standardised values: rounding ties many values,
and a steeper piece would turn rounding differences of runtimes into score differences."""
FEWEST_PEOPLE = 20
FURTHEST_YEARS = 2
"""From an age with too few people to the nearest with enough, whose reference it takes."""
RANGE_QUANTILES = (0.001, 0.999)
CRITICAL_QUANTILES = (0.0005, 0.9995)
"""Where no critical limit is published."""
FEWEST_FOR_SHIFT = 200
"""People of a survey with a biomarker, below whom its shift is left at 0."""
HARMONISING_ROUNDS = 6
CLOSE_SHIFT = 0.002
"""A change of the shifts, in standard deviations, that ends the rounds."""
_LOGGER = logging.getLogger(__name__)
_IQR_OF_NORMAL = 1.3489795003921634


def fit_reference(
    cohort: Cohort, configuration: NetworkConfiguration, floors: tuple[DetectionFloor, ...] = ()
) -> tuple[dict[str, Tensor], Cohort]:
    """Tabulate the reference on harmonised values, and place values at a detection floor.

    Each survey's shift of each biomarker against all of them is taken off first. A value
    at a floor is only known to be below it: those surveys say nothing about that
    biomarker's reference nor have a shift of it, and each such value is replaced by the one
    whose normal score is the mean of the scores below the floor.

    Args:
        cohort: the people.
        configuration: the shape.
        floors: assays with a floor.

    Returns:
        Tensors of a checkpoint (those of the gap are still 0), and the cohort with the
        shifts taken off, said in ``shifts``, and the values at floors replaced.

    Raises:
        CohortError: too few people to tabulate a biomarker.
    """
    if configuration.left_out:
        cohort = _stand_in(cohort, configuration)
    known = np.isfinite(cohort.biomarkers)
    for floor in floors:
        known[cohort.survey == floor.survey, INDEX[floor.biomarker]] = False
    usable = np.column_stack([known, known[:, list(RATIO_PARTS)].all(1)])
    _check_counts(cohort, usable, configuration)
    cohort = _harmonise(cohort, known, configuration)

    values = _transform(cohort.biomarkers)
    location, scale, variation = _tabulate_spread(cohort, values, usable, configuration)
    tensors = {
        name: torch.zeros(shape) for name, shape in list_tensor_shapes(configuration).items()
    }
    tensors |= {
        "location": _tensor(location),
        "scale": _tensor(scale),
        "coefficient_of_variation": _tensor(variation),
        "margin": torch.linspace(
            -configuration.score_limit, configuration.score_limit, configuration.score_steps + 1
        ).repeat(len(VARIABLES), 1),
        "gap_percentiles": torch.linspace(-1.0, 1.0, len(PERCENTILES)).expand(
            2, configuration.ages, -1
        ),
        "correlation": torch.eye(len(VARIABLES)),
        "baseline_slope": torch.full((2,), 0.1),
        "interval_factor": torch.ones(1),
        "draw_factor": torch.ones(1),
        "within_person_cv": torch.tensor(list_total_cv()),
        "laboratory_sd": _tensor(measure_laboratory_sd(cohort, location)),
    }
    raw = np.where(known, cohort.biomarkers.astype(np.float64), np.nan)
    low, high = np.nanquantile(raw, RANGE_QUANTILES, axis=0)
    tensors["range_low"], tensors["range_high"] = _tensor(low), _tensor(high)
    for name, limits, marks in zip(
        ("critical_low", "critical_high"),
        list_published_limits(),
        np.nanquantile(raw, CRITICAL_QUANTILES, axis=0),
        strict=True,
    ):
        tensors[name] = torch.where(torch.isnan(limits), _tensor(marks), limits)

    at_age = _look_up(cohort, configuration, location, scale)
    standardised = (values - at_age[0]) / at_age[1]
    margin = _tabulate_margins(standardised, usable, configuration)
    # The score 0 is put at the location: of the nine that is moved, by a hair, to the
    # median of all standardised values; the ratio's is that of the medians of its two.
    middle = margin[: len(NAMES), configuration.score_steps // 2].copy()
    location[:, :, : len(NAMES)] += middle * scale[:, :, : len(NAMES)]
    margin[: len(NAMES)] -= middle[:, None]
    location[:, :, len(NAMES)] = _locate_ratio(location)
    standardised[:, len(NAMES)] += (
        at_age[0][:, len(NAMES)]
        - _look_up(cohort, configuration, location, scale)[0][:, len(NAMES)]
    ) / at_age[1][:, len(NAMES)]
    margin[len(NAMES)] = _tabulate_margins(standardised, usable, configuration)[len(NAMES)]
    tensors["location"], tensors["margin"] = _tensor(location), _tensor(margin)
    scores = np.where(usable, standardised, np.nan)[:, : len(NAMES)] - middle
    tensors["usual_score"] = _tensor(np.nanmean(np.clip(scores, -CLIP_SCORE, CLIP_SCORE), 0))

    network = Network(configuration, tensors)
    cohort = _place_below_floors(cohort, network, tensors, configuration, floors)
    scores = _compute_scores(cohort, network)
    tensors["correlation"] = _tensor(_correlate(np.where(usable, scores, np.nan)))
    if configuration.left_out:
        _neutralise(tensors, configuration)
        cohort = _remove_stand_ins(cohort, configuration)
    return tensors, cohort


def _stand_in(cohort: Cohort, configuration: NetworkConfiguration) -> Cohort:
    """Usual values for the biomarkers that are left out, so that all nine can be tabulated.

    Nothing of them stays, see :func:`_neutralise`; the tables of the others are by biomarker.
    """
    biomarkers = cohort.biomarkers.copy()
    # Evenly over the normal distribution, in an order that no other value has.
    share = (np.arange(len(cohort)) * (math.sqrt(5.0) - 1.0) / 2.0 + 0.5) % 1.0
    scores = torch.special.ndtri(torch.from_numpy(share.clip(1e-6, 1.0 - 1e-6))).numpy()
    for name in configuration.left_out:
        biomarkers[:, INDEX[name]] = PANEL[INDEX[name]].typical * np.exp(0.1 * scores)
    return replace(cohort, biomarkers=biomarkers)


def _neutralise(tensors: dict[str, Tensor], configuration: NetworkConfiguration) -> None:
    """Put what says nothing in the place of the stand-ins, by variable: see :func:`_stand_in`."""
    limit = configuration.score_limit
    unused = [variable for variable, used in enumerate(configuration.used) if not used]
    for variable in unused:
        tensors["scale"][:, :, variable] = 1.0
        tensors["margin"][variable] = torch.linspace(-limit, limit, configuration.score_steps + 1)
        tensors["correlation"][variable] = tensors["correlation"][:, variable] = 0.0
        tensors["correlation"][variable, variable] = 1.0
    used = torch.tensor([INDEX[name] for name in configuration.panel])
    tensors["location"][:, :, len(NAMES)] *= float(configuration.used[-1])
    for name in configuration.left_out:
        place, biomarker = INDEX[name], PANEL[INDEX[name]]
        typical = np.log(biomarker.typical) if biomarker.log_scaled else biomarker.typical
        tensors["location"][:, :, place] = float(typical)
        tensors["usual_score"][place] = 0.0
        # Of the weights, which sum to nine over all biomarkers, it takes a ninth.
        variation = tensors["coefficient_of_variation"]
        variation[:, :, place] = variation[:, :, used].mean(2)
        for side, end in (("low", biomarker.minimum), ("high", biomarker.maximum)):
            tensors[f"range_{side}"][place] = end
            published = list_published_limits()[side == "high"][place]
            tensors[f"critical_{side}"][place] = torch.where(published.isnan(), end, published)


def _remove_stand_ins(cohort: Cohort, configuration: NetworkConfiguration) -> Cohort:
    shifts = {
        survey: {name: shift for name, shift in of.items() if name in configuration.panel}
        for survey, of in cohort.shifts.items()
    }
    return replace(cohort.take(configuration.panel), shifts=shifts)


def _harmonise(cohort: Cohort, known: Rows, configuration: NetworkConfiguration) -> Cohort:
    """Take each survey's shift of each biomarker off: ``shifts`` says what was taken.

    Args:
        cohort: the people.
        known: (n, 9) values that have a shift: there, and not at a floor.
        configuration: the shape.
    """
    surveys, place = np.unique(cohort.survey, return_inverse=True)
    counts = np.stack([known[place == survey].sum(0) for survey in range(len(surveys))])
    shifts = np.zeros(counts.shape)
    # A survey that hardly measured a biomarker keeps its values.
    measured = counts >= FEWEST_FOR_SHIFT
    values = _transform(cohort.biomarkers)[:, : len(NAMES)]
    for _ in range(HARMONISING_ROUNDS if len(surveys) > 1 else 0):
        shifted = values - shifts[place]
        location, scale = _tabulate_quartiles(cohort, shifted, known, configuration)
        at_age = _look_up(cohort, configuration, location, scale)
        change = np.zeros(shifts.shape)
        for survey, column in zip(*np.nonzero(measured), strict=True):
            rows = (place == survey) & known[:, column]
            change[survey, column], _ = estimate_shift(
                shifted[rows, column], at_age[0][rows, column], at_age[1][rows, column]
            )
        weight = np.where(measured, counts, 0)
        change -= (change * weight).sum(0) / np.maximum(weight.sum(0), 1)
        shifts += np.where(measured, change, 0.0)
        if np.abs(change / np.median(at_age[1][:, : len(NAMES)], 0)).max() < CLOSE_SHIFT:
            break
    moved = values - shifts[place]
    harmonised = np.where(LOG_SCALED, np.exp(moved), moved).astype(np.float32)
    return replace(
        cohort,
        # To the last bit as read where nothing was taken off.
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
    """Each survey's shifts, as of a laboratory that sends its people: (9,) by survey.

    Nothing but their values, age and sex is used. A biomarker of fewer than
    :data:`FEWEST_FOR_SHIFT` people is left alone.

    Args:
        cohort: the people.
        configuration: the shape.
        tensors: of a fit that they were no part of.
    """
    tables = [tensors[name].double().numpy() for name in ("location", "scale")]
    location, scale = _look_up(cohort, configuration, *tables)
    values = _transform(cohort.biomarkers)
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
    """The people with their survey's shifts taken off; of a survey without any, as they are."""
    none = np.zeros(len(NAMES))
    shifts = np.array([profiles.get(str(survey), none) for survey in cohort.survey])
    moved = _transform(cohort.biomarkers)[:, : len(NAMES)] - shifts.reshape(-1, len(NAMES))
    harmonised = np.where(LOG_SCALED, np.exp(moved), moved).astype(np.float32)
    return replace(cohort, biomarkers=harmonised)


def measure_laboratory_sd(cohort: Cohort, location: Array) -> Array:
    """Spread of shifts between laboratories: (9,) on each biomarker's scale.

    That of the surveys' shifts; of a biomarker that one survey alone measured, what the
    configuration gives, else its analytical imprecision stands in.

    Args:
        cohort: with its ``shifts``.
        location: (2, ages, V) medians.
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


def _locate_ratio(location: Array) -> Array:
    """Logarithm of the ratio of the two medians, each up to its cap: (2, ages)."""
    numerator, denominator = (
        np.minimum(location[:, :, place], np.log(cap))
        for place, cap in zip(RATIO_PARTS, RATIO_CAPS, strict=True)
    )
    result: Array = np.clip(numerator - denominator, np.log(LOWEST_RATIO), np.log(HIGHEST_RATIO))
    return result


def _look_up(cohort: Cohort, configuration: NetworkConfiguration, *tables: Array) -> list[Array]:
    """Tables by sex and year of age (2, ages, columns) at each person: (n, columns)."""
    years = np.clip(
        cohort.age_years.astype(np.float64), configuration.first_age, configuration.last_age
    )
    year = np.minimum(years.astype(np.int64) - configuration.first_age, configuration.ages - 2)
    part = (years - configuration.first_age - year)[:, None]
    return [
        table[cohort.sex, year] * (1.0 - part) + table[cohort.sex, year + 1] * part
        for table in tables
    ]


def _tensor(values: npt.ArrayLike) -> Tensor:
    return torch.tensor(np.asarray(values), dtype=torch.float32)


def _transform(biomarkers: npt.NDArray[np.float32]) -> Array:
    """Raw values (n, 9) to the variables of the network (n, V), NaN where unknown."""
    raw = torch.from_numpy(biomarkers).double()
    nine = torch.where(torch.tensor(LOG_SCALED), torch.log(raw), raw)
    parts = [raw[:, place] for place in RATIO_PARTS]
    numerator, denominator = (
        part.clamp(max=cap) for part, cap in zip(parts, RATIO_CAPS, strict=True)
    )
    ratio = torch.log(compute_safe_ratio(numerator, denominator))
    ratio[torch.isnan(parts[0]) | torch.isnan(parts[1])] = torch.nan
    result: Array = torch.cat([nine, ratio.unsqueeze(1)], 1).numpy()
    return result


def tabulate_over_ages(
    cohort: Cohort,
    configuration: NetworkConfiguration,
    summarise: Callable[[Rows], npt.ArrayLike],
) -> Array:
    """Apply ``summarise`` to the people near each age, by sex, and smooth over age.

    Where nobody is near an age, or ``summarise`` gives NaN, the nearest age's value stands.

    Raises:
        CohortError: nobody of a sex is near any age.
    """
    table = []
    for sex, near_ages in enumerate(_list_near(cohort, configuration)):
        rows = [np.asarray(summarise(near), np.float64) for near in near_ages if near.any()]
        if not rows:
            raise CohortError("reference", [f"expected people of sex {sex} at the fitted ages"])
        whole = np.full((configuration.ages, len(rows[0])), np.nan)
        whole[[near.any() for near in near_ages]] = rows
        table.append(_smooth(_fill_from_nearest(whole)))
    return np.stack(table)


def _list_near(cohort: Cohort, configuration: NetworkConfiguration) -> list[list[Rows]]:
    """The people near each age, by sex: 2 times ages of (n,) bool."""
    ages = range(configuration.first_age, configuration.last_age + 1)
    return [
        [(cohort.sex == sex) & (np.abs(cohort.age_years - age) <= WINDOW_YEARS) for age in ages]
        for sex in (0, 1)
    ]


def _fill_from_nearest(rows: Array) -> Array:
    """NaN replaced by the nearest row's value of the same column: (A, columns)."""
    filled: Array = rows.copy()
    places = np.arange(len(rows))[:, None]
    for column in range(rows.shape[1]):
        known = np.flatnonzero(np.isfinite(rows[:, column]))
        if len(known):
            filled[:, column] = rows[known[np.abs(places - known).argmin(1)], column]
    return filled


def _smooth(rows: Array) -> Array:
    """Moving mean over five ages: (A, columns)."""
    padded = np.pad(rows, ((2, 2), (0, 0)), mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, 5, axis=0)
    smoothed: Array = windows.mean(-1)
    return smoothed


def _tabulate_quartiles(
    cohort: Cohort, values: Array, usable: Rows, configuration: NetworkConfiguration
) -> tuple[Array, Array]:
    """Median and robust standard deviation by age and sex: (2, ages, columns) each."""
    usable = usable[:, : values.shape[1]]
    kept = np.where(usable, values, np.nan)

    def summarise(near: Rows) -> Array:
        people, few = kept[near], usable[near].sum(0) < FEWEST_PEOPLE
        people[:, few] = 0.0
        quartiles = np.nanpercentile(people, [25, 50, 75], axis=0)
        quartiles[:, few] = np.nan
        flat: Array = quartiles.flatten()
        return flat

    table = tabulate_over_ages(cohort, configuration, summarise)
    low, middle, high = np.split(table, 3, axis=2)
    return middle, (high - low) / _IQR_OF_NORMAL


def _tabulate_spread(
    cohort: Cohort, values: Array, usable: Rows, configuration: NetworkConfiguration
) -> tuple[Array, Array, Array]:
    """Median, robust standard deviation and coefficient of variation, by age and sex."""
    location, scale = _tabulate_quartiles(cohort, values, usable, configuration)
    raw = cohort.biomarkers.astype(np.float64)
    middle, spread = _tabulate_quartiles(cohort, raw, usable, configuration)
    if scale.min() <= 0:
        sex, age, column = np.unravel_index(int(scale.argmin()), scale.shape)
        raise CohortError(
            "reference",
            [
                f"expected {VARIABLES[column]} to differ among people around age "
                f"{configuration.first_age + int(age)} of sex {int(sex)}, however: half of them "
                "or more share one value; is it a detection floor?"
            ],
        )
    return location, scale, spread / middle


def _check_counts(cohort: Cohort, usable: Rows, configuration: NetworkConfiguration) -> None:
    """Refuse a cohort with too few people around some age to tabulate them.

    An age that is :data:`FURTHEST_YEARS` or less from one with enough people has that one's
    reference.
    """
    pairs = configuration.interactions
    names = [*VARIABLES, *(f"{a} and {b}" for a, b in pairs)]
    both = [usable[:, INDEX[a]] & usable[:, INDEX[b]] for a, b in pairs]
    columns = np.column_stack([usable, *both])
    near_ages = _list_near(cohort, configuration)
    counts = np.array([[columns[near].sum(0) for near in ages] for ages in near_ages])
    enough = counts >= FEWEST_PEOPLE
    padded = np.pad(enough, ((0, 0), (FURTHEST_YEARS, FURTHEST_YEARS), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * FURTHEST_YEARS + 1, axis=1)
    alone = np.argwhere(~windows.any(-1))
    if len(alone):
        sex, age, column = alone[counts[tuple(alone.T)].argmin()]
        raise CohortError(
            "reference",
            [
                f"expected at least {FEWEST_PEOPLE} people with {names[column]} within "
                f"{WINDOW_YEARS} years of age {configuration.first_age + int(age)} of sex "
                f"{int(sex)}, however: {counts[sex, age, column]}; narrow first_age and last_age"
            ],
        )
    for sex, column in np.argwhere(~enough[:, :, : len(VARIABLES)].all(1)):
        ages = configuration.first_age + np.flatnonzero(~enough[sex, :, column])
        _LOGGER.warning(
            "reference: fewer than %d people of sex %d have %s within %d years of age %s; "
            "the reference of the nearest age that has them stands there",
            FEWEST_PEOPLE,
            sex,
            names[column],
            WINDOW_YEARS,
            ", ".join(map(str, ages)),
        )


def _tabulate_margins(
    standardised: Array, usable: Rows, configuration: NetworkConfiguration
) -> Array:
    """Quantiles of the standardised values at evenly spaced normal scores: (V, S + 1)."""
    scores = torch.linspace(
        -configuration.score_limit,
        configuration.score_limit,
        configuration.score_steps + 1,
        dtype=torch.float64,
    )
    shares = torch.special.ndtr(scores).numpy()
    margins = []
    for column in range(standardised.shape[1]):
        known = standardised[usable[:, column], column]
        steps = np.arange(len(shares)) * NARROWEST_PIECE
        # Running maximum of (quantile - step) keeps every piece at least that wide.
        margins.append(np.maximum.accumulate(np.quantile(known, shares) - steps) + steps)
    return np.stack(margins)


def _compute_scores(cohort: Cohort, network: Network) -> Array:
    """Normal scores of a cohort: (n, V); where a value is unknown the score is 0."""
    age, sex = torch.from_numpy(cohort.age_years), torch.from_numpy(cohort.sex)
    row = network.look_up_reference(age, sex)
    scores, _ = network.compute_scores(torch.from_numpy(cohort.biomarkers), row.location, row.scale)
    result: Array = scores.double().numpy()
    return result


def _place_below_floors(
    cohort: Cohort,
    network: Network,
    tensors: dict[str, Tensor],
    configuration: NetworkConfiguration,
    floors: tuple[DetectionFloor, ...],
) -> Cohort:
    biomarkers = cohort.biomarkers.copy()
    scores = _compute_scores(cohort, network)
    grid = np.linspace(
        -configuration.score_limit, configuration.score_limit, configuration.score_steps + 1
    )
    normal = torch.distributions.Normal(0.0, 1.0)
    for floor in floors:
        column = INDEX[floor.biomarker]
        at_floor = (cohort.survey == floor.survey) & (
            biomarkers[:, column] <= np.float32(floor.limit * (1 + 1e-6))
        )
        score = torch.from_numpy(scores[at_floor, column])
        below = -torch.exp(normal.log_prob(score)) / normal.cdf(score)
        standardised = np.interp(below.numpy(), grid, tensors["margin"][column].numpy())
        row = network.look_up_reference(
            torch.from_numpy(cohort.age_years[at_floor]), torch.from_numpy(cohort.sex[at_floor])
        )
        value = row.location[:, column].numpy() + standardised * row.scale[:, column].numpy()
        biomarkers[at_floor, column] = np.exp(value) if LOG_SCALED[column] else value
    return replace(cohort, biomarkers=biomarkers)


def _correlate(scores: Array) -> Array:
    """Correlation of scores known in pairs, made positive definite: (V, V)."""
    known = np.isfinite(scores)
    zeroed = np.where(known, scores, 0.0)
    pairs = known.T.astype(np.float64) @ known
    sums = zeroed.T @ known
    products = zeroed.T @ zeroed
    squares = (zeroed**2).T @ known
    covariance = products / pairs - (sums / pairs) * (sums.T / pairs)
    variance = squares / pairs - (sums / pairs) ** 2
    correlation = covariance / np.sqrt(variance * variance.T)
    eigenvalues, eigenvectors = np.linalg.eigh(correlation)
    repaired = (eigenvectors * np.maximum(eigenvalues, 1e-3)) @ eigenvectors.T
    diagonal = np.sqrt(np.diag(repaired))
    result: Array = repaired / np.outer(diagonal, diagonal)
    return result
