"""The reference of a synthetic cohort, against what it was simulated from."""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pytest
import torch
from henaw.model.biomarkers import INDEX, NAMES
from henaw.model.configuration import RATIO, VARIABLES
from henaw.model.errors import CohortError
from henaw.model.network import Network
from henaw.model.transforms import LOG_SCALED
from henaw.training.cohort import Cohort
from henaw.training.configuration import DetectionFloor, TrainingConfiguration
from henaw.training.reference import FEWEST_PEOPLE, NARROWEST_PIECE, fit_reference
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
    location, scale, *_ = network.look_up_reference(age, sex).split(network.sections, dim=1)
    scores, known, _ = network.compute_scores(torch.from_numpy(cohort.biomarkers), location, scale)
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


def test_basis_functions_and_products_are_centred_at_every_age(fitted: Fitted) -> None:
    cohort, network = fitted.cohort, fitted.network
    age, sex = torch.from_numpy(cohort.age_years), torch.from_numpy(cohort.sex)
    features = network.build_features(torch.from_numpy(cohort.biomarkers), age, sex)
    known = torch.from_numpy(~np.isnan(cohort.biomarkers))
    both = known[:, INDEX["crp"]] & known[:, INDEX["hba1c"]]
    for low in (25, 45, 65):
        band = torch.from_numpy((cohort.age_years >= low) & (cohort.age_years < low + 15))
        for column in range(NINE):
            rows = band & known[:, column]
            assert float(features.centred[rows, column].mean(0).abs().max()) < 0.06
        assert float(features.pairs[band & both, 0].mean().abs()) < 0.04


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
    np.testing.assert_array_equal(placed.biomarkers[untouched], floored[untouched])

    truth = place(cohort.age_years.astype(np.float64), cohort.sex)[:, column]
    score = np.log(limit) - truth  # the spread of ln CRP is 1
    expected = -norm.pdf(score) / norm.cdf(score)
    got = np.log(placed.biomarkers[:, column]) - truth
    middle = at_floor & (np.abs(cohort.age_years - 52) < 27)
    assert np.abs(got - expected)[middle].mean() < 0.08
    # On average that is the mean of what was hidden.
    hidden = np.log(cohort.biomarkers[at_floor, column]) - truth[at_floor]
    assert got[at_floor].mean() == pytest.approx(hidden.mean(), abs=0.06)
    # The floored survey tells nothing of the reference of CRP, all of the others'.
    alone, _ = fit_reference(cohort.select(survey == "new"), configuration.network)
    torch.testing.assert_close(tensors["location"][..., column], alone["location"][..., column])
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
    assert f"at least {FEWEST_PEOPLE} people with {name} within 5 years of age" in message
    assert "of sex 1" in message
    assert "narrow first_age and last_age" in message


def test_a_biomarker_that_most_people_share_one_value_of_is_refused(
    simulate: Simulate, configuration: TrainingConfiguration
) -> None:
    cohort, _, _ = simulate(3000, seed=16)
    biomarkers = cohort.biomarkers.copy()
    biomarkers[:, INDEX["ggt"]] = 10.0
    with pytest.raises(CohortError, match="expected ggt to differ among people around age"):
        fit_reference(dataclasses.replace(cohort, biomarkers=biomarkers), configuration.network)
