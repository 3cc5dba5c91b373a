"""What a fit minimises, whichever way it is minimised.

The free parameters are one vector, scaled so that a unit step means much the same for
each: weights per standard deviation of their feature, bounds of the interactions inside
tanh, the log of the baseline's slope. :class:`Objective` turns them into weights in the
network's units and into the parts of the loss.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import numpy as np
import torch
from henaw.model.configuration import MODULATORS, VARIABLES, NetworkConfiguration
from henaw.model.harm import HarmRules
from henaw.training.configuration import FitConfiguration
from henaw.training.harm import HarmPenalty
from henaw.training.losses import (
    compute_age_loss,
    compute_cause_loss,
    compute_elastic_net,
    compute_mortality_loss,
)
from henaw.training.settings import count_cause_settings, count_settings
from torch import Tensor

TAIL_SCORE = 1.5
"""Normal score beyond which too few people are of one age to tell its effect from others'."""
FIRST_INTERCEPT = -10.0
FIRST_SLOPE = 0.09
"""Where a fit starts: the Gompertz law of a present-day population, per year of age."""


@dataclass(frozen=True, kw_only=True)
class Weights:
    """Weights in the network's units.

    Shape:
        weight: (V, Q J); interaction_weight: (I,); intercept, slope: (2,)
        survey: (S,) log hazard; setting: (T,) log hazard; cause_weight: (C, V J) per
        standard deviation of its feature; cause_age_sex: (C, 4); cause_setting: (C, T2)
    """

    weight: Tensor
    interaction_weight: Tensor
    intercept: Tensor
    slope: Tensor
    survey: Tensor
    setting: Tensor
    cause_weight: Tensor
    cause_age_sex: Tensor
    cause_setting: Tensor


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


@dataclass(frozen=True, kw_only=True)
class Scales:
    """Standard deviations of the features, and how many surveys have a level of their own.

    Shape:
        main: (V Q J,); pairs: (I,); causes: (V J,)
    """

    main: Tensor
    pairs: Tensor
    causes: Tensor
    surveys: int


