"""The rules of harmful values as a part of the loss: an augmented Lagrangian.

A rule is an inequality g >= 0. The part is the sum over rules of (max(0, m - w g)^2 - m^2) / 2w,
with multipliers m and a weight w. With the right multipliers its minimum obeys the rules, and
the weight can stay so small that an unconstrained solver converges. The multipliers are found
by solving a few times.

Source:
    Rockafellar RT (1973), J Optim Theory Appl 12:555-562.
"""

from __future__ import annotations

import dataclasses

import torch
from henaw.model.graph.harm import HarmRules
from torch import Tensor

SMOOTH_YEARS = 1e-3
"""|x| of an interaction is sqrt(x^2 + this^2) in the loss: never less than |x|, and smooth at 0,
where a quasi-Newton method would otherwise stop before the minimum."""
MARGIN_YEARS = 0.002
"""The loss asks each rule to hold by this margin, in years per score or years."""
SLOW_SHRINKING, HARDER = 0.5, 3.0
"""Unless the violation shrinks by the first factor, the weight is multiplied by the second."""


class HarmPenalty:
    """Rules with their multipliers and the weight.

    The rules of a group differ only by age. The loss contains those at the first, middle and
    last age, since a slope is almost a straight line over age. Any other rule that is broken
    is added later.

    Args:
        rules: all rules.
        weight: the first weight.
    """

    def __init__(self, rules: HarmRules, weight: float) -> None:
        self.rules = rules
        self.weight = weight
        self.broken = float("inf")
        by_group = rules.list_rows().values()
        self.rows = sorted({of[i] for of in by_group for i in (0, len(of) // 2, len(of) - 1)})
        self._asked = rules.select(self.rows)
        self.multipliers = torch.zeros(len(self.rows), dtype=torch.float64)

    def copy(self) -> HarmPenalty:
        """A copy that is updated independently."""
        other = HarmPenalty.__new__(HarmPenalty)
        vars(other).update(vars(self) | {"rows": list(self.rows), "broken": float("inf")})
        return other

    def compute(self, weight: Tensor, interaction_weight: Tensor) -> Tensor:
        """The part of the loss.

        Shape:
            weight: (V, Q J); interaction_weight: (I,); result: a scalar
        """
        smooth = torch.sqrt(interaction_weight.square() + SMOOTH_YEARS**2)
        with torch.no_grad():
            left = self._asked.measure(weight, smooth) - MARGIN_YEARS
            pushing = (self.multipliers > self.weight * left).nonzero().flatten()
        # Only a few of some thousand rules matter, and each makes derivatives slower.
        rules = dataclasses.replace(
            self._asked,
            main=self._asked.main[pushing],
            pair=self._asked.pair[pushing],
            least=self._asked.least[pushing],
        )
        left = rules.measure(weight, smooth) - MARGIN_YEARS
        push = self.multipliers[pushing] - self.weight * left
        return (push.square().sum() - self.multipliers.square().sum()) / (2.0 * self.weight)

    def update(self, weight: Tensor, interaction_weight: Tensor) -> float:
        """Update the multipliers at solved weights.

        Returns:
            By how much the worst rule is broken, in years; at most 0 if every rule is obeyed.
        """
        smooth = torch.sqrt(interaction_weight.square() + SMOOTH_YEARS**2)
        left = self._asked.measure(weight, smooth) - MARGIN_YEARS
        self.multipliers = (self.multipliers - self.weight * left).clamp(min=0.0).detach()
        every = self.rules.measure(weight, interaction_weight)
        self._ask_for_more(every)
        broken = -float(every.min()) if len(every) else 0.0
        if broken > max(0.0, SLOW_SHRINKING * self.broken):
            self.weight *= HARDER
        self.broken = broken
        return broken

    def describe(self, weight: Tensor, interaction_weight: Tensor) -> str:
        """The most broken rule, in words."""
        left = self.rules.measure(weight, interaction_weight)
        worst = int(left.argmin())
        if float(left[worst]) >= 0.0:
            return "every rule is obeyed"
        return f"{self.rules.names[worst]} is broken by {-float(left[worst]):.3g} years"

    def _ask_for_more(self, every: Tensor) -> None:
        """Add each group's worst broken rule to the loss, unless it is there already."""
        asked, more = set(self.rows), []
        for rows in self.rules.list_rows().values():
            worst = rows[int(every[rows].argmin())]
            if float(every[worst]) < 0.0 and worst not in asked:
                more.append(worst)
        if more:
            self.rows += more
            self._asked = self.rules.select(self.rows)
            self.multipliers = torch.cat([self.multipliers, self.multipliers.new_zeros(len(more))])
