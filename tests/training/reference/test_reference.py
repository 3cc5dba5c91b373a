"""The reference of a synthetic cohort, against what it was simulated from."""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pytest
import torch
from henaw.model.biomarkers import INDEX, NAMES, PANEL
from henaw.model.configuration import RATIO, RATIO_CAPS, VARIABLES
from henaw.model.errors import CohortError
from henaw.model.graph.transforms import LOG_SCALED
from henaw.model.network import Network
from henaw.training.cohorts.cohort import Cohort
from henaw.training.configuration import DetectionFloor, TrainingConfiguration
from henaw.training.reference.harmonisation import FEWEST_FOR_SHIFT
from henaw.training.reference.reference import NARROWEST_PIECE, fit_reference
from henaw.training.reference.tables import FEWEST_PEOPLE, WINDOW_YEARS, tabulate_over_ages
from scipy.stats import norm
from torch import Tensor

Array = npt.NDArray[np.float64]
Simulate = Callable[..., tuple[Cohort, Array, Array]]
Place = Callable[[Array, npt.NDArray[np.int64]], Array]
NINE = len(NAMES)


class Fitted(NamedTuple):
    cohort: Cohort
    score: Array
    tensors: dict[str, Tensor]
    network: Network


@pytest.fixture(scope="module")
def fitted(simulate: Simulate, configuration: TrainingConfiguration) -> Fitted:
    cohort, score, _ = simulate(12000, seed=11, missing=0.1)
    tensors, same = fit_reference(cohort, configuration.network)
    np.testing.assert_array_equal(same.biomarkers, cohort.biomarkers)
    return Fitted(cohort, score, tensors, Network(configuration.network, tensors))


def compute_scores(cohort: Cohort, network: Network) -> Array:
    """Scores of the nine, NaN where missing: (n, 9)."""
    age, sex = torch.from_numpy(cohort.age_years), torch.from_numpy(cohort.sex)
    row = network.look_up_reference(age, sex)
    biomarkers = torch.from_numpy(cohort.biomarkers)
    scores, known = network.compute_scores(biomarkers, row.location, row.scale)
    return torch.where(known, scores, torch.nan).double().numpy()[:, :NINE]


def test_location_and_scale_are_those_of_the_simulation(fitted: Fitted, place: Place) -> None:
    ages = np.arange(20.0, 86.0)
    spread = np.nanstd(_standardise(fitted, place), axis=0)
    for sex in (0, 1):
        truth = place(ages, np.full(len(ages), sex))
        location = fitted.tensors["location"][sex, :, :NINE].double().numpy()
        scale = fitted.tensors["scale"][sex, :, :NINE].double().numpy()
        # About 900 people in a window: median and spread are good to 1.2 / sqrt(900) =
        # 0.04; at the ends the window is half as wide and one-sided.
        away = np.abs(location - truth) / spread
        assert away[3:-3].max() < 0.2
        assert away.max() < 0.35
        wider = np.abs(scale / spread - 1)
        assert wider.mean() < 0.06
        assert wider[3:-3].max() < 0.25


def _standardise(fitted: Fitted, place: Place) -> Array:
    raw = fitted.cohort.biomarkers.astype(np.float64)
    values = np.where(LOG_SCALED, np.log(raw), raw)
    return values - place(fitted.cohort.age_years.astype(np.float64), fitted.cohort.sex)


def test_location_follows_sex_and_age_by_as_much_as_was_planted(
    fitted: Fitted, place: Place
) -> None:
    location = fitted.tensors["location"][:, :, INDEX["creatinine"]].double().numpy()
    truth = place(np.array([30.0, 75.0, 30.0, 75.0]), np.array([0, 0, 1, 1]))[:, 2]
    seen = np.array([location[0, 10], location[0, 55], location[1, 10], location[1, 55]])
    np.testing.assert_allclose(seen - seen[0], truth - truth[0], atol=0.035)


def test_scores_are_the_simulated_ones_and_standard_normal(fitted: Fitted) -> None:
    scores = compute_scores(fitted.cohort, fitted.network)
    assert np.abs(np.nanmean(scores, axis=0)).max() < 0.05
    assert np.abs(np.nanstd(scores, axis=0) - 1).max() < 0.05
    for low in (20, 40, 60):
        band = (fitted.cohort.age_years >= low) & (fitted.cohort.age_years < low + 20)
        assert np.abs(np.nanmean(scores[band], axis=0)).max() < 0.1
    inside = np.abs(fitted.score) < 2
    assert np.nanmean(np.abs(scores - fitted.score)[inside]) < 0.1


