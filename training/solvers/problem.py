"""The fit as a minimisation in which each evaluation uses everyone.

With the reference tabulated, the network is linear in its weights, and the likelihood is a
sum over people. The point estimate and each refit are therefore small smooth problems that
L-BFGS solves exactly, on one device or several, for any number of people.
"""

from __future__ import annotations

import itertools

import torch
from henaw.model.biomarkers import SEXES
from henaw.model.configuration import NetworkConfiguration
from henaw.model.graph.harm import HarmRules
from henaw.training.cohorts.adjustment import count_adjustments
from henaw.training.configuration import FitConfiguration
from henaw.training.execution.execution import ALONE, Execution
from henaw.training.execution.threads import one_thread
from henaw.training.objective.objective import Objective, Solution
from henaw.training.objective.survival_data import SurvivalData, measure_scales
from henaw.training.solvers.minimise import Minimisation, Parts, minimise
from henaw.training.solvers.population import Population
from torch import Tensor
from torch.autograd.functional import hessian, jacobian


class FitProblem:
    """The minimisation for one cohort: once for the point estimate, then for each refit.

    Attributes:
        curvature: second derivatives of the likelihood by the weights, (W, W), as measured
            last, or empty; the next minimisation starts with them.

    Args:
        people: the cohort.
        shape: the network's shape.
        configuration: says what is minimised.
        rules: the rules of harmful values.
        execution: where it runs.
    """

    def __init__(
        self,
        people: SurvivalData,
        shape: NetworkConfiguration,
        configuration: FitConfiguration,
        rules: HarmRules | None = None,
        execution: Execution = ALONE,
    ) -> None:
        with one_thread():
            scales = measure_scales(people, count_adjustments(configuration.period))
        self.objective = Objective(scales, shape, configuration, rules)
        self.execution = execution
        self.curvature = torch.zeros(0)
        self.survey_share = people.levels[:, len(SEXES) : len(SEXES) + scales.surveys].mean(0)
        self.population = Population(
            people,
            self.objective.unpack(self.objective.start()),
            execution,
            age_weight=configuration.age_weight,
        )

    def evaluate(self, free: Tensor) -> tuple[Parts, Tensor]:
        """The parts of the loss at the free parameters (P,), and the gradient of their sum."""
        free = free.detach().requires_grad_()
        weights = self.objective.unpack(free)
        flat = weights.flatten()
        means, by_weights = self.population.evaluate(flat.detach())
        penalties = self.objective.compute_penalties(free, weights)
        # The product turns the likelihood's gradient by weights into one by parameters.
        total = torch.stack(list(penalties.values())).sum() + flat @ by_weights
        (gradient,) = torch.autograd.grad(total, free)
        parts = {
            "mortality": means["mortality"],
            "age": self.objective.configuration.age_weight * means["age"],
            **{name: float(part.detach()) for name, part in penalties.items()},
        }
        return parts, gradient

    def curve(self, free: Tensor, *, measure: bool = True) -> Tensor:
        """Approximate second derivatives of the loss at the free parameters: (P, P).

        Args:
            free: (P,) the free parameters.
            measure: also measure the likelihood's part here; otherwise the last measurement
                is used, which may be for other parameters and other weights of people.
        """

        def unpack(free: Tensor) -> Tensor:
            return self.objective.unpack(free).flatten()

        def penalise(free: Tensor) -> Tensor:
            penalties = self.objective.compute_penalties(free, self.objective.unpack(free))
            return torch.stack(list(penalties.values())).sum()

        by_free: Tensor = jacobian(unpack, free, vectorize=True)
        if measure or not len(self.curvature):
            self.curvature = self.population.measure_curvature(unpack(free))
        penalties: Tensor = hessian(penalise, free, vectorize=True)
        return by_free.T @ self.curvature @ by_free + penalties

    def solve(
        self, name: str, iterations: int, *, start: Tensor, interactions: bool = True
    ) -> tuple[Solution, Minimisation]:
        """Minimise the loss from ``start``.

        Args:
            name: what is minimised, for the log and for errors.
            iterations: the largest number of L-BFGS iterations.
            start: (P,) the first free parameters.
            interactions: whether interactions are free; otherwise they are 0. The bound of an
                interaction depends on the effects of its two biomarkers, so the loss has several
                minima. The lowest is found by starting from the minimum without interactions.

        Raises:
            FitError: the loss or a weight is not finite.
        """
        moving = torch.ones(len(start), dtype=torch.bool)
        if not interactions:
            self.objective.split(moving)["pairs"].fill_(False)
        origin = torch.where(moving, start, 0.0)

        def place(moved: Tensor) -> Tensor:
            return origin.masked_scatter(moving, moved)

        def evaluate(moved: Tensor) -> tuple[Parts, Tensor]:
            parts, gradient = self.evaluate(place(moved))
            return parts, gradient[moving]

        rounds = itertools.count()

        def curve(moved: Tensor) -> Tensor:
            # For the first round the last minimisation's curvature is good enough.
            return self.curve(place(moved), measure=next(rounds) > 0)[moving][:, moving]

        with one_thread():
            moved, parts, search = minimise(
                evaluate,
                origin[moving],
                curve=curve,
                iterations=iterations,
                name=name,
                tick=self.execution.tick,
            )
        return self.build_solution(place(moved), parts), search

    def build_solution(self, free: Tensor, parts: Parts) -> Solution:
        """The weights of solved parameters, as tensors of the network."""
        return self.objective.build_solution(free, self.survey_share, parts)

    def measure_calibration(self, solution: Solution) -> float:
        """Observed over expected deaths of the people fitted, during their follow-up."""
        flat = self.objective.unpack(solution.free).flatten()
        expected = self.population.evaluate(flat)[0]["expected"]
        return self.population.event_share / expected
