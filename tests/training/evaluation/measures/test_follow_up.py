import numpy as np
import pytest
import torch
from henaw.training.evaluation.measures.follow_up import (
    Hazard,
    accumulate_hazard,
    compare_deaths,
    compute_hazard,
    compute_hazard_slope,
    cut_follow_up,
    describe_deaths,
)
from scipy.integrate import quad
from scipy.optimize import brentq, minimize
from scipy.stats import poisson

SLOPE = 0.09


def make_people(count: int, seed: int = 0, longest_years: float = 40.0):
    """People who die by a Gompertz law, some lost early; (hazard, years, died)."""
    generator = np.random.default_rng(seed)
    at_draw = -10.0 + SLOPE * generator.uniform(30, 90, count)
    hazard = Hazard(at_draw, np.full(count, SLOPE))
    dies = np.log1p(SLOPE * generator.standard_exponential(count) / np.exp(at_draw)) / SLOPE
    lost = generator.uniform(0.1, longest_years, count)
    return hazard, np.minimum(dies, lost), dies <= lost


def test_cumulative_hazard_is_the_integral_of_the_hazard():
    hazard = Hazard(np.log([0.002, 0.03, 0.2]), np.array([0.09, 0.08, 0.1]))
    years = np.array([10.0, 3.3, 0.5])
    expected = [
        quad(lambda t, a=a, b=b: np.exp(a + b * t), 0, until)[0]
        for a, b, until in zip(*hazard, years, strict=True)
    ]
    np.testing.assert_allclose(accumulate_hazard(hazard, years), expected, rtol=1e-12)


def test_the_hazard_is_that_of_the_own_sex():
    tensors = {
        "baseline_intercept": torch.tensor([-10.0, -9.0]),
        "baseline_slope": torch.tensor([0.1, 0.08]),
    }
    hazard = compute_hazard(np.array([50.0, 50.0, 60.0]), np.array([0, 1, 1]), tensors)
    np.testing.assert_allclose(hazard.at_draw, [-5.0, -5.0, -4.2], rtol=1e-6)
    np.testing.assert_allclose(hazard.slope, [0.1, 0.08, 0.08], rtol=1e-6)


@pytest.mark.parametrize("observed", [0, 1, 10, 400])
def test_the_interval_is_the_exact_one_of_a_poisson_count(observed: int):
    ratio = compare_deaths(observed, 25.0)
    high = brentq(lambda mean: poisson.cdf(observed, mean) - 0.025, 1e-6, 1000)
    assert ratio.high == pytest.approx(high / 25, rel=1e-6)
    assert ratio.value == observed / 25
    if observed:
        low = brentq(lambda mean: poisson.sf(observed - 1, mean) - 0.025, 1e-9, 1000)
        assert ratio.low == pytest.approx(low / 25, rel=1e-6)
    else:
        assert ratio.low == 0.0


@pytest.mark.parametrize("longest_years", [1.0, 4.0, 40.0])
def test_deaths_are_as_expected_however_short_the_follow_up(longest_years: float):
    hazard, time, event = make_people(40_000, longest_years=longest_years)
    found = describe_deaths(hazard, time, event)
    assert found["ratio"]["low"] < 1 < found["ratio"]["high"]
    assert found["ratio"]["high"] - found["ratio"]["low"] < 0.2
    _, dead = cut_follow_up(time, event)
    assert found["observed"] == dead.sum()


@pytest.mark.parametrize("longest_years", [3.0, 40.0])
def test_the_slope_of_true_hazards_is_one_in_nineteen_intervals_of_twenty(longest_years: float):
    distances = []
    for seed in range(60):
        hazard, time, event = make_people(2000, seed=seed, longest_years=longest_years)
        slope = compute_hazard_slope(hazard, *cut_follow_up(time, event))
        distances.append(2 * 1.95996 * (slope.value - 1) / (slope.high - slope.low))
    assert abs(np.mean(distances)) < 0.4
    assert 0.8 < np.std(distances) < 1.2


def test_dropping_people_lost_to_follow_up_would_show():
    """Deaths kept, people lost before ten years dropped: the usual mistake."""
    hazard, time, event = make_people(40_000, longest_years=15.0)
    kept = (event & (time <= 10)) | (time >= 10)
    wrong = describe_deaths(hazard.select(kept), time[kept], event[kept])
    assert wrong["ratio"]["low"] > 1.2
    assert describe_deaths(hazard, time, event)["ratio"]["value"] == pytest.approx(1, abs=0.03)


def test_deaths_after_the_horizon_are_not_counted():
    hazard = Hazard(np.log([0.01, 0.01]), np.array([SLOPE, SLOPE]))
    found = describe_deaths(hazard, np.array([10.0, 10.5]), np.array([True, True]))
    assert found["observed"] == 1
    assert found["expected"] == pytest.approx(
        2 * accumulate_hazard(hazard, np.full(2, 10.0))[0], abs=0.05
    )


def test_the_slope_is_the_most_likely_one():
    """Against the likelihood written out, Fisher information by differences."""
    hazard, time, event = make_people(3000, seed=4)
    wide = Hazard(1.4 * hazard.at_draw + 1.0, hazard.slope)
    exposure = np.expm1(SLOPE * time) / SLOPE

    def lose(point):
        log_rate = point[0] + point[1] * wide.at_draw
        return (np.exp(log_rate) * exposure).sum() - (event * log_rate).sum()

    best = minimize(lose, [0.0, 1.0], method="BFGS", options={"gtol": 1e-6})
    step = 1e-3
    curvature = np.empty((2, 2))
    for i in range(2):
        for j in range(2):
            first, second = step * np.eye(2)[i], step * np.eye(2)[j]
            curvature[i, j] = (
                lose(best.x + first + second)
                - lose(best.x + first - second)
                - lose(best.x - first + second)
                + lose(best.x - first - second)
            ) / (4 * step**2)
    error = np.sqrt(np.linalg.inv(curvature)[1, 1])
    slope = compute_hazard_slope(wide, time, event)
    assert slope.value == pytest.approx(best.x[1], abs=1e-4)
    assert (slope.high - slope.low) / (2 * 1.95996) == pytest.approx(error, rel=1e-3)
    assert slope.value == pytest.approx(1 / 1.4, abs=0.05)


def test_a_wrong_level_leaves_the_slope():
    hazard, time, event = make_people(5000, seed=2)
    doubled = Hazard(hazard.at_draw + np.log(2), hazard.slope)
    first, second = (compute_hazard_slope(h, time, event) for h in (hazard, doubled))
    assert first.value == pytest.approx(second.value, abs=1e-6)
    ratios = [describe_deaths(h, time, event)["ratio"]["value"] for h in (hazard, doubled)]
    assert ratios[0] == pytest.approx(2 * ratios[1], abs=2e-3)


def test_follow_up_of_zero_years_is_accepted():
    hazard, time, event = make_people(2000, seed=3)
    time[:5], event[:5] = 0.0, False
    assert np.isfinite(compute_hazard_slope(hazard, time, event).value)


def test_without_deaths_or_differences_there_is_no_slope():
    hazard, time, event = make_people(50)
    with pytest.raises(ValueError, match="needs deaths"):
        compute_hazard_slope(hazard, time, np.zeros(50, bool))
    equal = Hazard(np.zeros(50), hazard.slope)
    with pytest.raises(ValueError, match="different hazard"):
        compute_hazard_slope(equal, time, event)
