"""TorchScript on a CUDA device, with all slow steps before the first call.

The graph has about 150 operations. On a GPU each takes less time than its launch, so one
person costs 150 launches. A CUDA graph launches all of them together, but only for a fixed
number of rows. So graphs are captured for a few sizes, and fewer people are padded with idle
rows. No row depends on another row.

TorchScript's own optimiser is off. It compiles during the second and third call of each shape,
for up to two seconds, and a captured graph does not need it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Lock
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from henaw.model.biomarkers import NAMES
from henaw.model.profile import LabProfile
from henaw.model.runtime import OUTPUT_NAMES, Outputs, load_torchscript, set_module_profile
from torch import Tensor

SIZES: tuple[int, ...] = (64, 1024, 8192)
"""Numbers of people for which a graph is captured; larger calls are split by the largest."""

_WARM_CALLS = 3
"""Calls before a capture: the first ones load kernels and allocate workspaces."""

Run = Callable[[], None]


class CudaRuntime:
    """The exported TorchScript on a GPU, replayed from CUDA graphs.

    Several threads may call :meth:`predict` at the same time.

    Args:
        module: the network; moved to the device.
        device: a torch device. If graphs cannot be captured, as on the CPU, a call runs
            the operations one by one.
        sizes: numbers of people for which a graph is captured, ascending.
        capture: returns a faster equivalent of a call that reads and writes the same tensors
            each time.
        report: gets one sentence if graphs cannot be captured.

    Attributes:
        captured: whether calls are replayed from graphs.

    Raises:
        RuntimeError: the device fails (torch's own error).
    """

    def __init__(
        self,
        module: torch.nn.Module,
        *,
        device: str,
        sizes: Sequence[int] = SIZES,
        capture: Callable[[Run], Run] | None = None,
        report: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.device = torch.device(device)
        self.name = f"torchscript-{self.device.type}"
        self.sizes = tuple(sizes)
        self.captured = True
        # TF32 shifts ages by 0.02 years.
        torch.backends.cuda.matmul.allow_tf32 = False
        self._module = module.to(self.device).eval()
        with torch.inference_mode():
            self._columns = _list_columns(self._evaluate(self._make_rows(1)))
            self._width = self._columns[-1].end
            self._plans = [self._prepare(size, capture or self._capture, report) for size in sizes]

    @classmethod
    def load(
        cls, path: Path, *, device: str, report: Callable[[str], None] = lambda _: None
    ) -> CudaRuntime:
        """Load an exported TorchScript file.

        Raises:
            RuntimeUnavailableError: the device is CUDA and no CUDA device is found.
            RuntimeError: the device fails (torch's own error).
        """
        return cls(load_torchscript(path, device=device), device=device, report=report)

    @property
    def device_name(self) -> str:
        """The device with its model: ``cuda:0 (NVIDIA H100 80GB HBM3)``."""
        if self.device.type != "cuda":
            return str(self.device)
        return f"{self.device} ({torch.cuda.get_device_name(self.device)})"

    def set_profile(self, profile: LabProfile) -> None:
        """Use a laboratory's profile from now on.

        Captured graphs read the profile from the same memory.
        """
        set_module_profile(self._module, profile)

    def predict(
        self,
        biomarkers: npt.NDArray[np.float32],
        age: npt.NDArray[np.float32],
        sex: npt.NDArray[np.int64],
    ) -> Outputs:
        """See :meth:`henaw.model.runtime.Runtime.predict`."""
        answers = np.empty((len(age), self._width), np.float32)
        begin = 0
        while begin < len(age):
            plan = self._choose_plan(len(age) - begin)
            piece = slice(begin, begin + plan.size)
            plan.run(biomarkers[piece], age[piece], sex[piece], answers[piece])
            begin = piece.stop
        return {
            name: column.take_from(answers)
            for name, column in zip(OUTPUT_NAMES, self._columns, strict=True)
        }

    def _choose_plan(self, people: int) -> _Plan:
        return next((plan for plan in self._plans if plan.size >= people), self._plans[-1])

    def _prepare(
        self, size: int, capture: Callable[[Run], Run], report: Callable[[str], None]
    ) -> _Plan:
        inputs = self._make_rows(size)
        outputs = torch.zeros(size, self._width, device=self.device)

        def run() -> None:
            outputs.copy_(_join_columns(self._evaluate(inputs)))

        for _ in range(_WARM_CALLS):
            run()
        try:
            replay = capture(run)
            replay()
        except torch.OutOfMemoryError:
            # Single operations need as much memory.
            raise
        except RuntimeError as error:
            if self.captured:
                first = str(error).partition("\n")[0]
                report(
                    f"CUDA graphs cannot be captured on {self.device_name} "
                    f"({type(error).__name__}: {first}). Every operation is launched on its "
                    "own, which takes longer"
                )
            self.captured = False
            replay = run
        return _Plan(replay, inputs, outputs)

    def _capture(self, run: Run) -> Run:
        if self.device.type != "cuda":
            raise RuntimeError(f"the device must be CUDA; got {self.device}")
        graph = torch.cuda.CUDAGraph()
        # torch's default stream for captures belongs to the first device.
        stream = torch.cuda.Stream(self.device)
        # Other threads may use the device during the capture.
        with (
            torch.cuda.device(self.device),
            torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"),
        ):
            run()
        replay: Run = graph.replay
        return replay

    def _make_rows(self, people: int) -> Tensor:
        return torch.zeros(people, len(NAMES) + 2, device=self.device)

    def _evaluate(self, rows: Tensor) -> tuple[Tensor, ...]:
        """The network on rows of the biomarkers, age and sex: (n, 9 + 2) float32."""
        biomarkers, age, sex = rows.split([len(NAMES), 1, 1], dim=1)
        # The setting is that of the calling thread. torch documents it, but without types.
        with torch.jit.optimized_execution(False):  # type: ignore[attr-defined]
            outputs: tuple[Tensor, ...] = self._module(
                biomarkers.contiguous(), age.flatten(), sex.flatten().to(torch.int64)
            )
        return outputs


class _Column(NamedTuple):
    """Where an output is in the joined columns."""

    begin: int
    end: int
    is_vector: bool
    is_flag: bool

    def take_from(self, answers: npt.NDArray[np.float32]) -> npt.NDArray[np.generic]:
        """The output in joined columns (n, columns): a flag as bool, a vector as (n,)."""
        taken = answers[:, self.begin] if self.is_vector else answers[:, self.begin : self.end]
        return taken != 0.0 if self.is_flag else taken


def _list_columns(outputs: Sequence[Tensor]) -> list[_Column]:
    columns = []
    begin = 0
    for output in outputs:
        end = begin + (1 if output.ndim == 1 else output.shape[1])
        columns.append(_Column(begin, end, output.ndim == 1, output.dtype == torch.bool))
        begin = end
    return columns


def _join_columns(outputs: Sequence[Tensor]) -> Tensor:
    """Join all outputs, so that one copy brings them to the host: (n, columns) float32."""
    return torch.cat(
        [(o.unsqueeze(1) if o.ndim == 1 else o).to(torch.float32) for o in outputs], dim=1
    )


class _Plan:
    """The call for one size, with its own tensors on the device and on the host.

    Rows beyond the people of a call have values of an earlier call; their answers are not read.
    """

    def __init__(self, replay: Run, inputs: Tensor, outputs: Tensor) -> None:
        self.size = len(inputs)
        self._replay = replay
        self._inputs, self._outputs = inputs, outputs
        self._device = inputs.device
        # Copies from and to pinned memory wait only for the device.
        pinned = self._device.type == "cuda"
        self._sent = torch.zeros(inputs.shape, pin_memory=pinned)
        self._received = torch.zeros(outputs.shape, pin_memory=pinned)
        self._lock = Lock()

    def run(
        self,
        biomarkers: npt.NDArray[np.float32],
        age: npt.NDArray[np.float32],
        sex: npt.NDArray[np.int64],
        answers: npt.NDArray[np.float32],
    ) -> None:
        """Answer at most ``size`` people into ``answers``, (n, columns)."""
        people = len(age)
        with self._lock, torch.inference_mode():
            sent = self._sent.numpy()
            sent[:people, :-2] = biomarkers
            sent[:people, -2] = age
            sent[:people, -1] = sex
            if self._device.type == "cuda":
                with torch.cuda.device(self._device):
                    self._move(people)
                    torch.cuda.current_stream().synchronize()
            else:
                self._move(people)
            answers[:] = self._received[:people].numpy()

    def _move(self, people: int) -> None:
        self._inputs[:people].copy_(self._sent[:people], non_blocking=True)
        self._replay()
        self._received[:people].copy_(self._outputs[:people], non_blocking=True)
