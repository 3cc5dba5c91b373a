"""The fit: reference, gap, causes, refits, and what the interval needs.

The reference is tabulated first; then the point estimate and every refit minimise one
objective, by L-BFGS or in batches, as the configuration says.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from henaw.model.biomarkers import SEXES
from henaw.model.errors import CohortError, FitError
from henaw.model.harm import (
    HarmRules,
    build_credit_rules,
    build_missing_rules,
    build_slope_rules,
    build_steepness_rules,
)
from henaw.model.network import Network
from henaw.training.cache import Cache, digest_cohort, fetch_reference
from henaw.training.cohort import Cohort
from henaw.training.configuration import TrainingConfiguration
from henaw.training.execution import Execution
from henaw.training.loop import BatchProblem
from henaw.training.objective import Solution
from henaw.training.people import People, build_people
from henaw.training.problem import Problem
from henaw.training.reference import fit_reference
from henaw.training.typical import (
    compute_typical,
    fit_distance_limits,
    fit_percentiles,
    fit_typical,
    fit_typical_missing,
    list_patterns,
)
from henaw.training.uncertainty import (
    fit_factors,
    fit_group_caps,
    fit_member_offset,
    fit_missing_variance,
    measure_extrapolation,
)
from torch import Tensor

Progress = Callable[[str], None]
MOST_TURNS = 20
"""How often weights and typical years are fitted in turn, at most."""
CLOSE_YEARS = 0.02
"""A change of the typical years that ends the turns."""


ALONE = Execution()
"""On the CPU, in one process, keeping nothing."""


class Fit(NamedTuple):
    """What a fit leaves.

    Attributes:
        tensors: every tensor of a checkpoint.
        shifts: what was taken off each survey's biomarkers, see :class:`Cohort`.
        loss: the parts of the loss of the point estimate.
    """

    tensors: dict[str, Tensor]
    shifts: Mapping[str, Mapping[str, float]]
    loss: Mapping[str, float]


def fit_tensors(
    cohort: Cohort, configuration: TrainingConfiguration, **options: Any
) -> dict[str, Tensor]:
    """The tensors of :func:`fit`, which takes the same options."""
    return fit(cohort, configuration, **options).tensors


def fit(
    cohort: Cohort,
    configuration: TrainingConfiguration,
    *,
    members: bool = True,
    progress: Progress = lambda _: None,
    execution: Execution = ALONE,
    cache: Cache | None = None,
) -> Fit:
    """Fit every tensor of a checkpoint.

    Args:
        cohort: the people, as read.
        configuration: the fit.
        members: also refit the ensemble and what the interval needs; without them the
            interval is meaningless and only the point estimate may be used.
        progress: called with the name of each step as it ends.
        execution: where a fit in batches runs.
        cache: keeps the reference; None tabulates it anew.

    Raises:
        CohortError: too few people for the reference, no deaths, or nobody complete.
        FitError: the loss or a weight is not finite.
    """
    _check_people(cohort, configuration.fit.follow_up_years)
    shape = configuration.network
    floors = configuration.cohort.detection_floors
    if cache is None:
        tensors, cohort = fit_reference(cohort, shape, floors)
    else:
        tensors, cohort = fetch_reference(cache, cohort, shape, floors)
    progress("reference")
    network = Network(shape, tensors)
    people = build_people(network, cohort, configuration.fit)
    minibatch = configuration.fit.method == "minibatch"
    batches = (
        _prepare_batches(people, cohort, configuration, execution, cache) if minibatch else None
    )
    solver = _Solver(people, configuration, build_rules(configuration, tensors), batches)
    point, tensors = _fit_point(solver, cohort, configuration, tensors)
    progress("point estimate")
    if members:
        tensors |= _fit_members(solver, cohort, configuration, point, progress)
    tensors = {name: tensor.float().contiguous() for name, tensor in tensors.items()}
    tensors["distance_limit"] = fit_distance_limits(cohort, shape, tensors)
    tensors["extrapolation_sd"] = measure_extrapolation(shape, tensors)
    if members:
        tensors["typical_missing"] = fit_typical_missing(cohort, shape, tensors)
        tensors["gap_percentiles"] = fit_percentiles(cohort, shape, tensors)
        tensors["member_offset"] = fit_member_offset(cohort, shape, tensors)
        tensors["group_cap"] = fit_group_caps(cohort, shape, tensors)
        tensors["missing_variance"] = fit_missing_variance(cohort, shape, tensors)
        tensors |= fit_factors(cohort, shape, tensors, seed=configuration.seed)
        progress("interval")
    return Fit(tensors, cohort.shifts, point.loss)


def _fit_point(
    solver: _Solver,
    cohort: Cohort,
    configuration: TrainingConfiguration,
    tensors: dict[str, Tensor],
) -> tuple[Solution, dict[str, Tensor]]:
    """Weights, and the typical years that put the median of their gap at 0, in turns."""
    shape = configuration.network
    patterns = np.unique(list_patterns(cohort))
    point = solver.solve_first()
    for _ in range(MOST_TURNS):
        tensors |= {
            "weight": point.weight,
            "interaction_weight": point.interaction_weight,
            "baseline_intercept": point.intercept,
            "baseline_slope": point.slope,
            "cause_weight": point.cause_weight,
            "cause_age_sex": point.cause_age_sex,
            "member_weight": point.weight.expand(shape.members, -1, -1).clone(),
            "member_interaction_weight": point.interaction_weight.expand(shape.members, -1).clone(),
        }
        before = tensors["typical"]
        tensors["typical"] = fit_typical(cohort, shape, tensors)
        tensors["typical_missing"] = fit_typical_missing(cohort, shape, tensors, patterns)
        change = float((tensors["typical"] - before).abs().max())
        solver.problem.centre(compute_typical(cohort, shape, tensors))
        broken = solver.update_rules(point)
        if change < CLOSE_YEARS and broken <= 0.0:
            return point, tensors
        point = solver.solve_again(point)
    raise FitError(
        f"after {MOST_TURNS} turns the typical years still changed by {change:.3g} and "
        f"{solver.describe_rules(point)}. Raise fit.iterations, "
        "or take other fit.credit_rules"
    )


def _fit_members(
    solver: _Solver,
    cohort: Cohort,
    configuration: TrainingConfiguration,
    point: Solution,
    progress: Progress,
) -> dict[str, Tensor]:
    """Refits on people and surveys drawn with replacement, from the point estimate."""
    generator = np.random.default_rng(configuration.seed)
    surveys, place = np.unique(cohort.survey, return_inverse=True)
    weights, interactions = [], []
    for member in range(configuration.network.members):
        times = draw_surveys(generator, len(surveys))[place].astype(np.float64)
        drawn = generator.multinomial(len(cohort), times / times.sum())
        refit = solver.refit(torch.from_numpy(drawn).double(), point)
        weights.append(refit.weight)
        interactions.append(refit.interaction_weight)
        progress(f"refit {member + 1} of {configuration.network.members}")
    return {
        "member_weight": torch.stack(weights),
        "member_interaction_weight": torch.stack(interactions),
    }


def draw_surveys(generator: np.random.Generator, surveys: int) -> npt.NDArray[np.int64]:
    """How often each survey is in a refit: drawn with replacement: (surveys,)."""
    return generator.multinomial(surveys, np.full(surveys, 1 / surveys))


def build_rules(
    configuration: TrainingConfiguration, tensors: Mapping[str, Tensor]
) -> HarmRules | None:
    """The rules of harmful values that the configuration asks for."""
    if configuration.fit.harm_weight == 0:
        return None
    shape, asked = configuration.network, configuration.fit
    steepest = dict.fromkeys(asked.steepness_rules, asked.steepest_years)
    return (
        build_slope_rules(shape, tensors)
        .join(build_missing_rules(shape, tensors))
        .join(build_credit_rules(shape, tensors, asked.credit_rules))
        .join(build_steepness_rules(shape, tensors, steepest))
    )


class _Solver:
    """L-BFGS on everyone at once; where asked for, from where mini-batches ended."""

    def __init__(
        self,
        people: People,
        configuration: TrainingConfiguration,
        rules: HarmRules | None,
        batches: BatchProblem | None,
    ) -> None:
        self.fit = configuration.fit
        self.problem = Problem(people, configuration.network, self.fit, rules)
        self.batches = batches

    def solve_first(self) -> Solution:
        start = None if self.batches is None else self.batches.solve("point", None, start=None)
        return self.problem.solve(None, self.fit.iterations, start=start)

    def solve_again(self, start: Solution) -> Solution:
        # The causes do not depend on where the gap's middle is.
        return self.problem.solve(None, self.fit.iterations, start=start, causes=False)

    def update_rules(self, solution: Solution) -> float:
        """Ask more of the rules of harmful values; by how much the worst is broken, years."""
        harm = self.problem.objective.harm
        if harm is None:
            return 0.0
        return harm.update(solution.weight.double(), solution.interaction_weight.double())

    def describe_rules(self, solution: Solution) -> str:
        """The rule that is furthest from holding, in words."""
        harm = self.problem.objective.harm
        if harm is None:
            return "no rule is asked for"
        return harm.describe(solution.weight.double(), solution.interaction_weight.double())

    def refit(self, weight: Tensor, start: Solution) -> Solution:
        """Fit again, each person counting so many times, until the rules hold."""
        objective = self.problem.objective
        kept = objective.harm
        objective.harm = None if kept is None else kept.copy()
        try:
            for _ in range(MOST_TURNS):
                start = self.problem.solve(
                    weight, self.fit.member_iterations, start=start, causes=False
                )
                if self.update_rules(start) <= 0.0:
                    return start
            raise FitError(f"in a refit {self.describe_rules(start)}. Raise fit.member_iterations")
        finally:
            objective.harm = kept


def _prepare_batches(
    people: People,
    cohort: Cohort,
    configuration: TrainingConfiguration,
    execution: Execution,
    cache: Cache | None,
) -> BatchProblem:
    """Adam on batches, on the execution's device."""
    described = {
        "cohort": digest_cohort(cohort),
        "seed": configuration.seed,
        **{
            part: dataclasses.asdict(getattr(configuration, part))
            for part in ("network", "fit", "loop")
        },
    }
    text = json.dumps(described, sort_keys=True)
    return BatchProblem(
        people,
        configuration.network,
        configuration.fit,
        configuration.loop,
        execution,
        seed=configuration.seed,
        fingerprint=hashlib.sha256(text.encode()).hexdigest()[:16],
        notes={} if cache is None else cache.counts.describe(),
    )


def _check_people(cohort: Cohort, follow_up_years: float) -> None:
    """Refuse a cohort that cannot place a baseline, tell causes apart or give intervals."""
    event = cohort.event & (cohort.time_years <= follow_up_years)
    problems = []
    for code, name in enumerate(SEXES):
        if not event[cohort.sex == code].any():
            problems.append(
                f"expected deaths within {follow_up_years:g} years, however: none {name}"
            )
        if not cohort.complete[cohort.sex == code].any():
            problems.append(f"expected people with all nine biomarkers, however: none {name}")
    known = int((event & (cohort.cause >= 0)).sum())
    if known < 2:
        problems.append(f"expected deaths with a known cause, however: {known}")
    if problems:
        raise CohortError("fit", problems)


def count_steps(configuration: TrainingConfiguration) -> int:
    """How often :func:`fit_tensors` reports progress."""
    return 3 + configuration.network.members
