"""People for batches are the design of the other method, kept smaller."""

import numpy as np
import pytest
import torch
from henaw.model.checkpoint import Checkpoint
from henaw.model.network import Network
from henaw.training import people as module
from henaw.training.cohort import Cohort
from henaw.training.configuration import FitConfiguration, TrainingConfiguration
from henaw.training.objective import Objective
from henaw.training.people import (
    People,
    build_people,
    compute_cause_part,
    compute_gap,
    compute_likelihood,
    measure_scales,
)
from henaw.training.problem import Problem, build_design


@pytest.fixture(scope="module")
def problem(
    network: Network,
    synthetic: tuple[Cohort, object, object],
    checkpoint: Checkpoint,
    configuration: TrainingConfiguration,
) -> Problem:
    design = build_design(network, synthetic[0], FitConfiguration())
    return Problem(design, checkpoint.network, configuration.fit)


def draw_free(objective: Objective) -> torch.Tensor:
    noise = torch.from_numpy(np.random.default_rng(5).normal(0, 0.1, sum(objective.sizes)))
    return objective.start() + noise


def test_scales_are_those_of_the_design(people: People, problem: Problem) -> None:
    scales = measure_scales(people)
    torch.testing.assert_close(scales.main, problem.design.main.std(0), rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(scales.pairs, problem.design.pairs.std(0))
    torch.testing.assert_close(scales.causes, problem.design.causes.std(0))
    assert scales.surveys == 2


def test_the_loss_is_that_of_the_design(people: People, problem: Problem) -> None:
    objective, free = problem.objective, draw_free(problem.objective)
    weights = objective.unpack(free)
    everyone = slice(None)
    gap = compute_gap(weights, people, everyone, precision=torch.float64)
    parts = compute_likelihood(objective, weights, people, everyone, gap)
    parts |= compute_cause_part(objective, weights, people, everyone)
    expected = problem.compute_loss(free, people.weight, causes=True)
    assert expected["mortality"] != 0
    for name, part in parts.items():
        torch.testing.assert_close(part, expected[name], rtol=1e-6, atol=1e-9)


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
