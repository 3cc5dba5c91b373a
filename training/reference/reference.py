"""The reference: what is usual at each age and sex, tabulated from a cohort.

Only aggregates leave this module: medians, spreads, quantiles, means and correlations.
"""

from __future__ import annotations

import dataclasses
import logging
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch
from henaw.model.biomarkers import INDEX, NAMES, list_total_cv
from henaw.model.configuration import RATIO_CAPS, RATIO_PARTS, VARIABLES, NetworkConfiguration
from henaw.model.errors import CohortError
from henaw.model.graph.constants import HIGHEST_RATIO, LOWEST_RATIO
from henaw.model.graph.tables import PERCENTILES, list_published_limits, list_tensor_shapes
from henaw.model.graph.transforms import LOG_SCALED
from henaw.model.network import Network
from henaw.model.profile import CLIP_SCORE
from henaw.training.cohorts.cohort import Cohort
from henaw.training.cohorts.storage import digest_cohort
from henaw.training.configuration import DetectionFloor
from henaw.training.execution.cache import Cache, Entry, fetch_entry
from henaw.training.reference.harmonisation import harmonise, measure_laboratory_sd
from henaw.training.reference.stand_ins import add_stand_ins, remove_stand_ins
from henaw.training.reference.tables import (
    FEWEST_PEOPLE,
    WINDOW_YEARS,
    Array,
    Rows,
    list_near,
    look_up,
    tabulate_quartiles,
    transform,
)
from torch import Tensor

NARROWEST_PIECE = 0.02
"""Least width of a margin's piece, in standardised values. Rounding ties many values, and a
steeper piece would turn rounding differences between runtimes into differences of the score."""
FURTHEST_YEARS = 2
"""An age with too few people takes the reference of an age at most this far away."""
RANGE_QUANTILES = (0.001, 0.999)
CRITICAL_QUANTILES = (0.0005, 0.9995)
"""Used where no critical limit is published."""
_RATIO = len(NAMES)
"""The ratio's place among the variables: after the nine biomarkers."""
_LOGGER = logging.getLogger(__name__)


def fetch_reference(
    cache: Cache | None,
    cohort: Cohort,
    shape: NetworkConfiguration,
    floors: tuple[DetectionFloor, ...] = (),
) -> tuple[dict[str, Tensor], Cohort]:
    """Return what :func:`fit_reference` returns, from the cache if it is there.

    Args:
        cache: where the reference is kept; if None, it is tabulated.
        cohort: the people.
        shape: the network's shape.
        floors: assays with a detection floor.

    Raises:
        CohortError: too few people to tabulate a biomarker.
    """
    if cache is None:
        return fit_reference(cohort, shape, floors)
    configured = {
        "network": dataclasses.asdict(shape),
        "floors": [dataclasses.asdict(floor) for floor in floors],
    }

    def build() -> Entry:
        tensors, placed = fit_reference(cohort, shape, floors)
        arrays = {name: tensor.numpy() for name, tensor in tensors.items()}
        arrays["biomarkers"] = placed.biomarkers
        return Entry(arrays=arrays, values={"shifts": placed.shifts})

    entry = fetch_entry(
        cache,
        "reference",
        named=(sorted(set(map(str, cohort.survey))), configured),
        made_from={"cohort_sha256": digest_cohort(cohort), "configured": configured},
        build=build,
    )
    arrays = dict(entry.arrays)
    cohort = replace(cohort, biomarkers=arrays.pop("biomarkers"), shifts=entry.values["shifts"])
    return {name: torch.from_numpy(array) for name, array in arrays.items()}, cohort


