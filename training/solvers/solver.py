"""The minimisations of one fit, by the leading process: each cached and recorded."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable
from typing import Any

import torch
from henaw.model.errors import FitError
from henaw.training.cohorts.cohort import Cohort
from henaw.training.cohorts.storage import digest_cohort
from henaw.training.configuration import TrainingConfiguration
from henaw.training.execution.cache import Cache, Entry, fetch_entry
from henaw.training.execution.threads import one_thread
from henaw.training.objective.objective import Solution
from henaw.training.solvers.causes import (
    FEWEST_DEATHS,
    CauseSolution,
    Deaths,
    count_by_class,
    solve_causes,
)
from henaw.training.solvers.minimise import Minimisation
from henaw.training.solvers.problem import FitProblem
from torch import Tensor

MOST_TURNS = 20
"""The largest number of turns between weights and typical years, or between weights and the rules'
multipliers."""
_LOGGER = logging.getLogger(__name__)


class Solver:
    """Runs the minimisations of a fit in the leading process, and records them.

    Args:
        problem: what is minimised.
        cohort: the people, with the reference's shifts subtracted.
        configuration: the fit's configuration.
        cache: where each result is kept; None keeps nothing.
    """

    def __init__(
        self,
        problem: FitProblem,
        cohort: Cohort,
        configuration: TrainingConfiguration,
        cache: Cache | None,
    ) -> None:
        self.problem = problem
        self.cohort = cohort
        self.configuration = configuration
        self.classes = configuration.network.cause_classes
        self.record: dict[str, Any] = {
            "device": str(problem.execution.device),
            "processes": problem.execution.world,
            "searches": [],
        }
        self._cache = cache
        self._made_from = {} if cache is None else describe_fit(cohort, configuration)

    def solve(
        self, name: str, iterations: int, start: Tensor, *, interactions: bool = True
    ) -> tuple[Solution, Minimisation]:
        """Solve the problem as it is now, or take the cached result."""

        def build() -> Entry:
            solution, search = self.problem.solve(
                name, iterations, start=start, interactions=interactions
            )
            curvature = self.problem.curvature.numpy()
            return Entry(
                arrays={"free": solution.free.numpy(), "curvature": curvature},
                values={"parts": solution.loss, "search": dataclasses.asdict(search)},
            )

        entry = self._fetch(name, build)
        search = Minimisation(**entry.values["search"])
        self.record["searches"].append(search.describe())
        free = torch.from_numpy(entry.arrays["free"])
        # A cached result must leave the same start for the next minimisation as a computed one.
        self.problem.curvature = torch.from_numpy(entry.arrays["curvature"])
        return self.problem.build_solution(free, entry.values["parts"]), search

    def _fetch(self, name: str, build: Callable[[], Entry]) -> Entry:
        if self._cache is None:
            return build()
        surveys = sorted(set(map(str, self.cohort.survey)))
        return fetch_entry(
            self._cache,
            "search",
            named=(*surveys, name),
            made_from=self._made_from,
            build=build,
        )

    def solve_causes(self, deaths: Deaths) -> CauseSolution:
        """Fit the causes' shares; record the deaths of each cause, and warn if they are few."""
        counts = count_by_class(deaths, len(self.classes))
        self.record["deaths_by_cause"] = dict(zip(self.classes, counts, strict=True))
        for name, count in zip(self.classes[:-1], counts, strict=False):
            if count < FEWEST_DEATHS:
                _LOGGER.warning(
                    "%s: with only %d deaths, its risk is hardly more than the average. "
                    "Leave it out of cohort.causes, or give it more codes",
                    *(name, count),
                )
        with one_thread():
            causes = solve_causes(
                deaths, len(self.classes), self.configuration.fit, tick=self.problem.execution.tick
            )
        self.record["searches"].append(causes.search.describe())
        return causes

    def record_outcome(self, point: Solution) -> None:
        """Record the point estimate's loss and calibration, and how often memory ran out."""
        ratio = self.problem.measure_calibration(point)
        self.record["loss"] = {name: round(part, 9) for name, part in point.loss.items()}
        self.record["observed_over_expected"] = round(ratio, 4)
        self.record["out_of_memory"] = self.problem.population.out_of_memory
        _LOGGER.info("deaths observed over expected in the fit: %.4f", ratio)

    def update_rules(self, solution: Solution) -> float:
        """Update the rules' multipliers; return by how many years the worst rule is broken."""
        harm = self.problem.objective.harm
        if harm is None:
            return 0.0
        return harm.update(solution.weight, solution.interaction_weight)

    def describe_rules(self, solution: Solution) -> str:
        """The most broken rule, in words."""
        harm = self.problem.objective.harm
        if harm is None:
            return "there are no rules"
        return harm.describe(solution.weight, solution.interaction_weight)

    def refit(self, name: str, weight: Tensor, start: Solution) -> Solution:
        """Fit again with other weights of people, (n,), until every rule is obeyed."""
        objective, population = self.problem.objective, self.problem.population
        kept = objective.harm
        objective.harm = None if kept is None else kept.copy()
        population.weigh(weight)
        try:
            for turn in range(1, MOST_TURNS + 1):
                start, search = self.solve(
                    f"{name}, turn {turn}", self.configuration.fit.member_iterations, start.free
                )
                if self.update_rules(start) <= 0.0 and search.converged:
                    return start
            raise FitError(
                f"in {name} {self.describe_rules(start)}, and the last minimisation "
                f"{search.describe_end()}. Raise fit.member_iterations"
            )
        finally:
            objective.harm = kept
            population.weigh(None)


def describe_fit(cohort: Cohort, configuration: TrainingConfiguration) -> dict[str, Any]:
    """Everything that a minimisation depends on besides the code."""
    return {
        "cohort": digest_cohort(cohort),
        "seed": configuration.seed,
        **{
            part: dataclasses.asdict(getattr(configuration, part))
            for part in ("network", "fit", "loop")
        },
    }