class Objective:
    """The parts of the loss as functions of the free parameters; float64.

    Args:
        scales: of the features.
        shape: of the network.
        configuration: what is minimised.
        rules: what harmful values must hold; without any, nothing is asked of them.
    """

    def __init__(
        self,
        scales: Scales,
        shape: NetworkConfiguration,
        configuration: FitConfiguration,
        rules: HarmRules | None = None,
    ) -> None:
        self.shape = shape
        self.configuration = configuration
        self.harm = None if rules is None else HarmPenalty(rules, configuration.harm_weight)
        self.main_scale = scales.main.clamp(min=1e-6)
        self.pair_scale = scales.pairs.clamp(min=1e-6)
        self.cause_scale = scales.causes.clamp(min=1e-6)
        pairs = [[VARIABLES.index(name) for name in pair] for pair in shape.interactions]
        self.first, self.second = torch.tensor(pairs, dtype=torch.int64).reshape(-1, 2).unbind(1)
        columns = len(scales.main)
        settings = count_settings(configuration.period)
        classes = len(shape.cause_classes)
        blocks = torch.full((len(VARIABLES), columns // len(VARIABLES)), 1.0)
        blocks[:, shape.basis_size :] = configuration.modulation_penalty
        # The linear term comes before the hinges; the constant block is left alone.
        tail = torch.tensor([False, *(knot >= TAIL_SCORE for knot in shape.knots)])
        blocks[:, shape.basis_size :][:, tail.repeat(len(MODULATORS) - 1)] *= (
            configuration.tail_penalty
        )
        self.penalty = blocks.flatten().double()
        self.sizes = [
            columns,
            len(scales.pairs),
            2,
            2,
            scales.surveys,
            classes * len(scales.causes),
            classes * 4,
            settings,
            classes * count_cause_settings(configuration.period),
        ]

    def to(self, device: torch.device) -> Objective:
        """The same objective for free parameters on another device."""
        moved = copy.copy(self)
        for name, value in vars(self).items():
            if isinstance(value, Tensor):
                setattr(moved, name, value.to(device))
        return moved

    def start(self) -> Tensor:
        """Free parameters of a population without any gap: (P,)."""
        parts = [torch.zeros(size, dtype=torch.float64) for size in self.sizes]
        parts[2] += FIRST_INTERCEPT
        parts[3] += float(np.log(FIRST_SLOPE))
        return torch.cat(parts)

    def unpack(self, free: Tensor) -> Weights:
        """Free parameters (P,) to weights in the network's units."""
        main, bound, intercept, slope, survey, cause, age_sex, setting, cause_setting = free.split(
            self.sizes
        )
        weight = (main / self.main_scale).unflatten(0, (len(VARIABLES), -1))
        individual = self.measure_individual(weight)
        classes = len(self.shape.cause_classes)
        limit = self.shape.hierarchy * 0.5 * (individual[self.first] + individual[self.second])
        return Weights(
            weight=weight,
            interaction_weight=limit * torch.tanh(bound),
            intercept=intercept,
            slope=torch.exp(slope),
            survey=survey,
            setting=setting,
            cause_weight=cause.unflatten(0, (classes, -1)),
            cause_age_sex=age_sex.unflatten(0, (classes, -1)),
            cause_setting=cause_setting.unflatten(0, (classes, -1)),
        )

    def measure_individual(self, weight: Tensor) -> Tensor:
        """|alpha| of each biomarker: (V, Q J) to (V,)."""
        return torch.sqrt((weight[:, : self.shape.basis_size] ** 2).sum(1) + 1e-12)

    def compute_likelihood(
        self,
        weights: Weights,
        gap: Tensor,
        *,
        age: Tensor,
        sex: Tensor,
        survey: Tensor,
        setting: Tensor,
        time: Tensor,
        event: Tensor,
        weight: Tensor,
    ) -> dict[str, Tensor]:
        """The parts that are weighted means over people.

        Shape:
            gap, age, time: (n,) years; sex, survey: (n,) int64; setting: (n, T);
            event, weight: (n,)
        """
        slopes = weights.slope[sex]
        level = weights.survey[survey] + setting @ weights.setting
        log_hazard = weights.intercept[sex] + slopes * (age + gap) + level
        return {
            "mortality": compute_mortality_loss(log_hazard, slopes, time, event, weight),
            "age": self.configuration.age_weight * compute_age_loss(gap, weight),
        }

    def compute_penalties(self, weights: Weights, main: Tensor) -> dict[str, Tensor]:
        """The parts that weigh on the gap's parameters, once for a cohort of any size.

        Shape:
            main: (V Q J,) the free parameters of the same name
        """
        configuration = self.configuration
        parts = {
            "elastic": configuration.elastic_weight
            * (
                compute_elastic_net(main, self.penalty, configuration.elastic_alpha)
                + compute_elastic_net(
                    weights.interaction_weight * self.pair_scale,
                    torch.ones_like(weights.interaction_weight),
                    configuration.elastic_alpha,
                )
            ),
            "survey": configuration.survey_ridge * (weights.survey**2).sum(),
        }
        if self.harm is not None:
            parts["harm"] = self.harm.compute(weights.weight, weights.interaction_weight)
        return parts

    def compute_cause_part(
        self, weights: Weights, causes: Tensor, age_sex: Tensor, setting: Tensor, cause: Tensor
    ) -> dict[str, Tensor]:
        """The part that is a mean over deaths of a known cause.

        Shape:
            causes: (d, V J) per standard deviation; age_sex: (d, 4); setting: (d, T);
            cause: (d,) int64
        """
        logits = causes @ weights.cause_weight.T
        logits = logits + age_sex @ weights.cause_age_sex.T + setting @ weights.cause_setting.T
        return {"cause": self.configuration.cause_weight * compute_cause_loss(logits, cause)}

    def compute_cause_penalty(self, weights: Weights) -> dict[str, Tensor]:
        """The part that weighs on the causes' parameters."""
        return {
            "cause_ridge": self.configuration.cause_ridge
            * (
                (weights.cause_weight**2).sum()
                + 0.01 * (weights.cause_age_sex**2).sum()
                + 0.01 * (weights.cause_setting**2).sum()
            )
        }

    def settle(self, free: Tensor, survey_share: Tensor, loss: dict[str, float]) -> Solution:
        """Weights as the network holds them.

        Args:
            free: (P,) solved parameters.
            survey_share: (S,) the share of the people in each survey. Without a period,
                what is shipped is the hazard of the average person.
            loss: the parts of the loss there.
        """
        weights = self.unpack(free)
        level = survey_share @ weights.survey if self.configuration.period is None else 0.0
        return Solution(
            weight=weights.weight,
            interaction_weight=weights.interaction_weight,
            intercept=weights.intercept + level,
            slope=weights.slope,
            cause_weight=weights.cause_weight / self.cause_scale,
            cause_age_sex=weights.cause_age_sex,
            free=free,
            loss=loss,
        )
