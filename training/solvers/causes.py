"""The causes' shares of the deaths: a multinomial logistic regression among people who died.

The shares have no parameter in common with the gap, so they are fitted once and separately,
on the deaths with a known cause.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from henaw.model.network import Network
from henaw.training.cohorts.adjustment import describe_cause_adjustments, select_followed
from henaw.training.cohorts.cohort import Cohort
from henaw.training.configuration import FitConfiguration
from henaw.training.objective.losses import compute_cause_loss
from henaw.training.solvers.minimise import Minimisation, Parts, minimise
from torch import Tensor

FEWEST_DEATHS = 50
"""If a cause has fewer deaths, its effects are shrunk almost to 0."""
_ASIDE = 0.01
"""Share of the ridge penalty for coefficients of age, sex and adjustments."""


@dataclass(frozen=True, kw_only=True)
class Deaths:
    """People who died of a known cause within the follow-up; float64.

    Shape:
        features: (d, V J); age_sex: (d, 4); adjustments: (d, T); cause: (d,) int64
    """

    features: Tensor
    age_sex: Tensor
    adjustments: Tensor
    cause: Tensor

    def __len__(self) -> int:
        return len(self.cause)


@dataclass(frozen=True, kw_only=True)
class CauseSolution:
    """Solved weights of C classes, as tensors of the network.

    Shape:
        weight: (C, V J); age_sex: (C, 4)
    """

    weight: Tensor
    age_sex: Tensor
    loss: Parts
    search: Minimisation


def build_deaths(network: Network, cohort: Cohort, configuration: FitConfiguration) -> Deaths:
    """The deaths of a cohort with a known cause, in surveys with complete follow-up."""
    follow_up_years = configuration.follow_up_years
    known = cohort.event & (cohort.time_years <= follow_up_years) & (cohort.cause >= 0)
    known &= select_followed(cohort, follow_up_years)
    dead = cohort.select(known)
    age, sex = torch.from_numpy(dead.age_years), torch.from_numpy(dead.sex)
    with torch.no_grad():
        features = network.build_features(torch.from_numpy(dead.biomarkers), age, sex)
    adjustments = describe_cause_adjustments(cohort, configuration.period, follow_up_years)
    return Deaths(
        features=features.centred.flatten(1).double(),
        age_sex=features.by_age.cause_columns.double(),
        adjustments=adjustments[torch.from_numpy(known)],
        cause=torch.from_numpy(dead.cause),
    )


def solve_causes(
    deaths: Deaths,
    classes: int,
    configuration: FitConfiguration,
    *,
    tick: Callable[[str], None] = lambda _: None,
) -> CauseSolution:
    """Fit the shares of ``classes`` causes.

    Raises:
        FitError: the loss is not finite, or its minimum was not reached.
    """
    # Without deaths there is no spread, and the ridge leaves every weight at 0.
    spread = deaths.features.std(0, correction=0) if len(deaths) else deaths.features.sum(0)
    scale = spread.clamp(min=1e-6)
    design = torch.cat([deaths.features / scale, deaths.age_sex, deaths.adjustments], dim=1)
    own = len(scale)
    ridge = torch.full((design.shape[1],), configuration.cause_ridge * _ASIDE).double()
    ridge[:own] = configuration.cause_ridge

    def evaluate(flat: Tensor) -> tuple[Parts, Tensor]:
        free = flat.unflatten(0, (classes, -1)).detach().requires_grad_()
        loss = configuration.cause_weight * compute_cause_loss(design @ free.T, deaths.cause)
        penalty = (ridge * free.square()).sum()
        (gradient,) = torch.autograd.grad(loss + penalty, free)
        return {"cause": loss.item(), "cause_ridge": penalty.item()}, gradient.flatten()

    def curve(flat: Tensor) -> Tensor:
        """The curvature of each class against the rest, in blocks: an upper bound."""
        share = torch.softmax(design @ flat.unflatten(0, (classes, -1)).T, dim=1)
        weight = configuration.cause_weight * share * (1.0 - share) / max(1, len(deaths))
        blocks = [
            design.T @ (design * weight[:, [of]]) + torch.diag(2.0 * ridge) for of in range(classes)
        ]
        joined: Tensor = torch.block_diag(*blocks)
        return joined

    start = torch.zeros(classes * design.shape[1], dtype=torch.float64)
    solved, parts, search = minimise(
        evaluate, start, curve=curve, iterations=configuration.iterations, name="causes", tick=tick
    )
    weights = solved.unflatten(0, (classes, -1))
    return CauseSolution(
        weight=weights[:, :own] / scale,
        age_sex=weights[:, own : own + deaths.age_sex.shape[1]],
        loss=parts,
        search=search,
    )


def count_by_class(deaths: Deaths, classes: int) -> list[int]:
    """Deaths of each cause."""
    counts: list[int] = np.bincount(deaths.cause.numpy(), minlength=classes).tolist()
    return counts
