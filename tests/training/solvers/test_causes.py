"""The causes' shares, against another implementation's."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from henaw.model.network import Network
from henaw.training.cohorts.cohort import Cohort
from henaw.training.configuration import FitConfiguration
from henaw.training.solvers.causes import Deaths, build_deaths, count_by_class, solve_causes
from statsmodels.discrete.discrete_model import MNLogit

COUNT = 4000


@pytest.fixture(scope="module")
def deaths() -> Deaths:
    """Three causes, the second more often the higher the first feature is."""
    generator = np.random.default_rng(8)
    features = generator.normal(0, (1.0, 3.0), (COUNT, 2))
    age_sex = np.column_stack([np.ones(COUNT), generator.normal(size=(COUNT, 3))])
    logits = np.column_stack([np.zeros(COUNT), 0.8 * features[:, 0], 0.5 * age_sex[:, 1]])
    cause = (logits + generator.gumbel(size=logits.shape)).argmax(1)
    return Deaths(
        features=torch.from_numpy(features),
        age_sex=torch.from_numpy(age_sex),
        adjustments=torch.zeros(COUNT, 1).double(),
        cause=torch.from_numpy(cause),
    )


def test_shares_are_those_of_statsmodels(deaths: Deaths) -> None:
    found = solve_causes(deaths, 3, FitConfiguration(cause_ridge=1e-7))
    design = torch.cat([deaths.features, deaths.age_sex], dim=1)
    logits = design @ torch.cat([found.weight, found.age_sex], dim=1).T
    wanted = MNLogit(deaths.cause.numpy(), design.numpy()).fit(disp=False).predict()
    np.testing.assert_allclose(torch.softmax(logits, 1).numpy(), wanted, atol=1e-3)
    assert found.search.stopped == "flat"


def test_a_ridge_holds_effects_back(deaths: Deaths) -> None:
    loose, tight = (
        solve_causes(deaths, 3, FitConfiguration(cause_ridge=ridge)) for ridge in (1e-6, 1.0)
    )
    assert tight.weight.abs().max() < 0.2 * loose.weight.abs().max()


def test_without_deaths_or_causes_every_share_is_the_same(deaths: Deaths) -> None:
    nobody = Deaths(**{name: column[:0] for name, column in vars(deaths).items()})
    of_one = Deaths(**vars(deaths) | {"cause": torch.zeros_like(deaths.cause)})
    for some, classes in ((nobody, 3), (nobody, 1), (of_one, 1)):
        found = solve_causes(some, classes, FitConfiguration())
        assert not found.weight.any()
        assert not found.age_sex.any()


def test_deaths_are_those_of_a_known_cause_within_the_follow_up(
    network: Network, simulate: Callable[..., tuple[Cohort, object, object]]
) -> None:
    cohort, _, _ = simulate(500, seed=12)
    deaths = build_deaths(network, cohort, FitConfiguration())
    within = cohort.event & (cohort.time_years <= 10)
    assert len(deaths) == within.sum() < cohort.event.sum()
    assert count_by_class(deaths, 5) == np.bincount(cohort.cause[within], minlength=5).tolist()
