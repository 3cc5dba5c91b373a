"""`make gpu`, rehearsed on the CPU: every part runs, and the report says that it is a rehearsal."""

import importlib.util
import json
import os
import subprocess
import sys
import venv
from pathlib import Path
from typing import Any

import pytest
import torch

pytestmark = pytest.mark.slow

REPOSITORY = Path(__file__).parents[2]
PEOPLE = 3000
TORCH_ALONE = (
    *("torch", "torchgen", "numpy", "typing_extensions", "sympy", "mpmath", "networkx"),
    *("jinja2", "markupsafe", "filelock", "fsspec"),
)
"""torch and what it imports."""


def run(
    *options: object, python: str = sys.executable, **environment: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [python, REPOSITORY / "benchmarks" / "gpu", *map(str, options)],
        env={**os.environ, "HENAW_COHORT": "none", "OMP_NUM_THREADS": "1", **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def read_parts(out: Path) -> dict[str, Any]:
    parts: dict[str, Any] = json.loads((out / "report.json").read_text())["parts"]
    return parts


def find(part: dict[str, Any], name: str) -> list[dict[str, Any]]:
    return [result for result in part["results"] if result["name"] == name]


@pytest.fixture(scope="module")
def rehearsal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("gpu") / "report"
    done = run("--device", "cpu", "--people", PEOPLE, "--out", out)
    assert done.returncode == 0, done.stdout + done.stderr
    return out


def test_every_part_of_a_rehearsal_is_done(rehearsal: Path) -> None:
    parts = read_parts(rehearsal)
    outcomes = {name: part["outcome"] for name, part in parts.items()}
    held_out = outcomes.pop("held out")
    assert held_out.startswith("done in part; missing: the cohort: set HENAW_COHORT")
    said = "\n".join(part["said"] for part in parts.values())
    assert set(outcomes.values()) == {"done"}, said
    assert list(outcomes) == ["tests", "batches", "requests", "epochs", "scoring", "fits"]
    (tests,) = find(parts["tests"], "pytest -m gpu")
    assert tests["status"] == 0
    answers = find(parts["batches"], "answer a batch")
    assert {(a["runtime"], a["people"]) for a in answers} == {
        (runtime, people)
        for runtime in ("onnxruntime-cpu", "torchscript-cpu")
        for people in (1, 64, 1024, PEOPLE)
    }
    assert all(0 < answer["best_s"] <= answer["median_s"] for answer in answers)
    (ages,) = find(parts["batches"], "ages of the two runtimes")
    assert ages["largest_difference_years"] < 1e-3
    assert find(parts["epochs"], "mini-batch epoch")[0]["people"] == PEOPLE
    (scored,) = find(parts["scoring"], "score a Parquet file")
    assert scored["people_by_device"] == {"cpu": PEOPLE}
    assert find(parts["fits"], "full-batch evaluation")[0]["median_s"] > 0
    assert "point estimate" in find(parts["fits"], "whole fit")[0]["done_after_s"]


def test_the_report_says_that_it_is_a_rehearsal(rehearsal: Path) -> None:
    text = (rehearsal / "report.md").read_text()
    assert text.startswith("# HENAW on the CPU\n")
    assert "nothing here was measured on a GPU" in text
    assert f"- torch: {torch.__version__}" in text
    assert "**answer a batch**: runtime onnxruntime-cpu, people 1, first " in text


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a CUDA device")
def test_without_a_gpu_nothing_is_run(tmp_path: Path) -> None:
    done = run("--out", tmp_path / "report")
    assert done.returncode == 0
    assert "finds no CUDA device: nothing was run" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_a_part_that_takes_too_long_is_stopped_and_reported(tmp_path: Path) -> None:
    done = run("--device", "cpu", "--only", "tests", "--limit-s", 1, "--out", tmp_path)
    assert done.returncode == 0
    part = read_parts(tmp_path)["tests"]
    assert part["outcome"] == "STOPPED: the time ran out after 1 s"
    assert part["seconds"] < 60


def test_packages_that_a_bare_machine_needs_are_listed_together(tmp_path: Path) -> None:
    venv.create(tmp_path / "bare", with_pip=False)
    (packages,) = (tmp_path / "bare").glob("lib/python3*/site-packages")
    for name in TORCH_ALONE:
        specification = importlib.util.find_spec(name)
        assert specification is not None
        assert specification.origin is not None
        path = Path(specification.origin)
        path = path.parent if path.name == "__init__.py" else path
        (packages / path.name).symlink_to(path)
    options = ("--device", "cpu", "--people", 64, "--out", tmp_path / "report")
    done = run(
        *options, "--only", "batches", "tests", python=str(tmp_path / "bare" / "bin" / "python")
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "pip install --target gpu-packages safetensors onnxruntime onnx" in done.stdout
    parts = read_parts(tmp_path / "report")
    for name, package in (("batches", "safetensors"), ("tests", "pytest")):
        assert parts[name]["outcome"] == (f"done in part; missing: the Python package {package}")
    assert (
        "missing packages: safetensors, onnxruntime, "
        in (tmp_path / "report" / "report.md").read_text()
    )


def test_without_onnx_the_network_itself_is_measured(tmp_path: Path) -> None:
    (tmp_path / "onnx").mkdir()
    (tmp_path / "onnx" / "__init__.py").write_text(
        "raise ModuleNotFoundError('No module named onnx', name='onnx')"
    )
    options = ("--device", "cpu", "--people", 64, "--out", tmp_path / "report")
    done = run(*options, "--only", "batches", PYTHONPATH=str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    part = read_parts(tmp_path / "report")["batches"]
    assert "missing: the Python package onnx: no ONNX Runtime here" in part["outcome"]
    assert {a["runtime"] for a in find(part, "answer a batch")} == {"torchscript-cpu"}