def fit_reference(
    cohort: Cohort, configuration: NetworkConfiguration, floors: tuple[DetectionFloor, ...] = ()
) -> tuple[dict[str, Tensor], Cohort]:
    """Tabulate the reference on harmonised values, and place values at a detection floor.

    First each survey's shift of each biomarker is subtracted. For a value at a floor only an
    upper limit is known. A survey with a floor therefore adds nothing to that biomarker's
    reference and has no shift for it. Each of its values at the floor is replaced by the value
    whose normal score is the mean of the scores below the floor.

    Args:
        cohort: the people.
        configuration: the network's shape.
        floors: assays with a detection floor.

    Returns:
        A checkpoint's tensors, with 0 where the fit fills them in later; and the cohort, with
        the shifts in ``shifts`` subtracted and the values at floors replaced.

    Raises:
        CohortError: too few people to tabulate a biomarker.
    """
    if configuration.left_out:
        cohort = add_stand_ins(cohort, configuration)
    known = np.isfinite(cohort.biomarkers)
    for floor in floors:
        known[cohort.survey == floor.survey, INDEX[floor.biomarker]] = False
    usable = np.column_stack([known, known[:, list(RATIO_PARTS)].all(1)])
    _check_counts(cohort, usable, configuration)
    cohort = harmonise(cohort, known, configuration)

    location, scale, variation = _tabulate_spread(cohort, usable, configuration)
    laboratory_sd = measure_laboratory_sd(cohort, location)
    margin, usual_score = _tabulate_margins(cohort, usable, configuration, location, scale)
    raw = np.where(known, cohort.biomarkers.astype(np.float64), np.nan)
    tensors = {
        name: torch.zeros(shape) for name, shape in list_tensor_shapes(configuration).items()
    }
    tensors |= {
        "location": _tensor(location),
        "scale": _tensor(scale),
        "coefficient_of_variation": _tensor(variation),
        "margin": _tensor(margin),
        "usual_score": _tensor(usual_score),
        "gap_percentiles": torch.linspace(-1.0, 1.0, len(PERCENTILES)).expand(
            2, configuration.ages, -1
        ),
        "correlation": torch.eye(len(VARIABLES)),
        "baseline_slope": torch.full((2,), 0.1),
        "interval_factor": torch.ones(1),
        "draw_factor": torch.ones(1),
        "within_person_cv": torch.tensor(list_total_cv()),
        "laboratory_sd": _tensor(laboratory_sd),
        **_tabulate_limits(raw),
    }
    network = Network(configuration, tensors)
    cohort = _place_below_floors(cohort, network, tensors, configuration, floors)
    scores = _compute_scores(cohort, network)
    tensors["correlation"] = _tensor(_correlate(np.where(usable, scores, np.nan)))
    if configuration.left_out:
        cohort = remove_stand_ins(cohort, tensors, configuration)
    return tensors, cohort


def _tabulate_spread(
    cohort: Cohort, usable: Rows, configuration: NetworkConfiguration
) -> tuple[Array, Array, Array]:
    """Median, robust standard deviation and coefficient of variation, by sex and age."""
    values = transform(cohort.biomarkers)
    location, scale = tabulate_quartiles(cohort, values, usable, configuration)
    raw = cohort.biomarkers.astype(np.float64)
    middle, spread = tabulate_quartiles(cohort, raw, usable, configuration)
    if scale.min() <= 0:
        sex, age, column = np.unravel_index(int(scale.argmin()), scale.shape)
        raise CohortError(
            "reference",
            [
                f"{VARIABLES[column]} does not vary around age "
                f"{configuration.first_age + int(age)} of sex {int(sex)}: at least half of the "
                "people have the same value. Is it a detection floor? Then name it in "
                "cohort.detection_floors"
            ],
        )
    return location, scale, spread / middle


