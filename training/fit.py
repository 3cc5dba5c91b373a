"""The fit: reference, gap, causes, refits, and what the interval needs.

The reference is tabulated first; then the point estimate and every refit minimise one
objective, by L-BFGS or in batches, as the configuration says.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable

import numpy as np
import torch
from henaw.model.biomarkers import SEXES
from henaw.model.errors import CohortError
from henaw.model.network import Network
from henaw.training.cache import Cache, digest_cohort, fetch_reference
from henaw.training.cohort import Cohort
from henaw.training.configuration import TrainingConfiguration
from henaw.training.execution import Execution
from henaw.training.loop import BatchProblem
from henaw.training.objective import Solution
from henaw.training.people import build_people
from henaw.training.problem import Problem, build_design
from henaw.training.reference import fit_reference
from henaw.training.uncertainty import fit_group_caps, fit_missing_variance
from torch import Tensor

Progress = Callable[[str], None]
Solve = Callable[[str, Tensor | None, Solution | None], Solution]
"""Minimise: the fit's name, how many times each person counts, and where to start."""

ALONE = Execution()
"""On the CPU, in one process, keeping nothing."""


def fit_tensors(
    cohort: Cohort,
    configuration: TrainingConfiguration,
    *,
    members: bool = True,
    progress: Progress = lambda _: None,
    execution: Execution = ALONE,
    cache: Cache | None = None,
) -> dict[str, Tensor]:
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
    if configuration.fit.method == "lbfgs":
        solve = _prepare_design(network, cohort, configuration)
    else:
        solve = _prepare_batches(network, cohort, configuration, execution, cache)
    point = solve("point", None, None)
    progress("point estimate")
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
    if members:
        generator = np.random.default_rng(configuration.seed)
        for member in range(shape.members):
            drawn = generator.multinomial(len(cohort), np.full(len(cohort), 1 / len(cohort)))
            refit = solve(f"refit-{member + 1}", torch.from_numpy(drawn).double(), point)
            tensors["member_weight"][member] = refit.weight
            tensors["member_interaction_weight"][member] = refit.interaction_weight
            progress(f"refit {member + 1} of {shape.members}")
        tensors = {name: tensor.float() for name, tensor in tensors.items()}
        tensors["group_cap"] = fit_group_caps(cohort, shape, tensors)
        tensors["missing_variance"] = fit_missing_variance(cohort, shape, tensors)
        progress("interval")
    return {name: tensor.float().contiguous() for name, tensor in tensors.items()}


def _prepare_design(
    network: Network, cohort: Cohort, configuration: TrainingConfiguration
) -> Solve:
    """L-BFGS on everyone at once."""
    fit = configuration.fit
    problem = Problem(build_design(network, cohort, fit), configuration.network, fit)

    def solve(_: str, weight: Tensor | None, start: Solution | None) -> Solution:
        iterations = fit.iterations if start is None else fit.member_iterations
        return problem.solve(weight, iterations, start=start)

    return solve


def _prepare_batches(
    network: Network,
    cohort: Cohort,
    configuration: TrainingConfiguration,
    execution: Execution,
    cache: Cache | None,
) -> Solve:
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
    problem = BatchProblem(
        build_people(network, cohort, configuration.fit),
        configuration.network,
        configuration.fit,
        configuration.loop,
        execution,
        seed=configuration.seed,
        fingerprint=hashlib.sha256(text.encode()).hexdigest()[:16],
        notes={} if cache is None else cache.counts.describe(),
    )
    return lambda name, weight, start: problem.solve(name, weight, start=start)


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
