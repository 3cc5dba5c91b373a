"""The fit by mini-batches: the other method's answer, whatever interrupts it."""

import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from henaw.model.checkpoint import Checkpoint
from henaw.model.errors import FitError
from henaw.training.cohort import Cohort
from henaw.training.configuration import FitConfiguration
from henaw.training.execution import Execution
from henaw.training.loop import BatchProblem, Schedule
from henaw.training.metrics import compute_c_index
from henaw.training.objective import Solution
from henaw.training.people import People, compute_gap
from henaw.training.problem import Problem
from henaw.training.states import StateFolder
from torch import Tensor

PROCESS = Path(__file__).with_name("fit_batches.py")
Make = Callable[..., BatchProblem]
EPOCHS = 400
PENALISED = FitConfiguration(elastic_weight=5e-3)
"""With 3000 people, a weaker penalty leaves directions in which the loss hardly changes,
and two sound solutions may lie apart."""


def solve(problem: BatchProblem) -> Solution:
    return problem.solve("point", None, start=None)


def measure_gap(problem: BatchProblem, people: People, free: Tensor) -> np.ndarray:
    weights = problem.objective.unpack(free)
    return compute_gap(weights, people, slice(None), precision=torch.float64).numpy()


def measure_total(problem: Problem, free: Tensor, weight: Tensor, *, causes: bool) -> float:
    people = dataclasses.replace(problem.people, weight=weight)
    return float(sum(problem.compute_loss(free, people, causes=causes).values()))


@pytest.fixture(scope="module")
def exact(people: People, checkpoint: Checkpoint) -> tuple[Problem, Solution]:
    problem = Problem(people, checkpoint.network, PENALISED)
    return problem, problem.solve(None, 400)


@pytest.mark.parametrize("precision", ["float64", "mixed"])
def test_both_methods_agree(
    make_problem: Make,
    exact: tuple[Problem, Solution],
    people: People,
    synthetic: tuple[Cohort, object, object],
    precision: str,
) -> None:
    other, expected = exact
    problem = make_problem(fit=PENALISED, epochs=EPOCHS, batch_size=1500, precision=precision)
    found = solve(problem)
    least, reached, first = (
        measure_total(other, free, people.weight, causes=True)
        for free in (expected.free, found.free, problem.objective.start())
    )
    assert sum(found.loss.values()) == pytest.approx(reached, rel=2e-4)
    assert -1e-6 <= reached - least < 1e-3 * (first - least)
    gap, wanted = (measure_gap(problem, people, free) for free in (found.free, expected.free))
    assert np.corrcoef(gap, wanted)[0, 1] > 0.999
    hazards = [people.age.numpy() + years for years in (gap, wanted)]
    c_index, c_wanted = (compute_c_index(hazard, synthetic[0])["all"] for hazard in hazards)
    assert c_index == pytest.approx(c_wanted, abs=1e-3)
    assert c_index > compute_c_index(people.age.numpy(), synthetic[0])["all"] + 0.005
    torch.testing.assert_close(found.slope, expected.slope, rtol=0.02, atol=0)
    torch.testing.assert_close(found.intercept, expected.intercept, rtol=0.02, atol=0)
    weights = (found.weight.flatten(), expected.weight.flatten())
    assert float(torch.corrcoef(torch.stack(weights))[0, 1]) > 0.99


def test_a_refit_counts_people_as_often_as_drawn(
    make_problem: Make, exact: tuple[Problem, Solution], people: People
) -> None:
    other, point = exact
    drawn = np.random.default_rng(4).multinomial(len(people), np.full(len(people), 1 / len(people)))
    weight = torch.from_numpy(drawn).double()
    expected = other.solve(weight, 200, start=point)
    problem = make_problem(
        fit=PENALISED, batch_size=1500, member_epochs=200, member_learning_rate=0.1
    )
    found = problem.solve("refit-1", weight, start=point)
    least, reached, first = (
        measure_total(other, solution.free, weight, causes=False)
        for solution in (expected, found, point)
    )
    assert -1e-6 <= reached - least < 0.1 * (first - least)
    torch.testing.assert_close(found.cause_weight, point.cause_weight)


def test_going_on_from_a_state_changes_no_bit(make_problem: Make, tmp_path: Path) -> None:
    whole = solve(make_problem(epochs=4, save_steps=2))
    execution = Execution(work=tmp_path)
    solve(make_problem(epochs=4, save_steps=2, execution=execution))
    folder = tmp_path / "states" / "synthetic" / "point"
    states = sorted(folder.glob("state-*"))
    assert len(states) == 3
    # Two states back is in the middle of the last epoch.
    for newest in reversed(states[1:]):
        newest.unlink()
    before = StateFolder(folder).load()
    assert before is not None
    assert before.batch > 0
    again = solve(make_problem(epochs=4, save_steps=2, execution=execution))
    assert torch.equal(again.free, whole.free)
    lines = [json.loads(line) for line in (tmp_path / "watch.jsonl").read_text().splitlines()]
    epochs = [line["epoch"] for line in lines if "epoch" in line]
    assert epochs == [1, 2, 3, 4]


