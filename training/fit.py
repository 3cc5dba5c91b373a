"""The fit: reference, gap, causes, refits, and what the interval needs.

The network is linear in its weights once the reference is tabulated, and the
likelihood is a sum over people, so the point estimate and every refit are small smooth
problems for L-BFGS on one fixed design.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from henaw.model.biomarkers import SEXES
from henaw.model.configuration import CAUSE_CLASSES, VARIABLES, NetworkConfiguration
from henaw.model.errors import CohortError, FitError
from henaw.model.network import Network
from henaw.training.cohort import Cohort
from henaw.training.configuration import FitConfiguration, TrainingConfiguration
from henaw.training.losses import (
    compute_age_loss,
    compute_cause_loss,
    compute_elastic_net,
    compute_mortality_loss,
)
from henaw.training.reference import fit_reference
from henaw.training.uncertainty import fit_group_caps, fit_missing_variance
from torch import Tensor

Progress = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Design:
    """The features of a cohort, fixed by the reference; float64.

    Shape:
        main: (n, V Q J); pairs: (n, I); causes: (deaths, V J); age_sex: (deaths, 4)
    """

    main: Tensor
    pairs: Tensor
    causes: Tensor
    age_sex: Tensor
    cause: Tensor
    age: Tensor
    sex: Tensor
    time: Tensor
    event: Tensor
    survey: Tensor


@dataclass
class Solution:
    """Weights in the network's units.

    Shape:
        weight: (V, Q J); interaction_weight: (I,); intercept, slope: (2,)
        cause_weight: (C, V J); cause_age_sex: (C, 4); free: every parameter, as solved
    """

    weight: Tensor
    interaction_weight: Tensor
    intercept: Tensor
    slope: Tensor
    cause_weight: Tensor
    cause_age_sex: Tensor
    free: Tensor
    loss: dict[str, float]


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
    problem = _Problem(design, shape, configuration.fit)
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


def build_design(network: Network, cohort: Cohort, follow_up_years: float) -> Design:
    """Compute the features of a cohort and cut its follow-up."""
    age, sex = torch.from_numpy(cohort.age_years), torch.from_numpy(cohort.sex)
    with torch.no_grad():
        features = network.build_features(torch.from_numpy(cohort.biomarkers), age, sex)
        age_sex = network.build_age_sex(age, sex)
    event = cohort.event & (cohort.time_years <= follow_up_years)
    dead = torch.from_numpy(event & (cohort.cause >= 0))
    _, survey = np.unique(cohort.survey, return_inverse=True)
    return Design(
        main=features.main.transpose(0, 1).flatten(1).double(),
        pairs=features.pairs.double(),
        causes=features.centred.flatten(1)[dead].double(),
        age_sex=age_sex[dead].double(),
        cause=torch.from_numpy(cohort.cause)[dead],
        age=age.double(),
        sex=sex,
        time=torch.from_numpy(np.minimum(cohort.time_years, follow_up_years)),
        event=torch.from_numpy(event).double(),
        survey=torch.from_numpy(survey.astype(np.int64)),
    )


class _Problem:
    """One design, solved for the point estimate and again for each refit."""

    def __init__(
        self, design: Design, shape: NetworkConfiguration, configuration: FitConfiguration
    ) -> None:
        self.design = design
        self.shape = shape
        self.configuration = configuration
        self.main_scale = design.main.std(0).clamp(min=1e-6)
        self.pair_scale = design.pairs.std(0).clamp(min=1e-6)
        self.cause_scale = design.causes.std(0).clamp(min=1e-6)
        self.main = design.main / self.main_scale
        self.surveys = int(design.survey.max()) + 1
        self.first = torch.tensor([VARIABLES.index(a) for a, _ in shape.interactions])
        self.second = torch.tensor([VARIABLES.index(b) for _, b in shape.interactions])
        blocks = torch.full((len(VARIABLES), self.main.shape[1] // len(VARIABLES)), 1.0)
        blocks[:, shape.basis_size :] = configuration.modulation_penalty
        self.penalty = blocks.flatten().double()
        self.sizes = [
            self.main.shape[1],
            self.design.pairs.shape[1],
            2,
            2,
            self.surveys,
            len(CAUSE_CLASSES) * self.design.causes.shape[1],
            len(CAUSE_CLASSES) * 4,
        ]

    def unpack(self, free: Tensor) -> tuple[Tensor, ...]:
        """Free parameters to weights in the network's units; see :meth:`solve`."""
        main, bound, intercept, slope, survey, cause, age_sex = free.split(self.sizes)
        weight = (main / self.main_scale).unflatten(0, (len(VARIABLES), -1))
        individual = self.measure_individual(weight)
        limit = self.shape.hierarchy * 0.5 * (individual[self.first] + individual[self.second])
        return (
            weight,
            limit * torch.tanh(bound),
            intercept,
            torch.exp(slope),
            survey,
            cause.unflatten(0, (len(CAUSE_CLASSES), -1)),
            age_sex.unflatten(0, (len(CAUSE_CLASSES), -1)),
        )

    def measure_individual(self, weight: Tensor) -> Tensor:
        """|alpha| of each biomarker: (V, Q J) to (V,)."""
        return torch.sqrt((weight[:, : self.shape.basis_size] ** 2).sum(1) + 1e-12)

    def compute_loss(self, free: Tensor, weight: Tensor, *, causes: bool) -> dict[str, Tensor]:
        """The parts of the loss at the free parameters."""
        design, configuration = self.design, self.configuration
        main = free[: self.sizes[0]]
        _, interaction, intercept, slope, survey, cause_weight, age_sex = self.unpack(free)
        gap = self.main @ main + design.pairs @ interaction
        slopes = slope[design.sex]
        log_hazard = intercept[design.sex] + slopes * (design.age + gap) + survey[design.survey]
        parts = {
            "mortality": compute_mortality_loss(
                log_hazard, slopes, design.time, design.event, weight
            ),
            "age": configuration.age_weight * compute_age_loss(gap, weight),
            "elastic": configuration.elastic_weight
            * (
                compute_elastic_net(main, self.penalty, configuration.elastic_alpha)
                + compute_elastic_net(
                    interaction * self.pair_scale,
                    torch.ones_like(interaction),
                    configuration.elastic_alpha,
                )
            ),
            "survey": configuration.survey_ridge * (survey**2).sum(),
        }
        if causes:
            logits = (design.causes / self.cause_scale) @ cause_weight.T
            logits = logits + design.age_sex @ age_sex.T
            parts["cause"] = configuration.cause_weight * compute_cause_loss(logits, design.cause)
            parts["cause_ridge"] = configuration.cause_ridge * (
                (cause_weight**2).sum() + 0.01 * (age_sex**2).sum()
            )
        return parts

    def solve(
        self, weight: Tensor | None, iterations: int, *, start: Solution | None = None
    ) -> Solution:
        """Minimise the loss from zero, or for a refit from ``start`` without the causes.

        Raises:
            FitError: the loss or a weight is not finite.
        """
        people = torch.ones(len(self.design.age)).double() if weight is None else weight
        free = self._start() if start is None else start.free.clone()
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
            parts = self.compute_loss(free, people, causes=start is None)
            total: Tensor = torch.stack(list(parts.values())).sum()
            total.backward()
            return total

        optimiser.step(closure)
        solved = free.detach()
        parts = self.compute_loss(solved, people, causes=start is None)
        if not torch.isfinite(solved).all() or not all(torch.isfinite(p) for p in parts.values()):
            raise FitError(
                "expected a finite loss, however: "
                + ", ".join(f"{name}={float(part):g}" for name, part in parts.items())
            )
        weights, interaction, intercept, slope, survey, causes, age_sex = self.unpack(solved)
        # The level shipped is that of the average person over the surveys.
        level = survey[self.design.survey].mean()
        return Solution(
            weight=weights,
            interaction_weight=interaction,
            intercept=intercept + level,
            slope=slope,
            cause_weight=causes / self.cause_scale,
            cause_age_sex=age_sex,
            free=solved,
            loss={name: float(part) for name, part in parts.items()},
        )

    def _start(self) -> Tensor:
        parts = [torch.zeros(size, dtype=torch.float64) for size in self.sizes]
        parts[2] += -10.0
        parts[3] += float(np.log(0.09))
        return torch.cat(parts)
