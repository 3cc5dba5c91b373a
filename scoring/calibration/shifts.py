"""How far a laboratory's values lie from the fitted people's, and how healthy its people are.

Each biomarker gives three statistics of its standardised values z (value minus the location of
people of the same age and sex, divided by their scale): the shift, a Huber estimate of
location, and the weight of each tail beyond it. A shift of the assay moves only the first.
People who are sicker than the fitted ones move all three, in several biomarkers together. This
separates the two.

All statistics y are modelled as jointly normal,

    y = shifts + health * h + tilts * u + spreads + chance,

with

- independent shifts of the assays (Student's t with their spread between surveys, as one
  laboratory may be far off),
- one health h of the people (years that their gap is above the fitted people's),
- a tilt u for each biomarker (people selected by it),
- differences in how far assays spread values, and
- chance (the covariance of the fitted people's influence functions, divided by the number of
  people).

The estimate is the posterior mean of the shifts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from henaw.model.profile import CLIP_SCORE, estimate_shift

Array = npt.NDArray[np.float64]

TAIL_START, TAIL_END = 0.75, 3.0
"""Range of standardised values in which a tail is weighed: max(0, min(z, end) - start)."""
TAIL_SD = 0.015
"""How much the weight of a tail differs between surveys of one population."""
ASSAY_SPREAD_SD = 0.15
"""How much the spread of a biomarker's values differs between surveys, relatively."""
LEAST_SHIFT_SD = 0.08
"""Least spread of an assay between laboratories, in standardised values: the spread between
surveys is estimated from at most eight."""
SHIFT_FREEDOM = 4.0
"""Degrees of freedom of the shifts, as some laboratories are further off than surveys."""
_ROUNDS = 30
HEALTH_SD_YEARS = 2.0
TILT_SD = 0.05
"""How far health and single biomarkers of unselected people may differ."""
CHOSEN_HEALTH_SD_YEARS = 3.0
CHOSEN_TILT_SD = 0.3
"""The same for selected people, such as the patients of one clinic."""
GAP_RANGE_YEARS = (-15.0, 40.0)
SCORE_RANGE = (-2.5, 3.0)
"""Gaps and standardised values are clipped to these for the directions of health and tilts."""


class Statistics(NamedTuple):
    """Statistics of some people's values.

    Shape:
        shift: (9,) Huber estimates, on each biomarker's scale; NaN if too few values are known
        rate: (9,) standardised values per unit of that scale
        upper, lower: (9,) mean weights of the tails
        together: (9, 9) number of people who have both of two biomarkers
    """

    shift: Array
    rate: Array
    upper: Array
    lower: Array
    together: Array


class Usual(NamedTuple):
    """Expected statistics of samples of the fitted people; there are S = 27.

    Shape:
        mean: (S,) shifts (0), upper tails, lower tails
        chance: (S, S) covariance, times the number of people
        health: (S,) change for one year of the people's mean gap
        tilts: (S, 9) change if people are selected by one sd of a biomarker
        spreads: (S, 9) change for a relative increase of an assay's spread
    """

    mean: Array
    chance: Array
    health: Array
    tilts: Array
    spreads: Array


@dataclass(frozen=True, kw_only=True)
class Shifts:
    """The laboratory's shifts, and how its people differ from the fitted ones.

    Attributes:
        shift: (9,) shifts to subtract, on each biomarker's scale; 0 if unknown.
        standard_error: (9,) on the same scale; the prior spread if unknown.
        health_years: mean gap over that of the fitted people, years.
        health_standard_error: its standard error, years.
        chance_of_population: probability that these people were not selected by single
            biomarkers, from even prior odds.
        misfit: mean squared distance of the statistics from those of a population; about 1 or
            less.
        tilts: (9,) standard deviations by which people seem selected by each biomarker.
    """

    shift: Array
    standard_error: Array
    health_years: float
    health_standard_error: float
    chance_of_population: float
    misfit: float
    tilts: Array


def measure(values: Array, location: Array, scale: Array, usual: Array, fewest: int) -> Statistics:
    """Compute the statistics of some people's values.

    Args:
        values: (n, 9) on each biomarker's scale, NaN = missing.
        location: (n, 9) medians of people of the same age and sex.
        scale: (n, 9) their robust standard deviations.
        usual: (9,) mean of the clipped standardised values of the fitted people.
        fewest: a biomarker that fewer people have is left out.
    """
    count = values.shape[1]
    known = np.isfinite(values)
    shift, rate, upper, lower = (np.full(count, np.nan) for _ in range(4))
    for place in np.flatnonzero(known.sum(0) >= fewest):
        rows = known[:, place]
        value, centre, spread = (array[rows, place] for array in (values, location, scale))
        shift[place], _ = estimate_shift(value, centre, spread, usual=float(usual[place]))
        rate[place] = np.mean(1.0 / spread)
        centred = (value - centre - shift[place]) / spread
        upper[place], lower[place] = weigh_tail(centred).mean(), weigh_tail(-centred).mean()
    return Statistics(shift, rate, upper, lower, known.T.astype(np.float64) @ known)


def weigh_tail(centred: Array) -> Array:
    """Return how far each value is beyond the tail's start, up to its end.

    Example:
        >>> weigh_tail(np.array([0.0, 1.0, 9.0])).tolist()
        [0.0, 0.25, 2.25]
    """
    return np.clip(centred - TAIL_START, 0.0, TAIL_END - TAIL_START)


