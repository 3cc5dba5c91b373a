"""Which values are harmful, and what a network's weights must hold there.

Beyond a reference limit in a harmful direction, a worse value must never look younger,
whatever the other values are, at every fitted age and for either sex. The effect of a
biomarker is a straight line between two knots of its spline, so the rule is one
inequality for each piece, age and sex, and checking them all is a proof:

    direction * slope of the piece - worst slope of its interactions >= least

The ratio AST/ALT takes no part: it is constant where AST or ALT is beyond a limit.
A second kind of rule is about level instead of slope: at twice the upper limit an enzyme
must not still be credited against the median value of people of that age and sex.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from henaw.model.biomarkers import INDEX, NAMES, PANEL, SEXES
from henaw.model.configuration import (
    MODULATORS,
    RATIO,
    RATIO_CAPS,
    RATIO_PARTS,
    VARIABLES,
    NetworkConfiguration,
)
from henaw.model.constants import (
    AGE_CENTRE_YEARS,
    AGE_SCALE_YEARS,
    HIGHEST_RATIO,
    LOWEST_RATIO,
    RISE_BEYOND,
)
from henaw.model.tables import compute_adaptive_weights
from torch import Tensor

LEAST_TAIL_SLOPE = 0.3
"""Years per score beyond the outermost knot in a harmful direction."""
CREDIT_MULTIPLE = 2.0
_USUAL_SCORES = (-2.0, -1.0, 0.0, 1.0, 2.0)
"""Scores of the partner at which a change of the ratio is judged."""


@dataclass(frozen=True, kw_only=True)
class HarmRules:
    """Inequalities ``main @ weight - pair @ |interaction_weight| >= least``.

    Shape:
        main: (R, V Q J) of the flattened weights; pair: (R, I); least: (R,)

    Attributes:
        names: what each is about, for messages.
        groups: the same but for the age: rules of one group differ by age alone.
    """

    main: Tensor
    pair: Tensor
    least: Tensor
    names: tuple[str, ...]
    groups: tuple[str, ...]

    def select(self, rows: list[int]) -> HarmRules:
        """Some of the rules."""
        return HarmRules(
            main=self.main[rows],
            pair=self.pair[rows],
            least=self.least[rows],
            names=tuple(self.names[row] for row in rows),
            groups=tuple(self.groups[row] for row in rows),
        )

    def thin(self) -> HarmRules:
        """The rules at the first, middle and last age of each group.

        But for the adaptive weights a slope is a straight line over age, so that it is
        least at one of the ends; fewer rules alike make a fit better conditioned.
        """
        rows: dict[str, list[int]] = {}
        for row, group in enumerate(self.groups):
            rows.setdefault(group, []).append(row)
        return self.select(
            sorted({of[i] for of in rows.values() for i in (0, len(of) // 2, len(of) - 1)})
        )

    def measure(self, weight: Tensor, interaction_weight: Tensor) -> Tensor:
        """What is left of each inequality, below 0 where it is broken: (R,) years.

        Shape:
            weight: (V, Q J); interaction_weight: (I,)
        """
        left: Tensor = (
            self.main @ weight.flatten() - self.pair @ interaction_weight.abs() - self.least
        )
        return left

    def join(self, other: HarmRules) -> HarmRules:
        """Both sets of rules."""
        return HarmRules(
            main=torch.cat([self.main, other.main]),
            pair=torch.cat([self.pair, other.pair]),
            least=torch.cat([self.least, other.least]),
            names=self.names + other.names,
            groups=self.groups + other.groups,
        )


class _Reference:
    """Scores of raw values at every fitted age, by sex; float64."""

    def __init__(self, configuration: NetworkConfiguration, tensors: Mapping[str, Tensor]) -> None:
        self.configuration = configuration
        self.location = tensors["location"].double()
        self.scale = tensors["scale"].double()
        self.margin = tensors["margin"].double()
        years = torch.arange(configuration.first_age, configuration.last_age + 1).double()
        self.age = (years - AGE_CENTRE_YEARS) / AGE_SCALE_YEARS
        variation = tensors["coefficient_of_variation"].double()
        self.weights = compute_adaptive_weights(variation, configuration)
        limit = configuration.score_limit
        self.scores = torch.linspace(-limit, limit, self.margin.shape[1], dtype=torch.float64)

    def place(self, variable: int, values: Tensor) -> Tensor:
        """Transformed values (2, ages) to scores (2, ages), within the tabulated ones."""
        standardised = (values - self.location[:, :, variable]) / self.scale[:, :, variable]
        margin = self.margin[variable]
        right = torch.searchsorted(margin, standardised.contiguous()).clamp(1, len(margin) - 1)
        low, high = margin[right - 1], margin[right]
        passed = ((standardised - low) / (high - low)).clamp(0.0, 1.0)
        left = self.scores[right - 1]
        return left + passed * (self.scores[right] - left)

    def place_limit(self, name: str, side: str, multiple: float = 1.0) -> Tensor | None:
        """Scores of a reference limit (2, ages); None where there is none."""
        biomarker = PANEL[INDEX[name]]
        limits = getattr(biomarker.reference, side)
        if None in limits:
            return None
        values = multiple * torch.tensor(limits).double()
        values = torch.log(values) if biomarker.log_scaled else values
        return self.place(INDEX[name], values.unsqueeze(1).expand(-1, len(self.age)))

    def modulate(self, code: int, place: int) -> Tensor:
        """Constant, age and sex at one sex and age: (Q,)."""
        return torch.stack([torch.tensor(1.0), self.age[place], torch.tensor(code - 0.5)]).double()

    def expand(self, scores: Tensor) -> Tensor:
        """Basis functions of scores: (...) to (..., J)."""
        knots = torch.tensor(self.configuration.knots).double()
        hinges = (scores.unsqueeze(-1) - knots).clamp(min=0.0)
        return torch.cat([scores.unsqueeze(-1), hinges], -1)


def build_slope_rules(
    configuration: NetworkConfiguration, tensors: Mapping[str, Tensor]
) -> HarmRules:
    """That a worse value never looks younger, for each biomarker that has a limit.

    Args:
        configuration: the shape.
        tensors: with the reference tables.
    """
    reference = _Reference(configuration, tensors)
    furthest = math.log1p(configuration.score_limit + RISE_BEYOND)
    edges = [-math.inf, *configuration.knots, math.inf]
    main, pair, least, names, groups = [], [], [], [], []
    for name in NAMES:
        for side in sorted(PANEL[INDEX[name]].harmful):
            limits = reference.place_limit(name, side)
            if limits is None:
                continue
            for code, sex in enumerate(SEXES):
                for place in range(len(reference.age)):
                    score = float(limits[code, place])
                    weights = reference.weights[code, place]
                    for piece, (start, end) in enumerate(itertools.pairwise(edges)):
                        nearest = max(start, score) if side == "high" else min(end, score)
                        if (end <= score) if side == "high" else (start >= score):
                            continue
                        sign = 1.0 if side == "high" else -1.0
                        steps = torch.zeros(configuration.basis_size).double()
                        steps[: piece + 1] = sign
                        main.append(
                            _lay_out_row(
                                INDEX[name],
                                reference.modulate(code, place).unsqueeze(1)
                                * steps
                                * weights[INDEX[name]],
                            )
                        )
                        # An interaction moves by h'(z) h(partner); h' falls with |z|.
                        low, high = sorted((nearest, end if side == "high" else start))
                        slope = 1.0 / (1.0 + max(low, -high, 0.0))
                        pair.append(
                            [
                                slope * furthest * float(weights[len(VARIABLES) + i])
                                if name in members
                                else 0.0
                                for i, members in enumerate(configuration.interactions)
                            ]
                        )
                        tail = piece == (len(edges) - 2 if side == "high" else 0)
                        least.append(LEAST_TAIL_SLOPE if tail else 0.0)
                        groups.append(f"{name} {side}, {sex}, scores {start:g} to {end:g}")
                        names.append(f"{groups[-1]}, age {configuration.first_age + place}")
    return _stack(configuration, main, pair=pair, least=least, names=names, groups=groups)


def build_credit_rules(
    configuration: NetworkConfiguration, tensors: Mapping[str, Tensor], credited: Sequence[str]
) -> HarmRules:
    """That twice the upper limit of a biomarker is not better than its median.

    The partner of AST or ALT in the ratio has any usual value.

    Args:
        configuration: the shape.
        tensors: with the reference tables.
        credited: the biomarkers.
    """
    reference = _Reference(configuration, tensors)
    main, names, groups = [], [], []
    for name in credited:
        scores = reference.place_limit(name, "high", CREDIT_MULTIPLE)
        if scores is None:
            continue
        changes = reference.expand(scores) - reference.expand(torch.zeros(1).double())
        ratios = _list_ratio_changes(reference, name)
        for code, sex in enumerate(SEXES):
            for place in range(len(reference.age)):
                modulators = reference.modulate(code, place).unsqueeze(1)
                weights = reference.weights[code, place]
                own = _lay_out_row(
                    INDEX[name], modulators * changes[code, place] * weights[INDEX[name]]
                )
                variable = VARIABLES.index(RATIO)
                for score, ratio in zip(_USUAL_SCORES, ratios, strict=False):
                    row = _lay_out_row(
                        variable, modulators * ratio[code, place] * weights[variable]
                    )
                    main.append(own + row)
                    groups.append(f"{name} at twice its limit, {sex}, partner at {score:g}")
                    names.append(f"{groups[-1]}, age {configuration.first_age + place}")
    empty = [[0.0] * len(configuration.interactions)] * len(main)
    return _stack(
        configuration, main, pair=empty, least=[0.0] * len(main), names=names, groups=groups
    )


def _list_ratio_changes(reference: _Reference, name: str) -> list[Tensor]:
    """Change of the ratio's basis from the median to beyond the cap, by partner: (2, ages, J)."""
    if INDEX[name] not in RATIO_PARTS:
        return [torch.zeros(2, len(reference.age), reference.configuration.basis_size).double()]
    own = RATIO_PARTS.index(INDEX[name])
    partner, variable = RATIO_PARTS[1 - own], VARIABLES.index(RATIO)
    caps = torch.log(torch.tensor(RATIO_CAPS).double())
    changes = []
    for score in _USUAL_SCORES:
        standardised = reference.margin[partner][
            int(torch.argmin((reference.scores - score).abs()))
        ]
        other = (
            reference.location[:, :, partner] + standardised * reference.scale[:, :, partner]
        ).clamp(max=float(caps[1 - own]))
        sides = [
            value - other if own == 0 else other - value
            for value in (
                reference.location[:, :, INDEX[name]].clamp(max=float(caps[own])),
                caps[own].expand_as(other),
            )
        ]
        before, after = (
            reference.expand(
                reference.place(
                    variable, side.clamp(math.log(LOWEST_RATIO), math.log(HIGHEST_RATIO))
                )
            )
            for side in sides
        )
        changes.append(after - before)
    return changes


def _lay_out_row(variable: int, block: Tensor) -> Tensor:
    """A variable's block (Q, J) in a row for all weights: (V Q J,)."""
    row = torch.zeros(len(VARIABLES), block.numel(), dtype=torch.float64)
    row[variable] = block.flatten()
    return row.flatten()


def _stack(
    configuration: NetworkConfiguration,
    main: list[Tensor],
    *,
    pair: list[list[float]],
    least: list[float],
    names: list[str],
    groups: list[str],
) -> HarmRules:
    width = len(VARIABLES) * len(MODULATORS) * configuration.basis_size
    return HarmRules(
        main=torch.stack(main) if main else torch.zeros(0, width).double(),
        pair=torch.tensor(pair).double().reshape(len(main), len(configuration.interactions)),
        least=torch.tensor(least).double(),
        names=tuple(names),
        groups=tuple(groups),
    )