def test_the_correlation_is_that_of_the_simulation(fitted: Fitted) -> None:
    correlation = fitted.tensors["correlation"].double().numpy()
    for a, b, expected in (
        ("crp", "albumin", -0.3),
        ("ast", "alt", 0.6),
        ("ggt", "alt", 0.4),
        ("crp", "rdw", 0.0),
    ):
        assert correlation[INDEX[a], INDEX[b]] == pytest.approx(expected, abs=0.04)
    np.testing.assert_allclose(np.diag(correlation), 1.0, atol=1e-6)
    # ln AST - ln ALT, with spreads 0.3 and 0.4 and correlation 0.6.
    ratio = (0.6 * 0.3 - 0.4) / np.sqrt(0.3**2 + 0.4**2 - 2 * 0.6 * 0.3 * 0.4)
    assert correlation[INDEX["alt"], VARIABLES.index(RATIO)] == pytest.approx(ratio, abs=0.05)


def test_the_location_is_the_median_and_its_score_is_0(fitted: Fitted) -> None:
    """Of all values of the cohort, and of the ratio the two medians' ratio."""
    tensors, grid = fitted.tensors, np.linspace(-4, 4, 13)
    for column in range(NINE):
        margin = tensors["margin"][column].double().numpy()
        assert np.interp(0.0, margin, grid) == pytest.approx(0.0, abs=1e-6)
    scores = compute_scores(fitted.cohort, fitted.network)
    np.testing.assert_allclose(np.nanmedian(scores, axis=0), 0.0, atol=0.02)
    location = tensors["location"].double().numpy()
    ast, alt = (
        np.minimum(location[:, :, INDEX[name]], np.log(cap))
        for name, cap in zip(("ast", "alt"), RATIO_CAPS, strict=True)
    )
    np.testing.assert_allclose(location[:, :, NINE], ast - alt, atol=1e-5)


def test_unpublished_critical_limits_are_the_cohorts_quantiles(fitted: Fitted) -> None:
    for side, quantile in (("low", 0.0005), ("high", 0.9995)):
        for column, biomarker in enumerate(PANEL):
            limit = getattr(biomarker, f"critical_{side}")
            seen = float(fitted.tensors[f"critical_{side}"][column])
            if limit is not None and limit.value is not None:
                assert seen == limit.value
            elif limit is not None:
                marks = np.nanquantile(fitted.cohort.biomarkers[:, column], quantile)
                assert seen == pytest.approx(marks, rel=1e-5)


def test_the_usual_score_is_the_mean_of_clipped_ones(fitted: Fitted) -> None:
    """Of the standardised values, which are skewed; a laboratory's are compared with it."""
    location, scale = (fitted.tensors[name].double().numpy() for name in ("location", "scale"))
    ages, cohort = np.arange(20, 86), fitted.cohort
    for column, biomarker in enumerate(PANEL):
        raw = cohort.biomarkers[:, column].astype(np.float64)
        values = np.log(raw) if biomarker.log_scaled else raw
        middle, spread = (
            np.where(
                cohort.sex == 0,
                np.interp(cohort.age_years, ages, table[0, :, column]),
                np.interp(cohort.age_years, ages, table[1, :, column]),
            )
            for table in (location, scale)
        )
        expected = np.nanmean(np.clip((values - middle) / spread, -2, 2))
        assert float(fitted.tensors["usual_score"][column]) == pytest.approx(expected, abs=1e-3)


SHIFT = {"rdw": 0.08, "albumin": 1.2, "ast": -0.15}
"""Of the second assay: of the logarithm, or in g/L."""


@pytest.fixture(scope="module")
def shifted(simulate: Simulate) -> tuple[Cohort, Cohort]:
    """People of three surveys, of which the last measured otherwise, and as all would have."""
    cohort, _, _ = simulate(9000, seed=17, missing=0.05)
    survey = np.array(["one", "two", "three"])[np.arange(9000) % 3]
    biomarkers = cohort.biomarkers.copy()
    rows = survey == "three"
    for name, shift in SHIFT.items():
        column = INDEX[name]
        values = biomarkers[rows, column]
        biomarkers[rows, column] = values * np.exp(shift) if LOG_SCALED[column] else values + shift
    one_assay = dataclasses.replace(cohort, survey=survey)
    return dataclasses.replace(one_assay, biomarkers=biomarkers), one_assay


