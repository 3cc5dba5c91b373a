"""Checks of the GPU, and of whether ``henaw serve``, ``train`` and ``score`` can use it."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import runpy
import shutil
import subprocess
import zipfile
from collections.abc import Iterator
from pathlib import Path

from henaw.cli.checks.results import CheckResult, fail, note, warn
from henaw.model.distribution import RUNTIMES, find_versions, suggest_install
from henaw.model.errors import RuntimeUnavailableError
from henaw.model.onnx_session import CUDA_PROVIDER, INSTALL_GPU, try_cuda
from henaw.model.shipped import ONNX_FILE

_QUERY = ("--query-gpu=name,driver_version,memory.total", "--format=csv,noheader")
_TIMEOUT_S = 10.0
_DRIVER = Path("/proc/driver/nvidia/gpus")
_INSTALL_TORCH = "install a torch that is built for CUDA, by the command that pytorch.org gives"


def check_devices(archive: Path) -> Iterator[CheckResult]:
    """Check the GPU, torch and ONNX Runtime.

    Args:
        archive: the archive with the model that ONNX Runtime tries on the GPU.
    """
    yield from _check_distributions()
    gpus: list[str] = []
    try:
        gpus = list_gpus()
    except RuntimeUnavailableError as error:
        yield warn("gpu", str(error), "run nvidia-smi; reload or install NVIDIA's driver")
    else:
        yield note("gpu", "; ".join(gpus) or "none: henaw serve, train and score use the CPU")
    yield _check_torch(has_gpu=bool(gpus))
    yield _check_onnxruntime(archive, has_gpu=bool(gpus))


def _check_distributions() -> Iterator[CheckResult]:
    if len(installed := find_versions(RUNTIMES)) > 1:
        yield fail(
            "henaw",
            f"{' and '.join(installed)} are both installed and overwrite each other's files",
            f"pip uninstall {' '.join(installed)} {' '.join(RUNTIMES.values())}, then pip install "
            "the one you want",
        )


def list_gpus() -> list[str]:
    """List NVIDIA's GPUs: name, driver and memory; without nvidia-smi their addresses.

    Raises:
        RuntimeUnavailableError: nvidia-smi fails.
    """
    program = shutil.which("nvidia-smi")
    if program is None:
        return [f"at {path.name}, without nvidia-smi" for path in sorted(_DRIVER.glob("*"))]
    try:
        said = subprocess.run(  # noqa: S603
            [program, *_QUERY], capture_output=True, text=True, check=False, timeout=_TIMEOUT_S
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise RuntimeUnavailableError(f"nvidia-smi does not answer: {error}") from error
    if said.returncode != 0:
        reason = (said.stdout + said.stderr).strip()
        raise RuntimeUnavailableError(f"nvidia-smi fails with {said.returncode}: {reason}")
    return [line.strip() for line in said.stdout.splitlines() if line.strip()]


def read_torch_build() -> str | None:
    """Return the CUDA version that the installed torch is built for; None for a CPU build.

    It is read without importing torch, which takes seconds.

    Raises:
        RuntimeUnavailableError: torch is not installed.
    """
    spec = importlib.util.find_spec("torch")
    if spec is None or not spec.submodule_search_locations:
        raise RuntimeUnavailableError("torch is not installed")
    build = runpy.run_path(str(Path(spec.submodule_search_locations[0]) / "version.py"))
    cuda: str | None = build["cuda"]
    return cuda


def _check_torch(*, has_gpu: bool) -> CheckResult:
    try:
        cuda = read_torch_build()
    except RuntimeUnavailableError as error:
        advice = (
            "henaw score and the native engine do not need it; for TorchServe and henaw train: "
            f"{suggest_install('torchserve')}"
        )
        return warn("torch", str(error), advice)
    built = f"torch {importlib.metadata.version('torch')}, built for "
    built += "the CPU" if cuda is None else f"CUDA {cuda}"
    if not has_gpu:
        return note("torch", f"{built}: henaw serve and train use the CPU")
    if cuda is None:
        return warn("torch", f"{built}: henaw serve and train leave the GPU idle", _INSTALL_TORCH)
    import torch

    if not torch.cuda.is_available():
        seen = f"{built}, sees no CUDA device: henaw serve and train use the CPU"
        return warn("torch", seen, f"update NVIDIA's driver, or {_INSTALL_TORCH} of this driver")
    return note(
        "torch",
        f"{built}: henaw serve uses the GPU for batches that gain from it, henaw train with "
        "--device auto or cuda",
    )


def _check_onnxruntime(archive: Path, *, has_gpu: bool) -> CheckResult:
    installed = find_versions(tuple(RUNTIMES.values()))
    if len(installed) != 1:
        seen = "not installed"
        if installed:
            seen = f"{' and '.join(installed)} are both installed and overwrite each other's files"
        plain = "pip uninstall onnxruntime onnxruntime-gpu, then pip install onnxruntime"
        return fail("onnxruntime", seen, INSTALL_GPU if has_gpu else plain)
    import onnxruntime

    (built,) = (f"{name} {version}" for name, version in installed.items())
    if not has_gpu:
        return note("onnxruntime", f"{built}: henaw score uses the CPU")
    if CUDA_PROVIDER not in onnxruntime.get_available_providers():
        seen = f"{built} is built for the CPU: henaw score --device cuda uses the CPU"
        return warn("onnxruntime", seen, INSTALL_GPU)
    try:
        with zipfile.ZipFile(archive) as content:
            model = content.read(ONNX_FILE)
    except (OSError, KeyError, zipfile.BadZipFile):
        # Another check reports what is wrong with the archive.
        return note("onnxruntime", f"{built} has CUDA; there is no model to try it with")
    session, problem = try_cuda(model, 0, 1)
    if session is None:
        seen = f"{built}: henaw score --device cuda uses the CPU: {problem}"
        return warn("onnxruntime", seen, INSTALL_GPU)
    return note("onnxruntime", f"{built}: henaw score --device auto or cuda uses the GPU")
