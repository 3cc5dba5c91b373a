"""Which people are in which batch: balanced by age, shuffled every epoch, reproducible."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Rows = npt.NDArray[np.int64]
_EDGES_YEARS = np.arange(25.0, 120.0, 5.0)


def group_ages(age_years: npt.ArrayLike) -> Rows:
    """Five-year age groups: (n,) years to (n,) int64, 0 below 25.

    Example:
        >>> group_ages([20.0, 25.0, 61.5]).tolist()
        [0, 1, 8]
    """
    return np.digitize(np.asarray(age_years, np.float64), _EDGES_YEARS)


class StratifiedSampler:
    """Batches in which each group has its share of the cohort, to within one row.

    Row j of a group of m rows has its place at (j + 1/2) / m of the epoch. These places are
    computed once; an epoch only shuffles the rows within each group. Each row is in one batch
    an epoch. Batch b of epoch e depends only on the seed, b and e, so that a run can continue
    at any batch.

    Shape:
        group: (n,) int64

    Args:
        group: the group of each row.
        batch_size: the largest number of rows in a batch; the batches of an epoch differ by at most
            one row.
        seed: the seed of the shuffling.

    Example:
        >>> sampler = StratifiedSampler(np.array([0, 0, 0, 0, 1, 1]), 3, seed=1)
        >>> first, second = np.split(sampler.draw(0), sampler.bounds[1:-1])
        >>> sorted((first < 4).tolist()), sorted((second < 4).tolist())
        ([False, True, True], [False, True, True])
    """

    def __init__(self, group: Rows, batch_size: int, *, seed: int) -> None:
        self.seed = seed
        rows = np.argsort(group, kind="stable")
        sizes = np.unique(group, return_counts=True)[1]
        turn = np.concatenate([(np.arange(size) + 0.5) / size for size in sizes] or [np.zeros(0)])
        slots = np.argsort(np.argsort(turn, kind="stable"), kind="stable")
        ends = np.cumsum(sizes)[:-1]
        self._rows = np.split(rows, ends)
        self._slots = np.split(slots, ends)
        batches = max(1, -(-len(rows) // batch_size))
        self.bounds = np.linspace(0, len(rows), batches + 1).round().astype(np.int64)

    def __len__(self) -> int:
        """The number of batches in an epoch."""
        return len(self.bounds) - 1

    def draw(self, epoch: int) -> Rows:
        """All rows in an epoch's order: (n,); batch b is bounds[b] to bounds[b + 1]."""
        generator = np.random.default_rng((self.seed, epoch))
        order = np.empty(self.bounds[-1], np.int64)
        for rows, slots in zip(self._rows, self._slots, strict=True):
            order[slots] = generator.permutation(rows)
        return order
