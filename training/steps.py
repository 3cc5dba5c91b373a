"""One step of a fit by mini-batches: gradients in pieces, memory that runs out, clipping.

A step is taken by all processes at once. Each computes the gradient of its own share of
the batch, piece by piece; the penalties' gradient comes last, and its backward pass is
the one in which DistributedDataParallel adds the processes up. What can run out of
memory is thereby over before any process waits for another.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from henaw.model.errors import FitError
from henaw.training.execution import Execution
from henaw.training.objective import Objective
from henaw.training.people import (
    People,
    compute_cause_part,
    compute_gap,
    compute_likelihood,
)
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

PARTS = ("mortality", "age", "cause", "elastic", "survey", "cause_ridge")
_OUT_OF_MEMORY_WORDS = ("can't allocate memory", "ALLOC_FAILED")
_OVER_PEOPLE = 3
"""The first parts are sums over people; the others count once."""


@dataclass(frozen=True, kw_only=True)
class Batch:
    """This process's share of a batch.

    Shape:
        rows: (m,) int64; deaths: (d,) int64, places among the deaths, in the order of rows
        ends: (m + 1,) int64 numpy, how many of the deaths are among the first rows

    Attributes:
        scale: by how much its sums over people are multiplied to stand for the cohort's
            means: batches in an epoch over the cohort's weight.
        death_scale: the same for deaths.
    """

    rows: Tensor
    deaths: Tensor
    ends: np.ndarray[tuple[int], np.dtype[np.int64]]
    scale: float
    death_scale: float


@dataclass(frozen=True, kw_only=True)
class StepReport:
    """The loss by part, over all processes, and the gradient's length before clipping."""

    parts: dict[str, float]
    gradient_norm: float


class FreeParameters(nn.Module):
    """The free parameters, and the loss of a piece of a batch as a function of them."""

    def __init__(self, objective: Objective, free: Tensor, *, causes: bool, precision: str) -> None:
        super().__init__()
        self.free = nn.Parameter(free.clone())
        self.objective = objective
        self.causes = causes
        self.mixed = precision == "mixed"
        self.precision = torch.float64 if precision == "float64" else torch.float32

    def forward(
        self, people: People | None, rows: Tensor | None = None, deaths: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Parts of the loss of some people and deaths; of nobody, the penalties."""
        weights = self.objective.unpack(self.free)
        if people is None or rows is None or deaths is None:
            main = self.free[: self.objective.sizes[0]]
            parts = self.objective.compute_penalties(weights, main)
            return parts | (self.objective.compute_cause_penalty(weights) if self.causes else {})
        with torch.autocast(self.free.device.type, dtype=torch.bfloat16, enabled=self.mixed):
            gap = compute_gap(weights, people, rows, precision=self.precision)
        parts = compute_likelihood(self.objective, weights, people, rows, gap)
        if self.causes:
            parts |= compute_cause_part(self.objective, weights, people, deaths)
        return parts


class Stepper:
    """Takes steps; holds the parameters, Adam, and into how many pieces a batch goes.

    Args:
        parameters: what is fitted.
        people: this process's, on the device.
        execution: where it runs.
        clip_norm: a longer gradient is shortened to this.
        accumulation: pieces a batch is computed in at first.
    """

    def __init__(
        self,
        parameters: FreeParameters,
        people: People,
        execution: Execution,
        *,
        clip_norm: float,
        accumulation: int,
    ) -> None:
        self.parameters = parameters
        self.people = people
        self.execution = execution
        self.clip_norm = clip_norm
        self.accumulation = accumulation
        self.out_of_memory = 0
        self.optimiser = torch.optim.Adam([parameters.free], lr=0.0)
        self._module: nn.Module = parameters
        if execution.world > 1:
            self._module = DistributedDataParallel(parameters)

    def take(self, batch: Batch, learning_rate: float) -> StepReport:
        """Move the parameters along a batch's gradient.

        A batch that does not fit into memory is computed in twice as many pieces, and
        later ones too; what the pieces add up to is the same.

        Raises:
            FitError: one person does not fit into memory.
            FloatingPointError: the loss or its gradient is not finite; the parameters are
                as before.
        """
        sums = self._try(batch)
        while sums is None:
            self._shrink(batch)
            sums = self._try(batch)
        penalties = self._module(None)
        torch.stack(list(penalties.values())).sum().backward()
        norm = torch.nn.utils.clip_grad_norm_([self.parameters.free], self.clip_norm)
        values = [
            *sums.tolist(),
            *(float(part.detach()) for part in penalties.values()),
            float(norm),
        ]
        if not np.isfinite(values).all():
            self.optimiser.zero_grad(set_to_none=True)
            named = dict(zip((*PARTS[: len(values) - 1], "gradient norm"), values, strict=True))
            raise FloatingPointError(
                ", ".join(f"{name}={value:g}" for name, value in named.items())
            )
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        return StepReport(
            parts=dict(zip(PARTS, values[:-1], strict=False)), gradient_norm=values[-1]
        )

    def _try(self, batch: Batch) -> Tensor | None:
        """Gradients of every process's share, or None, and no gradient, if memory ran out.

        Returns:
            (3,) the parts over people, over all processes.
        """
        failed = torch.zeros(1, dtype=torch.float64, device=self.execution.device)
        sums = torch.zeros(_OVER_PEOPLE, dtype=torch.float64, device=self.execution.device)
        try:
            self._accumulate(batch, sums)
        except (torch.OutOfMemoryError, MemoryError):
            failed += 1
        except RuntimeError as error:
            # The CPU's allocator and cuBLAS have no class of their own for it.
            if not any(words in str(error) for words in _OUT_OF_MEMORY_WORDS):
                raise
            failed += 1
        # Outside the handlers: their traceback holds the locals that filled the memory.
        agreed = self.execution.add_up(torch.cat([failed, sums]))
        if float(agreed[0]) == 0:
            return agreed[1:]
        self.optimiser.zero_grad(set_to_none=True)
        if self.execution.device.type == "cuda":
            torch.cuda.empty_cache()
        return None

    def _shrink(self, batch: Batch) -> None:
        self.out_of_memory += 1
        largest = torch.tensor([float(len(batch.rows))], device=self.execution.device)
        if self.accumulation >= float(self.execution.add_up(largest)):
            raise FitError(
                "expected memory for the features of one person at a time, however even those "
                f"do not fit on {self.execution.device}"
            )
        self.accumulation *= 2

    def _accumulate(self, batch: Batch, sums: Tensor) -> None:
        bounds = np.linspace(0, len(batch.rows), self.accumulation + 1).round().astype(int)
        hold = (
            self._module.no_sync()
            if isinstance(self._module, DistributedDataParallel)
            else contextlib.nullcontext()
        )
        with hold:
            for begin, end in pairwise(bounds.tolist()):
                if begin == end:
                    continue
                rows = batch.rows[begin:end]
                deaths = batch.deaths[int(batch.ends[begin]) : int(batch.ends[end])]
                means = self._module(self.people, rows, deaths)
                share = self.people.weight[rows].sum() * batch.scale
                parts = [means["mortality"] * share, means["age"] * share]
                if "cause" in means:
                    parts.append(means["cause"] * (len(deaths) * batch.death_scale))
                # DistributedDataParallel takes the mean of the processes.
                (torch.stack(parts).sum() * self.execution.world).backward()
                sums[: len(parts)] += torch.stack(parts).detach()
