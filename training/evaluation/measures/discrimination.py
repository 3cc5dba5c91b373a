"""Discrimination: do people with a higher score die sooner? C-index and time-dependent AUC."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import numpy.typing as npt
from henaw.training.evaluation.measures.estimates import (
    Array,
    Estimate,
    Rows,
    estimate_with_gains,
)
from lifelines import KaplanMeierFitter
from lifelines.utils import concordance_index

Matrix = npt.NDArray[np.float32]

PAIRS_DRAWN = 1_000_000
"""Up to this many deaths times people, each bootstrap sample's C is counted exactly."""


def compute_c(score: Array, time: Array, event: Rows) -> float:
    """Harrell's C: the share of usable pairs in which the person who died first scored higher.

    Equal scores count one half. A pair is usable where it is known who died first.

    Shape:
        score: (n,), higher dies sooner; time: (n,) years; event: (n,) died at that time

    Source:
        Harrell FE et al. (1996), Stat Med 15:361-387; computed by lifelines.

    Example:
        >>> time, event = np.array([1.0, 2.0, 3.0]), np.array([True, True, False])
        >>> round(compute_c(np.array([3.0, 1.0, 2.0]), time, event), 3)
        0.667
    """
    return float(concordance_index(time, -score, event))


def draw_c(
    scores: Mapping[str, Array], time: Array, event: Rows, *, draws: int, seed: int
) -> dict[str, Array]:
    """Harrell's C of each score in bootstrap samples that all scores share.

    In a sample in which person i occurs w_i times,

        C = sum_ij w_i w_j c_ij / sum_ij w_i w_j p_ij,

    with p_ij 1 where i died and j was then still followed alive or died later, and c_ij 1
    (1/2 for equal scores) where i also has the higher score. Two matrix products give all
    samples, to rounding as if each were written out. Above PAIRS_DRAWN pairs the draws are
    normal, with the covariance of the scores' influence functions, which the bootstrap
    converges to.

    Shape:
        scores: (n,) each, higher dies sooner; time (years), event: (n,)
        result: (draws,) each

    Sources:
        Harrell FE et al. (1996), Stat Med 15:361-387; Efron B (1982), The Jackknife, the
        Bootstrap and Other Resampling Plans, chapter 6.
    """
    generator = np.random.default_rng(seed)
    if event.sum() * len(time) > PAIRS_DRAWN:
        values, influence = compute_influence(scores, time, event)
        drawn = generator.multivariate_normal(values, influence @ influence.T, draws)
        return dict(zip(scores, drawn.T, strict=True))
    people = len(time)
    counts = generator.multinomial(people, np.full(people, 1.0 / people), draws)
    resamples = counts.astype(np.float32)
    usable = np.zeros(draws)
    concordant = np.zeros((len(scores), draws))
    for died, pairs, ordered in _list_pairs(scores, time, event):
        weight = resamples[:, died]
        usable += np.einsum("de,de->d", weight, resamples @ pairs.T, dtype=np.float64)
        for row, matrix in enumerate(ordered):
            concordant[row] += np.einsum("de,de->d", weight, resamples @ matrix.T, dtype=np.float64)
    # A sample without a usable pair has no C: 0 / 0 is NaN.
    with np.errstate(invalid="ignore", divide="ignore"):
        return dict(zip(scores, concordant / usable, strict=True))


def compute_influence(scores: Mapping[str, Array], time: Array, event: Rows) -> tuple[Array, Array]:
    """C of each score, and by how much one more copy of each person would change it.

    Shape:
        scores: k of (n,); time (years), event: (n,)
        result: (k,), (k, n)
    """
    usable = np.zeros(len(time))
    concordant = np.zeros((len(scores), len(time)))
    for died, pairs, ordered in _list_pairs(scores, time, event):
        usable += pairs.sum(0, dtype=np.float64)
        usable[died] += pairs.sum(1, dtype=np.float64)
        for row, matrix in enumerate(ordered):
            concordant[row] += matrix.sum(0, dtype=np.float64)
            concordant[row, died] += matrix.sum(1, dtype=np.float64)
    values = concordant.sum(1) / usable.sum()
    influence = (concordant - values[:, None] * usable) / (0.5 * usable.sum())
    return values, influence


