"""The fit by L-BFGS: every person in each evaluation, on one fixed design.

The network is linear in its weights once the reference is tabulated, and the
likelihood is a sum over people, so the point estimate and every refit are small smooth
problems. Exact, and quick up to some 100 000 people.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from henaw.model.configuration import NetworkConfiguration
from henaw.model.errors import FitError
from henaw.model.network import Network
from henaw.training.cohort import Cohort
from henaw.training.configuration import FitConfiguration
from henaw.training.objective import Objective, Scales, Solution
from henaw.training.settings import (
    describe_cause_settings,
    describe_settings,
    select_followed,
)
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Design:
    """The features of a cohort, fixed by the reference; float64.

    Shape:
        main: (n, V Q J); pairs: (n, I); causes: (deaths, V J); age_sex: (deaths, 4)
        setting: (n, T); cause_setting: (deaths, T2)
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
    setting: Tensor
    cause_setting: Tensor


def build_design(network: Network, cohort: Cohort, configuration: FitConfiguration) -> Design:
    """Compute the features of a cohort and cut its follow-up."""
    age, sex = torch.from_numpy(cohort.age_years), torch.from_numpy(cohort.sex)
    with torch.no_grad():
        features = network.build_features(torch.from_numpy(cohort.biomarkers), age, sex)
        age_sex = network.build_age_sex(age, sex)
    follow_up_years = configuration.follow_up_years
    event = cohort.event & (cohort.time_years <= follow_up_years)
    dead = torch.from_numpy(event & (cohort.cause >= 0) & select_followed(cohort, follow_up_years))
    _, survey = np.unique(cohort.survey, return_inverse=True)
    setting = describe_settings(cohort, configuration.period)
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
        setting=setting,
        cause_setting=describe_cause_settings(cohort, configuration.period, follow_up_years)[dead],
    )


class Problem:
    """One design, solved for the point estimate and again for each refit."""

    def __init__(
        self, design: Design, shape: NetworkConfiguration, configuration: FitConfiguration
    ) -> None:
        self.design = design
        scales = Scales(
            main=design.main.std(0),
            pairs=design.pairs.std(0),
            causes=design.causes.std(0),
            surveys=int(design.survey.max()) + 1,
        )
        self.objective = Objective(scales, shape, configuration)
        self.main = design.main / self.objective.main_scale
        self.causes = design.causes / self.objective.cause_scale

    def compute_loss(self, free: Tensor, weight: Tensor, *, causes: bool) -> dict[str, Tensor]:
        """The parts of the loss at the free parameters.

        Shape:
            free: (P,); weight: (n,) how many times a person counts
        """
        design, objective = self.design, self.objective
        main = free[: objective.sizes[0]]
        weights = objective.unpack(free)
        parts = objective.compute_likelihood(
            weights,
            self.main @ main + design.pairs @ weights.interaction_weight,
            age=design.age,
            sex=design.sex,
            survey=design.survey,
            setting=design.setting,
            time=design.time,
            event=design.event,
            weight=weight,
        )
        parts |= objective.compute_penalties(weights, main)
        if causes:
            parts |= objective.compute_cause_part(
                weights, self.causes, design.age_sex, design.cause_setting, design.cause
            )
            parts |= objective.compute_cause_penalty(weights)
        return parts

    def solve(
        self, weight: Tensor | None, iterations: int, *, start: Solution | None = None
    ) -> Solution:
        """Minimise the loss from zero, or for a refit from ``start`` without the causes.

        Raises:
            FitError: the loss or a weight is not finite.
        """
        people = torch.ones(len(self.design.age)).double() if weight is None else weight
        free = self.objective.start() if start is None else start.free.clone()
        # From a start that is not finite the line search would try, and fail, to the end.
        _check_finite(free, self.compute_loss(free, people, causes=start is None))
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
        _check_finite(solved, parts)
        counts = torch.bincount(self.design.survey, minlength=self.objective.sizes[4])
        return self.objective.settle(
            solved,
            counts.double() / len(self.design.survey),
            {name: float(part) for name, part in parts.items()},
        )


def _check_finite(free: Tensor, parts: dict[str, Tensor]) -> None:
    if not torch.isfinite(free).all() or not all(torch.isfinite(p) for p in parts.values()):
        raise FitError(
            "expected a finite loss, however: "
            + ", ".join(f"{name}={float(part):g}" for name, part in parts.items())
        )
