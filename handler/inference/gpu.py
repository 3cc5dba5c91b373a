"""Starts a GPU: checks its answers, and measures from how many people on it is faster."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from henaw.handler.inference.crossover import Crossover, measure_crossover
from henaw.handler.inference.selfcheck import Golden, check_sizes
from henaw.model.errors import ParityError
from henaw.model.profile import LabProfile
from henaw.model.runtime import Runtime

if TYPE_CHECKING:
    from henaw.model.exported.cuda import CudaRuntime
    from henaw.model.exported.onnx_gpu import OnnxGpuRuntime

    GpuRuntime: TypeAlias = CudaRuntime | OnnxGpuRuntime


@dataclass(frozen=True, kw_only=True)
class Gpu:
    """A worker's GPU, which may or may not be in use.

    Attributes:
        device: its name, such as ``cuda:0 (NVIDIA H100 80GB HBM3)``.
        runtime: evaluates the graph on it; None if it is not in use.
        reason: why it is not in use; None if it is.
        captured: whether it replays CUDA graphs.
        measured: times of the GPU and of the CPU; None if it failed before that.
    """

    device: str
    runtime: GpuRuntime | None = None
    reason: str | None = None
    captured: bool = False
    measured: Crossover | None = None

    @property
    def crossover(self) -> int | None:
        """The number of people in a batch from which on it is used; None if it never is."""
        return None if self.measured is None else self.measured.people

    def describe(self) -> dict[str, Any]:
        """Return the GPU's part of the server's description, as JSON; times are milliseconds."""
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
    """Return the torch device of the GPU that TorchServe assigns to a worker.

    Args:
        gpu_id: TorchServe's number of the GPU; None for no GPU. TorchServe spreads its workers
            over the GPUs.
        report: gets one sentence if torch does not see that GPU.
    """
    if gpu_id is None:
        return None
    import torch

    seen = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if int(gpu_id) < seen:
        return f"cuda:{gpu_id}"
    report(
        f"TorchServe assigns GPU {gpu_id} to this worker, but torch {torch.__version__} sees "
        f"{seen} CUDA devices; the CPU is used. Run nvidia-smi, or install a torch that is "
        "built for CUDA"
    )
    return None


def start_gpu(
    device: str,
    open_runtime: Callable[[], GpuRuntime],
    *,
    fallback: Runtime,
    golden: Golden,
    lab: LabProfile | None,
    served: Golden,
    report: Callable[[str], None],
) -> Gpu:
    """Load the network on a GPU, check its answers at every size of call, and time it.

    A GPU that fails, or that is never faster than the fallback, is not used.

    Args:
        device: the GPU, cuda:N.
        open_runtime: loads the network on it.
        fallback: evaluates the graph on the CPU, with the laboratory's profile set.
        golden: people and their answers without a profile.
        lab: the laboratory's profile to set; None sets none.
        served: people and their answers with the profile.
        report: gets one sentence about the result.

    Raises:
        ParityError: the GPU's answers are not the stored ones.
    """
    try:
        runtime = open_runtime()
        check_sizes(runtime, golden, runtime.sizes)
        if lab is not None:
            runtime.set_profile(lab)
            check_sizes(runtime, served, runtime.sizes)
        measured = measure_crossover(fallback, runtime, served, runtime.sizes)
    except ParityError:
        raise
    # Another process has the GPU's memory, or the GPU is lost or cannot be used.
    except RuntimeError as error:
        first = str(error).partition("\n")[0]
        gpu = Gpu(
            device=device,
            reason=f"it failed at start-up with {type(error).__name__}: {first}",
        )
        report(f"{device} is not used until the worker restarts: {gpu.reason}")
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
        f"{runtime.device_name} is used for batches of {measured.people} people or more, "
        f"{fallback.name} for smaller ones"
    )
    return Gpu(
        device=runtime.device_name,
        runtime=runtime,
        captured=runtime.captured,
        measured=measured,
    )
