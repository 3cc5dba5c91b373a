"""The loss over people and its gradient: on any device, in pieces, over processes.

The people stay on their device. Each evaluation sends weights there and gets sums back, a few
hundred numbers, so that a minimisation on the leading process's CPU can use any number of
devices. The other processes wait for weights, add the sums of their people, and wait again.

On the CPU the pieces have a fixed size, one thread computes each, and they are summed in
order. So any number of threads gives the same sums, to the last bit.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from enum import IntEnum

import torch
from henaw.model.errors import FitError
from henaw.training.execution.captured import capture
from henaw.training.execution.execution import Execution
from henaw.training.execution.memory import ran_out
from henaw.training.objective.objective import Weights
from henaw.training.objective.survival_data import (
    SurvivalData,
    build_design,
    compute_gap,
    compute_likelihood,
)
from torch import Tensor

PIECE = {"cpu": 1 << 14, "cuda": 1 << 18}
"""How many people are computed together, by kind of device; halved when memory runs out."""
SUMS = ("mortality", "age", "expected")
_Compute = Callable[[slice], Tensor]
_LOGGER = logging.getLogger(__name__)


class _Order(IntEnum):
    """What the leading process asks of the others."""

    EVALUATE = 0
    CURVE = 1
    CENTRE = 2
    WEIGH = 3
    DONE = 4


class Population:
    """A cohort's people, shared among processes: process i modulo their number has person i.

    Attributes:
        event_share: the share of the people who died during the follow-up.
        out_of_memory: how often memory ran out in this process.

    Args:
        people: the whole cohort, the same in every process.
        like: weights of which only the shapes are used.
        execution: where it runs.
        age_weight: the weight of the squared gap in the loss.
    """

    def __init__(
        self,
        people: SurvivalData,
        like: Weights,
        execution: Execution,
        *,
        age_weight: float,
    ) -> None:
        self.out_of_memory = 0
        self._execution = execution
        self._like = like
        self._age_weight = age_weight
        self._size = len(people)
        self.event_share = float(people.event.mean())
        self._mine = slice(execution.rank, None, execution.world)
        mine = people.select(self._mine)
        # Copied, since these two are changed in place.
        mine = replace(mine, typical=mine.typical.clone(), weight=mine.weight.clone())
        self._people = self._place(mine)
        self._piece = PIECE[execution.device.type]
        self._weights = torch.zeros_like(like.flatten()).to(execution.device)
        self._replay: Callable[[], Tensor] | None = None
        threads = torch.get_num_threads()
        self._pool = ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,))
        self._share_weight(torch.ones(self._size, dtype=torch.float64))

    def evaluate(self, weights: Tensor) -> tuple[dict[str, float], Tensor]:
        """Means over the cohort, and the gradient of the loss.

        Args:
            weights: the result of :meth:`Weights.flatten`, on the CPU.

        Returns:
            ``mortality``, ``age`` and ``expected`` per person, and the gradient of
            mortality + age_weight * age by the flattened weights.

        Raises:
            FitError: one person does not fit into memory.
        """
        self._order(_Order.EVALUATE, weights)
        total = self._evaluate(weights)
        return dict(zip(SUMS, total[: len(SUMS)].tolist(), strict=True)), total[len(SUMS) :]

    def measure_curvature(self, weights: Tensor) -> Tensor:
        """Expected second derivatives of the likelihood by the flattened weights: (W, W).

        Each person counts by their expected deaths, as in a Poisson regression.
        """
        self._order(_Order.CURVE, weights)
        curvature: Tensor = self._measure_curvature(weights).unflatten(0, (len(weights), -1))
        return curvature

    def centre(self, typical: Tensor) -> None:
        """Add these years to each person's gap from now on: (n,) float64."""
        self._order(_Order.CENTRE, typical)
        self._set("typical", typical)

    def weigh(self, weight: Tensor | None) -> None:
        """Set the people's weights from now on, (n,) float64; with None, everyone counts once."""
        weight = torch.ones(self._size, dtype=torch.float64) if weight is None else weight
        self._order(_Order.WEIGH, weight)
        self._share_weight(weight)

    @contextmanager
    def lead(self) -> Iterator[None]:
        """Release the other processes when the leading one has ended or failed."""
        try:
            yield
        finally:
            self._order(_Order.DONE, None)

    def follow(self) -> None:
        """Add this process's sums whenever the leading process asks for them."""
        while True:
            header = self._execution.spread(torch.zeros(1 + len(self._weights)).double())
            order, weights = _Order(int(header[0])), header[1:]
            if order is _Order.DONE:
                return
            if order is _Order.EVALUATE:
                self._evaluate(weights)
                continue
            if order is _Order.CURVE:
                self._measure_curvature(weights)
                continue
            values = self._execution.spread(torch.zeros(self._size).double())
            if order is _Order.CENTRE:
                self._set("typical", values)
            else:
                self._share_weight(values)

    def _evaluate(self, weights: Tensor) -> Tensor:
        return self._add_up(weights, self._differentiate, len(SUMS) + len(weights))

    def _measure_curvature(self, weights: Tensor) -> Tensor:
        return self._add_up(weights, self._curve, len(weights) ** 2)

    def _order(self, order: _Order, values: Tensor | None) -> None:
        if self._execution.world == 1:
            return
        header = torch.zeros(1 + len(self._weights), dtype=torch.float64)
        header[0] = float(order)
        if order in (_Order.EVALUATE, _Order.CURVE) and values is not None:
            header[1:] = values
        self._execution.spread(header)
        if order in (_Order.CENTRE, _Order.WEIGH) and values is not None:
            self._execution.spread(values)

    def _place(self, people: SurvivalData) -> SurvivalData:
        """People on the device or, if they do not fit there, on the CPU."""
        try:
            return people.to(self._execution.device)
        except (RuntimeError, MemoryError) as error:
            if not ran_out(error):
                raise
        self.out_of_memory += 1
        _LOGGER.warning(
            "%d people do not fit on %s: each evaluation copies them in pieces, which is slower",
            *(len(people), self._execution.device),
        )
        return people

    def _set(self, name: str, values: Tensor) -> None:
        # In place, because a recorded computation reads the same memory again.
        getattr(self._people, name).copy_(values[self._mine])

    def _share_weight(self, weight: Tensor) -> None:
        self._set("weight", weight / weight.sum())

    def _add_up(self, weights: Tensor, compute: _Compute, size: int) -> Tensor:
        """The sum of ``compute`` over the people of all processes, on the CPU: (size,)."""
        while True:
            sums = self._try(weights, compute, size)
            failed = float(sums is None)
            if sums is None:
                sums = torch.zeros(size, dtype=torch.float64)
            shared = torch.cat([sums.new_tensor([failed]), sums]).cpu()
            added = self._execution.add_up(shared)
            failures, total = added[0], added[1:]
            if not failures:
                return total
            self._shrink()

    def _try(self, weights: Tensor, compute: _Compute, size: int) -> Tensor | None:
        """The sum over this process's people; None if memory ran out."""
        self._weights.copy_(weights)
        try:
            if self._execution.device.type == "cpu":
                pieces = self._pool.map(compute, self._list_pieces())
                return sum(pieces, torch.zeros(size, dtype=torch.float64))
            if compute != self._differentiate:
                return self._sum(compute, size)
            if self._replay is None:
                self._replay = capture(lambda: self._sum(compute, size), reads=self._people.basis)
            return self._replay()
        except (RuntimeError, MemoryError) as error:
            if not ran_out(error):
                raise
        # Only after the handler: its traceback refers to the tensors that filled the memory.
        self._replay = None
        if self._execution.device.type == "cuda":
            torch.cuda.empty_cache()
        return None

    def _sum(self, compute: _Compute, size: int) -> Tensor:
        total = self._weights.new_zeros(size)
        for rows in self._list_pieces():
            total += compute(rows)
        return total

    def _shrink(self) -> None:
        self.out_of_memory += 1
        if self._piece == 1:
            raise FitError(
                f"memory ran out on {self._execution.device}: it does not hold the features of "
                "even one person at a time. Use another device or free memory"
            )
        self._piece = -(-self._piece // 2)
        self._replay = None
        _LOGGER.warning("memory ran out: computing %d people at a time", self._piece)

    def _list_pieces(self) -> list[slice]:
        bounds = range(0, len(self._people), self._piece)
        return [slice(begin, begin + self._piece) for begin in bounds]

    def _differentiate(self, rows: slice) -> Tensor:
        """Sums over some people, then the gradient."""
        people = self._people.select(rows).to(self._execution.device)
        flat = self._weights.detach().requires_grad_()
        weights = self._like.unflatten(flat)
        gap = compute_gap(weights, people, precision=torch.float64)
        parts = compute_likelihood(weights, people, gap)
        loss = parts["mortality"] + self._age_weight * parts["age"]
        (gradient,) = torch.autograd.grad(loss, flat)
        return torch.cat([torch.stack([parts[name].detach() for name in SUMS]), gradient])

    def _curve(self, rows: slice) -> Tensor:
        """Second derivatives over some people, as one vector."""
        people = self._people.select(rows).to(self._execution.device)
        with torch.no_grad():
            design, expected = build_design(self._like.unflatten(self._weights), people)
            return (design.T @ (design * expected.unsqueeze(1))).flatten()