def test_a_surveys_shift_is_found_and_taken_off(
    shifted: tuple[Cohort, Cohort], configuration: TrainingConfiguration
) -> None:
    cohort, one_assay = shifted
    before = cohort.biomarkers.copy()
    tensors, harmonised = fit_reference(cohort, configuration.network)
    np.testing.assert_array_equal(cohort.biomarkers, before)
    assert cohort.shifts == {}
    assert set(harmonised.shifts) == {"one", "two", "three"}
    for column, name in enumerate(NAMES):
        spread = {"albumin": 3.0, "lymphocyte_pct": 8.0}.get(name)
        spread = spread or float(tensors["scale"][..., column].median())
        found = {survey: of[name] for survey, of in harmonised.shifts.items()}
        # Against all three together: a third of it is the others', two thirds its own.
        difference = found["three"] - (found["one"] + found["two"]) / 2
        # 3000 people: a standard error of 1.05 / sqrt(3000) of a spread, and a half.
        assert difference == pytest.approx(SHIFT.get(name, 0.0), abs=4 * 0.024 * spread)
        # It is the whole of the people that stays where it is.
        assert sum(found.values()) == pytest.approx(0.0, abs=0.02 * spread)
        # What is taken off is what is recorded.
        for survey, shift in found.items():
            rows = (cohort.survey == survey) & np.isfinite(before[:, column])
            seen, kept = harmonised.biomarkers[rows, column], before[rows, column]
            taken = np.log(kept / seen) if LOG_SCALED[column] else kept - seen
            np.testing.assert_allclose(taken, shift, rtol=0, atol=1e-4)
    # The same people as if one assay had measured them.
    away = harmonised.biomarkers[:, INDEX["rdw"]] / one_assay.biomarkers[:, INDEX["rdw"]]
    assert np.nanstd(np.log(away)) < 0.01


def test_the_reference_is_of_the_harmonised_values(
    shifted: tuple[Cohort, Cohort], configuration: TrainingConfiguration
) -> None:
    """Its spread is that of one assay, not of the mixture."""
    cohort, one_assay = shifted
    column = INDEX["rdw"]
    seen, single = (
        fit_reference(people, configuration.network)[0]["scale"][..., column].median()
        for people in shifted
    )
    raw = np.log(cohort.biomarkers[:, column])
    mixture = np.nanstd(raw) / np.nanstd(np.log(one_assay.biomarkers[:, column]))
    assert mixture > 1.05
    assert float(seen / single) == pytest.approx(1.0, abs=0.02)


def test_the_spread_between_surveys_is_that_of_their_shifts(
    shifted: tuple[Cohort, Cohort], configuration: TrainingConfiguration
) -> None:
    tensors, harmonised = fit_reference(shifted[0], configuration.network)
    for column, name in enumerate(NAMES):
        shifts = [of[name] for of in harmonised.shifts.values()]
        expected = np.std(shifts, ddof=1)
        assert float(tensors["laboratory_sd"][column]) == pytest.approx(expected, rel=1e-5)
    assert float(tensors["laboratory_sd"][INDEX["rdw"]]) == pytest.approx(0.08 / 3**0.5, rel=0.1)


def test_one_survey_alone_has_no_shift_and_the_assays_own_imprecision(
    simulate: Simulate, configuration: TrainingConfiguration
) -> None:
    cohort, _, _ = simulate(3000, seed=18)
    tensors, same = fit_reference(cohort, configuration.network)
    np.testing.assert_array_equal(same.biomarkers, cohort.biomarkers)
    assert all(shift == 0.0 for shift in same.shifts["synthetic"].values())
    location = tensors["location"].double()
    for column, biomarker in enumerate(PANEL):
        size = 1.0 if biomarker.log_scaled else float(np.median(location[:, :, column]))
        expected = biomarker.variation.analytical / 100 * size
        assert float(tensors["laboratory_sd"][column]) == pytest.approx(expected, rel=1e-3)


def test_a_survey_that_hardly_measured_a_biomarker_keeps_its_values(
    shifted: tuple[Cohort, Cohort], configuration: TrainingConfiguration
) -> None:
    cohort = shifted[0]
    biomarkers = cohort.biomarkers.copy()
    column = INDEX["rdw"]
    third = np.flatnonzero((cohort.survey == "three") & np.isfinite(biomarkers[:, column]))
    biomarkers[third[FEWEST_FOR_SHIFT - 1 :], column] = np.nan
    few = dataclasses.replace(cohort, biomarkers=biomarkers)
    _, harmonised = fit_reference(few, configuration.network)
    assert "rdw" not in harmonised.shifts["three"]
    assert "albumin" in harmonised.shifts["three"]
    rows = third[: FEWEST_FOR_SHIFT - 1]
    np.testing.assert_array_equal(harmonised.biomarkers[rows, column], biomarkers[rows, column])


