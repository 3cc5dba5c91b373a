"""Batches: everyone once, every age in each, the same with the same seed."""

import numpy as np
import numpy.typing as npt
import pytest
from henaw.training.minibatches.sampler import StratifiedSampler, group_ages
from hypothesis import given, settings
from hypothesis import strategies as st

AGES = np.random.default_rng(8).normal(55, 14, 10_000).clip(18, 95)
GROUP = group_ages(AGES)


def list_batches(sampler: StratifiedSampler, epoch: int) -> list[npt.NDArray[np.int64]]:
    return np.split(sampler.draw(epoch), sampler.bounds[1:-1])


@given(
    group=st.lists(st.integers(0, 5), max_size=200),
    size=st.integers(1, 50),
    epoch=st.integers(0, 9),
)
@settings(max_examples=100, deadline=None)
def test_every_row_is_in_one_batch_of_an_epoch(group: list[int], size: int, epoch: int) -> None:
    sampler = StratifiedSampler(np.array(group, np.int64), size, seed=2)
    batches = list_batches(sampler, epoch)
    rows = np.concatenate(batches)
    assert sorted(rows.tolist()) == list(range(len(group)))
    assert len(batches) == len(sampler)
    lengths = [len(batch) for batch in batches]
    assert max(lengths) <= size
    assert max(lengths) - min(lengths) <= 1


def test_each_age_group_has_its_share_of_each_batch() -> None:
    sampler = StratifiedSampler(GROUP, 256, seed=2)
    share = np.bincount(GROUP) / len(GROUP)
    for batch in list_batches(sampler, 4):
        counts = np.bincount(GROUP[batch], minlength=len(share))
        assert np.abs(counts - share * len(batch)).max() < 2


def test_an_epoch_depends_on_seed_and_number_alone() -> None:
    first, again, other = (StratifiedSampler(GROUP, 256, seed=seed) for seed in (2, 2, 3))
    first.draw(0)
    np.testing.assert_array_equal(first.draw(5), again.draw(5))
    assert (first.draw(5) != first.draw(6)).mean() > 0.9
    assert (first.draw(5) != other.draw(5)).mean() > 0.9


def test_rows_of_a_group_are_shuffled_evenly() -> None:
    """A row's batch is uniform over the epochs: chi-squared far out would show a bias."""
    sampler = StratifiedSampler(np.zeros(60, np.int64), 10, seed=2)
    found = np.zeros((60, 6))
    for epoch in range(600):
        for place, batch in enumerate(list_batches(sampler, epoch)):
            found[batch, place] += 1
    statistic = ((found - 100) ** 2 / 100).sum()
    assert statistic == pytest.approx(60 * 5, abs=5 * np.sqrt(2 * 60 * 5))


def test_ages_are_grouped_by_five_years() -> None:
    assert group_ages([18, 24.9, 25, 29.9, 30, 119]).tolist() == [0, 0, 1, 1, 2, 19]
