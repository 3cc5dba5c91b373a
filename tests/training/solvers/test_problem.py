"""The full-batch problem: its sums, its gradient, and one minimum from anywhere."""

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from henaw.model.checkpoint import Checkpoint
from henaw.model.errors import FitError
from henaw.training.configuration import FitConfiguration, TrainingConfiguration
from henaw.training.execution.execution import Execution
from henaw.training.execution.threads import one_thread
from henaw.training.objective.objective import Solution, Weights
from henaw.training.objective.survival_data import SurvivalData, compute_gap
from henaw.training.solvers import population as module
from henaw.training.solvers.population import Population
from henaw.training.solvers.problem import FitProblem
from torch import Tensor

OUT_OF_MEMORY = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")


@pytest.fixture
def problem(
    people: SurvivalData, checkpoint: Checkpoint, configuration: TrainingConfiguration
) -> FitProblem:
    fit = dataclasses.replace(configuration.fit, age_weight=1e-3)
    return FitProblem(people, checkpoint.network, fit)


def draw_free(problem: FitProblem, seed: int = 5) -> Tensor:
    start = problem.objective.start()
    return start + torch.from_numpy(np.random.default_rng(seed).normal(0, 0.1, len(start)))


def solve(problem: FitProblem, start: Tensor | None = None) -> Solution:
    """The minimum, as a fit finds it."""
    start = problem.objective.start() if start is None else start
    for interactions in (False, True):
        solution, search = problem.solve("point", 400, start=start, interactions=interactions)
        assert search.stopped == "flat"
        start = solution.free
        assert interactions or not solution.interaction_weight.any()
    return solution


def cut(problem: FitProblem, piece: int) -> None:
    """Compute so many people together."""
    problem.population._piece = piece


def test_the_gradient_is_that_of_differences(problem: FitProblem) -> None:
    free = draw_free(problem)
    _, gradient = problem.evaluate(free)
    for place in (0, 7, 30, len(free) - 7, len(free) - 4, len(free) - 1):
        step = torch.zeros_like(free)
        step[place] = 1e-5
        ahead, behind = (sum(problem.evaluate(free + s)[0].values()) for s in (step, -step))
        assert float(gradient[place]) == pytest.approx((ahead - behind) / 2e-5, rel=1e-4, abs=1e-8)


def test_the_curvature_is_near_that_of_differences(problem: FitProblem) -> None:
    """It leaves out what depends on who died, and takes the middle of the follow-up."""
    free = solve(problem).free
    curvature = problem.curve(free)
    generator = torch.Generator().manual_seed(1)
    for _ in range(5):
        step = 1e-4 * torch.randn(len(free), generator=generator, dtype=torch.float64)
        change = problem.evaluate(free + step)[1] - problem.evaluate(free - step)[1]
        wanted, given = float(step @ change) / 2, float(step @ curvature @ step)
        assert 0.3 < given / wanted < 3.0


def test_pieces_and_threads_change_no_bit_and_sizes_hardly_any(
    people: SurvivalData, problem: FitProblem
) -> None:
    free = draw_free(problem)
    cut(problem, 700)
    parts, gradient = problem.evaluate(free)
    torch.set_num_threads(3)
    try:
        other = FitProblem(people, problem.objective.shape, problem.objective.configuration)
        cut(other, 700)
        with one_thread():
            again = other.evaluate(free)
    finally:
        torch.set_num_threads(1)
    assert again[0] == parts
    assert torch.equal(again[1], gradient)
    cut(problem, 3000)
    whole = problem.evaluate(free)
    assert whole[0] == pytest.approx(parts, rel=1e-12)
    torch.testing.assert_close(whole[1], gradient, rtol=1e-9, atol=1e-12)


def test_years_added_to_each_gap_equal_a_lower_baseline(
    problem: FitProblem, people: SurvivalData
) -> None:
    """Two years for all are the same as a baseline two years of slope lower."""
    problem.objective.configuration = dataclasses.replace(
        problem.objective.configuration, age_weight=0.0
    )
    problem.population._age_weight = 0.0
    free = draw_free(problem)
    before = problem.evaluate(free)[0]["mortality"]
    problem.population.centre(torch.full((len(people),), 2.0).double())
    assert abs(problem.evaluate(free)[0]["mortality"] - before) > 1e-4
    parts = problem.objective.split(free.clone())
    parts["intercept"] -= 2.0 * parts["slope"].exp()
    lower = torch.cat(list(parts.values()))
    assert problem.evaluate(lower)[0]["mortality"] == pytest.approx(before)


