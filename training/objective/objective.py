"""What a fit minimises.

The free parameters are one vector, scaled so that a unit step has a similar effect in each:
weights per standard deviation of their feature, interactions as the argument of a tanh within
their bounds, and the logarithm of the baseline's slope. :class:`Objective` turns them into
weights in the network's units and into the parts of the loss. The causes of death share no
parameter with the gap and are fitted separately (:mod:`henaw.training.solvers.causes`).
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
"""Beyond this normal score too few people of one age remain to estimate its effect by age."""
FIRST_INTERCEPT = -10.0
FIRST_SLOPE = 0.09
"""A fit starts at the Gompertz law of a present-day population, per year of age."""


@dataclass(frozen=True, kw_only=True)
class Weights:
    """Weights in the network's units: everything that the likelihood depends on.

    Shape:
        weight: (V, Q J); interaction_weight: (I,); slope: (2,) per year;
        level: (2 + S + T,) log hazard of each sex, each survey and each adjustment
    """

    weight: Tensor
    interaction_weight: Tensor
    slope: Tensor
    level: Tensor

    def flatten(self) -> Tensor:
        """All weights in one vector."""
        return torch.cat([tensor.flatten() for tensor in vars(self).values()])

    def unflatten(self, flat: Tensor) -> Weights:
        """Weights of the same shapes from such a vector."""
        own = vars(self)
        parts = flat.split([tensor.numel() for tensor in own.values()])
        return Weights(
            **{name: part.view_as(own[name]) for name, part in zip(own, parts, strict=True)}
        )


@dataclass(frozen=True, kw_only=True)
class Solution:
    """Solved weights, as tensors of the network.

    Shape:
        weight: (V, Q J); interaction_weight: (I,); intercept, slope: (2,);
        free: (P,) the free parameters

    Attributes:
        loss: the parts of the loss at the solution.
    """

    weight: Tensor
    interaction_weight: Tensor
    intercept: Tensor
    slope: Tensor
    free: Tensor
    loss: dict[str, float]


@dataclass(frozen=True, kw_only=True)
class Scales:
    """Standard deviations of the features, and the number of surveys.

    Shape:
        main: (V Q J,); pairs: (I,), of the interactions
    """

    main: Tensor
    pairs: Tensor
    surveys: int


class Objective:
    """The parts of the loss as functions of the free parameters; float64.

    Args:
        scales: the features' scales.
        shape: the network's shape.
        configuration: says what is minimised.
        rules: the rules of harmful values; None for no rules.
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
        # A matrix product, because on CUDA the backward pass of indexing is slow.
        self.both = torch.zeros(len(shape.interactions), len(VARIABLES), dtype=torch.float64)
        for row, pair in enumerate(shape.interactions):
            self.both[row, [VARIABLES.index(name) for name in pair]] = 0.5
        columns = len(scales.main)
        blocks = torch.full((len(VARIABLES), columns // len(VARIABLES)), 1.0)
        blocks[:, shape.basis_size :] = configuration.modulation_penalty
        # The linear term comes before the hinges; the first modulator, 1, has no such penalty.
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
        """The same objective without the rules, for parameters on another device."""
        moved = copy.copy(self)
        moved.harm = None
        for name, value in vars(self).items():
            if isinstance(value, Tensor):
                setattr(moved, name, value.to(device))
        return moved

    def start(self) -> Tensor:
        """Free parameters at which every gap is 0: (P,)."""
        parts = {name: torch.zeros(size, dtype=torch.float64) for name, size in self.sizes.items()}
        parts["intercept"] += FIRST_INTERCEPT
        parts["slope"] += float(np.log(FIRST_SLOPE))
        return torch.cat(list(parts.values()))

    def split(self, free: Tensor) -> dict[str, Tensor]:
        """Free parameters (P,) by their names in ``sizes``."""
        return dict(zip(self.sizes, free.split(list(self.sizes.values())), strict=True))

    def unpack(self, free: Tensor) -> Weights:
        """The weights of free parameters (P,), in the network's units."""
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
        """Size of each variable's unmodulated effect, |alpha|: (V, Q J) to (V,)."""
        return torch.sqrt((weight[:, : self.shape.basis_size] ** 2).sum(1) + 1e-12)

    def compute_penalties(self, free: Tensor, weights: Weights) -> dict[str, Tensor]:
        """The parts of the loss that do not depend on people.

        Args:
            free: (P,) the free parameters.
            weights: their weights, from :meth:`unpack`.

        Returns:
            Scalars by name.
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
        """Solved weights, as tensors of the network.

        Args:
            free: (P,) solved parameters.
            survey_share: (S,) the share of the people in each survey. Without a period the
                baseline is that of the average person.
            loss: the parts of the loss at these parameters.
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
