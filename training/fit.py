"""The fit: reference, gap, causes, refits, and what the interval needs.

The network is linear in its weights once the reference is tabulated, and the
likelihood is a sum over people, so the point estimate and every refit are small smooth
problems for L-BFGS on one fixed design.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from henaw.model.biomarkers import SEXES
from henaw.model.errors import CohortError
from henaw.model.network import Network
from henaw.training.cohort import Cohort
from henaw.training.configuration import TrainingConfiguration
from henaw.training.problem import Problem, build_design
from henaw.training.reference import fit_reference
from henaw.training.uncertainty import fit_group_caps, fit_missing_variance
from torch import Tensor

Progress = Callable[[str], None]


def fit_tensors(
    cohort: Cohort,
    configuration: TrainingConfiguration,
    *,
    members: bool = True,
    progress: Progress = lambda _: None,
) -> dict[str, Tensor]:
    """Fit every tensor of a checkpoint.

    Args:
        cohort: the people, as read.
        configuration: the fit.
        members: also refit the ensemble and what the interval needs; without them the
            interval is meaningless and only the point estimate may be used.
        progress: called with the name of each step as it ends.

    Raises:
        CohortError: too few people for the reference, no deaths, or nobody complete.
        FitError: the loss or a weight is not finite.
    """
    _check_people(cohort, configuration.fit.follow_up_years)
    shape = configuration.network
    tensors, cohort = fit_reference(cohort, shape, configuration.cohort.detection_floors)
    progress("reference")
    network = Network(shape, tensors)
    design = build_design(network, cohort, configuration.fit.follow_up_years)
    problem = Problem(design, shape, configuration.fit)
    point = problem.solve(None, configuration.fit.iterations)
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
            refit = problem.solve(
                torch.from_numpy(drawn).double(), configuration.fit.member_iterations, start=point
            )
            tensors["member_weight"][member] = refit.weight
            tensors["member_interaction_weight"][member] = refit.interaction_weight
            progress(f"refit {member + 1} of {shape.members}")
        tensors = {name: tensor.float() for name, tensor in tensors.items()}
        tensors["group_cap"] = fit_group_caps(cohort, shape, tensors)
        tensors["missing_variance"] = fit_missing_variance(cohort, shape, tensors)
        progress("interval")
    return {name: tensor.float().contiguous() for name, tensor in tensors.items()}


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