def describe_usual(standardised: Array, gap: Array, usual: Array) -> Usual:
    """Describe samples of the fitted people by the influence function of each statistic.

    Args:
        standardised: (m, 9) values of people like the fitted ones.
        gap: (m,) years.
        usual: (9,) mean of the clipped standardised values.

    Source:
        Hampel FR (1974), J Am Stat Assoc 69:383-393 (the influence curve).
    """
    z = standardised
    inside = (np.abs(z) < CLIP_SCORE).mean(0)
    shift = (np.clip(z, -CLIP_SCORE, CLIP_SCORE) - usual) / inside
    tails = np.concatenate([weigh_tail(z), weigh_tail(-z)], 1)
    in_upper, in_lower = (((side > TAIL_START) & (side < TAIL_END)).mean(0) for side in (z, -z))
    # Too high an estimate of the shift takes weight from the upper tail.
    moved = np.concatenate([-in_upper, in_lower]) * np.concatenate([shift, shift], 1)
    influence = np.concatenate([shift, tails - tails.mean(0) + moved], 1)
    influence -= influence.mean(0)

    people, count = z.shape
    years = np.clip(gap, *GAP_RANGE_YEARS)
    scores = np.clip(z, *SCORE_RANGE)
    years, scores = years - years.mean(), scores - scores.mean(0)
    mean = np.concatenate([np.zeros(count), tails.mean(0)])
    spreads = np.zeros((3 * count, count))
    for place in range(count):
        for row, side in ((count + place, z), (2 * count + place, -z)):
            beyond = (side[:, place] > TAIL_START) & (side[:, place] < TAIL_END)
            spreads[row, place] = (side[:, place] * beyond).mean()
    return Usual(
        mean=mean,
        chance=influence.T @ influence / people,
        health=influence.T @ years / people / years.var(),
        tilts=influence.T @ scores / people / scores.std(0),
        spreads=spreads,
    )


def estimate(found: Statistics, usual: Usual, laboratory_sd: Array) -> Shifts:
    """Separate shifts of assays from the health of the people.

    Args:
        found: statistics of the laboratory's people.
        usual: expected statistics of the fitted people.
        laboratory_sd: (9,) standard deviation of shifts between laboratories, on the same scale.
    """
    count = len(found.shift)
    there = np.flatnonzero(np.isfinite(found.shift))
    rows = np.concatenate([there, there + count, there + 2 * count])
    seen = np.concatenate([found.shift * found.rate, found.upper, found.lower])
    difference = (seen - usual.mean)[rows]
    people = np.diag(found.together)[there]
    shared = found.together[np.ix_(there, there)] / np.outer(people, people)
    spread = np.maximum(laboratory_sd[there] * found.rate[there], LEAST_SHIFT_SD)
    first = slice(0, len(there))
    common = (
        usual.chance[np.ix_(rows, rows)] * np.tile(shared, (3, 3))
        + ASSAY_SPREAD_SD**2 * usual.spreads[rows] @ usual.spreads[rows].T
        + np.diag(np.repeat([0.0, TAIL_SD**2], [len(there), 2 * len(there)]))
    )
    health, tilts = usual.health[rows], usual.tilts[rows]

    def explain(health_sd: float, tilt_sd: float) -> _Explanation:
        """Fit the spreads of the shifts by expectation maximisation."""
        apart = common + health_sd**2 * np.outer(health, health) + tilt_sd**2 * tilts @ tilts.T
        widening = np.ones(len(there))
        for _ in range(_ROUNDS):
            prior = np.zeros_like(common)
            prior[first, first] = np.diag(widening * spread**2)
            covariance = prior + apart
            solved = np.linalg.solve(covariance, difference)
            mean = prior[first] @ solved
            left = prior[first, first] - prior[first] @ np.linalg.solve(covariance, prior[:, first])
            square = (mean**2 + np.diag(left)) / spread**2
            widening = np.maximum((SHIFT_FREEDOM + square) / (SHIFT_FREEDOM + 1.0), 1.0)
        fit = -0.5 * difference @ solved - 0.5 * np.linalg.slogdet(covariance)[1]
        # The inverse gamma density of Student's t, relative to no widening.
        fit -= ((SHIFT_FREEDOM / 2 + 1) * np.log(widening)).sum()
        fit -= SHIFT_FREEDOM / 2 * (1.0 / widening - 1.0).sum()
        return _Explanation(covariance, solved, mean, np.sqrt(np.diag(left)), float(fit))

    here = explain(HEALTH_SD_YEARS, TILT_SD)
    chosen = explain(CHOSEN_HEALTH_SD_YEARS, CHOSEN_TILT_SD)
    years = HEALTH_SD_YEARS**2 * health
    years_left = HEALTH_SD_YEARS**2 - years @ np.linalg.solve(here.covariance, years)
    shift, error, stands_out = np.zeros(count), laboratory_sd.astype(np.float64), np.zeros(count)
    shift[there] = here.shift / found.rate[there]
    error[there] = here.standard_error / found.rate[there]
    stands_out[there] = CHOSEN_TILT_SD**2 * (tilts[:, there].T @ chosen.solved)
    return Shifts(
        shift=shift,
        standard_error=error,
        health_years=float(years @ here.solved),
        health_standard_error=float(np.sqrt(years_left)),
        chance_of_population=float(1.0 / (1.0 + np.exp(min(chosen.fit - here.fit, 700.0)))),
        misfit=float(difference @ here.solved / len(rows)),
        tilts=stands_out,
    )


class _Explanation(NamedTuple):
    """The shifts, the covariance of the statistics, and its inverse times their difference."""

    covariance: Array
    solved: Array
    shift: Array
    standard_error: Array
    fit: float
