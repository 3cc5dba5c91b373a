import numpy as np
from henaw.training.evaluation.measures.estimates import (
    FEWEST_SHOWN,
    Estimate,
    describe_group,
    describe_partition,
    estimate_from_draws,
    withhold,
)
from hypothesis import given
from hypothesis import strategies as st


@given(st.lists(st.integers(0, 60), min_size=1, max_size=12))
def test_a_withheld_count_is_never_the_only_one(counts: list[int]):
    shown = describe_partition(counts)
    hidden = [count for count, visible in zip(counts, shown, strict=True) if visible is None]
    assert all(visible in (None, count) for count, visible in zip(counts, shown, strict=True))
    assert not any(visible is not None and 0 < visible < FEWEST_SHOWN for visible in shown)
    # One hidden count is the total less the others, unless there is nothing to hide it with.
    if len(hidden) == 1:
        assert sum(count > 0 for count in counts) == 1


def test_an_interval_is_the_quantiles_of_the_finite_draws():
    draws = np.append(np.linspace(0.0, 1.0, 1001), np.nan)
    estimate = estimate_from_draws(0.4, draws)
    assert estimate.value == 0.4
    np.testing.assert_allclose([estimate.low, estimate.high], [0.025, 0.975])


def test_figures_need_ten_deaths_and_ten_survivors():
    assert describe_group(20, 10)["shown"]
    assert not describe_group(20, 11)["shown"]
    assert not describe_group(200, 9)["shown"]
    assert describe_group(200, 9)["deaths"] is None


def test_a_withheld_group_keeps_its_name_and_size_only():
    row = {"group": "women", "people": 50, "deaths": 12, "shown": True, "c": {"value": 0.8}}
    withhold(row)
    assert row == {"group": "women", "people": 50, "deaths": None, "shown": False}


def test_an_estimate_is_described_to_a_number_of_digits():
    assert Estimate(value=1 / 3, low=0.0, high=1.0).describe(2) == {
        "value": 0.33,
        "low": 0.0,
        "high": 1.0,
    }
