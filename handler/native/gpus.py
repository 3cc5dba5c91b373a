"""The GPU that a worker of the native engine uses for large batches."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path

from henaw.handler.assembly import TORCHSCRIPT_NAME


def choose_native_device(number: int, folder: Path, report: Callable[[str], None]) -> str | None:
    """Return the CUDA device of a worker, by turns; None without one.

    It needs torch, which is imported only where there is a GPU.

    Args:
        number: of the worker, from 0.
        folder: with the model's files.
        report: gets one sentence if there is a GPU that cannot be used.
    """
    if not any(Path("/dev").glob("nvidia[0-9]*")):
        return None
    if importlib.util.find_spec("torch") is None:
        report("this machine has an NVIDIA GPU, but torch is not installed; the CPU is used")
        return None
    if not (folder / TORCHSCRIPT_NAME).is_file():
        report(
            f"this machine has an NVIDIA GPU, but the model has no {TORCHSCRIPT_NAME}; the CPU "
            "is used. Serve an archive of henaw archive"
        )
        return None
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if not count:
        report(
            f"this machine has an NVIDIA GPU, but torch {torch.__version__} sees no CUDA device; "
            "the CPU is used. Run nvidia-smi, or install a torch that is built for CUDA"
        )
        return None
    return f"cuda:{number % count}"
