"""The fit by mini-batches: for cohorts that one design no longer suits.

It minimises what :mod:`henaw.training.problem` minimises, with Adam, on a device that
holds everyone. People are dealt to the processes once, person i to process i modulo
their number; every process draws the same batches and takes its own people out of each.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import safetensors.torch
import torch
from henaw.model.checkpoint import write_whole
from henaw.model.configuration import NetworkConfiguration
from henaw.model.errors import FitError
from henaw.training.configuration import FitConfiguration, LoopConfiguration
from henaw.training.execution import Execution
from henaw.training.objective import Objective, Solution
from henaw.training.people import People, measure_scales
from henaw.training.sampler import StratifiedSampler, group_ages
from henaw.training.states import LoopState, StateFolder, decode_state, encode_state
from henaw.training.steps import PARTS, Batch, FreeParameters, Stepper, StepReport
from henaw.training.watch import Record, Watch, check_tensorboard
from torch import Tensor

Rows = npt.NDArray[np.int64]

SMALLEST_GAIN = 1e-6
"""Of the validation loss, per person, to count as better."""


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """The learning rate by step: a linear rise, then a cosine to 0."""

    highest: float
    steps: int
    warmup: int

    def look_up(self, step: int) -> float:
        """The learning rate of a step, counted from 0."""
        if step < self.warmup:
            return self.highest * (step + 1) / self.warmup
        passed = (step - self.warmup) / max(1, self.steps - self.warmup)
        return self.highest * 0.5 * (1.0 + math.cos(math.pi * passed))


class BatchProblem:
    """One cohort, solved for the point estimate and again for each refit.

    Args:
        people: the cohort, on the CPU; the same in every process.
        shape: of the network.
        fit: what is minimised.
        loop: how.
        execution: where.
        seed: of the batches and of who is kept for validation.
        fingerprint: names what is fitted and how; only states under the same name are
            gone on from.
        notes: figures to put into every record.
    """

    def __init__(
        self,
        people: People,
        shape: NetworkConfiguration,
        fit: FitConfiguration,
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
        self.seed = seed
        self.fingerprint = fingerprint
        self.notes = dict(notes or {})
        self.objective = Objective(measure_scales(people), shape, fit).to(execution.device)
        counts = torch.bincount(people.survey, minlength=self.objective.sizes[4])
        self.survey_share = counts.double() / len(people)
        self.group = group_ages(people.age.numpy())
        self.death = people.death.numpy()
        mine = torch.arange(execution.rank, len(people), execution.world)
        self.people = people.select(mine).to(execution.device)
        automatic = "mixed" if execution.device.type == "cuda" else "float64"
        self.precision = automatic if loop.precision == "auto" else loop.precision

    def solve(self, name: str, weight: Tensor | None, *, start: Solution | None) -> Solution:
        """Minimise the loss from zero, or for a refit from ``start`` without the causes.

        Args:
            name: of this fit within the run, for its states and records.
            weight: (n,) how many times a person counts; None for once each.
            start: where a refit starts.

        Raises:
            FitError: the loss is not finite, or one person does not fit into memory.
        """
        return _Run(self, name, weight, start).solve()


class _Run:
    """One fit from its first step, or from the last saved state, to its solution."""

    def __init__(
        self, problem: BatchProblem, name: str, weight: Tensor | None, start: Solution | None
    ) -> None:
        loop, execution = problem.loop, problem.execution
        self.problem, self.name, self.loop, self.execution = problem, name, loop, execution
        refit = start is not None
        everyone = len(problem.group)
        self.weight = np.ones(everyone) if weight is None else weight.double().numpy()
        # Nobody is kept back from a refit: it is short, and its spread is what is wanted.
        share = 0.0 if refit else loop.validation_share
        drawn = np.random.default_rng((problem.seed, everyone)).random(everyone) < share
        self.validation = np.flatnonzero(drawn & (self.weight > 0))
        self.training = np.flatnonzero(~drawn & (self.weight > 0))
        self.sampler = StratifiedSampler(
            problem.group[self.training], loop.batch_size, seed=problem.seed
        )
        self.epochs = loop.member_epochs if refit else loop.epochs
        steps = self.epochs * len(self.sampler)
        self.schedule = Schedule(
            highest=loop.member_learning_rate if refit else loop.learning_rate,
            steps=steps,
            warmup=max(1, round(loop.warmup_share * steps)),
        )
        mine = torch.from_numpy(self.weight[execution.rank :: execution.world].copy())
        self.people = dataclasses.replace(problem.people, weight=mine.to(execution.device))
        folder = execution.work
        self.folder = None if folder is None else folder / "states" / problem.fingerprint / name
        self.states = None if self.folder is None else StateFolder(self.folder)
        free = problem.objective.start() if start is None else start.free
        self.state = self._resume(free)
        self.stepper = self._build_stepper(causes=not refit)

    def _resume(self, free: Tensor) -> LoopState:
        """The newest state of the leading process, in every process."""
        found = self.states.load() if self.states is not None and self.execution.leads else None
        content = self.execution.share(encode_state(found) if found is not None else b"")
        state = decode_state(content) if content else None
        return state or LoopState.begin(free.cpu(), self.loop.accumulation)

    def _build_stepper(self, *, causes: bool) -> Stepper:
        problem, state, device = self.problem, self.state, self.execution.device
        parameters = FreeParameters(
            problem.objective, state.free.to(device), causes=causes, precision=problem.precision
        )
        stepper = Stepper(
            parameters,
            self.people,
            self.execution,
            clip_norm=self.loop.gradient_clip_norm,
            accumulation=state.accumulation,
        )
        stepper.out_of_memory = state.out_of_memory
        stepper.optimiser.state[parameters.free] = {
            "step": torch.tensor(float(state.step)),
            "exp_avg": state.first_moment.to(device),
            "exp_avg_sq": state.second_moment.to(device),
        }
        return stepper

    def solve(self) -> Solution:
        """Run to the end; see :meth:`BatchProblem.solve`."""
        state = self.state
        fit = f"{self.problem.fingerprint}/{self.name}"
        folder = self.execution.work if self.execution.leads else None
        board = self.loop.tensorboard and self.execution.leads
        watch = Watch(folder, fit, state.step, tensorboard=board)
        try:
            while not state.finished:
                self._run_epoch(watch)
                self._end_epoch(watch)
        finally:
            watch.close()
        solved = state.best_free if len(self.validation) else state.free
        loss = self._measure(solved, self.training)
        objective = self.problem.objective.to(torch.device("cpu"))
        return objective.settle(solved, self.problem.survey_share, loss)

    def _run_epoch(self, watch: Watch) -> None:
        state = self.state
        began = time.perf_counter()
        for batch in self._deal(self.training, state.epoch, first=state.batch):
            rate = self.schedule.look_up(state.step)
            try:
                report = self.stepper.take(batch, rate)
            except FloatingPointError as error:
                raise self._save_batch(batch, str(error)) from error
            self._advance(report)
            if state.step % self.loop.log_steps == 0:
                passed = time.perf_counter() - began
                watch.write(state.step, self._describe(report, rate, passed))
                began = time.perf_counter()
            if state.step % self.loop.save_steps == 0:
                self._save()

    def _advance(self, report: StepReport) -> None:
        state = self.state
        state.step += 1
        state.batch += 1
        for name, value in report.parts.items():
            state.epoch_loss[name] = state.epoch_loss.get(name, 0.0) + value

    def _describe(self, report: StepReport, rate: float, seconds: float) -> Record:
        steps = min(self.loop.log_steps, self.state.batch)
        return {
            **{f"loss/{name}": value for name, value in report.parts.items()},
            "gradient_norm": report.gradient_norm,
            "learning_rate": rate,
            "batch_seconds": seconds / steps,
            "out_of_memory": self.stepper.out_of_memory,
            "accumulation": self.stepper.accumulation,
            **self.problem.notes,
        }

    def _end_epoch(self, watch: Watch) -> None:
        state = self.state
        record = {f"epoch_loss/{name}": v / state.batch for name, v in state.epoch_loss.items()}
        state.epoch += 1
        state.batch = 0
        state.epoch_loss = {}
        improved = False
        if len(self.validation):
            parts = self._measure(self.stepper.parameters.free.detach().cpu(), self.validation)
            loss = sum(parts[name] for name in PARTS[:3] if name in parts)
            record["validation_loss"] = loss
            improved = state.best_loss is None or loss < state.best_loss - SMALLEST_GAIN
            state.waited = 0 if improved else state.waited + 1
            if improved:
                state.best_loss = loss
                state.best_free = self.stepper.parameters.free.detach().cpu().clone()
        state.finished = state.epoch >= self.epochs or state.waited >= self.loop.patience
        state.history = [*state.history, {"epoch": state.epoch, **record}]
        state.history = state.history[-self.loop.max_history_size :]
        # Records first: a state without its record would leave a hole after a kill.
        watch.write(state.step, {"epoch": state.epoch, **record, **self.problem.notes})
        self._save(best=improved)

    def _save(self, *, best: bool = False) -> None:
        state, moments = self.state, self.stepper.optimiser.state[self.stepper.parameters.free]
        state.free = self.stepper.parameters.free.detach().cpu().clone()
        state.first_moment = moments["exp_avg"].cpu()
        state.second_moment = moments["exp_avg_sq"].cpu()
        state.accumulation = self.stepper.accumulation
        state.out_of_memory = self.stepper.out_of_memory
        if self.states is not None and self.execution.leads:
            if best:
                self.states.save_best(state)
            self.states.save(state)

    def _deal(self, chosen: Rows, epoch: int, *, first: int = 0) -> Iterator[Batch]:
        """This process's share of each batch of an epoch."""
        order = chosen[self.sampler.draw(epoch)]
        yield from self._cut(order, self.sampler.bounds, first=first)

    def _cut(self, order: Rows, bounds: Rows, *, first: int = 0) -> Iterator[Batch]:
        """Cut an order of everybody into batches, and each to this process's people."""
        rank, world = self.execution.rank, self.execution.world
        mine = order % world == rank
        kept = np.concatenate([[0], np.cumsum(mine)])
        rows = order[mine] // world
        places = self.people.death.numpy()[rows]
        ends = np.concatenate([[0], np.cumsum(places >= 0)])
        rows_there = torch.from_numpy(rows).to(self.execution.device)
        deaths_there = torch.from_numpy(places[places >= 0]).to(self.execution.device)
        batches = len(bounds) - 1
        scale = batches / float(self.weight[order].sum())
        death_scale = batches / max(1, int((self.problem.death[order] >= 0).sum()))
        for begin, end in zip(kept[bounds[first:-1]], kept[bounds[first + 1 :]], strict=True):
            yield Batch(
                rows=rows_there[begin:end],
                deaths=deaths_there[ends[begin] : ends[end]],
                ends=ends[begin : end + 1] - ends[begin],
                scale=scale,
                death_scale=death_scale,
            )

    def _measure(self, free: Tensor, chosen: Rows) -> dict[str, float]:
        """The loss by part at the free parameters, over some people of all processes."""
        device = self.execution.device
        parameters = FreeParameters(
            self.problem.objective,
            free.to(device),
            causes=self.stepper.parameters.causes,
            precision=self.problem.precision,
        )
        size = max(1, self.loop.batch_size // self.stepper.accumulation)
        bounds = np.append(np.arange(0, len(chosen), size), len(chosen))
        sums = torch.zeros(3, dtype=torch.float64, device=device)
        with torch.no_grad():
            for batch in self._cut(chosen, bounds):
                if len(batch.rows) == 0:
                    continue
                means = parameters(self.people, batch.rows, batch.deaths)
                share = self.people.weight[batch.rows].sum() * batch.scale
                deaths = len(batch.deaths) * batch.death_scale
                sums += torch.stack(
                    [
                        means["mortality"] * share,
                        means["age"] * share,
                        means.get("cause", share * 0) * deaths,
                    ]
                )
            penalties = parameters(None)
        sums = self.execution.add_up(sums) / (len(bounds) - 1)
        values = [*sums.tolist(), *(float(part) for part in penalties.values())]
        return dict(zip(PARTS, values, strict=False))

    def _save_batch(self, batch: Batch, seen: str) -> FitError:
        """Save what a loss that is not finite came from; the error says where it is."""
        where = "run with a working folder (--work) to have the batch saved"
        if self.folder is not None:
            path = Path(self.folder) / f"batch-{self.state.step}-{self.execution.rank}.safetensors"
            columns = (
                "basis",
                "modulators",
                "pairs",
                "age",
                "sex",
                "setting",
                "time",
                "event",
                "weight",
            )
            tensors = {name: getattr(self.people, name)[batch.rows].cpu() for name in columns}
            tensors["rows"] = batch.rows.cpu() * self.execution.world + self.execution.rank
            tensors["free"] = self.stepper.parameters.free.detach().cpu()
            write_whole(path, safetensors.torch.save(tensors), mode=0o600)
            where = f"the batch is in {path}, data of individuals: keep it there"
        return FitError(
            f"expected a finite loss at step {self.state.step} of {self.name}, however: {seen}; "
            f"{where}"
        )
