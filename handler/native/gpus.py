"""Which GPU a worker of the native engine prefers for large batches."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable


def choose_native_device(number: int, report: Callable[[str], None]) -> str | None:
    """Return the CUDA device of a worker, by turns; None where there is none.

    torch answers on it where it is installed. Without torch nothing is imported for it.

    Args:
        number: of the worker, from 0.
        report: told in one sentence where torch cannot say.
    """
    if importlib.util.find_spec("torch") is None or not _has_nvidia():
        return None
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if not count:
        report(
            f"this machine has an NVIDIA GPU, but torch {torch.__version__} sees no CUDA device: "
            "the CPU answers. Run nvidia-smi, or install a torch that is built for CUDA"
        )
        return None
    return f"cuda:{number % count}"


def _has_nvidia() -> bool:
    """Tell without torch, whose import costs seconds and 200 MB."""
    from pathlib import Path

    return any(Path("/dev").glob("nvidia[0-9]*"))
