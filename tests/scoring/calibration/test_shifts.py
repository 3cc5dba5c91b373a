"""Telling a laboratory's shifts from the health of its people, on drawn values."""

import numpy as np
import pytest
from henaw.scoring.calibration.shifts import Array, Shifts, Usual, describe_usual, estimate, measure

LOADINGS = np.array([0.5, 0.4, 0.2, -0.5, -0.25, 0.8, 0.5, 0.15, 0.0])
LABORATORY_SD = np.array([0.1, 0.2, 0.1, 0.4, 0.15, 0.55, 0.15, 0.3, 0.4])
PEOPLE = 1000


def draw(count: int, seed: int) -> tuple[Array, Array]:
    """Standardised values with longer upper tails, and gaps that they make: (n, 9), (n,)."""
    rng = np.random.default_rng(seed)
    common = rng.standard_normal((count, 1))
    normal = common * LOADINGS * 0.7 + rng.standard_normal((count, 9)) * np.sqrt(
        1 - (LOADINGS * 0.7) ** 2
    )
    values = (np.exp(0.25 * normal) - 1.0) / 0.25
    return values, 4.0 * values @ LOADINGS + 3.0 * rng.standard_normal(count)


def find(values: Array, usual: Array, expected: Usual) -> Shifts:
    ones = np.ones(values.shape)
    return estimate(measure(values, 0.0 * ones, ones, usual, 200), expected, LABORATORY_SD)


@pytest.fixture(scope="module")
def usual() -> Array:
    return np.asarray(np.clip(draw(100_000, 1)[0], -2.0, 2.0).mean(0))


@pytest.fixture(scope="module")
def expected(usual: Array) -> Usual:
    values, gap = draw(50_000, 2)
    return describe_usual(values, gap, usual)


def test_chance_is_that_of_repeated_samples(usual: Array, expected: Usual) -> None:
    values, _ = draw(200_000, 3)
    ones = np.ones((500, 9))
    drawn = []
    for sample in values.reshape(400, 500, 9):
        found = measure(sample, 0.0 * ones, ones, usual, 200)
        drawn.append(np.concatenate([found.shift, found.upper, found.lower]))
    drawn = np.array(drawn)
    np.testing.assert_allclose(drawn.mean(0), expected.mean, atol=0.012)
    spread = np.sqrt(np.diag(expected.chance) / 500)
    np.testing.assert_allclose(drawn.std(0) / spread, 1.0, atol=0.15)
    seen = np.corrcoef(drawn.T)
    told = expected.chance / np.outer(spread, spread) / 500
    assert np.abs(seen - told).max() < 0.25


def test_shifts_of_a_population_are_found(usual: Array, expected: Usual) -> None:
    values, _ = draw(PEOPLE, 4)
    shift = np.array([0.1, -0.3, 0.1, 0.5, -0.1, 0.8, 0.1, -0.4, 0.5])
    found = find(values + shift, usual, expected)
    assert found.chance_of_population > 0.8
    assert found.misfit < 0.8
    assert abs(found.health_years) < 1.5
    error = found.shift - shift
    assert (np.abs(error) < 3.5 * found.standard_error).all()
    assert np.sqrt((error**2).mean()) < 0.1
    # Better than what is known of laboratories.
    assert (found.standard_error < np.maximum(LABORATORY_SD, 0.08)).all()


@pytest.mark.parametrize("tilt", [0.07, -0.07])
def test_the_sick_and_the_well_are_not_taken_for_another_assay(
    usual: Array, expected: Usual, tilt: float
) -> None:
    values, gap = draw(20_000, 5)
    weights = np.exp(tilt * np.clip(gap, -20, 40))
    rng = np.random.default_rng(6)
    rows = rng.choice(len(gap), PEOPLE, replace=False, p=weights / weights.sum())
    years = gap[rows].mean() - gap.mean()
    assert abs(years) > 3.0
    found = find(values[rows], usual, expected)
    assert np.sign(found.health_years) == np.sign(tilt)
    assert abs(found.health_years - years) < 0.4 * abs(years)
    ones = np.ones((PEOPLE, 9))
    plain = measure(values[rows], 0.0 * ones, ones, usual, 200).shift

    def years_of(shift: Array) -> float:
        return float(4.0 * shift @ LOADINGS)

    assert abs(years_of(found.shift)) < 0.35 * abs(years_of(plain))


@pytest.mark.parametrize("place", [1, 6])
def test_people_chosen_by_one_biomarker_stand_out(
    usual: Array, expected: Usual, place: int
) -> None:
    values, _ = draw(20_000, 7)
    ill = values[:, place] > 1.5
    clinic = np.concatenate([values[ill][:600], values[~ill][:400]])
    found = find(clinic, usual, expected)
    assert found.misfit > 1.1
    assert np.argmax(np.abs(found.tilts)) == place
    assert found.tilts[place] > 0


def test_what_few_have_is_left_out(usual: Array, expected: Usual) -> None:
    values, _ = draw(PEOPLE, 9)
    values[150:, 5] = np.nan
    values[220:, 3] = np.nan
    found = find(values + 0.3, usual, expected)
    assert found.shift[5] == 0.0
    assert found.standard_error[5] == LABORATORY_SD[5]
    complete = find(draw(PEOPLE, 9)[0] + 0.3, usual, expected)
    assert found.standard_error[3] > 1.1 * complete.standard_error[3]


def test_a_laboratory_may_be_further_off_than_surveys_were(usual: Array, expected: Usual) -> None:
    values, _ = draw(PEOPLE, 10)
    values[:, 2] += 8 * LABORATORY_SD[2]
    found = find(values, usual, expected)
    assert found.chance_of_population > 0.5
    assert found.shift[2] == pytest.approx(0.8, abs=0.1)
