"""The fit: reference, causes, weights, refits, and what the interval needs.

The reference is tabulated first. Then the point estimate and each refit minimise the same
objective by L-BFGS; ``fit.method: minibatch`` lets mini-batches find where it starts.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import safetensors.torch
import torch
from henaw.model.biomarkers import SEXES
from henaw.model.errors import CohortError, FitError
from henaw.model.graph.harm import (
    HarmRules,
    build_credit_rules,
    build_missing_rules,
    build_slope_rules,
    build_steepness_rules,
)
from henaw.model.network import Network
from henaw.training.cohorts.cohort import Cohort
from henaw.training.configuration import TrainingConfiguration
from henaw.training.execution.cache import Cache
from henaw.training.execution.execution import ALONE, Execution
from henaw.training.minibatches.loop import MiniBatches
from henaw.training.objective.objective import Solution
from henaw.training.objective.survival_data import SurvivalData, build_survival_data
from henaw.training.reference import typical, uncertainty
from henaw.training.reference.reference import fetch_reference
from henaw.training.solvers.causes import build_deaths
from henaw.training.solvers.problem import FitProblem
from henaw.training.solvers.solver import MOST_TURNS, Solver, describe_fit
from torch import Tensor

Progress = Callable[[str], None]
CLOSE_YEARS = 0.02
"""The turns end when no typical years change by more."""
_METADATA_KEY = "henaw_fit"
_LOGGER = logging.getLogger(__name__)


class Fit(NamedTuple):
    """The result of a fit.

    Attributes:
        tensors: every tensor of a checkpoint.
        shifts: what was subtracted from each survey's biomarkers, see :class:`Cohort`.
        record: the parts of the point estimate's loss, deaths observed over expected among
            the people fitted, the deaths of each cause, how often memory ran out, and each
            minimisation.
    """

    tensors: dict[str, Tensor]
    shifts: Mapping[str, Mapping[str, float]]
    record: Mapping[str, Any]


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
        members: also compute the refits and what the interval needs. Without them the
            interval is meaningless, and only the point estimate may be used.
        progress: called with the name of each step as it ends.
        execution: where it runs; every process returns the same.
        cache: keeps the reference and the result of each minimisation, so that a fit that was
            stopped can continue; None keeps nothing.

    Raises:
        CohortError: too few people for the reference, no deaths, or no one complete.
        FitError: the loss or a weight is not finite, or the minimum was not reached.
    """
    _check_people(cohort, configuration)
    shape = configuration.network
    tensors, cohort = fetch_reference(cache, cohort, shape, configuration.cohort.detection_floors)
    progress("reference")
    network = Network(shape, tensors)
    people = build_survival_data(network, cohort, configuration.fit)
    rules = build_rules(configuration, tensors)
    problem = FitProblem(people, shape, configuration.fit, rules, execution)
    start = problem.objective.start()
    if configuration.fit.method == "minibatch":
        start = _warm_start(problem, people, cohort, configuration, cache)
    del people
    content = b""
    if execution.leads:
        try:
            with problem.population.lead():
                solver = Solver(problem, cohort, configuration, cache)
                tensors = _fit_all(solver, tensors, start, members=members, progress=progress)
            content = safetensors.torch.save(
                tensors, metadata={_METADATA_KEY: json.dumps(solver.record)}
            )
        finally:
            execution.share(content)
    else:
        problem.population.follow()
        content = execution.share(b"")
    if not content:
        raise FitError("the leading process stopped. Its own error says why")
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    return Fit(
        safetensors.torch.load(content),
        cohort.shifts,
        json.loads(header["__metadata__"][_METADATA_KEY]),
    )


def _fit_all(
    solver: Solver, tensors: dict[str, Tensor], start: Tensor, *, members: bool, progress: Progress
) -> dict[str, Tensor]:
    """Everything after the reference; only the leading process runs it."""
    cohort, configuration = solver.cohort, solver.configuration
    shape = configuration.network
    network = Network(shape, tensors)
    causes = solver.solve_causes(build_deaths(network, cohort, configuration.fit))
    tensors |= {"cause_weight": causes.weight, "cause_age_sex": causes.age_sex}
    point, tensors = _fit_point(solver, tensors, start)
    progress("point estimate")
    if members:
        tensors |= _fit_members(solver, point, progress)
    tensors = {name: tensor.float().contiguous() for name, tensor in tensors.items()}
    tensors["distance_limit"] = typical.fit_distance_limits(cohort, shape, tensors)
    tensors["extrapolation_sd"] = uncertainty.measure_extrapolation(shape, tensors)
    if members:
        tensors["typical_missing"] = typical.fit_typical_missing(cohort, shape, tensors)
        tensors["gap_percentiles"] = typical.fit_percentiles(cohort, shape, tensors)
        tensors["member_offset"] = uncertainty.fit_member_offset(cohort, shape, tensors)
        tensors["group_cap"] = uncertainty.fit_group_caps(cohort, shape, tensors)
        tensors["missing_variance"] = uncertainty.fit_missing_variance(cohort, shape, tensors)
        tensors |= uncertainty.fit_factors(cohort, shape, tensors, seed=configuration.seed)
        progress("interval")
    return tensors