def test_margins_increase_even_where_most_values_are_tied(
    simulate: Simulate, configuration: TrainingConfiguration
) -> None:
    cohort, _, _ = simulate(4000, seed=12)
    coarse = cohort.biomarkers.copy()
    coarse[:, INDEX["albumin"]] = np.round(coarse[:, INDEX["albumin"]] / 4) * 4
    coarse[:, INDEX["rdw"]] = np.round(coarse[:, INDEX["rdw"]])
    tensors, _ = fit_reference(
        dataclasses.replace(cohort, biomarkers=coarse), configuration.network
    )
    assert float(tensors["margin"].diff(dim=1).min()) > 0.99 * NARROWEST_PIECE


def test_values_at_a_floor_are_put_where_the_mean_score_below_it_is(
    simulate: Simulate, place: Place, configuration: TrainingConfiguration
) -> None:
    cohort, _, _ = simulate(12000, seed=13)
    limit, column = 1.5, INDEX["crp"]
    survey = np.where(np.arange(len(cohort)) % 3 == 0, "old", "new")
    floored = cohort.biomarkers.copy()
    at_floor = (survey == "old") & (floored[:, column] <= limit)
    floored[at_floor, column] = limit
    seen = dataclasses.replace(cohort, biomarkers=floored, survey=survey)
    before = floored.copy()
    floor = DetectionFloor(survey="old", biomarker="crp", limit=limit)
    tensors, placed = fit_reference(seen, configuration.network, (floor,))

    np.testing.assert_array_equal(seen.biomarkers, before)
    untouched = np.ones_like(floored, bool)
    untouched[at_floor, column] = False
    # Harmonised by hardly anything: the two surveys are of one assay, but for chance.
    moved = placed.biomarkers[untouched] / floored[untouched] - 1
    assert np.nanmedian(np.abs(moved)) < 0.01

    truth = place(cohort.age_years.astype(np.float64), cohort.sex)[:, column]
    score = np.log(limit) - truth  # the spread of ln CRP is 1
    expected = -norm.pdf(score) / norm.cdf(score)
    got = np.log(placed.biomarkers[:, column]) - truth
    middle = at_floor & (np.abs(cohort.age_years - 52) < 27)
    assert np.abs(got - expected)[middle].mean() < 0.08
    # On average that is the mean of what was hidden.
    hidden = np.log(cohort.biomarkers[at_floor, column]) - truth[at_floor]
    assert got[at_floor].mean() == pytest.approx(hidden.mean(), abs=0.06)
    # The survey with the floor adds nothing to the reference of CRP, but to all others.
    alone, _ = fit_reference(cohort.select(survey == "new"), configuration.network)
    torch.testing.assert_close(tensors["location"][..., column], alone["location"][..., column])
    assert "crp" not in placed.shifts["old"]
    assert set(placed.shifts["new"]) == set(NAMES)
    assert placed.shifts["new"]["crp"] == pytest.approx(0.0, abs=1e-9)
    assert not torch.equal(tensors["location"][..., 1], alone["location"][..., 1])


def test_a_correlation_known_in_pairs_only_is_made_positive_definite(
    simulate: Simulate, configuration: TrainingConfiguration
) -> None:
    # No joint distribution has these three correlations; each third of the people
    # shows one of them.
    cohort, _, _ = simulate(6000, seed=14)
    generator = np.random.default_rng(0)
    biomarkers = cohort.biomarkers.copy()
    third = np.arange(len(cohort)) % 3
    columns = [INDEX["hba1c"], INDEX["rdw"], INDEX["crp"]]
    for group, sign in enumerate((1, 1, -1)):
        rows = third == group
        first, second, hidden = (columns[(group + k) % 3] for k in range(3))
        common = generator.standard_normal(rows.sum())
        for column, direction in ((first, 1), (second, sign)):
            noise = 0.2 * generator.standard_normal(rows.sum())
            biomarkers[rows, column] = np.exp(3.3 + 0.1 * (direction * common + noise))
        biomarkers[rows, hidden] = np.nan
    tensors, _ = fit_reference(
        dataclasses.replace(cohort, biomarkers=biomarkers), configuration.network
    )
    correlation = tensors["correlation"].double()
    assert float(torch.linalg.eigvalsh(correlation).min()) > 5e-4
    torch.testing.assert_close(correlation, correlation.T)
    signs = [correlation[columns[k], columns[(k + 1) % 3]] for k in range(3)]
    assert [bool(value > 0.2) for value in signs] == [True, True, False]


