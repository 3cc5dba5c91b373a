"""The rules of harmful values as a part of the loss: an augmented Lagrangian.

The part is (max(0, m - w g)^2 - m^2) / 2w, summed over rules g >= 0, with multipliers m
and a weight w. At the right multipliers its minimum obeys the rules, with a weight so
small that any unconstrained solver copes; they are found by solving a few times.

Source:
    Rockafellar RT (1973), J Optim Theory Appl 12:555-562.
"""

from __future__ import annotations

import dataclasses

import torch
from henaw.model.graph.harm import HarmRules
from torch import Tensor

SMOOTH_YEARS = 1e-3
"""|x| of an interaction is sqrt(x^2 + this^2) in the loss: never less, and smooth at 0, where
a quasi-Newton method would stop short of the minimum."""
MARGIN_YEARS = 0.002
"""How far inside its limit each rule is asked to be, years per score or years."""
SLOW_SHRINKING, HARDER = 0.5, 3.0
"""Where what is broken shrinks by less than the first, the weight is raised by the second."""


class HarmPenalty:
    """Rules, the multipliers that they have come to, and the weight.

    Of each group, rules that differ by age alone, those at the first, middle and last age
    are asked for, since a slope is all but a straight line over age. Any other that is
    broken all the same is added.

    Args:
        rules: all of them.
        weight: the weight at first.
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
        """The same, to go on from by itself."""
        other = HarmPenalty.__new__(HarmPenalty)
        vars(other).update(vars(self) | {"rows": list(self.rows), "broken": float("inf")})
        return other

    def compute(self, weight: Tensor, interaction_weight: Tensor) -> Tensor:
        """The part of the loss, a scalar.

        Shape:
            weight: (V, Q J); interaction_weight: (I,)
        """
        smooth = torch.sqrt(interaction_weight.square() + SMOOTH_YEARS**2)
        with torch.no_grad():
            left = self._asked.measure(weight, smooth) - MARGIN_YEARS
            pushing = (self.multipliers > self.weight * left).nonzero().flatten()
        # A few of some thousand rules: derivatives cost by how many there are.
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
        """Take the multipliers to what the rules ask at solved weights.

        Returns:
            By how much the worst of all rules is broken; at most 0 where all hold.
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
        """The rule that is furthest from holding, in words."""
        left = self.rules.measure(weight, interaction_weight)
        worst = int(left.argmin())
        if float(left[worst]) >= 0.0:
            return "every rule holds"
        return f"{self.rules.names[worst]} is short by {-float(left[worst]):.3g} years"

    def _ask_for_more(self, every: Tensor) -> None:
        """Add the worst broken rule of each group that is not asked for yet."""
        asked, more = set(self.rows), []
        for rows in self.rules.list_rows().values():
            worst = rows[int(every[rows].argmin())]
            if float(every[worst]) < 0.0 and worst not in asked:
                more.append(worst)
        if more:
            self.rows += more
            self._asked = self.rules.select(self.rows)
            self.multipliers = torch.cat([self.multipliers, self.multipliers.new_zeros(len(more))])