def _list_pairs(
    scores: Mapping[str, Array], time: Array, event: Rows
) -> Iterator[tuple[npt.NDArray[np.int64], Matrix, Iterator[Matrix]]]:
    """Batches of people who died, with their p_ij and, score by score, their c_ij."""
    order = np.flatnonzero(event)
    step = max(1, min(512, 50_000_000 // max(1, len(time))))
    for begin in range(0, len(order), step):
        died = order[begin : begin + step]
        at_own = died[:, None]
        at = time[at_own]
        pairs = ((time > at) | ((time == at) & ~event)).astype(np.float32)
        # One at a time: those of many scores and people would fill the memory.
        ordered = (
            pairs
            * (0.5 * (score[at_own] > score) + 0.5 * (score[at_own] >= score)).astype(np.float32)
            for score in scores.values()
        )
        yield died, pairs, ordered


def estimate_c(
    scores: Mapping[str, Array], time: Array, event: Rows, *, draws: int, seed: int
) -> tuple[dict[str, Estimate], dict[str, Estimate]]:
    """C of each score, and by how much the first score's C is above each other's.

    Args:
        scores: (n,) each, higher dies sooner.
        time: (n,) years.
        event: (n,) died at the end of it.
        draws: bootstrap samples.
        seed: of the bootstrap.
    """
    drawn = draw_c(scores, time, event, draws=draws, seed=seed)
    values = {name: compute_c(score, time, event) for name, score in scores.items()}
    return estimate_with_gains(values, drawn)


def weigh_known(time: Array, event: Rows, horizon_years: float) -> Array:
    """Inverse probability of censoring weights, for the status at the horizon.

    A person who died by the horizon weighs 1 / G(T-), one who is alive at it 1 / G(horizon-),
    one who was lost before it 0. G is the Kaplan-Meier estimate of not being censored yet.

    Shape:
        time (years, not cut), event, result: (n,)

    Source:
        Uno H et al. (2007), J Am Stat Assoc 102:527-537.

    Example:
        Of the two people followed beyond year 1, one is lost: the other counts twice.

        >>> time, event = np.array([1.0, 2.0, 9.0]), np.array([True, False, False])
        >>> weigh_known(time, event, 5.0).tolist()
        [1.0, 0.0, 2.0]
    """
    censoring = KaplanMeierFitter().fit(time, ~event).survival_function_
    followed = np.concatenate([[1.0], censoring.iloc[:, 0].to_numpy(np.float64)])
    times = censoring.index.to_numpy(np.float64)
    known = (event & (time <= horizon_years)) | (time >= horizon_years)
    until = np.minimum(time[known], horizon_years)
    weight = np.zeros(len(time))
    # lifelines puts a first row at time 0, where everyone is still followed.
    weight[known] = 1.0 / followed[np.searchsorted(times, until, side="left")]
    return weight


def compute_auc(score: Array, dead: Rows, weight: Array) -> float:
    """Cumulative/dynamic AUC: P(score of a person dead by the horizon > score of one alive).

    Equal scores count one half; people weigh as ``weight`` says, 0 where their status at
    the horizon is not known.

    Shape:
        score, dead, weight: (n,)

    Source:
        Hung H, Chiang CT (2010), Can J Stat 38:8-26; Uno H et al. (2007), as above.

    Example:
        >>> dead = np.array([True, False, False])
        >>> compute_auc(np.array([2.0, 1.0, 2.0]), dead, np.ones(3))
        0.75
    """
    values, place = np.unique(score, return_inverse=True)
    return _rank(place, len(values), dead, weight)


def _rank(place: npt.NDArray[np.int64], count: int, dead: Rows, weight: Array) -> float:
    cases = np.bincount(place, weight * dead, count)
    controls = np.bincount(place, weight * ~dead, count)
    below = np.cumsum(controls) - 0.5 * controls
    with np.errstate(invalid="ignore", divide="ignore"):
        return float((cases * below).sum() / (cases.sum() * controls.sum()))


def estimate_auc(
    scores: Mapping[str, Array],
    time: Array,
    event: Rows,
    horizon_years: float,
    *,
    draws: int,
    seed: int,
) -> tuple[dict[str, Estimate], dict[str, Estimate]]:
    """AUC of each score at a horizon, and by how much the first's is above each other's.

    Every bootstrap sample keeps the whole sample's weights for censoring.

    Args:
        scores: (n,) each, higher dies sooner.
        time: (n,) years, not cut.
        event: (n,) died at the end of it.
        horizon_years: the horizon.
        draws: bootstrap samples.
        seed: of the bootstrap.
    """
    dead = event & (time <= horizon_years)
    weight = weigh_known(time, event, horizon_years)
    places = {name: np.unique(score, return_inverse=True)[1] for name, score in scores.items()}
    people = len(time)
    generator = np.random.default_rng(seed)
    drawn = np.zeros((len(scores), draws))
    for draw in range(draws):
        counts = generator.multinomial(people, np.full(people, 1.0 / people))
        for row, place in enumerate(places.values()):
            drawn[row, draw] = _rank(place, people, dead, weight * counts)
    values = {name: compute_auc(score, dead, weight) for name, score in scores.items()}
    return estimate_with_gains(values, dict(zip(scores, drawn, strict=True)))
