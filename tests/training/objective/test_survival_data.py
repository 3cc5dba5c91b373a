"""The survival data of a cohort, and their likelihood."""

import dataclasses

import numpy as np
import pytest
import torch
from henaw.model.checkpoint import Checkpoint
from henaw.model.network import Features, Network
from henaw.training.cohorts.cohort import Cohort
from henaw.training.configuration import FitConfiguration
from henaw.training.objective import survival_data as module
from henaw.training.objective.objective import Weights
from henaw.training.objective.survival_data import (
    SurvivalData,
    build_design,
    build_survival_data,
    compute_gap,
    compute_likelihood,
    measure_scales,
)
from torch.autograd.functional import jacobian


@pytest.fixture(scope="module")
def features(network: Network, synthetic: tuple[Cohort, object, object]) -> Features:
    cohort = synthetic[0]
    with torch.no_grad():
        return network.build_features(
            torch.from_numpy(cohort.biomarkers),
            torch.from_numpy(cohort.age_years),
            torch.from_numpy(cohort.sex),
        )


def test_scales_are_those_of_the_features(people: SurvivalData, features: Features) -> None:
    scales = measure_scales(people, 1)
    main = features.main.transpose(0, 1).flatten(1).double()
    torch.testing.assert_close(scales.main, main.std(0), rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(scales.pairs, features.pairs.double().std(0))
    assert scales.surveys == 2


def test_the_gap_of_people_is_that_of_the_network(
    people: SurvivalData, features: Features, network: Network, checkpoint: Checkpoint
) -> None:
    """Except for the typical years, which each person has."""
    weights = draw_weights(checkpoint)
    gap = compute_gap(weights, people, precision=torch.float64)
    expected = (features.main.double() * weights.weight.unsqueeze(1)).sum((0, 2))
    expected = expected + features.pairs.double() @ weights.interaction_weight
    torch.testing.assert_close(gap, expected, rtol=1e-5, atol=1e-5)
    typical = torch.linspace(-3, 3, len(people)).double()
    moved = compute_gap(
        weights,
        dataclasses.replace(people, typical=typical),
        precision=torch.float64,
    )
    torch.testing.assert_close(moved, gap + typical)
    assert not people.typical.any()


def draw_weights(checkpoint: Checkpoint) -> Weights:
    generator = torch.Generator().manual_seed(7)
    shape = checkpoint.tensors["weight"].shape
    return Weights(
        weight=torch.randn(shape, generator=generator).double(),
        interaction_weight=torch.randn(2, generator=generator).double(),
        slope=torch.tensor([0.08, 0.1]).double(),
        level=torch.tensor([-9.5, -9.0, 0.1, -0.1, 0.2]).double(),
    )


def test_the_likelihood_is_that_of_the_sexes_and_surveys_looked_up(
    people: SurvivalData, synthetic: tuple[Cohort, object, object], checkpoint: Checkpoint
) -> None:
    weights, cohort = draw_weights(checkpoint), synthetic[0]
    gap = torch.linspace(-5, 5, len(people)).double()
    parts = compute_likelihood(weights, people, gap)
    slope = weights.slope.numpy()[cohort.sex]
    survey = np.unique(cohort.survey, return_inverse=True)[1]
    incomplete = np.isnan(cohort.biomarkers).any(1)
    intercept, by_survey = weights.level.numpy()[:2], weights.level.numpy()[2:4]
    level = intercept[cohort.sex] + by_survey[survey] + 0.2 * incomplete
    log_hazard = level + slope * (people.age.numpy() + gap.numpy())
    time, event = people.time.numpy(), people.event.numpy()
    expected = np.exp(log_hazard) * np.expm1(slope * time) / slope
    assert float(parts["expected"]) == pytest.approx(expected.sum())
    assert float(parts["mortality"]) == pytest.approx(
        (expected - event * (log_hazard + slope * time)).sum()
    )
    assert float(parts["age"]) == pytest.approx(float((gap**2).sum()))


def test_the_design_is_the_derivative_of_the_log_hazard(
    people: SurvivalData, checkpoint: Checkpoint
) -> None:
    weights, some = draw_weights(checkpoint), people.select(slice(0, 40))
    design, expected = build_design(weights, some)

    def log_hazard(flat: torch.Tensor) -> torch.Tensor:
        moved = weights.unflatten(flat)
        gap = compute_gap(moved, some, precision=torch.float64)
        # Midway in the follow-up.
        slope = some.levels[:, :2] @ moved.slope
        return some.levels @ moved.level + slope * (some.age + gap + 0.5 * some.time)

    wanted = jacobian(log_hazard, weights.flatten())
    torch.testing.assert_close(design, wanted)
    gap = compute_gap(weights, some, precision=torch.float64)
    torch.testing.assert_close(expected.sum(), compute_likelihood(weights, some, gap)["expected"])


def test_pieces_make_no_difference(
    people: SurvivalData,
    network: Network,
    synthetic: tuple[Cohort, object, object],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "_PIECE", 700)
    again = build_survival_data(network, synthetic[0], FitConfiguration())
    torch.testing.assert_close(vars(again), vars(people), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(
        vars(measure_scales(again, 1)), vars(measure_scales(people, 1)), rtol=1e-5, atol=1e-7
    )


def test_some_people_are_chosen_by_row(people: SurvivalData) -> None:
    rows = torch.from_numpy(np.random.default_rng(6).permutation(len(people))[:500])
    some = people.select(rows)
    assert len(some) == 500
    for name, column in vars(people).items():
        assert torch.equal(getattr(some, name), column[rows])