@pytest.mark.parametrize("name", ["rdw", "crp and hba1c"])
def test_too_few_people_are_refused_with_where(
    simulate: Simulate, configuration: TrainingConfiguration, name: str
) -> None:
    cohort, _, _ = simulate(6000, seed=15)
    biomarkers = cohort.biomarkers.copy()
    men = (cohort.sex == 1) & (cohort.age_years > 70)
    if name == "rdw":
        biomarkers[men, INDEX["rdw"]] = np.nan
    else:
        odd = np.arange(len(cohort)) % 2 == 1
        biomarkers[men & odd, INDEX["crp"]] = np.nan
        biomarkers[men & ~odd, INDEX["hba1c"]] = np.nan
    with pytest.raises(CohortError) as caught:
        fit_reference(dataclasses.replace(cohort, biomarkers=biomarkers), configuration.network)
    message = str(caught.value)
    assert "people of sex 1 within 5 years of age" in message
    assert f"have {name}; at least {FEWEST_PEOPLE} are needed" in message
    assert "Narrow network.first_age and last_age" in message


def test_an_age_near_people_takes_their_reference_with_a_warning(
    simulate: Simulate, configuration: TrainingConfiguration, caplog: pytest.LogCaptureFixture
) -> None:
    """As after surveys that top-code ages, or measured a biomarker only in young people."""
    cohort, _, _ = simulate(6000, seed=15)
    shape = configuration.network
    whole, _ = fit_reference(cohort, shape)
    assert not caplog.records
    biomarkers = cohort.biomarkers.copy()
    last = shape.last_age - 1
    old = (cohort.sex == 1) & (cohort.age_years > last - WINDOW_YEARS - 0.01)
    biomarkers[old, INDEX["crp"]] = np.nan
    tensors, _ = fit_reference(dataclasses.replace(cohort, biomarkers=biomarkers), shape)
    assert [record.message for record in caplog.records] == [
        f"reference: fewer than {FEWEST_PEOPLE} people of sex 1 have crp within 5 years of age "
        f"{last}, {last + 1}; these ages take the reference of the nearest age with enough people"
    ]
    for name in ("location", "scale", "coefficient_of_variation"):
        table = tensors[name]
        assert bool(torch.isfinite(table).all())
        assert torch.equal(table[:, :, INDEX["rdw"]], whole[name][:, :, INDEX["rdw"]])
    # The last table entry is smoothed over three ages, and all have the value of the first.
    near = (cohort.sex == 1) & (np.abs(cohort.age_years - (last - 1)) <= WINDOW_YEARS)
    low, high = np.nanpercentile(np.log(biomarkers[near, INDEX["crp"]]), [25, 75])
    expected = (high - low) / (norm.ppf(0.75) - norm.ppf(0.25))
    assert float(tensors["scale"][1, -1, INDEX["crp"]]) == pytest.approx(expected, rel=1e-5)


def test_an_age_without_people_takes_the_nearest_ages_value(
    simulate: Simulate, configuration: TrainingConfiguration
) -> None:
    cohort, _, _ = simulate(3000, seed=15)
    shape = configuration.network
    young = cohort.select(cohort.age_years < shape.last_age - WINDOW_YEARS - 2)

    def summarise(near: npt.NDArray[np.bool_]) -> list[float]:
        assert near.any()
        return [float(young.age_years[near].mean())]

    table = tabulate_over_ages(young, shape, summarise)[:, :, 0]
    assert np.isfinite(table).all()
    assert (np.diff(table) >= 0).all()
    assert (table[:, -1] == table[:, -2]).all()


def test_a_biomarker_with_one_value_for_most_people_is_refused(
    simulate: Simulate, configuration: TrainingConfiguration
) -> None:
    cohort, _, _ = simulate(3000, seed=16)
    biomarkers = cohort.biomarkers.copy()
    biomarkers[:, INDEX["ggt"]] = 10.0
    with pytest.raises(CohortError, match="ggt does not vary around age"):
        fit_reference(dataclasses.replace(cohort, biomarkers=biomarkers), configuration.network)
