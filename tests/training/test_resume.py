"""One fit: killed and continued, by more threads, or by two processes."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
import yaml
from henaw.model.checkpoint import Checkpoint, load_checkpoint
from henaw.training.cohorts.cohort import Cohort

Simulate = Callable[..., tuple[Cohort, Any, Any]]
Command = Callable[..., list[str]]
HENAW = str(Path(sys.executable).with_name("henaw"))
TORCHRUN = str(Path(sys.executable).with_name("torchrun"))
TWO = (TORCHRUN, "--standalone", "--no-python", "--nproc-per-node", "2", HENAW)
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="module")
def command(
    simulate: Simulate,
    build_table: Callable[[Cohort], pd.DataFrame],
    mapping: Callable[[], dict[str, Any]],
    tmp_path_factory: pytest.TempPathFactory,
) -> Command:
    """``henaw train`` on synthetic people, few of them complete, for speed."""
    folder = tmp_path_factory.mktemp("inputs")
    cohort, _, _ = simulate(1600, seed=61, missing=0.2, effects={"crp": 3.0})
    build_table(cohort).to_parquet(folder / "synthetic.parquet")
    (folder / "synthetic.yaml").write_text(yaml.safe_dump(mapping()), encoding="utf-8")

    def make(out: Path, *options: str, launch: tuple[str, ...] = (HENAW,)) -> list[str]:
        files = ["--config", str(folder / "synthetic.yaml")]
        files += ["--cohort", str(folder / "synthetic.parquet"), "--out", str(out)]
        return [*launch, "train", "--device", "cpu", *files, *options]

    return make


def run(command: list[str], *, threads: int = 1) -> None:
    environment = ENVIRONMENT | {"OMP_NUM_THREADS": str(threads)}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def expected(command: Command, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("expected") / "synthetic.safetensors"
    run(command(out))
    return out


def count_searches(work: Path) -> int:
    return len(list((work / "cache").glob("search-*.cached")))


def test_killed_again_and_again_it_ends_in_the_same_bytes(
    command: Command, expected: Path, tmp_path: Path
) -> None:
    out, work = tmp_path / "synthetic.safetensors", tmp_path / "work"
    kept = []
    for _ in range(3):
        with subprocess.Popen(
            command(out, "--work", str(work)), stderr=subprocess.DEVNULL, env=ENVIRONMENT
        ) as process:
            before = count_searches(work)
            while count_searches(work) < before + 2 and process.poll() is None:
                time.sleep(0.01)
            process.send_signal(signal.SIGKILL)
            process.wait()
        kept.append(count_searches(work))
    assert kept[0] >= 2
    assert kept[2] > kept[0]
    assert not out.exists()
    run(command(out, "--work", str(work)))
    assert count_searches(work) > kept[2]
    assert out.read_bytes() == expected.read_bytes()


def test_any_number_of_threads_gives_the_same_bytes(
    command: Command, expected: Path, tmp_path: Path
) -> None:
    out = tmp_path / "synthetic.safetensors"
    run(command(out), threads=2)
    assert out.read_bytes() == expected.read_bytes()


def test_two_processes_give_the_tensors_of_one(
    command: Command, expected: Path, tmp_path: Path
) -> None:
    out = tmp_path / "synthetic.safetensors"
    run(command(out, launch=TWO))
    found, alone = load_checkpoint(out), load_checkpoint(expected)
    assert found.training["fit"]["processes"] == 2
    assert_near(found, alone)


def assert_near(found: Checkpoint, expected: Checkpoint) -> None:
    for name in ("weight", "interaction_weight", "baseline_intercept", "baseline_slope"):
        torch.testing.assert_close(found.tensors[name], expected.tensors[name], rtol=0, atol=1e-4)
    for name in ("member_weight", "typical"):
        torch.testing.assert_close(found.tensors[name], expected.tensors[name], rtol=0, atol=1e-2)


def test_a_leading_process_that_fails_ends_the_others(command: Command, tmp_path: Path) -> None:
    arguments = command(tmp_path / "synthetic.safetensors", launch=TWO)
    path = Path(arguments[arguments.index("--config") + 1])
    hasty = yaml.safe_load(path.read_text(encoding="utf-8"))
    hasty["fit"]["iterations"] = 2
    arguments[arguments.index("--config") + 1] = str(tmp_path / "hasty.yaml")
    (tmp_path / "hasty.yaml").write_text(yaml.safe_dump(hasty), encoding="utf-8")
    done = subprocess.run(
        arguments, capture_output=True, text=True, check=False, env=ENVIRONMENT, timeout=300
    )
    assert done.returncode != 0
    assert "Raise fit.iterations" in done.stderr
    assert not (tmp_path / "synthetic.safetensors").exists()
