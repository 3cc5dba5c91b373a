"""One step of the mini-batches: gradients in pieces, clipping, and memory that runs out.

All processes take a step together. Each computes the gradient of its share of the batch,
piece by piece, and the gradients are summed. The results stay on the device, except where
several processes must agree whether the step fitted into memory. On CUDA steps are therefore
queued, and a single process replays a recording of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from henaw.model.errors import FitError
from henaw.training.execution.captured import capture
from henaw.training.execution.execution import Execution
from henaw.training.execution.memory import ran_out
from henaw.training.objective.objective import Objective
from henaw.training.objective.survival_data import SurvivalData, compute_gap, compute_likelihood
from torch import Tensor

PARTS = ("mortality", "age", "elastic", "survey")
_NONE = -1


@dataclass(frozen=True, kw_only=True)
class Batch:
    """This process's share of a batch.

    Shape:
        rows: (m,) int64

    Attributes:
        scale: the factor from sums over its people to the cohort's means: the number of
            batches in an epoch divided by the number of people in the cohort.
    """

    rows: Tensor
    scale: float


@dataclass(frozen=True, kw_only=True)
class StepReport:
    """The parts of the loss, over all processes, and the gradient's norm before clipping."""

    parts: dict[str, float]
    gradient_norm: float


class Stepper:
    """Takes steps, and keeps the parameters and Adam's state.

    If the loss or gradient of a step is not finite, the parameters stay as they are from then
    on, and :meth:`find_failure` returns that step.

    Args:
        objective: what is minimised, on the device.
        people: this process's people, on the device.
        execution: where it runs.
        free: (P,) the first parameters.
        longest: the largest number of this process's people in a batch.
        clip_norm: a longer gradient is shortened to this.
        accumulation: the number of pieces in which a batch is computed at first.
    """

    def __init__(
        self,
        objective: Objective,
        people: SurvivalData,
        execution: Execution,
        *,
        free: Tensor,
        longest: int,
        clip_norm: float,
        accumulation: int,
    ) -> None:
        device = execution.device
        self.people = people
        self.accumulation = accumulation
        self.out_of_memory = 0
        self.free = torch.nn.Parameter(free.to(device))
        on_cuda = device.type == "cuda"
        # A recorded step reads the learning rate from the device.
        rate = torch.zeros((), device=device) if on_cuda else 0.0
        self.optimiser = torch.optim.Adam([self.free], lr=rate, capturable=on_cuda)
        self._objective = objective
        self._execution = execution
        self._clip_norm = clip_norm
        # A recorded step reads its people here; unfilled places have weight 0.
        self._rows = torch.zeros(longest, dtype=torch.int64, device=device)
        self._scale = torch.zeros(longest, dtype=torch.float64, device=device)
        self._step = torch.zeros((), dtype=torch.int64, device=device)
        self._failed_at = torch.full((), _NONE, dtype=torch.int64, device=device)
        self._report = torch.zeros(len(PARTS) + 1, dtype=torch.float64, device=device)
        self._sums = torch.zeros(len(PARTS), dtype=torch.float64, device=device)
        self._replay: Callable[[], Tensor] | None = None

    def take(self, batch: Batch, learning_rate: float, step: int) -> None:
        """Take one step of Adam by a batch's gradient.

        If the batch does not fit into memory, it and all later ones are computed in twice as
        many pieces; their sum is the same.

        Raises:
            FitError: one person does not fit into memory.
        """
        count = len(batch.rows)
        self._rows[:count] = batch.rows
        self._scale[:count] = batch.scale
        self._scale[count:] = 0.0
        self._step.fill_(step)
        for group in self.optimiser.param_groups:
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(learning_rate)
            else:
                group["lr"] = learning_rate
        while not self._try(count):
            self._shrink(count)

    def find_failure(self) -> int | None:
        """The first step whose loss or gradient was not finite, or None."""
        failed = int(self._failed_at)
        return None if failed == _NONE else failed

    def report(self) -> StepReport:
        """The report of the last step, or of the step that failed."""
        *parts, norm = self._report.tolist()
        return StepReport(parts=dict(zip(PARTS, parts, strict=True)), gradient_norm=norm)

    def take_sums(self) -> dict[str, float]:
        """Sums of each part of the loss since the last call."""
        sums = self._sums.tolist()
        self._sums.zero_()
        return dict(zip(PARTS, sums, strict=True))

    def _try(self, count: int) -> bool:
        """Take the step; return whether it fitted into memory in every process."""
        alone = self._execution.world == 1
        try:
            if alone and self.free.device.type == "cuda":
                if self._replay is None:
                    self._replay = self._record()
                self._replay()
                return True
            gradient = self._differentiate(count)
        except (RuntimeError, MemoryError) as error:
            if not ran_out(error):
                raise
            gradient = None
        # Only after the handler: its traceback refers to the tensors that filled the memory.
        failed = float(gradient is None)
        if gradient is None:
            self._replay = None
            if self.free.device.type == "cuda":
                torch.cuda.empty_cache()
            gradient = self._report.new_zeros(2 + len(self.free))
        if not alone:
            shared = torch.cat([gradient.new_tensor([failed]), gradient])
            failures, gradient = self._execution.add_up(shared).split([1, len(gradient)])
            failed = float(failures)
        if failed:
            return False
        self._move(gradient)
        return True

    def _record(self) -> Callable[[], Tensor]:
        def step() -> Tensor:
            self._move(self._differentiate(len(self._rows)))
            return self._report

        # Adam creates its moments in its first step; they must exist to be restored.
        state = self.optimiser.state[self.free]
        changes = [self.free, self._report, self._sums, self._failed_at, *state.values()]
        return capture(step, reads=self.free, changes=changes)

    def _shrink(self, count: int) -> None:
        self.out_of_memory += 1
        largest = torch.tensor([float(count)])
        if self.accumulation >= float(self._execution.add_up(largest)):
            raise FitError(
                f"memory ran out on {self._execution.device}: it does not hold the features of "
                "even one person at a time. Use another device or free memory"
            )
        self.accumulation *= 2

    def _differentiate(self, count: int) -> Tensor:
        """The parts over this process's first ``count`` people, and their gradient."""
        total = self._report.new_zeros(2 + len(self.free))
        pieces = min(self.accumulation, max(count, 1))
        for piece in range(pieces):
            rows = slice(count * piece // pieces, count * (piece + 1) // pieces)
            people = self.people.select(self._rows[rows])
            free = self.free.detach().requires_grad_()
            weights = self._objective.unpack(free)
            gap = compute_gap(weights, people, precision=torch.float32)
            parts = compute_likelihood(weights, people.weighed(self._scale[rows]), gap)
            age = self._objective.configuration.age_weight * parts["age"]
            (gradient,) = torch.autograd.grad(parts["mortality"] + age, free)
            total += torch.cat([torch.stack([parts["mortality"], age]).detach(), gradient])
        return total

    def _move(self, total: Tensor) -> None:
        """Take the step, from the sums over all processes' people and the penalties."""
        over_people, gradient = total[:2], total[2:]
        free = self.free.detach().requires_grad_()
        penalties = list(
            self._objective.compute_penalties(free, self._objective.unpack(free)).values()
        )
        (of_penalties,) = torch.autograd.grad(torch.stack(penalties).sum(), free)
        self.free.grad = gradient + of_penalties
        norm = torch.nn.utils.clip_grad_norm_([self.free], self._clip_norm)
        parts = torch.cat([over_people, torch.stack(penalties).detach()])
        report = torch.cat([parts, norm.reshape(1)])
        before = self.free.detach().clone()
        self.optimiser.step()
        with torch.no_grad():
            stopped = self._failed_at != _NONE
            fails = ~torch.isfinite(report).all()
            self._report.copy_(torch.where(stopped, self._report, report))
            self.free.copy_(torch.where(stopped | fails, before, self.free))
            self._failed_at.copy_(torch.where(fails & ~stopped, self._step, self._failed_at))
            self._sums += torch.where(stopped | fails, torch.zeros_like(parts), parts)
