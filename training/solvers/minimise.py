"""The minimum of a smooth function by L-BFGS, and a record of how it was found."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from henaw.model.errors import FitError
from torch import Tensor

Parts = dict[str, float]
Evaluate = Callable[[Tensor], tuple[Parts, Tensor]]
"""From free parameters (P,), float64 on the CPU, it computes the loss's parts and gradient (P,)."""
Curve = Callable[[Tensor], Tensor]
"""From free parameters (P,) it computes approximate second derivatives (P, P), float64."""

FLATTEST = 1e-7
"""A gradient counts as 0 if its largest element, in preconditioned steps, is at most this. The loss
is then within about 1e-14 of its minimum."""
ROUND = 50
"""The number of iterations before the preconditioner is computed again."""
_LEAST_GAIN = 1e-15
_HISTORY = 20
_FLAT_SHARE = 1e-8
"""A direction's curvature counts as at least this share of the largest."""
_WALL = 10.0
"""Where the loss is not finite, the line search sees this many times the loss at its start."""
_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Minimisation:
    """A record of one minimisation.

    Attributes:
        name: what was minimised.
        iterations: the number of L-BFGS iterations.
        evaluations: how often the loss and its gradient were computed.
        loss: the loss at the end.
        gradient: the gradient's largest element at the end, in preconditioned steps.
        seconds: duration.
        stopped: why it ended: "flat" (the gradient is 0), "no gain" (rounding allows no
            further decrease) or "iterations" (their limit was reached).
    """

    name: str
    iterations: int
    evaluations: int
    loss: float
    gradient: float
    seconds: float
    stopped: str

    @property
    def converged(self) -> bool:
        """Whether it ended before the limit of iterations."""
        return self.stopped != "iterations"

    def describe_end(self) -> str:
        """How it ended, as the end of a sentence."""
        if self.converged:
            return f"reached its minimum in {self.iterations} iterations"
        return f"did not reach its minimum in {self.iterations} iterations"

    def describe(self) -> dict[str, float | int | str]:
        """What a checkpoint records: everything that another run would repeat exactly."""
        return {
            "name": self.name,
            "iterations": self.iterations,
            "evaluations": self.evaluations,
            "loss": float(f"{self.loss:.9g}"),
            "gradient": float(f"{self.gradient:.3g}"),
            "stopped": self.stopped,
        }


def minimise(
    evaluate: Evaluate,
    start: Tensor,
    *,
    curve: Curve,
    iterations: int,
    name: str,
    tick: Callable[[str], None] = lambda _: None,
) -> tuple[Tensor, Parts, Minimisation]:
    """Minimise a sum of parts by preconditioned L-BFGS.

    The preconditioner makes steps in which the sum has about the same curvature in every
    direction. In the parameters' own units the flattest directions would need hundreds of
    iterations, and L-BFGS would stop before their minimum.

    Args:
        evaluate: gives the parts and the gradient of their sum.
        start: (P,) float64, the first parameters.
        curve: gives approximate second derivatives; a rough one costs iterations, not accuracy.
        iterations: the largest number of L-BFGS iterations.
        name: what is minimised, for the log and for errors.
        tick: called with the progress in words after each evaluation.

    Returns:
        The parameters (P,), the parts of the loss there, and the record.

    Raises:
        FitError: the loss or a parameter is not finite.

    Source:
        Liu DC, Nocedal J (1989), Math Program 45:503-528.

    Example:
        >>> def evaluate(x):
        ...     return {"square": float((x - 3.0).square().sum())}, 2.0 * (x - 3.0)
        >>> found, parts, search = minimise(
        ...     evaluate,
        ...     torch.zeros(2).double(),
        ...     curve=lambda x: 2.0 * torch.eye(2).double(),
        ...     iterations=9,
        ...     name="a parabola",
        ... )
        >>> found.round(decimals=6).tolist(), search.stopped
        ([3.0, 3.0], 'flat')
    """
    began = time.monotonic()
    free, taken, evaluations, stopped = start, 0, 0, ""
    # If the first loss is not finite, the line search fails in every iteration.
    parts, _ = evaluate(free)
    _check_finite(free, parts, name)
    while not stopped:
        before = sum(parts.values())
        steps = _even_out(curve(free))
        least = min(ROUND, iterations - taken)
        moved, round_taken, round_evaluations = _run_round(
            evaluate, free, steps, least, lambda told: tick(f"{name}: {told}")
        )
        free = free + steps @ moved
        taken += round_taken
        evaluations += round_evaluations
        parts, gradient = evaluate(free)
        steepest = float((steps.T @ gradient).abs().max())
        if steepest <= FLATTEST:
            stopped = "flat"
        elif taken >= iterations:
            stopped = "iterations"
        elif before - sum(parts.values()) <= _LEAST_GAIN:
            stopped = "no gain"
    _check_finite(free, parts, name)
    search = Minimisation(
        name=name,
        iterations=taken,
        evaluations=evaluations,
        loss=sum(parts.values()),
        gradient=steepest,
        seconds=time.monotonic() - began,
        stopped=stopped,
    )
    _LOGGER.info(
        "%s: loss %.9g after %d iterations and %d evaluations in %.1f s; largest gradient %.2g; "
        "stopped: %s",
        *(name, search.loss, search.iterations, search.evaluations, search.seconds),
        *(steepest, stopped),
    )
    return free, parts, search


def _even_out(curvature: Tensor) -> Tensor:
    """Steps (P, P), as columns, along which the sum has the curvature 1."""
    curves, directions = torch.linalg.eigh(0.5 * (curvature + curvature.T))
    # For negative curvature, the step for the same positive curvature is as good a guess.
    curves = curves.abs()
    steps: Tensor = directions / curves.clamp(min=_FLAT_SHARE * float(curves.max())).sqrt()
    return steps


def _run_round(
    evaluate: Evaluate,
    origin: Tensor,
    steps: Tensor,
    iterations: int,
    tick: Callable[[str], None],
) -> tuple[Tensor, int, int]:
    """Lengths along the steps, iterations and evaluations of one round of L-BFGS."""
    moved = torch.zeros(steps.shape[1], dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS(
        [moved],
        max_iter=iterations,
        max_eval=10 * iterations,
        history_size=_HISTORY,
        tolerance_grad=FLATTEST,
        tolerance_change=_LEAST_GAIN,
        line_search_fn="strong_wolfe",
    )
    state = optimiser.state[moved]
    wall = _WALL * max(1.0, abs(sum(evaluate(origin)[0].values())))

    def closure() -> float:
        parts, gradient = evaluate(origin + steps @ moved.detach())
        moved.grad = steps.T @ gradient
        total = sum(parts.values())
        if not _is_finite(total) or not torch.isfinite(moved.grad).all():
            # The line search steps back from a high loss, but not from infinity.
            total, moved.grad = wall, torch.zeros_like(moved.grad)
        tick(f"iteration {state.get('n_iter', 0)}, loss {total:.6f}")
        return total

    optimiser.step(closure)
    return moved.detach(), int(state["n_iter"]), int(state["func_evals"])


def _check_finite(free: Tensor, parts: Parts, name: str) -> None:
    if not torch.isfinite(free).all() or not all(map(_is_finite, parts.values())):
        told = ", ".join(f"{part}={value:g}" for part, value in parts.items())
        raise FitError(f"{name}: the loss or a parameter is not finite: {told}")


def _is_finite(value: float) -> bool:
    return value - value == 0.0
