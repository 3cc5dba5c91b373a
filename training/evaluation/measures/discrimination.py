"""How well scores order deaths: C-index and time-dependent AUC, with bootstrap intervals."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import numpy.typing as npt
from henaw.training.evaluation.measures.estimates import Array, Estimate, Rows, estimate_from_draws
from lifelines import KaplanMeierFitter
from lifelines.utils import concordance_index

Matrix = npt.NDArray[np.float32]

PAIRS_DRAWN = 1_000_000
"""Deaths times people up to which each bootstrap sample is counted out."""


def compute_c(score: Array, time: Array, event: Rows) -> float:
    """Harrell's C by lifelines: (n,) score, higher dies sooner; time in years; event."""
    return float(concordance_index(time, -score, event))


def draw_c(
    scores: Mapping[str, Array], time: Array, event: Rows, *, draws: int, seed: int
) -> dict[str, Array]:
    """Harrell's C of each score in bootstrap samples that all scores share.

    In a sample where person i occurs w_i times, C = sum_ij w_i w_j c_ij / sum_ij w_i w_j
    p_ij, with p_ij 1 where i died and j was then still followed alive or died later, and
    c_ij 1 (1/2 for equal scores) where i also has the higher score. That is the C of the
    sample written out, to rounding, and takes two matrix products. Past PAIRS_DRAWN pairs
    the draws are normal, with the covariance of the scores' influence functions, which
    is what the bootstrap tends to.

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
    # A sample may hold no pair at all; it then says nothing.
    with np.errstate(invalid="ignore", divide="ignore"):
        return dict(zip(scores, concordant / usable, strict=True))


def compute_influence(scores: Mapping[str, Array], time: Array, event: Rows) -> tuple[Array, Array]:
    """C of each score, and how much one more of each person would move it.

    Shape:
        scores: k of (n,); result: (k,), (k, n)
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
    """Some who died, p_ij of each with everyone, and c_ij by score; in turn."""
    order = np.flatnonzero(event)
    step = max(1, min(512, 50_000_000 // max(1, len(time))))
    for begin in range(0, len(order), step):
        died = order[begin : begin + step]
        at_own = died[:, None]
        at = time[at_own]
        pairs = ((time > at) | ((time == at) & ~event)).astype(np.float32)
        # One at a time: with many scores and people they would fill the memory.
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

    All scores share the bootstrap samples, so that the differences are paired.
    """
    drawn = draw_c(scores, time, event, draws=draws, seed=seed)
    values = {name: compute_c(score, time, event) for name, score in scores.items()}
    first = next(iter(scores))
    figures = {name: estimate_from_draws(values[name], drawn[name]) for name in scores}
    gains = {
        name: estimate_from_draws(values[first] - values[name], drawn[first] - drawn[name])
        for name in scores
        if name != first
    }
    return figures, gains


def weigh_known(time: Array, event: Rows, horizon_years: float) -> Array:
    """Inverse probabilities of being followed until a person's status is known.

    Who died by the horizon weighs 1 / G(T-), who is alive at it 1 / G(horizon-), who was
    lost before it 0; G is the Kaplan-Meier estimate of not being censored yet.

    Shape:
        time (years, not cut), event, result: (n,)

    Source:
        Uno H et al. (2007), J Am Stat Assoc 102:527-537.
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
    """Cumulative/dynamic AUC: P(score of who died by the horizon > score of who lived).

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
    """AUC of each score at a horizon, and the first score's gain on each other, paired.

    The weights for censoring are those of the whole sample in every bootstrap sample.
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
    columns = dict(zip(scores, drawn, strict=True))
    values = {name: compute_auc(score, dead, weight) for name, score in scores.items()}
    first = next(iter(scores))
    return (
        {name: estimate_from_draws(values[name], columns[name]) for name in scores},
        {
            name: estimate_from_draws(values[first] - values[name], columns[first] - columns[name])
            for name in scores
            if name != first
        },
    )
