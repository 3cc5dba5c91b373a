"""The fit by mini-batches: the same answer as without them, whatever interrupts it."""

import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import safetensors.torch
import torch
from henaw.model.checkpoint import Checkpoint
from henaw.model.errors import FitError
from henaw.training.configuration import FitConfiguration
from henaw.training.execution.execution import Execution
from henaw.training.minibatches.loop import MiniBatches, Schedule
from henaw.training.minibatches.states import StateFolder
from henaw.training.objective.survival_data import SurvivalData
from henaw.training.solvers.problem import FitProblem
from torch import Tensor

PROCESS = Path(__file__).with_name("fit_batches.py")
PENALISED = FitConfiguration(elastic_weight=5e-3)
Make = Callable[..., MiniBatches]


def test_they_come_near_the_minimum(
    make_batches: Make, people: SurvivalData, checkpoint: Checkpoint
) -> None:
    problem = FitProblem(people, checkpoint.network, PENALISED)
    start = make_batches(fit=PENALISED, epochs=100, batch_size=1500).solve()
    exact, _ = problem.solve("exact", 400, start=start)
    first, reached, least = (
        sum(problem.evaluate(free)[0].values())
        for free in (problem.objective.start(), start, exact.free)
    )
    assert 0 < reached - least < 0.02 * (first - least)


def test_continuing_from_a_state_changes_no_bit(make_batches: Make, tmp_path: Path) -> None:
    whole = make_batches(epochs=4, save_steps=2).solve()
    execution = Execution(work=tmp_path)
    make_batches(epochs=4, save_steps=2, execution=execution).solve()
    folder = tmp_path / "states" / "synthetic"
    states = sorted(folder.glob("state-*"))
    assert len(states) == 3
    # Two states back is in the middle of the last epoch.
    for newest in reversed(states[1:]):
        newest.unlink()
    before = StateFolder(folder).load()
    assert before is not None
    assert before.batch > 0
    again = make_batches(epochs=4, save_steps=2, execution=execution).solve()
    assert torch.equal(again, whole)
    lines = [json.loads(line) for line in (tmp_path / "watch.jsonl").read_text().splitlines()]
    epochs = [line["epoch"] for line in lines if "epoch" in line]
    assert epochs == [1, 2, 3, 4]


@pytest.fixture(scope="module")
def people_path(people: SurvivalData, tmp_path_factory: pytest.TempPathFactory) -> Path:
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
    states = tmp_path / "work" / "states" / "synthetic"
    names = sorted(path.name for path in states.iterdir())
    assert len(names) == 3


def test_two_processes_give_the_weights_of_one(
    people_path: Path, shipped_checkpoint_path: Path, uninterrupted: Tensor, tmp_path: Path
) -> None:
    arguments = [people_path, shipped_checkpoint_path, tmp_path / "work", tmp_path / "free"]
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    run_process(sys.executable, *launch, str(PROCESS), *map(str, arguments))
    found = safetensors.torch.load_file(tmp_path / "free")["free"]
    torch.testing.assert_close(found, uninterrupted, rtol=0, atol=1e-5)
    assert not torch.equal(found, torch.zeros_like(found))


def test_the_history_is_bounded(make_batches: Make, tmp_path: Path) -> None:
    make_batches(epochs=5, max_history_size=2, execution=Execution(work=tmp_path)).solve()
    state = StateFolder(tmp_path / "states" / "synthetic").load()
    assert state is not None
    assert [record["epoch"] for record in state.history] == [4, 5]


def test_records_contain_the_figures(make_batches: Make, tmp_path: Path) -> None:
    make_batches(epochs=2, log_steps=2, execution=Execution(work=tmp_path)).solve()
    lines = [json.loads(line) for line in (tmp_path / "watch.jsonl").read_text().splitlines()]
    steps = [line for line in lines if "epoch" not in line]
    assert [line["step"] for line in steps] == [2, 4, 6, 8, 10, 12]
    for line in steps:
        assert {
            "loss/mortality",
            "loss/elastic",
            "gradient_norm",
            "learning_rate",
            "batch_seconds",
            "out_of_memory",
        } <= set(line)
        assert line["batch_seconds"] > 0


def test_a_loss_that_is_not_finite_stops_and_saves_the_batch(
    make_batches: Make, people: SurvivalData, tmp_path: Path
) -> None:
    time = people.time.clone()
    time[1234] = torch.nan
    crowd = dataclasses.replace(people, time=time)
    with pytest.raises(FitError, match=r"mini-batches: .* not finite at step \d: mortality=nan"):
        make_batches(crowd=crowd, execution=Execution(work=tmp_path)).solve()
    (path,) = tmp_path.rglob("batch-*.safetensors")
    saved = safetensors.torch.load_file(path)
    assert path.stat().st_mode & 0o777 == 0o600
    bad = torch.isnan(saved["time"])
    assert saved["rows"][bad].tolist() == [1234]
    assert torch.isfinite(saved["free"]).all()
    torch.testing.assert_close(saved["basis"][bad][0], people.basis[1234])
    with pytest.raises(FitError, match="--work"):
        make_batches(crowd=crowd).solve()


def test_the_learning_rate_rises_and_falls() -> None:
    schedule = Schedule(highest=0.4, steps=100, warmup=10)
    rates = [schedule.look_up(step) for step in range(100)]
    assert rates[0] == pytest.approx(0.04)
    assert rates[9] == pytest.approx(0.4)
    assert rates[55] == pytest.approx(0.2)
    assert 0 < rates[99] < 1e-3
    assert rates[:10] == sorted(rates[:10])
    assert rates[10:] == sorted(rates[10:], reverse=True)