@pytest.fixture(scope="module")
def people_path(people: People, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("people") / "synthetic.safetensors"
    safetensors.torch.save_file(dict(vars(people)), path)
    return path


def run_process(*command: str) -> str:
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=200, env=environment
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def uninterrupted(
    people_path: Path, shipped_checkpoint_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> Tensor:
    work = tmp_path_factory.mktemp("alone")
    arguments = [str(people_path), str(shipped_checkpoint_path), str(work), str(work / "free")]
    run_process(sys.executable, str(PROCESS), *arguments)
    return safetensors.torch.load_file(work / "free")["free"]


def test_killed_at_any_moment_it_ends_in_the_same_bits(
    people_path: Path, shipped_checkpoint_path: Path, uninterrupted: Tensor, tmp_path: Path
) -> None:
    arguments = [people_path, shipped_checkpoint_path, tmp_path / "work", tmp_path / "free"]
    told = run_process(sys.executable, str(PROCESS), "--kill", *map(str, arguments))
    assert int(told.split()[1]) >= 3
    found = safetensors.torch.load_file(tmp_path / "free")["free"]
    assert torch.equal(found, uninterrupted)
    states = tmp_path / "work" / "states" / "synthetic" / "point"
    names = sorted(path.name for path in states.iterdir())
    assert len(names) == 4
    assert names[0] == "best.safetensors"


def test_two_processes_give_the_weights_of_one(
    people_path: Path, shipped_checkpoint_path: Path, uninterrupted: Tensor, tmp_path: Path
) -> None:
    arguments = [people_path, shipped_checkpoint_path, tmp_path / "work", tmp_path / "free"]
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    run_process(sys.executable, *launch, str(PROCESS), *map(str, arguments))
    found = safetensors.torch.load_file(tmp_path / "free")["free"]
    torch.testing.assert_close(found, uninterrupted, rtol=0, atol=1e-6)
    assert not torch.equal(found, torch.zeros_like(found))


def test_validation_stops_a_fit_that_no_longer_gains(make_problem: Make, tmp_path: Path) -> None:
    problem = make_problem(
        epochs=40,
        patience=2,
        learning_rate=2.0,
        warmup_share=0.0,
        validation_share=0.2,
        execution=Execution(work=tmp_path),
    )
    found = solve(problem)
    folder = tmp_path / "states" / "synthetic" / "point"
    state = StateFolder(folder).load()
    assert state is not None
    assert state.finished
    assert state.epoch < 40
    losses = [record["validation_loss"] for record in state.history]
    assert state.best_loss == min(losses)
    assert len(losses) - 1 - losses.index(min(losses)) == 2
    assert torch.equal(found.free, state.best_free)
    assert not torch.equal(found.free, state.free)


def test_the_history_is_bounded(make_problem: Make, tmp_path: Path) -> None:
    solve(make_problem(epochs=5, max_history_size=2, execution=Execution(work=tmp_path)))
    state = StateFolder(tmp_path / "states" / "synthetic" / "point").load()
    assert state is not None
    assert [record["epoch"] for record in state.history] == [4, 5]


def test_records_tell_what_is_watched(make_problem: Make, tmp_path: Path) -> None:
    solve(make_problem(epochs=2, log_steps=2, execution=Execution(work=tmp_path)))
    lines = [json.loads(line) for line in (tmp_path / "watch.jsonl").read_text().splitlines()]
    steps = [line for line in lines if "epoch" not in line]
    assert [line["step"] for line in steps] == [2, 4, 6, 8, 10, 12]
    for line in steps:
        assert {
            "loss/mortality",
            "loss/cause",
            "loss/elastic",
            "gradient_norm",
            "learning_rate",
            "batch_seconds",
            "out_of_memory",
        } <= set(line)
        assert line["batch_seconds"] > 0


def test_a_loss_that_is_not_finite_stops_and_saves_the_batch(
    make_problem: Make, people: People, tmp_path: Path
) -> None:
    time = people.time.clone()
    time[1234] = torch.nan
    crowd = dataclasses.replace(people, time=time)
    with pytest.raises(FitError, match=r"finite loss at step \d of point.*mortality=nan"):
        solve(make_problem(crowd=crowd, execution=Execution(work=tmp_path)))
    (path,) = tmp_path.rglob("batch-*.safetensors")
    saved = safetensors.torch.load_file(path)
    assert path.stat().st_mode & 0o777 == 0o600
    bad = torch.isnan(saved["time"])
    assert saved["rows"][bad].tolist() == [1234]
    assert torch.isfinite(saved["free"]).all()
    torch.testing.assert_close(saved["basis"][bad][0], people.basis[1234])
    with pytest.raises(FitError, match="--work"):
        solve(make_problem(crowd=crowd))


def test_the_learning_rate_rises_and_falls() -> None:
    schedule = Schedule(highest=0.4, steps=100, warmup=10)
    rates = [schedule.look_up(step) for step in range(100)]
    assert rates[0] == pytest.approx(0.04)
    assert rates[9] == pytest.approx(0.4)
    assert rates[55] == pytest.approx(0.2)
    assert 0 < rates[99] < 1e-3
    assert rates[:10] == sorted(rates[:10])
    assert rates[10:] == sorted(rates[10:], reverse=True)
