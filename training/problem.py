"""The fit by L-BFGS: every person in each evaluation, on one fixed design.

The network is linear in its weights once the reference is tabulated, and the
likelihood is a sum over people, so the point estimate and every refit are small smooth
problems. Exact, and quick up to some 100 000 people.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from henaw.model.configuration import NetworkConfiguration
from henaw.model.errors import FitError
from henaw.model.harm import HarmRules
from henaw.training.configuration import FitConfiguration
from henaw.training.objective import Objective, Solution
from henaw.training.people import (
    People,
    compute_cause_part,
    compute_gap,
    compute_likelihood,
    measure_scales,
)
from torch import Tensor

_EVERYONE = slice(None)


class Problem:
    """One cohort, solved for the point estimate and again for each refit.

    Args:
        people: the cohort.
        shape: of the network.
        configuration: what is minimised.
        rules: what harmful values must hold.
    """

    def __init__(
        self,
        people: People,
        shape: NetworkConfiguration,
        configuration: FitConfiguration,
        rules: HarmRules | None = None,
    ) -> None:
        self.objective = Objective(measure_scales(people), shape, configuration, rules)
        self.people = replace(
            people,
            basis=people.basis.double(),
            modulators=people.modulators.double(),
            pairs=people.pairs.double(),
            causes=people.causes.double(),
            age_sex=people.age_sex.double(),
        )

    def centre(self, typical: Tensor) -> None:
        """Add these years to each person's gap from now on: (n,) float64."""
        self.people = replace(self.people, typical=typical)

    def compute_loss(self, free: Tensor, people: People, *, causes: bool) -> dict[str, Tensor]:
        """The parts of the loss at the free parameters (P,)."""
        objective = self.objective
        weights = objective.unpack(free)
        gap = compute_gap(weights, people, _EVERYONE, precision=torch.float64)
        parts = compute_likelihood(objective, weights, people, _EVERYONE, gap)
        parts |= objective.compute_penalties(weights, free[: objective.sizes[0]])
        if causes:
            parts |= compute_cause_part(objective, weights, people, _EVERYONE)
            parts |= objective.compute_cause_penalty(weights)
        return parts

    def solve(
        self,
        weight: Tensor | None,
        iterations: int,
        *,
        start: Solution | None = None,
        causes: bool = True,
    ) -> Solution:
        """Minimise the loss from zero, or from ``start``.

        Args:
            weight: (n,) how many times each person counts; None is once.
            iterations: most iterations of L-BFGS.
            start: where to start.
            causes: whether the causes are fitted, or left as they are.

        Raises:
            FitError: the loss or a weight is not finite.
        """
        people = self.people if weight is None else replace(self.people, weight=weight)
        free = self.objective.start() if start is None else start.free.clone()
        # From a start that is not finite the line search would try, and fail, to the end.
        _check_finite(free, self.compute_loss(free, people, causes=causes))
        free.requires_grad_()
        optimiser = torch.optim.LBFGS(
            [free],
            max_iter=iterations,
            history_size=20,
            tolerance_grad=1e-7,
            tolerance_change=1e-10,
            line_search_fn="strong_wolfe",
        )

        def closure() -> Tensor:
            optimiser.zero_grad()
            parts = self.compute_loss(free, people, causes=causes)
            total: Tensor = torch.stack(list(parts.values())).sum()
            total.backward()
            return total

        optimiser.step(closure)
        solved = free.detach()
        parts = self.compute_loss(solved, people, causes=causes)
        _check_finite(solved, parts)
        counts = torch.bincount(people.survey, minlength=self.objective.sizes[4])
        return self.objective.settle(
            solved,
            counts.double() / len(people.survey),
            {name: float(part) for name, part in parts.items()},
        )


def _check_finite(free: Tensor, parts: dict[str, Tensor]) -> None:
    if not torch.isfinite(free).all() or not all(torch.isfinite(p) for p in parts.values()):
        raise FitError(
            "expected a finite loss, however: "
            + ", ".join(f"{name}={float(part):g}" for name, part in parts.items())
        )
