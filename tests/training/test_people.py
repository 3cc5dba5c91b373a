"""The features of people: of both methods, and what batches make of them."""

import dataclasses

import numpy as np
import pytest
import torch
from henaw.model.checkpoint import Checkpoint
from henaw.model.network import Features, Network
from henaw.training import people as module
from henaw.training.cohort import Cohort
from henaw.training.configuration import FitConfiguration, TrainingConfiguration
from henaw.training.objective import Objective, Weights
from henaw.training.people import (
    People,
    build_people,
    compute_cause_part,
    compute_gap,
    compute_likelihood,
    measure_scales,
)
from henaw.training.problem import Problem


@pytest.fixture(scope="module")
def problem(
    people: People, checkpoint: Checkpoint, configuration: TrainingConfiguration
) -> Problem:
    return Problem(people, checkpoint.network, configuration.fit)


@pytest.fixture(scope="module")
def features(network: Network, synthetic: tuple[Cohort, object, object]) -> Features:
    cohort = synthetic[0]
    with torch.no_grad():
        return network.build_features(
            torch.from_numpy(cohort.biomarkers),
            torch.from_numpy(cohort.age_years),
            torch.from_numpy(cohort.sex),
        )


def draw_free(objective: Objective) -> torch.Tensor:
    noise = torch.from_numpy(np.random.default_rng(5).normal(0, 0.1, sum(objective.sizes)))
    return objective.start() + noise


def test_scales_are_those_of_the_features(people: People, features: Features) -> None:
    scales = measure_scales(people)
    main = features.main.transpose(0, 1).flatten(1).double()
    torch.testing.assert_close(scales.main, main.std(0), rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(scales.pairs, features.pairs.double().std(0))
    torch.testing.assert_close(scales.causes, people.causes.double().std(0))
    assert scales.surveys == 2


def test_the_gap_of_people_is_that_of_the_network(
    people: People, features: Features, network: Network, checkpoint: Checkpoint
) -> None:
    """But for the typical years, which are people's own."""
    weights = draw_weights(checkpoint)
    gap = compute_gap(weights, people, slice(None), precision=torch.float64)
    expected = (features.main.double() * weights.weight.unsqueeze(1)).sum((0, 2))
    expected = expected + features.pairs.double() @ weights.interaction_weight
    torch.testing.assert_close(gap, expected, rtol=1e-5, atol=1e-5)
    typical = torch.linspace(-3, 3, len(people)).double()
    moved = compute_gap(
        weights,
        dataclasses.replace(people, typical=typical),
        slice(None),
        precision=torch.float64,
    )
    torch.testing.assert_close(moved, gap + typical)
    assert not people.typical.any()


def draw_weights(checkpoint: Checkpoint) -> Weights:
    generator = torch.Generator().manual_seed(7)
    shape = checkpoint.tensors["weight"].shape
    rest = ("intercept", "slope", "survey", "setting")
    causes = ("cause_weight", "cause_age_sex", "cause_setting")
    return Weights(
        weight=torch.randn(shape, generator=generator).double(),
        interaction_weight=torch.randn(2, generator=generator).double(),
        **dict.fromkeys((*rest, *causes), torch.zeros(1).double()),
    )


def test_the_loss_is_that_of_everyone_at_once(people: People, problem: Problem) -> None:
    objective, free = problem.objective, draw_free(problem.objective)
    weights = objective.unpack(free)
    everyone = slice(None)
    gap = compute_gap(weights, people, everyone, precision=torch.float64)
    parts = compute_likelihood(objective, weights, people, everyone, gap)
    parts |= compute_cause_part(objective, weights, people, everyone)
    expected = problem.compute_loss(free, problem.people, causes=True)
    assert expected["mortality"] != 0
    for name, part in parts.items():
        torch.testing.assert_close(part, expected[name], rtol=1e-6, atol=1e-9)
    assert "harm" not in expected


def test_a_problem_is_centred_by_years_added_to_each_gap(
    people: People, checkpoint: Checkpoint, configuration: TrainingConfiguration
) -> None:
    """Two years for all are the same as a baseline two years of slope lower."""
    problem = Problem(people, checkpoint.network, configuration.fit)
    free = draw_free(problem.objective)
    before = problem.compute_loss(free, problem.people, causes=False)["mortality"]
    problem.centre(torch.full((len(people),), 2.0).double())
    after = problem.compute_loss(free, problem.people, causes=False)["mortality"]
    assert abs(float(after - before)) > 1e-4
    weights = problem.objective.unpack(free)
    lower = free.clone()
    start = sum(problem.objective.sizes[:2])
    lower[start : start + 2] -= 2.0 * weights.slope
    again = problem.compute_loss(lower, problem.people, causes=False)["mortality"]
    torch.testing.assert_close(again, before)


def test_pieces_make_no_difference(
    people: People,
    network: Network,
    synthetic: tuple[Cohort, object, object],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "_PIECE", 700)
    again = build_people(network, synthetic[0], FitConfiguration())
    torch.testing.assert_close(vars(again), vars(people), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(
        vars(measure_scales(again)), vars(measure_scales(people)), rtol=1e-5, atol=1e-7
    )


def test_some_people_keep_their_deaths(people: People) -> None:
    rows = torch.from_numpy(np.random.default_rng(6).permutation(len(people))[:500])
    some = people.select(rows)
    known = people.death[rows] >= 0
    torch.testing.assert_close(some.death[known], torch.arange(int(known.sum())))
    assert (some.death[~known] == -1).all()
    torch.testing.assert_close(some.causes, people.causes[people.death[rows][known]])
    torch.testing.assert_close(some.cause, people.cause[people.death[rows][known]])
    torch.testing.assert_close(some.basis, people.basis[rows])