def _tabulate_margins(
    cohort: Cohort,
    usable: Rows,
    configuration: NetworkConfiguration,
    location: Array,
    scale: Array,
) -> tuple[Array, Array]:
    """Margins of the variables, and the mean clipped standardised value of each biomarker.

    This moves ``location`` by very little, so that a value at it has the normal score 0.
    """
    medians, spreads = look_up(cohort, configuration, location, scale)
    standardised = (transform(cohort.biomarkers) - medians) / spreads
    margin = _tabulate_quantiles(standardised, usable, configuration)
    # A biomarker's location moves to the median of all standardised values; the ratio's location
    # is the ratio of the two medians.
    middle = margin[:_RATIO, configuration.score_steps // 2].copy()
    location[:, :, :_RATIO] += middle * scale[:, :, :_RATIO]
    margin[:_RATIO] -= middle[:, None]
    location[:, :, _RATIO] = _locate_ratio(location)
    (moved,) = look_up(cohort, configuration, location)
    standardised[:, _RATIO] += (medians[:, _RATIO] - moved[:, _RATIO]) / spreads[:, _RATIO]
    margin[_RATIO] = _tabulate_quantiles(standardised, usable, configuration)[_RATIO]
    scores = np.where(usable, standardised, np.nan)[:, :_RATIO] - middle
    return margin, np.nanmean(np.clip(scores, -CLIP_SCORE, CLIP_SCORE), 0)


def _tabulate_quantiles(
    standardised: Array, usable: Rows, configuration: NetworkConfiguration
) -> Array:
    """Quantiles of the standardised values at evenly spaced normal scores: (V, S + 1)."""
    shares = torch.special.ndtr(_list_scores(configuration)).numpy()
    margins = []
    for column in range(standardised.shape[1]):
        known = standardised[usable[:, column], column]
        steps = np.arange(len(shares)) * NARROWEST_PIECE
        # The running maximum of (quantile - step) keeps every piece at least that wide.
        margins.append(np.maximum.accumulate(np.quantile(known, shares) - steps) + steps)
    return np.stack(margins)


def _list_scores(configuration: NetworkConfiguration) -> Tensor:
    limit = configuration.score_limit
    return torch.linspace(-limit, limit, configuration.score_steps + 1, dtype=torch.float64)


def _tabulate_limits(raw: Array) -> dict[str, Tensor]:
    """The usual range, and the critical limits: published ones, or else extreme quantiles."""
    low, high = np.nanquantile(raw, RANGE_QUANTILES, axis=0)
    limits = {"range_low": _tensor(low), "range_high": _tensor(high)}
    for name, published, quantiles in zip(
        ("critical_low", "critical_high"),
        list_published_limits(),
        np.nanquantile(raw, CRITICAL_QUANTILES, axis=0),
        strict=True,
    ):
        limits[name] = torch.where(torch.isnan(published), _tensor(quantiles), published)
    return limits


def _locate_ratio(location: Array) -> Array:
    """Logarithm of the ratio of the two medians, each up to its cap: (2, ages)."""
    numerator, denominator = (
        np.minimum(location[:, :, place], np.log(cap))
        for place, cap in zip(RATIO_PARTS, RATIO_CAPS, strict=True)
    )
    result: Array = np.clip(numerator - denominator, np.log(LOWEST_RATIO), np.log(HIGHEST_RATIO))
    return result


def _tensor(values: npt.ArrayLike) -> Tensor:
    return torch.tensor(np.asarray(values), dtype=torch.float32)


def _check_counts(cohort: Cohort, usable: Rows, configuration: NetworkConfiguration) -> None:
    """Refuse a cohort with too few people around some age to tabulate that age.

    An age with too few people takes the reference of an age with enough, if there is one
    within :data:`FURTHEST_YEARS`.
    """
    pairs = configuration.interactions
    names = [*VARIABLES, *(f"{a} and {b}" for a, b in pairs)]
    both = [usable[:, INDEX[a]] & usable[:, INDEX[b]] for a, b in pairs]
    columns = np.column_stack([usable, *both])
    near_ages = list_near(cohort, configuration)
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
                f"only {counts[sex, age, column]} people of sex {int(sex)} within {WINDOW_YEARS} "
                f"years of age {configuration.first_age + int(age)} have {names[column]}; at "
                f"least {FEWEST_PEOPLE} are needed. Narrow network.first_age and last_age"
            ],
        )
    for sex, column in np.argwhere(~enough[:, :, : len(VARIABLES)].all(1)):
        ages = configuration.first_age + np.flatnonzero(~enough[sex, :, column])
        _LOGGER.warning(
            "reference: fewer than %d people of sex %d have %s within %d years of age %s; "
            "these ages take the reference of the nearest age with enough people",
            *(FEWEST_PEOPLE, sex, names[column], WINDOW_YEARS, ", ".join(map(str, ages))),
        )


def _compute_scores(cohort: Cohort, network: Network) -> Array:
    """Normal scores of a cohort: (n, V); where a value is unknown the score is 0."""
    biomarkers, age, sex = cohort.take_inputs()
    row = network.look_up_reference(age, sex)
    scores, _ = network.compute_scores(biomarkers, row.location, row.scale)
    result: Array = scores.double().numpy()
    return result


def _place_below_floors(
    cohort: Cohort,
    network: Network,
    tensors: dict[str, Tensor],
    configuration: NetworkConfiguration,
    floors: tuple[DetectionFloor, ...],
) -> Cohort:
    """Replace each value at a floor by the value whose score is the mean below the floor."""
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
    """Correlation of scores over people who have both, made positive definite: (V, V)."""
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
