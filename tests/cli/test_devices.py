"""What `henaw doctor` says of GPUs: nvidia-smi is a script here, CUDA a stand-in."""

import importlib.metadata
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from henaw.cli.checks import devices
from henaw.cli.checks.devices import check_devices, read_torch_build
from henaw.cli.checks.results import CheckResult

H100 = "NVIDIA H100 80GB HBM3, 580.95.05, 81559 MiB"
SetUp = Callable[..., None]


@pytest.fixture
def archive(artifacts: Path, tmp_path: Path) -> Path:
    path = tmp_path / "henaw.mar"
    with zipfile.ZipFile(path, "w") as content:
        content.write(artifacts / "henaw.onnx", "henaw.onnx")
    return path


@pytest.fixture
def set_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SetUp:
    """A machine with a GPU by nvidia-smi and the given packages."""

    def put(
        *,
        smi: str = f"echo '{H100}'",
        cuda: str | None = "13.0",
        is_available: bool = True,
        onnxruntime: tuple[str, ...] = ("onnxruntime-gpu",),
    ) -> None:
        program = tmp_path / "nvidia-smi"
        program.write_text(f"#!/bin/sh\n{smi}\n")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
        monkeypatch.setattr(devices, "read_torch_build", lambda: cuda)
        monkeypatch.setattr(torch.cuda, "is_available", lambda: is_available)
        version = importlib.metadata.version

        def find_version(name: str) -> str:
            if name.startswith("onnxruntime"):
                if name in onnxruntime:
                    return "1.31.1"
                raise importlib.metadata.PackageNotFoundError(name)
            return version(name)

        monkeypatch.setattr(importlib.metadata, "version", find_version)

    return put


def check(archive: Path) -> dict[str, CheckResult]:
    return {finding.check: finding for finding in check_devices(archive)}


def test_a_gpu_that_everything_can_use(
    archive: Path, set_up: SetUp, pretend_cuda: Callable[..., Any]
) -> None:
    set_up()
    pretend_cuda()
    found = check(archive)
    assert list(found) == ["gpu", "torch", "onnxruntime"]
    assert {finding.status for finding in found.values()} == {"ok"}
    assert found["gpu"].seen == H100
    assert "built for CUDA 13.0: henaw serve uses the GPU" in found["torch"].seen
    assert found["onnxruntime"].seen == (
        "onnxruntime-gpu 1.31.1: henaw score --device auto or cuda uses the GPU"
    )


def test_without_a_gpu_the_cpu_is_fine(archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "list_gpus", list)
    found = check(archive)
    assert {finding.status for finding in found.values()} == {"ok"}
    assert found["gpu"].seen == "none: henaw serve, train and score use the CPU"
    assert "henaw serve and train use the CPU" in found["torch"].seen
    assert "henaw score uses the CPU" in found["onnxruntime"].seen


WRONG: dict[str, tuple[dict[str, Any], dict[str, Any], str, str, str, str]] = {
    "the driver fails": (
        {"smi": "echo 'driver/library version mismatch'; exit 18"},
        {},
        *("gpu", "warning", "fails with 18: driver/library version mismatch", "driver"),
    ),
    "torch for the CPU": (
        {"cuda": None},
        {},
        *("torch", "warning", "built for the CPU: henaw serve and train leave", "pytorch.org"),
    ),
    "torch sees none": (
        {"is_available": False},
        {},
        *("torch", "warning", "built for CUDA 13.0, sees no CUDA device", "driver"),
    ),
    "both distributions": (
        {"onnxruntime": ("onnxruntime", "onnxruntime-gpu")},
        {},
        *("onnxruntime", "problem", "both installed and overwrite", "pip uninstall"),
    ),
    "no distribution": (
        {"onnxruntime": ()},
        {},
        *("onnxruntime", "problem", "not installed", "onnxruntime-gpu[cuda,cudnn]"),
    ),
    "CUDA does not start": (
        {},
        {"starts": False},
        *("onnxruntime", "warning", "no CUDA-capable device is detected", "cudnn]"),
    ),
}


@pytest.mark.parametrize(
    ("machine", "cuda", "name", "status", "said", "advice"), WRONG.values(), ids=WRONG.keys()
)
def test_the_cause_of_an_idle_gpu_is_reported(  # noqa: PLR0917 -- pytest passes by name
    archive: Path,
    set_up: SetUp,
    pretend_cuda: Callable[..., Any],
    machine: dict[str, Any],
    cuda: dict[str, Any],
    name: str,
    status: str,
    said: str,
    advice: str,
) -> None:
    set_up(**machine)
    pretend_cuda(**cuda)
    found = check(archive)
    assert found[name].status == status
    assert said in found[name].seen
    assert advice in found[name].advice
    assert {one.status for check_, one in found.items() if check_ != name} == {"ok"}


def test_an_onnxruntime_for_the_cpu_beside_a_gpu(archive: Path, set_up: SetUp) -> None:
    set_up(onnxruntime=("onnxruntime",))
    found = check(archive)["onnxruntime"]
    assert found.status == "warning"
    assert "built for the CPU: henaw score --device cuda uses the CPU" in found.seen


def test_the_build_of_torch_is_read_without_importing_it() -> None:
    program = (
        "import sys\nfrom henaw.cli.checks.devices import read_torch_build\n"
        "print(read_torch_build())\nassert 'torch' not in sys.modules"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == str(torch.version.cuda) == str(read_torch_build())
