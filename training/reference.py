"""The reference: what is usual at each age and sex, tabulated from a cohort.

Only aggregates leave this module: medians, spreads, quantiles, means and correlations.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch
from henaw.model.biomarkers import INDEX, NAMES, list_total_cv
from henaw.model.configuration import VARIABLES, NetworkConfiguration
from henaw.model.errors import CohortError
from henaw.model.network import Network
from henaw.model.tables import list_tensor_shapes
from henaw.model.transforms import LOG_SCALED, compute_safe_ratio
from henaw.training.cohort import Cohort
from henaw.training.configuration import DetectionFloor
from torch import Tensor

Array = npt.NDArray[np.float64]
Rows = npt.NDArray[np.bool_]

WINDOW_YEARS = 5
NARROWEST_PIECE = 0.02
"""Least width of a margin's piece, in standardised values: rounding ties many values,
and a steeper piece would turn rounding differences of runtimes into score differences."""
FEWEST_PEOPLE = 20
RANGE_QUANTILES = (0.001, 0.999)
_IQR_OF_NORMAL = 1.3489795003921634


def fit_reference(
    cohort: Cohort, configuration: NetworkConfiguration, floors: tuple[DetectionFloor, ...] = ()
) -> tuple[dict[str, Tensor], Cohort]:
    """Tabulate the reference, and put values at a detection floor where they belong.

    A value at a floor is only known to be below it: those surveys say nothing about
    that biomarker's reference, and each such value is replaced by the one whose normal
    score is the mean of the scores below the floor.

    Args:
        cohort: the people.
        configuration: the shape.
        floors: assays with a floor.

    Returns:
        Tensors of a checkpoint (those of the gap are still 0), and the cohort with the
        values at floors replaced.

    Raises:
        CohortError: too few people to tabulate a biomarker.
    """
    values = _transform(cohort.biomarkers)
    usable = np.isfinite(values)
    for floor in floors:
        usable[cohort.survey == floor.survey, INDEX[floor.biomarker]] = False

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
        "correlation": torch.eye(len(VARIABLES)),
        "baseline_slope": torch.full((2,), 0.1),
        "within_person_cv": torch.tensor(list_total_cv()),
    }
    raw = np.where(usable[:, : len(NAMES)], cohort.biomarkers.astype(np.float64), np.nan)
    low, high = np.nanquantile(raw, RANGE_QUANTILES, axis=0)
    tensors["range_low"], tensors["range_high"] = _tensor(low), _tensor(high)

    network = Network(configuration, tensors)
    age, sex = torch.from_numpy(cohort.age_years), torch.from_numpy(cohort.sex)
    at_age = network.look_up_reference(age, sex).double().numpy()
    width = len(VARIABLES)
    standardised = (values - at_age[:, :width]) / at_age[:, width : 2 * width]
    tensors["margin"] = _tensor(_tabulate_margins(standardised, usable, configuration))

    network = Network(configuration, tensors)
    cohort = _place_below_floors(cohort, network, tensors, configuration, floors)
    scores = _compute_scores(cohort, network)
    tensors["correlation"] = _tensor(_correlate(np.where(usable, scores, np.nan)))
    tensors |= _tabulate_means(cohort, Network(configuration, tensors), usable, configuration)
    return tensors, cohort


def _tensor(values: npt.ArrayLike) -> Tensor:
    return torch.tensor(np.asarray(values), dtype=torch.float32)


def _transform(biomarkers: npt.NDArray[np.float32]) -> Array:
    """Raw values (n, 9) to the variables of the network (n, V), NaN where unknown."""
    raw = torch.from_numpy(biomarkers).double()
    nine = torch.where(torch.tensor(LOG_SCALED), torch.log(raw), raw)
    ast, alt = raw[:, INDEX["ast"]], raw[:, INDEX["alt"]]
    ratio = torch.log(compute_safe_ratio(ast, alt))
    ratio[torch.isnan(ast) | torch.isnan(alt)] = torch.nan
    result: Array = torch.cat([nine, ratio.unsqueeze(1)], 1).numpy()
    return result


def _over_ages(
    cohort: Cohort,
    configuration: NetworkConfiguration,
    summarise: Callable[[Rows], npt.ArrayLike],
) -> Array:
    """Apply ``summarise`` to the people near each age, by sex, and smooth over age."""
    table = []
    for sex in (0, 1):
        rows = []
        for age in range(configuration.first_age, configuration.last_age + 1):
            near = (cohort.sex == sex) & (np.abs(cohort.age_years - age) <= WINDOW_YEARS)
            rows.append(np.asarray(summarise(near), np.float64))
        table.append(_smooth(np.stack(rows)))
    return np.stack(table)


def _smooth(rows: Array) -> Array:
    """Moving mean over five ages: (A, columns)."""
    padded = np.pad(rows, ((2, 2), (0, 0)), mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, 5, axis=0)
    smoothed: Array = windows.mean(-1)
    return smoothed


def _tabulate_spread(
    cohort: Cohort, values: Array, usable: Rows, configuration: NetworkConfiguration
) -> tuple[Array, Array, Array]:
    """Median, robust standard deviation and coefficient of variation, by age and sex."""
    _check_counts(cohort, usable, configuration)

    def quartiles(columns: Array, near: Rows) -> Array:
        kept = np.where(usable[near][:, : columns.shape[1]], columns[near], np.nan)
        result: Array = np.nanpercentile(kept, [25, 50, 75], axis=0)
        return result

    def spread(columns: Array, near: Rows) -> Array:
        low, _, high = quartiles(columns, near)
        result: Array = (high - low) / _IQR_OF_NORMAL
        return result

    raw = cohort.biomarkers.astype(np.float64)
    location = _over_ages(cohort, configuration, lambda near: quartiles(values, near)[1])
    scale = _over_ages(cohort, configuration, lambda near: spread(values, near))
    variation = _over_ages(
        cohort, configuration, lambda near: spread(raw, near) / quartiles(raw, near)[1]
    )
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
    return location, scale, variation


def _check_counts(cohort: Cohort, usable: Rows, configuration: NetworkConfiguration) -> None:
    """Refuse a cohort with too few people around some age to tabulate them."""
    pairs = configuration.interactions
    names = [*VARIABLES, *(f"{a} and {b}" for a, b in pairs)]
    both = [usable[:, INDEX[a]] & usable[:, INDEX[b]] for a, b in pairs]
    columns = np.column_stack([usable, *both])
    counts = _over_ages(cohort, configuration, lambda near: columns[near].sum(0))
    if counts.min() < FEWEST_PEOPLE:
        sex, age, column = np.unravel_index(int(counts.argmin()), counts.shape)
        raise CohortError(
            "reference",
            [
                f"expected at least {FEWEST_PEOPLE} people with {names[column]} within "
                f"{WINDOW_YEARS} years of age {configuration.first_age + int(age)} of sex "
                f"{int(sex)}, however: {counts.min():.0f}; narrow first_age and last_age"
            ],
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
    reference = network.look_up_reference(age, sex)
    location, scale = reference[:, : len(VARIABLES)], reference[:, len(VARIABLES) :]
    scores, _, _ = network.compute_scores(
        torch.from_numpy(cohort.biomarkers), location, scale[:, : len(VARIABLES)]
    )
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
        reference = network.look_up_reference(
            torch.from_numpy(cohort.age_years[at_floor]), torch.from_numpy(cohort.sex[at_floor])
        ).numpy()
        value = reference[:, column] + standardised * reference[:, len(VARIABLES) + column]
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


def _tabulate_means(
    cohort: Cohort, network: Network, usable: Rows, configuration: NetworkConfiguration
) -> dict[str, Tensor]:
    """Mean basis functions and interaction products of people of one age and sex."""
    scores = torch.from_numpy(_compute_scores(cohort, network)).float()
    by_variable = scores.unsqueeze(2)
    hinges = (by_variable - torch.tensor(configuration.knots)).clamp(min=0.0)
    known = torch.from_numpy(usable).float()
    products, complete = (
        (one * other)[:, : network.pairs]
        for one, other in (
            network.multiply_pairs(scores),
            (known @ network.first_second, known @ network.second_first),
        )
    )
    basis = torch.cat([by_variable, hinges], 2).flatten(1)
    columns = torch.cat([basis, products], 1).double().numpy()
    counted = np.concatenate(
        [np.repeat(usable, network.basis_size, axis=1), complete.numpy() > 0], axis=1
    )
    means = _over_ages(
        cohort,
        configuration,
        lambda near: np.where(counted[near], columns[near], 0.0).sum(0) / counted[near].sum(0),
    )
    split = network.variables * network.basis_size
    return {
        "basis_mean": _tensor(means[:, :, :split]),
        "interaction_mean": _tensor(means[:, :, split:]),
    }