def test_a_weight_counts_a_person_that_many_times(
    people: SurvivalData, problem: FitProblem
) -> None:
    free = draw_free(problem)
    times = torch.from_numpy(np.random.default_rng(4).integers(0, 3, len(people)))
    problem.population.weigh(times.double())
    weighed = problem.population.evaluate(problem.objective.unpack(free).flatten())
    repeated = people.select(torch.repeat_interleave(torch.arange(len(people)), times))
    other = Population(
        repeated, problem.objective.unpack(free), Execution(), age_weight=1e-3
    ).evaluate(problem.objective.unpack(free).flatten())
    assert weighed[0] == pytest.approx(other[0])
    torch.testing.assert_close(weighed[1], other[1])
    problem.population.weigh(None)
    assert problem.population.evaluate(problem.objective.unpack(free).flatten())[0] != weighed[0]


def test_one_minimum_from_anywhere(problem: FitProblem, people: SurvivalData) -> None:
    gaps = []
    for start in (None, draw_free(problem), draw_free(problem, 6)):
        weights = problem.objective.unpack(solve(problem, start).free)
        assert weights.interaction_weight.abs().min() > 1e-3
        gaps.append(compute_gap(weights, people, precision=torch.float64))
    for gap in gaps[1:]:
        torch.testing.assert_close(gap, gaps[0], rtol=0, atol=1e-4)


def test_deaths_are_as_many_as_expected(problem: FitProblem) -> None:
    solution = solve(problem)
    assert problem.measure_calibration(solution) == pytest.approx(1.0, abs=0.02)


def limit_memory(monkeypatch: pytest.MonkeyPatch, count: int) -> list[int]:
    """Let a computation of more people fail."""
    compute, seen = module.compute_gap, []

    def limited(weights: Weights, people: SurvivalData, **options: Any) -> Tensor:
        seen.append(len(people))
        if len(people) > count:
            raise OUT_OF_MEMORY
        return compute(weights, people, **options)

    monkeypatch.setattr(module, "compute_gap", limited)
    return seen


def test_memory_that_runs_out_halves_the_piece(
    problem: FitProblem, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = draw_free(problem)
    cut(problem, 600)
    expected = problem.evaluate(free)
    cut(problem, 2400)
    limit_memory(monkeypatch, 700)
    found = problem.evaluate(free)
    assert found[0] == expected[0]
    assert torch.equal(found[1], expected[1])
    assert problem.population.out_of_memory == 2


def test_one_person_too_many_is_an_error(
    problem: FitProblem, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit_memory(monkeypatch, 0)
    with pytest.raises(FitError, match="one person at a time"):
        problem.evaluate(draw_free(problem))


def test_people_who_do_not_fit_on_the_device_are_copied_in_pieces(
    people: SurvivalData, problem: FitProblem, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = draw_free(problem)
    expected = problem.evaluate(free)
    move = SurvivalData.to

    def limited(self: SurvivalData, device: torch.device) -> SurvivalData:
        if len(self) > 800:
            raise OUT_OF_MEMORY
        return move(self, device)

    monkeypatch.setattr(SurvivalData, "to", limited)
    other = FitProblem(people, problem.objective.shape, problem.objective.configuration)
    cut(other, 800)
    found = other.evaluate(free)
    assert other.population.out_of_memory == 1
    torch.testing.assert_close(found[1], expected[1], rtol=1e-9, atol=1e-12)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_gives_the_sums_and_the_minimum_of_the_cpu(
    people: SurvivalData, problem: FitProblem
) -> None:
    execution = Execution(device=torch.device("cuda", 0))
    configuration = problem.objective.configuration
    other = FitProblem(people, problem.objective.shape, configuration, execution=execution)
    for seed in (5, 6):
        free = draw_free(problem, seed)
        (parts, gradient), (there, gradient_there) = (p.evaluate(free) for p in (problem, other))
        assert there == pytest.approx(parts, rel=1e-9)
        torch.testing.assert_close(gradient_there, gradient, rtol=1e-8, atol=1e-11)
    # What was recorded follows what changes between calls.
    for one in (problem, other):
        one.population.centre(torch.linspace(-1, 1, len(people)).double())
        one.population.weigh(torch.arange(len(people)).double() % 3)
    gaps = [
        compute_gap(one.objective.unpack(solve(one).free), people, precision=torch.float64)
        for one in (problem, other)
    ]
    torch.testing.assert_close(*gaps, rtol=0, atol=1e-4)


def test_a_loss_that_is_not_finite_is_an_error(
    people: SurvivalData, checkpoint: Checkpoint
) -> None:
    time = people.time.clone()
    time[7] = torch.nan
    problem = FitProblem(
        dataclasses.replace(people, time=time), checkpoint.network, FitConfiguration()
    )
    with pytest.raises(
        FitError, match=r"point: the loss or a parameter is not finite: mortality=nan"
    ):
        solve(problem)
