"""Scores of one person's values among people of the same age and sex: formulas, in float64.

This is the first part of :mod:`henaw.model.reference_network`, which explains the letters.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from henaw.model.biomarkers import INDEX, NAMES, PANEL
from henaw.model.configuration import (
    RATIO_CAPS,
    RATIO_PARTS,
    VARIABLES,
    NetworkConfiguration,
)

Array = npt.NDArray[np.float64]

NINE = range(len(NAMES))
RATIO = len(NAMES)
"""The last variable."""
AST, ALT = RATIO_PARTS
LARGEST = float(np.finfo(np.float32).max)
SMALLEST_ALT = float(np.float32(1e-6))
"""Below this ALT, in U/L, a ratio has no meaning. The number is float32, as in the graph."""


def divide_safely(ast: float, alt: float) -> float:
    """The De Ritis ratio, 0.1 to 10; 1 where ALT is almost 0.

    >>> divide_safely(30.0, 20.0), divide_safely(30.0, 0.0)
    (1.5, 1.0)
    """
    return min(max(ast / alt, 0.1), 10.0) if alt >= SMALLEST_ALT else 1.0


def is_logged(variable: int) -> bool:
    """Whether the logarithm of a variable is used: of the ratio and of log-scaled biomarkers."""
    return variable == RATIO or PANEL[variable].log_scaled


@dataclass(frozen=True, kw_only=True)
class Scores:
    """One person's values among people of that age and sex.

    Attributes:
        t: age, years.
        s: 0 female, 1 male.
        known: (V,) whether the value is known.
        z: (V,) scores, 0 where unknown.
        unclipped: (V,) scores that rise beyond the tabulated ones, 0 where unknown.
        rise: (V,) scores per unit of the transformed value, 0 where unknown.
        natural: (9,) values after the laboratory's shift and clipping, in the panel's units.
    """

    t: float
    s: int
    known: npt.NDArray[np.bool_]
    z: Array
    unclipped: Array
    rise: Array
    natural: Array

    @property
    def pattern(self) -> int:
        """Bit i is set where biomarker i is missing."""
        return sum(1 << i for i in NINE if not self.known[i])


@dataclass(frozen=True, kw_only=True)
class Expected:
    """Expected scores.

    Attributes:
        mu: (V,) expected scores.
        sigma: (V,) their spreads, 0 where known.
        moves: (V, 9) change of each missing score per unit of each known one.
    """

    mu: Array
    sigma: Array
    moves: Array


class ReferencePeople:
    """The people a model was fitted on, as its reference tables describe them.

    Args:
        configuration: the shape.
        tensors: of the checkpoint, by name, float64.
        shift: (9,) a laboratory's shift of each biomarker.
    """

    def __init__(
        self, configuration: NetworkConfiguration, tensors: Mapping[str, Array], shift: Array
    ) -> None:
        self.configuration = configuration
        self.tensors = tensors
        self.shift = shift
        self.correlation = tensors["correlation"][: len(NAMES), : len(NAMES)]
        self.cross = tensors["correlation"][:, : len(NAMES)]
        self._extend_margins()

    def at(self, table: Array, t: float, s: int) -> Any:
        """Read a table of (2, ages, ...) at an age and sex, interpolated between years."""
        first, last = self.configuration.first_age, self.configuration.last_age
        place = min(max(t, first), last) - first
        year = min(int(place), last - first - 1)
        passed = place - year
        return (1.0 - passed) * table[s, year] + passed * table[s, year + 1]

    def place_values(self, x: Array, t: float, s: int) -> Scores:
        """Raw values to normal scores: z = margin((log x - m(t, s)) / d(t, s)).

        First a laboratory's shift is subtracted, then values are clipped to the accepted range.
        The ratio is computed from the shifted values up to their upper reference limits.
        """
        used = self.configuration.used
        known = np.array([abs(x[i]) <= LARGEST and used[i] for i in NINE])
        known = np.append(known, known[AST] and known[ALT])
        z, unclipped, rise = np.zeros((3, len(VARIABLES)))
        natural = np.ones(len(VARIABLES))
        shifted = np.ones(len(NAMES))
        for i in NINE:
            if known[i]:
                biomarker = PANEL[i]
                by_shift = x[i] * math.exp(-self.shift[i])
                shifted[i] = by_shift if biomarker.log_scaled else x[i] - self.shift[i]
                natural[i] = min(max(shifted[i], biomarker.minimum), biomarker.maximum)
        if known[RATIO]:
            capped = [min(shifted[i], cap) for i, cap in zip(RATIO_PARTS, RATIO_CAPS, strict=True)]
            natural[RATIO] = divide_safely(*capped)
        location = self.at(self.tensors["location"], t, s)
        scale = self.at(self.tensors["scale"], t, s)
        for v in np.flatnonzero(known).tolist():
            value = math.log(natural[v]) if is_logged(v) else natural[v]
            u = (value - location[v]) / scale[v]
            z[v] = np.interp(u, self.points[v], self.scores)
            unclipped[v] = np.interp(u, self.points[v], self.far_scores[v])
            rise[v] = np.interp(z[v], range(-3, 4), self.slopes[v]) / scale[v]
        return Scores(
            t=t, s=s, known=known, z=z, unclipped=unclipped, rise=rise, natural=natural[: len(x)]
        )

    def _extend_margins(self) -> None:
        """Scores at the tabulated quantiles, and one more piece at each end.

        The last pieces reach the ends of the accepted range at any age. Over each the score
        rises by 1. The unclipped score, which tells how unusual a value is, rises as steeply as
        over the last tabulated unit. Slopes are taken over one score to each side.
        """
        limit, margin = self.configuration.score_limit, self.tensors["margin"]
        location, scale = self.tensors["location"], self.tensors["scale"]
        tabulated = np.linspace(-limit, limit, margin.shape[1])
        one = max(1, round((margin.shape[1] - 1) / (2 * limit)))
        unit = tabulated[one] - tabulated[0]
        self.scores = np.concatenate([[-limit - 1.0], tabulated, [limit + 1.0]])
        points, far, slopes = [], [], []
        for v, row in enumerate(margin):
            ends = (0.1, 10.0) if v == RATIO else (PANEL[v].minimum, PANEL[v].maximum)
            low, high = (math.log(end) if is_logged(v) else end for end in ends)
            lowest = min(((low - location[..., v]) / scale[..., v]).min(), row[0] - 1.0)
            highest = max(((high - location[..., v]) / scale[..., v]).max(), row[-1] + 1.0)
            points.append(np.concatenate([[lowest], row, [highest]]))
            below = -limit - (row[0] - lowest) * unit / (row[one] - row[0])
            above = limit + (highest - row[-1]) * unit / (row[-1] - row[-1 - one])
            far.append(np.concatenate([[below], tabulated, [above]]))
            around = [np.interp([k - 1.0, k + 1.0], tabulated, row) for k in range(-3, 4)]
            slopes.append([2.0 / (right - left) for left, right in around])
        self.points, self.far_scores, self.slopes = points, far, np.array(slopes)

    def impute_scores(self, scores: Scores) -> Expected:
        """Gaussian copula: expected scores given the known ones, and their spreads.

        With R the correlation, k the known and m a missing variable:
        mu_m = R_mk R_kk^-1 z_k and sigma_m^2 = 1 - R_mk R_kk^-1 R_km. A value beyond its harmful
        reference limit imputes what the limit imputes, for biomarkers that are configured so. The
        ratio imputes nothing, because AST and ALT have the same information.
        """
        known = np.flatnonzero(scores.known[: len(NAMES)])
        limited = self._limit_scores(scores)
        moves = np.zeros((len(VARIABLES), len(NAMES)))
        mu, sigma = scores.z.copy(), np.zeros(len(VARIABLES))
        inverse = np.linalg.inv(self.correlation[np.ix_(known, known)])
        for m in np.flatnonzero(~scores.known):
            weights = self.cross[m, known] @ inverse
            variance = 1.0 - weights @ self.cross[m, known]
            mu[m], sigma[m] = weights @ limited[known], math.sqrt(max(variance, 1e-12))
            # A value that imputes what its limit imputes does not move the imputed ones.
            moves[m, known] = weights * (limited[known] == scores.z[known])
        return Expected(mu=mu, sigma=sigma, moves=moves)

    def _limit_scores(self, scores: Scores) -> Array:
        limited: Array = scores.z[: len(NAMES)].copy()
        for name in self.configuration.imputes_within_limits:
            i, biomarker = INDEX[name], PANEL[INDEX[name]]
            for side, sign in (("low", -1.0), ("high", 1.0)):
                limits = getattr(biomarker.reference, side)
                if side in biomarker.harmful and None not in limits:
                    farthest = self.at(self._score_of(i, limits, sign), scores.t, scores.s)
                    limited[i] = sign * min(sign * limited[i], sign * farthest)
        return limited

    def _score_of(self, i: int, limits: Sequence[float], sign: float) -> Array:
        """Scores of a reference limit by sex and age, clipped at the median: (2, ages)."""
        values = np.array(limits, np.float64)[:, None]
        values = np.log(values) if is_logged(i) else values
        u = (values - self.tensors["location"][..., i]) / self.tensors["scale"][..., i]
        scores = np.interp(u, self.points[i][1:-1], self.scores[1:-1])
        limited: Array = sign * np.maximum(sign * scores, 0.0)
        return limited

    def find_distance(self, scores: Scores) -> float:
        """Squared Mahalanobis distance of the known scores: z_k R_kk^-1 z_k."""
        known = np.flatnonzero(scores.known[: len(NAMES)])
        z = scores.unclipped[known]
        return float(z @ np.linalg.inv(self.correlation[np.ix_(known, known)]) @ z)
