"""What a fit minimises, whichever way it is minimised.

The free parameters are one vector, scaled so that a unit step means much the same for
each: weights per standard deviation of their feature, bounds of the interactions inside
tanh, the log of the baseline's slope. :class:`Objective` turns them into weights in the
network's units and into the parts of the loss. The causes of death share no parameter
with the gap and are fitted by themselves (:mod:`henaw.training.solvers.causes`).
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import numpy as np
import torch
from henaw.model.biomarkers import SEXES
from henaw.model.configuration import MODULATORS, VARIABLES, NetworkConfiguration
from henaw.model.graph.harm import HarmRules
from henaw.training.cohorts.adjustment import count_adjustments
from henaw.training.configuration import FitConfiguration
from henaw.training.objective.harm import HarmPenalty
from henaw.training.objective.losses import compute_elastic_net
from torch import Tensor

TAIL_SCORE = 1.5
"""Normal score beyond which too few people are of one age to tell its effect from others'."""
FIRST_INTERCEPT = -10.0
FIRST_SLOPE = 0.09
"""Where a fit starts: the Gompertz law of a present-day population, per year of age."""


@dataclass(frozen=True, kw_only=True)
class Weights:
    """Weights in the network's units: all that the likelihood depends on.

    Shape:
        weight: (V, Q J); interaction_weight: (I,); slope: (2,) per year;
        level: (2 + S + T,) log hazard, by sex, by survey and by adjustment
    """

    weight: Tensor
    interaction_weight: Tensor
    slope: Tensor
    level: Tensor

    def flatten(self) -> Tensor:
        """All of them in one vector."""
        return torch.cat([self.weight.flatten(), self.interaction_weight, self.slope, self.level])

    def unflatten(self, flat: Tensor) -> Weights:
        """Weights of these shapes from such a vector."""
        sizes = [t.numel() for t in (self.weight, self.interaction_weight, self.slope, self.level)]
        weight, interactions, slope, level = flat.split(sizes)
        return Weights(
            weight=weight.reshape(self.weight.shape),
            interaction_weight=interactions,
            slope=slope,
            level=level,
        )


@dataclass(frozen=True, kw_only=True)
class Solution:
    """Weights as the network holds them.

    Shape:
        weight: (V, Q J); interaction_weight: (I,); intercept, slope: (2,);
        free: every parameter, as solved
    """

    weight: Tensor
    interaction_weight: Tensor
    intercept: Tensor
    slope: Tensor
    free: Tensor
    loss: dict[str, float]


@dataclass(frozen=True, kw_only=True)
class Scales:
    """Standard deviations of the features, and how many surveys have a level of their own.

    Shape:
        main: (V Q J,); pairs: (I,)
    """

    main: Tensor
    pairs: Tensor
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
        # By products, not by index: on CUDA the backward pass of a few indices is slow.
        self.both = torch.zeros(len(shape.interactions), len(VARIABLES), dtype=torch.float64)
        for row, pair in enumerate(shape.interactions):
            self.both[row, [VARIABLES.index(name) for name in pair]] = 0.5
        columns = len(scales.main)
        blocks = torch.full((len(VARIABLES), columns // len(VARIABLES)), 1.0)
        blocks[:, shape.basis_size :] = configuration.modulation_penalty
        # The linear term comes before the hinges; the constant block is left alone.
        tail = torch.tensor([False, *(knot >= TAIL_SCORE for knot in shape.knots)])
        blocks[:, shape.basis_size :][:, tail.repeat(len(MODULATORS) - 1)] *= (
            configuration.tail_penalty
        )
        self.penalty = blocks.flatten().double()
        self.sizes = {
            "main": columns,
            "pairs": len(scales.pairs),
            "intercept": len(SEXES),
            "slope": len(SEXES),
            "survey": scales.surveys,
            "adjustment": count_adjustments(configuration.period),
        }

    def to(self, device: torch.device) -> Objective:
        """The same objective, but for the rules, of parameters on another device."""
        moved = copy.copy(self)
        moved.harm = None
        for name, value in vars(self).items():
            if isinstance(value, Tensor):
                setattr(moved, name, value.to(device))
        return moved

    def start(self) -> Tensor:
        """Free parameters of a population without any gap: (P,)."""
        parts = {name: torch.zeros(size, dtype=torch.float64) for name, size in self.sizes.items()}
        parts["intercept"] += FIRST_INTERCEPT
        parts["slope"] += float(np.log(FIRST_SLOPE))
        return torch.cat(list(parts.values()))

    def split(self, free: Tensor) -> dict[str, Tensor]:
        """Free parameters (P,) by what they are."""
        return dict(zip(self.sizes, free.split(list(self.sizes.values())), strict=True))

    def unpack(self, free: Tensor) -> Weights:
        """Free parameters (P,) to weights in the network's units."""
        parts = self.split(free)
        weight = (parts["main"] / self.main_scale).unflatten(0, (len(VARIABLES), -1))
        limit = self.shape.hierarchy * (self.both @ self.measure_individual(weight))
        return Weights(
            weight=weight,
            interaction_weight=limit * torch.tanh(parts["pairs"]),
            slope=torch.exp(parts["slope"]),
            level=torch.cat([parts["intercept"], parts["survey"], parts["adjustment"]]),
        )

    def measure_individual(self, weight: Tensor) -> Tensor:
        """|alpha| of each biomarker: (V, Q J) to (V,)."""
        return torch.sqrt((weight[:, : self.shape.basis_size] ** 2).sum(1) + 1e-12)

    def compute_penalties(self, free: Tensor, weights: Weights) -> dict[str, Tensor]:
        """The parts that weigh on the parameters, once for a cohort of any size.

        Args:
            free: (P,) the free parameters.
            weights: what they unpack to.
        """
        configuration, parts = self.configuration, self.split(free)
        penalties = {
            "elastic": configuration.elastic_weight
            * (
                compute_elastic_net(parts["main"], self.penalty, configuration.elastic_alpha)
                + compute_elastic_net(
                    weights.interaction_weight * self.pair_scale,
                    torch.ones_like(weights.interaction_weight),
                    configuration.elastic_alpha,
                )
            ),
            "survey": configuration.survey_ridge * (parts["survey"] ** 2).sum(),
        }
        if self.harm is not None:
            penalties["harm"] = self.harm.compute(weights.weight, weights.interaction_weight)
        return penalties

    def build_solution(
        self, free: Tensor, survey_share: Tensor, loss: dict[str, float]
    ) -> Solution:
        """Weights as the network holds them.

        Args:
            free: (P,) solved parameters.
            survey_share: (S,) the share of the people in each survey. Without a period,
                what is shipped is the hazard of the average person.
            loss: the parts of the loss there.
        """
        weights, parts = self.unpack(free), self.split(free)
        average = self.configuration.period is None
        level = survey_share @ parts["survey"] if average else 0.0
        return Solution(
            weight=weights.weight,
            interaction_weight=weights.interaction_weight,
            intercept=parts["intercept"] + level,
            slope=weights.slope,
            free=free,
            loss=loss,
        )
