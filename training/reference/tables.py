"""Tables by sex and year of age: how a cohort is summarised, and how a table is read.

Only aggregates leave the folder: medians, spreads, quantiles, means and correlations.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
from henaw.model.configuration import RATIO_CAPS, RATIO_PARTS, NetworkConfiguration
from henaw.model.errors import CohortError
from henaw.model.graph.transforms import LOG_SCALED, compute_safe_ratio
from henaw.training.cohorts.cohort import Cohort
from torch import Tensor

Array = npt.NDArray[np.float64]
Rows = npt.NDArray[np.bool_]

WINDOW_YEARS = 5
"""People up to this many years from an age count as near it."""
FEWEST_PEOPLE = 20
"""If fewer people than this are near an age, nothing is tabulated from them."""
MOST_PEOPLE = 3000
"""At most so many people are used for the tables of missing patterns and of the interval."""
PIECE = 1 << 14
"""People answered together; more would fill the memory."""
_IQR_OF_NORMAL = 1.3489795003921634


def transform(biomarkers: npt.NDArray[np.float32]) -> Array:
    """Raw values to the network's variables, on their scales.

    Shape:
        biomarkers: (n, 9) in the panel's units; result: (n, V), NaN where unknown
    """
    raw = torch.from_numpy(biomarkers).double()
    scaled = torch.where(torch.tensor(LOG_SCALED), torch.log(raw), raw)
    parts = [raw[:, place] for place in RATIO_PARTS]
    numerator, denominator = (
        part.clamp(max=cap) for part, cap in zip(parts, RATIO_CAPS, strict=True)
    )
    ratio = torch.log(compute_safe_ratio(numerator, denominator))
    ratio[torch.isnan(parts[0]) | torch.isnan(parts[1])] = torch.nan
    result: Array = torch.cat([scaled, ratio.unsqueeze(1)], 1).numpy()
    return result


def restore(values: Array) -> npt.NDArray[np.float32]:
    """Values on the biomarkers' scales back to the panel's units: (n, 9).

    Example:
        >>> crp_2_mg_per_l = transform(np.full((1, 9), 2.0, np.float32))[:, :9]
        >>> restore(crp_2_mg_per_l).round(6).tolist()
        [[2.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0]]
    """
    raw: npt.NDArray[np.float32] = np.where(LOG_SCALED, np.exp(values), values).astype(np.float32)
    return raw


def look_up(cohort: Cohort, configuration: NetworkConfiguration, *tables: Array) -> list[Array]:
    """Each table at each person, linear between two years of age.

    Shape:
        tables: (2, ages, columns) each; results: (n, columns) each
    """
    years = np.clip(
        cohort.age_years.astype(np.float64), configuration.first_age, configuration.last_age
    )
    year = np.minimum(years.astype(np.int64) - configuration.first_age, configuration.ages - 2)
    part = (years - configuration.first_age - year)[:, None]
    return [
        table[cohort.sex, year] * (1.0 - part) + table[cohort.sex, year + 1] * part
        for table in tables
    ]


def tabulate_over_ages(
    cohort: Cohort,
    configuration: NetworkConfiguration,
    summarise: Callable[[Rows], npt.ArrayLike],
) -> Array:
    """Summarise the people near each age, by sex, and smooth over age.

    Where no one is near an age, or the summary is NaN, the nearest age's value is used.

    Args:
        cohort: the people.
        configuration: the network's shape, which gives the ages.
        summarise: gives the columns for some people, (n,) bool.

    Returns:
        (2, ages, columns).

    Raises:
        CohortError: a sex has no people near any age.
    """
    table = []
    for sex, near_ages in enumerate(list_near(cohort, configuration)):
        rows = [np.asarray(summarise(near), np.float64) for near in near_ages if near.any()]
        if not rows:
            raise CohortError(
                "reference",
                [
                    f"no one of sex {sex} is {configuration.first_age} to "
                    f"{configuration.last_age} years old. Change first_age and last_age"
                ],
            )
        whole = np.full((configuration.ages, len(rows[0])), np.nan)
        whole[[near.any() for near in near_ages]] = rows
        table.append(_smooth(_fill_from_nearest(whole)))
    return np.stack(table)


def tabulate_quartiles(
    cohort: Cohort, values: Array, usable: Rows, configuration: NetworkConfiguration
) -> tuple[Array, Array]:
    """Median and robust standard deviation by sex and age.

    The standard deviation is the interquartile range over that of a standard normal
    distribution, 1.349.

    Shape:
        values: (n, columns); usable: (n, at least columns); results: (2, ages, columns) each
    """
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


def list_near(cohort: Cohort, configuration: NetworkConfiguration) -> list[list[Rows]]:
    """The people near each age, by sex: two lists of one (n,) bool an age."""
    ages = range(configuration.first_age, configuration.last_age + 1)
    return [
        [(cohort.sex == sex) & (np.abs(cohort.age_years - age) <= WINDOW_YEARS) for age in ages]
        for sex in (0, 1)
    ]


def answer_in_pieces(people: Cohort, compute: Callable[[Tensor, Tensor, Tensor], Tensor]) -> Array:
    """What ``compute`` gives for the people, computed for some of them at a time.

    Args:
        people: the n people.
        compute: takes the network's inputs (biomarkers, age, sex); one row per person.

    Returns:
        (n, ...) float64.
    """
    with torch.inference_mode():
        pieces = [
            compute(*people.take_inputs(slice(begin, begin + PIECE))).double().numpy()
            for begin in range(0, len(people), PIECE)
        ]
    return np.concatenate(pieces)


def choose_people(cohort: Cohort) -> Cohort:
    """At most :data:`MOST_PEOPLE` complete people, evenly over the cohort's rows."""
    rows = np.flatnonzero(cohort.complete)
    chosen = np.zeros(len(cohort), bool)
    chosen[rows[:: max(1, -(-len(rows) // MOST_PEOPLE))]] = True
    return cohort.select(chosen)


def weigh_by_age(people: Cohort, configuration: NetworkConfiguration) -> list[Array]:
    """Weights of people around each age of ``variance_ages``, by sex: two of (n, nodes).

    A weight falls linearly from 1 at the age to 0 at its neighbours. An age without anyone
    around it takes the weights of the nearest one.
    """
    nodes = np.array(configuration.variance_ages, dtype=np.float64)
    inside = np.clip(people.age_years.astype(np.float64), nodes[0], nodes[-1])
    hats = np.stack([np.interp(inside, nodes, row) for row in np.eye(len(nodes))], axis=1)
    by_sex = []
    for sex in (0, 1):
        weights = hats * (people.sex == sex)[:, None]
        filled = np.flatnonzero(weights.sum(0) > 0)
        nearest = np.abs(np.arange(len(nodes))[:, None] - filled).argmin(1)
        by_sex.append(weights[:, filled[nearest]])
    return by_sex


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