def _fit_point(
    solver: Solver, tensors: dict[str, Tensor], start: Tensor
) -> tuple[Solution, dict[str, Tensor]]:
    """Weights, and the typical years that put the median of their gap at 0, in turns.

    The typical years depend on the weights and the likelihood on the typical years, so each
    is computed from the other until neither changes and every rule is obeyed.
    """
    cohort, shape = solver.cohort, solver.configuration.network
    iterations = solver.configuration.fit.iterations
    patterns = np.unique(typical.list_patterns(cohort))
    point, _ = solver.solve("without interactions", iterations, start, interactions=False)
    for turn in range(1, MOST_TURNS + 1):
        point, last = solver.solve(f"point estimate, turn {turn}", iterations, point.free)
        tensors |= {
            "weight": point.weight,
            "interaction_weight": point.interaction_weight,
            "baseline_intercept": point.intercept,
            "baseline_slope": point.slope,
            "member_weight": point.weight.expand(shape.members, -1, -1).clone(),
            "member_interaction_weight": point.interaction_weight.expand(shape.members, -1).clone(),
        }
        before = tensors["typical"]
        tensors["typical"] = typical.fit_typical(cohort, shape, tensors)
        tensors["typical_missing"] = typical.fit_typical_missing(cohort, shape, tensors, patterns)
        change = float((tensors["typical"] - before).abs().max())
        solver.problem.population.centre(typical.compute_typical(cohort, shape, tensors))
        broken = solver.update_rules(point)
        _LOGGER.info(
            "turn %d: typical years change by %.3f; %s", turn, change, solver.describe_rules(point)
        )
        if change < CLOSE_YEARS and broken <= 0.0 and last.converged:
            solver.record_outcome(point)
            return point, tensors
    raise FitError(
        f"after {MOST_TURNS} turns the typical years still changed by {change:.3g}, "
        f"{solver.describe_rules(point)}, and the last minimisation {last.describe_end()}. "
        "Raise fit.iterations, or choose other fit.credit_rules"
    )


def _fit_members(solver: Solver, point: Solution, progress: Progress) -> dict[str, Tensor]:
    """Refits on surveys and people drawn with replacement; each starts at the point estimate."""
    cohort, configuration = solver.cohort, solver.configuration
    generator = np.random.default_rng(configuration.seed)
    surveys, place = np.unique(cohort.survey, return_inverse=True)
    weights, interactions = [], []
    for member in range(1, configuration.network.members + 1):
        times = draw_surveys(generator, len(surveys))[place].astype(np.float64)
        drawn = generator.multinomial(len(cohort), times / times.sum())
        refit = solver.refit(f"refit {member}", torch.from_numpy(drawn).double(), point)
        weights.append(refit.weight)
        interactions.append(refit.interaction_weight)
        progress(f"refit {member} of {configuration.network.members}")
    return {
        "member_weight": torch.stack(weights),
        "member_interaction_weight": torch.stack(interactions),
    }


def draw_surveys(generator: np.random.Generator, surveys: int) -> npt.NDArray[np.int64]:
    """How often each survey is in a refit, drawn with replacement: (surveys,).

    Example:
        >>> int(draw_surveys(np.random.default_rng(1), 5).sum())
        5
    """
    return generator.multinomial(surveys, np.full(surveys, 1 / surveys))


def build_rules(
    configuration: TrainingConfiguration, tensors: Mapping[str, Tensor]
) -> HarmRules | None:
    """The rules of harmful values that the configuration names, or None without any."""
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


def _warm_start(
    problem: FitProblem,
    people: SurvivalData,
    cohort: Cohort,
    configuration: TrainingConfiguration,
    cache: Cache | None,
) -> Tensor:
    """Free parameters near the minimum, found by mini-batches in every process."""
    text = json.dumps(describe_fit(cohort, configuration), sort_keys=True)
    batches = MiniBatches(
        people,
        problem.objective,
        configuration.loop,
        problem.execution,
        seed=configuration.seed,
        fingerprint=hashlib.sha256(text.encode()).hexdigest()[:16],
        notes={} if cache is None else cache.counts.describe(),
    )
    start = batches.solve()
    problem.population.out_of_memory += batches.stepper.out_of_memory
    return start


def _check_people(cohort: Cohort, configuration: TrainingConfiguration) -> None:
    """Refuse a cohort from which no baseline, causes or intervals can be estimated."""
    follow_up_years = configuration.fit.follow_up_years
    event = cohort.event & (cohort.time_years <= follow_up_years)
    problems = []
    for code, name in enumerate(SEXES):
        if not event[cohort.sex == code].any():
            problems.append(
                f"no {name} person died within {follow_up_years:g} years; a fit needs such deaths"
            )
        if not cohort.complete[cohort.sex == code].any():
            problems.append(
                f"no {name} person has every biomarker of the panel; a fit needs such people"
            )
    known = int((event & (cohort.cause >= 0)).sum())
    if configuration.network.causes and known < 2:
        problems.append(
            f"deaths with a known cause must be at least 2; got {known}. For a model without "
            "risks by cause, leave cohort.causes empty"
        )
    if problems:
        raise CohortError("fit", problems)


def count_steps(configuration: TrainingConfiguration) -> int:
    """How often :func:`fit` reports progress."""
    return 3 + configuration.network.members
