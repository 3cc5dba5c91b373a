"""The GPU that a worker of the native engine uses for large batches."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from henaw.handler.assembly import has_torch
from henaw.model.onnx_session import CUDA_PROVIDER, import_onnxruntime

_DEVICES = "nvidia[0-9]*"


def choose_native_device(
    number: int, folder: Path, report: Callable[[str], None], devices: Path = Path("/dev")
) -> str | None:
    """Return the CUDA device of a worker, by turns; None without one.

    torch is used where it is installed and the model has the file for it, and otherwise
    onnxruntime-gpu. Both are imported only where there is a GPU.

    Args:
        number: of the worker, from 0.
        folder: with the model's files.
        report: gets one sentence if there is a GPU that cannot be used.
        devices: the folder in which the system lists devices.
    """
    present = len(list(devices.glob(_DEVICES)))
    if not present:
        return None
    if has_torch(folder):
        import torch

        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        problem = f"torch {torch.__version__} sees no CUDA device"
        advice = "Run nvidia-smi, or install a torch that is built for CUDA"
    else:
        runtime = import_onnxruntime()
        count = present if CUDA_PROVIDER in runtime.get_available_providers() else 0
        problem = f"onnxruntime {runtime.__version__} is built for the CPU only"
        advice = "Install henaw-gpu in place of henaw, or torch with an archive of henaw archive"
    if not count:
        report(f"this machine has an NVIDIA GPU, but {problem}; the CPU is used. {advice}")
        return None
    return f"cuda:{number % count}"
