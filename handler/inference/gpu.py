"""Takes a GPU into use: proves it, and measures from how many people on it gains anything."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from henaw.handler.inference.crossover import Crossover, measure_crossover
from henaw.handler.inference.selfcheck import Golden, check_sizes
from henaw.model.errors import HenawError
from henaw.model.profile import LabProfile
from henaw.model.runtime import Runtime

if TYPE_CHECKING:
    from henaw.model.cuda_runtime import CudaRuntime


@dataclass(frozen=True, kw_only=True)
class Gpu:
    """A worker's GPU, in use or not.

    Attributes:
        device: which it is, ``cuda:0 (NVIDIA H100 80GB HBM3)``.
        runtime: answers on it; None where it is not used.
        reason: why it is not used; None where it is.
        captured: whether it replays CUDA graphs.
        measured: how long it and the CPU take; None where it failed before.
    """

    device: str
    runtime: CudaRuntime | None = None
    reason: str | None = None
    captured: bool = False
    measured: Crossover | None = None

    @property
    def crossover(self) -> int | None:
        """People from which on it answers; None where it never does."""
        return None if self.measured is None else self.measured.people

    def describe(self) -> dict[str, Any]:
        """Return what the server tells of it, as JSON; times are milliseconds."""
        seconds = {} if self.measured is None else self.measured.seconds
        return {
            "device": self.device,
            "from_people": self.crossover,
            "reason": self.reason,
            "cuda_graphs": self.captured,
            "milliseconds": {
                str(people): {"cpu": round(cpu * 1e3, 3), "gpu": round(gpu * 1e3, 3)}
                for people, (cpu, gpu) in seconds.items()
            },
        }


def choose_device(gpu_id: int | str | None, report: Callable[[str], None]) -> str | None:
    """Return the torch device of the GPU that TorchServe gives a worker.

    Args:
        gpu_id: TorchServe's, which spreads its workers over the GPUs; None gives none.
        report: told in one sentence where torch does not see that GPU.
    """
    if gpu_id is None:
        return None
    import torch

    seen = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if int(gpu_id) < seen:
        return f"cuda:{gpu_id}"
    report(
        f"TorchServe gives this worker GPU {gpu_id}, but torch {torch.__version__} sees "
        f"{seen} CUDA devices: the CPU answers; run nvidia-smi, or install a torch that is "
        "built for CUDA"
    )
    return None


def start_gpu(
    torchscript: Path,
    device: str,
    *,
    fallback: Runtime,
    golden: Golden,
    lab: LabProfile | None,
    served: Golden,
    report: Callable[[str], None],
) -> Gpu:
    """Load the network on a GPU, prove every size of call there, and time it.

    A GPU that fails, or that is never faster than the fallback, is not used.

    Args:
        torchscript: the exported file.
        device: torch's name of it.
        fallback: answers on the CPU, with the laboratory's profile set.
        golden: people and their answers without a profile.
        lab: the laboratory's profile to set; None sets none.
        served: people and their answers with it.
        report: told what comes of it.

    Raises:
        ParityError: it does not give the stored answers.
        RuntimeUnavailableError: torch sees no CUDA device.
    """
    from henaw.model.cuda_runtime import CudaRuntime

    try:
        runtime = CudaRuntime.load(torchscript, device=device, report=report)
        check_sizes(runtime, golden, runtime.sizes)
        if lab is not None:
            runtime.set_profile(lab)
            check_sizes(runtime, served, runtime.sizes)
        measured = measure_crossover(fallback, runtime, served, runtime.sizes)
    except HenawError:
        raise
    # torch's own errors of a device: its memory is taken by others, or it is lost.
    except RuntimeError as error:
        first = str(error).partition("\n")[0]
        gpu = Gpu(
            device=device,
            reason=f"it failed at the start with {type(error).__name__}: {first}",
        )
        report(f"{device} is not used until the worker starts again: {gpu.reason}")
        return gpu
    if measured.people is None:
        gpu = Gpu(
            device=runtime.device_name,
            reason=f"{fallback.name} is as fast or faster for any number of people",
            captured=runtime.captured,
            measured=measured,
        )
        report(f"{gpu.device} is not used: {gpu.reason}")
        return gpu
    report(
        f"{runtime.device_name} answers batches of {measured.people} people or more, "
        f"{fallback.name} smaller ones"
    )
    return Gpu(
        device=runtime.device_name,
        runtime=runtime,
        captured=runtime.captured,
        measured=measured,
    )
