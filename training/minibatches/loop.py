"""Mini-batches: a quick way near the minimum, for very large cohorts.

Adam on balanced batches, with all people on the device, comes near the minimum;
:mod:`henaw.training.solvers.problem` then starts there and reaches it exactly. The people are
shared out once, person i to process i modulo the number of processes. Every process draws the
same batches and computes its own people of each.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import safetensors.torch
import torch
from henaw.model.errors import FitError
from henaw.model.files import write_whole
from henaw.training.configuration import LoopConfiguration
from henaw.training.execution.execution import Execution
from henaw.training.minibatches.sampler import StratifiedSampler, group_ages
from henaw.training.minibatches.states import LoopState, StateFolder, decode_state, encode_state
from henaw.training.minibatches.steps import Batch, Stepper, StepReport
from henaw.training.minibatches.watch import Record, Watch, check_tensorboard
from henaw.training.objective.objective import Objective
from henaw.training.objective.survival_data import SurvivalData
from torch import Tensor

Rows = npt.NDArray[np.int64]
_NAME = "mini-batches"
_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """The learning rate by step: a linear rise, then a cosine to 0.

    Example:
        >>> schedule = Schedule(highest=0.2, steps=10, warmup=2)
        >>> [round(schedule.look_up(step), 3) for step in (0, 1, 2, 6, 10)]
        [0.1, 0.2, 0.2, 0.1, 0.0]
    """

    highest: float
    steps: int
    warmup: int

    def look_up(self, step: int) -> float:
        """The learning rate of a step, counted from 0."""
        if step < self.warmup:
            return self.highest * (step + 1) / self.warmup
        passed = (step - self.warmup) / max(1, self.steps - self.warmup)
        return self.highest * 0.5 * (1.0 + math.cos(math.pi * passed))


class MiniBatches:
    """A warm start of one cohort's fit, from the first step or from the last saved state.

    Args:
        people: the cohort, on the CPU; the same in every process.
        objective: what is minimised; the rules of harmful values are not used.
        loop: the batches, the learning rate and so on.
        execution: where it runs.
        seed: the seed of the batches.
        fingerprint: names the data and the configuration; only a state with the same name is
            continued.
        notes: figures to add to every record.
    """

    def __init__(
        self,
        people: SurvivalData,
        objective: Objective,
        loop: LoopConfiguration,
        execution: Execution,
        *,
        seed: int,
        fingerprint: str,
        notes: Record | None = None,
    ) -> None:
        if loop.tensorboard:
            check_tensorboard()
        self.loop = loop
        self.execution = execution
        self.notes = dict(notes or {})
        self.people = people.select(slice(execution.rank, None, execution.world)).to(
            execution.device
        )
        self.sampler = StratifiedSampler(group_ages(people.age.numpy()), loop.batch_size, seed=seed)
        steps = loop.epochs * len(self.sampler)
        self.schedule = Schedule(
            highest=loop.learning_rate,
            steps=steps,
            warmup=max(1, round(loop.warmup_share * steps)),
        )
        self.fingerprint = fingerprint
        work = execution.work
        self.folder = None if work is None else work / "states" / fingerprint
        self.states = None if self.folder is None else StateFolder(self.folder)
        self.state = self._resume(objective.start())
        self._drawn: tuple[int, Rows] | None = None
        self.stepper = self._build_stepper(objective)

    def _resume(self, free: Tensor) -> LoopState:
        """The newest state of the leading process, in every process."""
        found = self.states.load() if self.states is not None and self.execution.leads else None
        content = self.execution.share(encode_state(found) if found is not None else b"")
        state = decode_state(content) if content else None
        return state or LoopState.begin(free, self.loop.accumulation)

    def _build_stepper(self, objective: Objective) -> Stepper:
        state, device = self.state, self.execution.device
        stepper = Stepper(
            objective.to(device),
            self.people,
            self.execution,
            free=state.free,
            longest=int(np.diff(self.sampler.bounds).max()),
            clip_norm=self.loop.gradient_clip_norm,
            accumulation=state.accumulation,
        )
        stepper.out_of_memory = state.out_of_memory
        on_cuda = device.type == "cuda"
        stepper.optimiser.state[stepper.free] = {
            "step": torch.tensor(float(state.step), device=device if on_cuda else "cpu"),
            "exp_avg": state.first_moment.to(device),
            "exp_avg_sq": state.second_moment.to(device),
        }
        return stepper

    def solve(self) -> Tensor:
        """Run to the end; return the free parameters (P,), on the CPU.

        Raises:
            FitError: the loss is not finite, or one person does not fit into memory.
        """
        state = self.state
        folder = self.execution.work if self.execution.leads else None
        board = self.loop.tensorboard and self.execution.leads
        watch = Watch(folder, self.fingerprint, state.step, tensorboard=board)
        try:
            while state.epoch < self.loop.epochs:
                self._run_epoch(watch)
                self._end_epoch(watch)
        finally:
            watch.close()
        return state.free

    def _run_epoch(self, watch: Watch) -> None:
        state = self.state
        began = time.perf_counter()
        for batch in self._deal(state.epoch, first=state.batch):
            self.stepper.take(batch, self.schedule.look_up(state.step), state.step)
            state.step += 1
            state.batch += 1
            if state.step % self.loop.log_steps == 0:
                report = self._collect()
                passed = time.perf_counter() - began
                watch.write(state.step, self._describe(report, passed))
                began = time.perf_counter()
            if state.step % self.loop.save_steps == 0:
                self._collect()
                self._save()
        if state.epoch + 1 < self.loop.epochs:
            # On CUDA, this runs while the device takes the queued steps.
            self._drawn = (state.epoch + 1, self.sampler.draw(state.epoch + 1))

    def _collect(self) -> StepReport:
        """Read back the results of the steps since the last call."""
        failed = self.stepper.find_failure()
        report = self.stepper.report()
        if failed is not None:
            told = {**report.parts, "gradient norm": report.gradient_norm}
            seen = ", ".join(f"{name}={value:g}" for name, value in told.items())
            raise self._save_batch(failed, seen)
        for name, value in self.stepper.take_sums().items():
            self.state.epoch_loss[name] = self.state.epoch_loss.get(name, 0.0) + value
        return report

    def _describe(self, report: StepReport, seconds: float) -> Record:
        steps = min(self.loop.log_steps, self.state.batch)
        return {
            **{f"loss/{name}": value for name, value in report.parts.items()},
            "gradient_norm": report.gradient_norm,
            "learning_rate": self.schedule.look_up(self.state.step - 1),
            "batch_seconds": seconds / steps,
            "out_of_memory": self.stepper.out_of_memory,
            "accumulation": self.stepper.accumulation,
            **self.notes,
        }

    def _end_epoch(self, watch: Watch) -> None:
        state = self.state
        self._collect()
        means = {name: total / state.batch for name, total in state.epoch_loss.items()}
        state.epoch += 1
        state.batch = 0
        state.epoch_loss = {}
        record = {"epoch": state.epoch, **{f"epoch_loss/{name}": v for name, v in means.items()}}
        state.history = [*state.history, record][-self.loop.max_history_size :]
        # Write the record first: if the process is killed between the two, no record is missing.
        watch.write(state.step, {**record, **self.notes})
        self._save()
        told = f"{_NAME}: epoch {state.epoch} of {self.loop.epochs}, loss {sum(means.values()):.6f}"
        _LOGGER.info("%s, memory ran out %d times", told, self.stepper.out_of_memory)
        self.execution.tick(told)

    def _save(self) -> None:
        state, moments = self.state, self.stepper.optimiser.state[self.stepper.free]
        state.free = self.stepper.free.detach().cpu().clone()
        state.first_moment = moments["exp_avg"].cpu()
        state.second_moment = moments["exp_avg_sq"].cpu()
        state.accumulation = self.stepper.accumulation
        state.out_of_memory = self.stepper.out_of_memory
        if self.states is not None and self.execution.leads:
            self.states.save(state)

    def _deal(self, epoch: int, *, first: int = 0) -> Iterator[Batch]:
        """This process's share of each batch of an epoch, from batch ``first`` on."""
        rank, world = self.execution.rank, self.execution.world
        order, bounds = self._draw(epoch), self.sampler.bounds
        scale = len(self.sampler) / len(order)
        if world > 1:
            mine = order % world == rank
            bounds = np.concatenate([[0], np.cumsum(mine)])[bounds]
            order = order[mine] // world
        rows = torch.from_numpy(order).to(self.execution.device)
        for begin, end in zip(bounds[first:-1], bounds[first + 1 :], strict=True):
            yield Batch(rows=rows[begin:end], scale=scale)

    def _draw(self, epoch: int) -> Rows:
        if self._drawn is not None and self._drawn[0] == epoch:
            return self._drawn[1]
        return self.sampler.draw(epoch)

    def _save_batch(self, step: int, seen: str) -> FitError:
        """Save the batch whose loss is not finite; the error says where."""
        state = self.state
        batch = next(self._deal(state.epoch, first=state.batch - (state.step - step)))
        where = "run with a working folder (--work) to save the batch"
        if self.folder is not None:
            path = Path(self.folder) / f"batch-{step}-{self.execution.rank}.safetensors"
            people = self.people.select(batch.rows).to(torch.device("cpu"))
            tensors = {name: value.contiguous() for name, value in vars(people).items()}
            tensors["rows"] = batch.rows.cpu() * self.execution.world + self.execution.rank
            tensors["free"] = self.stepper.free.detach().cpu()
            write_whole(path, safetensors.torch.save(tensors), mode=0o600)
            where = f"the batch is in {path}, which contains data of individuals: keep it there"
        return FitError(
            f"{_NAME}: the loss or its gradient is not finite at step {step}: {seen}; {where}"
        )
