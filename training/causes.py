"""The causes' shares of the deaths: a multinomial logistic regression among those who died.

The shares share no parameter with the gap, so they are fitted once, by themselves, on the
deaths of a known cause.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from henaw.model.network import Network
from henaw.training.cohort import Cohort
from henaw.training.configuration import FitConfiguration
from henaw.training.losses import compute_cause_loss
from henaw.training.minimise import Parts, Search, minimise
from henaw.training.settings import describe_cause_settings, select_followed
from torch import Tensor

FEWEST_DEATHS = 50
"""Deaths of a cause, below which its effects are mostly the ridge's."""
_ASIDE = 0.01
"""How much of the ridge weighs on what is not an effect of a biomarker."""


@dataclass(frozen=True, kw_only=True)
class Deaths:
    """People who died of a known cause within the follow-up; float64.

    Shape:
        features: (d, V J); age_sex: (d, 4); setting: (d, T); cause: (d,) int64
    """

    features: Tensor
    age_sex: Tensor
    setting: Tensor
    cause: Tensor

    def __len__(self) -> int:
        return len(self.cause)


@dataclass(frozen=True, kw_only=True)
class CauseSolution:
    """Weights as the network holds them, of C classes.

    Shape:
        weight: (C, V J); age_sex: (C, 4)
    """

    weight: Tensor
    age_sex: Tensor
    loss: Parts
    search: Search


def build_deaths(network: Network, cohort: Cohort, configuration: FitConfiguration) -> Deaths:
    """Those of a cohort whose cause of death is known, in surveys followed to the end."""
    follow_up_years = configuration.follow_up_years
    known = cohort.event & (cohort.time_years <= follow_up_years) & (cohort.cause >= 0)
    known &= select_followed(cohort, follow_up_years)
    dead = cohort.select(known)
    age, sex = torch.from_numpy(dead.age_years), torch.from_numpy(dead.sex)
    with torch.no_grad():
        features = network.build_features(torch.from_numpy(dead.biomarkers), age, sex)
    setting = describe_cause_settings(cohort, configuration.period, follow_up_years)
    return Deaths(
        features=features.centred.flatten(1).double(),
        age_sex=features.by_age.cause_columns.double(),
        setting=setting[torch.from_numpy(known)],
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
    design = torch.cat([deaths.features / scale, deaths.age_sex, deaths.setting], dim=1)
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
        """That of each class against the rest: an upper bound, and block by block."""
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
