"""The network as formulas: one person, step by step, in float64.

:mod:`henaw.model.network` computes the same answers for many people as one graph, and is written
for speed. This is its plain twin: documentation that runs. A test compares the two.

Notation. A person has age t, sex s (0 female, 1 male) and raw values x_i of the panel's nine
biomarkers, some of them missing. Variables v are the nine and the ratio AST/ALT.

- z_v: normal score among people of that age and sex
- mu_v: expected score; sigma_v: its spread, 0 where the value is known
- B_vj: expected basis function j, less that of the median person
- a = (t - 60) / 15 and q = s - 1/2: modulators
- w_v: adaptive weight; theta, beta: fitted weights
- f_v: years of variable v; g_ab: years of an interaction

Biological age is t + c + sum f_v + sum g_ab, where c is the years of the typical values. The first
steps, from x to mu and sigma, are in :mod:`henaw.model.reference_people`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from henaw.model.biomarkers import INDEX, NAMES, SYSTEMS
from henaw.model.configuration import RATIO_CAPS, RATIO_PARTS, VARIABLES, NetworkConfiguration
from henaw.model.graph.tables import PERCENTILES, list_members, list_variance_groups
from henaw.model.reference_people import (
    LARGEST,
    NINE,
    RATIO,
    Array,
    Expected,
    ReferencePeople,
    Scores,
    is_logged,
)

Answer = dict[str, Any]

HORIZON_YEARS = 10.0
LARGEST_RISK = 0.999
SMALLEST_SPREAD = 1e-6
DRAW_SPREAD = 0.25
"""How far a repeat draw moves a score. The slope of an effect is averaged over this spread."""
FITTED_SCORE = 3.090232306167813
"""Normal quantile of 99.9 %. Beyond it a value is outside the fitted range."""
INTERVAL_SCORE = 1.6448536269514722
"""Normal quantile of 95 %."""


def phi(x: float) -> float:
    """Density of the standard normal distribution."""
    return math.exp(-0.5 * x * x) / math.sqrt(2.0 * math.pi)


def cumulate(x: float) -> float:
    """Phi, the distribution function of the standard normal distribution."""
    return 0.5 * (1.0 + math.erf(x / math.sqrt(2.0)))


def expect_hinge(d: float, spread: float) -> float:
    """E[max(0, d + spread e)], e standard normal.

    >>> expect_hinge(2.0, 0.0), round(expect_hinge(0.0, 1.0), 4)
    (2.0, 0.3989)
    """
    if spread < SMALLEST_SPREAD:
        return max(0.0, d)
    return d * cumulate(d / spread) + spread * phi(d / spread)


def log_distance(z: float) -> float:
    """h(z) = sign(z) log(1 + |z|).

    >>> round(log_distance(-1.0), 4)
    -0.6931
    """
    return math.copysign(math.log1p(abs(z)), z)


class ReferenceNetwork:
    """The shipped formulas with a checkpoint's numbers.

    Args:
        configuration: the shape.
        tensors: of the checkpoint, by name.
        profile: a laboratory's ``lab_shift``, ``lab_standard_error`` and ``lab_level``; a
            missing one is 0.

    Example:
        >>> from pathlib import Path
        >>> from henaw.model.checkpoint import load_checkpoint
        >>> checkpoint = load_checkpoint(Path("model/weights/henaw-nhanes.safetensors"))
        >>> network = ReferenceNetwork(checkpoint.network, checkpoint.tensors)
        >>> x = np.array([1.2, 35.5, 79.6, 45, 29, 13.1, np.nan, 24, 20])
        >>> print(f"{network.answer(x, 54.0, 0)['biological_age']:.1f}")
        52.2
    """

    def __init__(
        self,
        configuration: NetworkConfiguration,
        tensors: Mapping[str, Any],
        profile: Mapping[str, Sequence[float]] | None = None,
    ) -> None:
        self.configuration = configuration
        self.tensors = {name: np.asarray(value, np.float64) for name, value in tensors.items()}
        given = profile or {}
        shift = np.asarray(given.get("lab_shift", np.zeros(len(NAMES))))
        self.shift_error = np.asarray(given.get("lab_standard_error", np.zeros(len(NAMES))))
        self.level = np.asarray(given.get("lab_level", np.zeros(4))).reshape(4)
        self.first_age, self.last_age = configuration.first_age, configuration.last_age
        self.members = list_members(configuration)
        self.groups = list_variance_groups(configuration)
        self.people = ReferencePeople(configuration, self.tensors, shift)

    # -- tables by age and sex ---------------------------------------------------------------

    def modulate(self, t: float, s: int) -> tuple[float, float]:
        """Modulators: a = (t - 60) / 15, of the nearest fitted age, and q = s - 1/2."""
        return (min(max(t, self.first_age), self.last_age) - 60.0) / 15.0, s - 0.5

    def modulate_effects(self, theta: Array, scores: Scores) -> Array:
        """theta_vj0 + a theta_vj1 + q theta_vj2: (V, 3 J) to (V, J)."""
        a, q = self.modulate(scores.t, scores.s)
        constant, by_age, by_sex = np.split(theta, 3, axis=1)
        effects: Array = constant + a * by_age + q * by_sex
        return effects

    def weigh(self, t: float, s: int) -> Array:
        """Adaptive weights of the K contributions: 9 exp(-lambda CV_i) / sum_j exp(-lambda CV_j).

        Their mean over the nine is 1. A contribution of two biomarkers has their mean weight.
        """
        variation = self.tensors["coefficient_of_variation"]
        exponential = np.exp(-self.configuration.adaptive_lambda * variation)
        nine = len(NAMES) * exponential / exponential.sum(axis=-1, keepdims=True)
        weights: Array = self.people.at(nine, t, s)
        return np.array(
            [np.mean([weights[INDEX[name]] for name in names]) for names in self.members]
        )

    # -- 6: the gap --------------------------------------------------------------------------

    def expand_basis(self, scores: Scores, expected: Expected) -> Array:
        """B_vj = E[b_j(mu_v + sigma_v e)] - E[b_j of the median person], e standard normal.

        b_0 is the score itself and b_j a hinge max(0, z - k_j). With d = mu - k,
        E[max(0, d + sigma e)] = d Phi(d / sigma) + sigma phi(d / sigma). A known value is
        compared with the median, an unknown one with a value that is imputed from nothing.

        Returns:
            (V, J)
        """
        basis = np.zeros((len(VARIABLES), self.configuration.basis_size))
        for v, used in enumerate(self.configuration.used):
            if not used:
                continue
            median = float(np.interp(0.0, self.people.points[v][1:-1], self.people.scores[1:-1]))
            of, spread = (median, 0.0) if scores.known[v] else (0.0, 1.0)
            mu, sigma = expected.mu[v], expected.sigma[v]
            basis[v, 0] = mu - of
            for j, knot in enumerate(self.configuration.knots, start=1):
                basis[v, j] = expect_hinge(mu - knot, sigma) - expect_hinge(of - knot, spread)
        return basis

    def contribute(self, basis: Array, scores: Scores, member: int | None = None) -> Array:
        """Years of each variable and interaction: (K,).

        f_v = w_v sum_j B_vj (theta_vj0 + a theta_vj1 + q theta_vj2) and
        g_ab = w_ab beta_ab h(z_a) h(z_b), 0 unless both are known.

        Args:
            basis: (V, J).
            scores: of the values.
            member: a refit of the ensemble instead of the point estimate.
        """
        theta, beta = self.tensors["weight"], self.tensors["interaction_weight"]
        if member is not None:
            theta = self.tensors["member_weight"][member]
            beta = self.tensors["member_interaction_weight"][member]
        years = list((basis * self.modulate_effects(theta, scores)).sum(axis=1))
        for (first, second), size in zip(self.configuration.interactions, beta, strict=True):
            i, j = INDEX[first], INDEX[second]
            both = scores.known[i] and scores.known[j]
            product = log_distance(scores.z[i]) * log_distance(scores.z[j])
            years.append(size * product if both else 0.0)
        weighted: Array = self.weigh(scores.t, scores.s) * np.array(years)
        return weighted

    def share_systems(self) -> Array:
        """Share of each contribution in each system: (K, 4).

        A biomarker is split evenly among its systems, an interaction between its biomarkers.
        """
        shares = np.zeros((len(self.members), len(SYSTEMS)))
        for k, names in enumerate(self.members):
            for name in names:
                belongs = [name in inside for inside in SYSTEMS.values()]
                shares[k] += np.array(belongs) / sum(belongs) / len(names)
        return shares

    def add_typical(self, scores: Scores) -> float:
        """c: years of a person with all known values at the median, which few people have.

        It brings the median of the gap to 0 at every age, and is 0 where nothing is known.
        """
        typical = float(self.people.at(self.tensors["typical"], scores.t, scores.s))
        return typical * scores.known.any() + self._read_nodes("typical_missing", scores)

    def _read_nodes(self, name: str, scores: Scores) -> float:
        """Read a table of (patterns, 2, tabulated ages)."""
        table = self.tensors[name][scores.pattern, scores.s]
        return float(np.interp(scores.t, self.configuration.variance_ages, table))

    # -- 7 and 8: risks ----------------------------------------------------------------------

    def find_mortality(self, gap: float, t: float, s: int) -> float:
        """1 - exp(-H), H = e^(c + b BA) (e^(10 b) - 1) / b: a Gompertz hazard from BA on.

        A laboratory's level of mortality is added to log H. No risk is above 0.999.
        """
        b = self.tensors["baseline_slope"][s]
        a, q = self.modulate(t, s)
        log_h = self.tensors["baseline_intercept"][s] + b * (t + gap)
        log_h += math.log(math.expm1(b * HORIZON_YEARS) / b)
        log_h += float(self.level @ [1.0, a, q, a * q])
        return min(-math.expm1(-math.exp(log_h)), LARGEST_RISK)

    def share_causes(self, basis: Array, t: float, s: int) -> Array:
        """P(cause | death within ten years), softmax over the named causes and all others."""
        a, q = self.modulate(t, s)
        logits = self.tensors["cause_weight"] @ basis.flatten()
        logits = logits + self.tensors["cause_age_sex"] @ [1.0, a, a * a, q]
        exponential = np.exp(logits - logits.max())
        shares: Array = exponential / exponential.sum()
        return shares[:-1]

    # -- 10: the interval --------------------------------------------------------------------

    def find_slopes(self, scores: Scores, expected: Expected) -> tuple[Array, Array]:
        """Years per unit of each transformed value: by itself, and with what it imputes.

        The slope of E[max(0, z - k)] is Phi((mu - k) / spread), that of h is 1 / (1 + |z|), and
        that of a score is the margin's. Below its cap a value of AST or ALT moves the ratio too.

        Returns:
            (9,) and (9,), 0 where the value is unknown
        """
        weights = self.weigh(scores.t, scores.s)
        effects = self.modulate_effects(self.tensors["weight"], scores)
        slope = np.zeros(len(VARIABLES))
        for v, (mu, sigma) in enumerate(zip(expected.mu, expected.sigma, strict=True)):
            spread = math.hypot(sigma, DRAW_SPREAD)
            steps = [cumulate((mu - knot) / spread) for knot in self.configuration.knots]
            slope[v] = weights[v] * effects[v] @ [1.0, *steps]
        for place, (first, second) in enumerate(self.configuration.interactions):
            size = self.tensors["interaction_weight"][place] * weights[len(VARIABLES) + place]
            i, j = INDEX[first], INDEX[second]
            if scores.known[i] and scores.known[j]:
                slope[i] += size * log_distance(scores.z[j]) / (1.0 + abs(scores.z[i]))
                slope[j] += size * log_distance(scores.z[i]) / (1.0 + abs(scores.z[j]))
        imputed = np.append((slope * ~scores.known) @ expected.moves, 0.0)
        return self._join_ratio(slope, scores), self._join_ratio(slope + imputed, scores)

    @staticmethod
    def _join_ratio(slope: Array, scores: Scores) -> Array:
        per_value = slope * scores.rise
        joined: Array = per_value[: len(NAMES)].copy()
        for i, cap, sign in zip(RATIO_PARTS, RATIO_CAPS, (1.0, -1.0), strict=True):
            if scores.natural[i] < cap:
                joined[i] += sign * per_value[RATIO]
        return joined

    def find_variance(
        self, own: Array, contributions: Array, basis: Array, scores: Scores
    ) -> float:
        """Variance of the gap, years squared.

        Each group of biomarkers that share effects adds the variances of repeat draws, of the
        laboratory's shift and of refits: together at most the group's cap, and the cap itself
        where a value is missing. Missing values add the variance that they leave, and values
        beyond the fitted range add the error that their effects may have.

        Args:
            own: (9,) years per unit of each transformed value.
            contributions: (K,) years.
            basis: (V, J).
            scores: of the values.
        """
        draws = own * self._list_units(scores) * self.tensors["within_person_cv"]
        unknown = self.shift_error <= 0.0
        shifts = own * np.where(unknown, self.tensors["laboratory_sd"], self.shift_error)
        refits = np.array(
            [
                self.contribute(basis, scores, member) - contributions
                for member in range(self.configuration.members)
            ]
        )
        offset = self.people.at(self.tensors["member_offset"], scores.t, scores.s).reshape(
            len(self.groups), -1
        )
        total = self._read_nodes("missing_variance", scores)
        for g, group in enumerate(self.groups):
            inside = [INDEX[name] for name in group]
            columns = [k for k, names in enumerate(self.members) if names[0] in group]
            away = refits[:, columns].sum(axis=1) - offset[g]
            variance = (draws[inside] ** 2).sum() + (shifts[inside] ** 2).sum() + (away**2).mean()
            lacking = any(self.configuration.used[i] and not scores.known[i] for i in inside)
            cap = self.tensors["group_cap"][g]
            total += cap if lacking else min(variance, cap)
        nine = scores.unclipped[: len(NAMES)]
        beyond = nine - np.clip(nine, -FITTED_SCORE, FITTED_SCORE)
        return float(total + (beyond**2).sum() * self.tensors["extrapolation_sd"][0] ** 2)

    @staticmethod
    def _list_units(scores: Scores) -> Array:
        """Change of each transformed value by a relative change of 1: 1 for a logarithm, else x."""
        return np.array([1.0 if is_logged(i) else scores.natural[i] for i in NINE])

    # -- all of it ---------------------------------------------------------------------------

    def answer(self, x: Array, t: float, s: int) -> Answer:
        """Every output for one person, by the names of the graph's outputs.

        Args:
            x: (9,) raw values in the panel's units, NaN or infinite where missing.
            t: age, years.
            s: 0 female, 1 male.
        """
        flags = self._flag(x, t)
        if not (abs(t) <= LARGEST and s in {0, 1}):
            return flags | self._answer_nothing()
        scores = self.people.place_values(x, t, s)
        expected = self.people.impute_scores(scores)
        basis = self.expand_basis(scores, expected)

        typical = self.add_typical(scores)
        contributions = self.contribute(basis, scores)
        gap = typical + contributions.sum()
        mortality = self.find_mortality(gap, t, s)

        own, whole = self.find_slopes(scores, expected)
        variance = self.find_variance(own, contributions, basis, scores)
        half = INTERVAL_SCORE * self.tensors["interval_factor"][0] * math.sqrt(variance)
        draws = whole * self._list_units(scores) * self.tensors["within_person_cv"]
        near = self.people.find_distance(scores) <= self.tensors["distance_limit"][scores.pattern]
        reliable = near and not flags["critical"].any() and not flags["age_out_of_range"]
        return flags | {
            "biological_age": t + gap,
            "age_gap": gap,
            "interval": np.array([t + gap - half, t + gap + half]),
            "mortality_10y": mortality,
            "cause_risk_10y": self.share_causes(basis, t, s) * mortality,
            "contributions": np.append(typical, contributions),
            "system_contributions": contributions @ self.share_systems(),
            "percentile": np.interp(
                gap, self.people.at(self.tensors["gap_percentiles"], t, s), PERCENTILES
            ),
            "draw_sd": math.sqrt((draws**2).sum()) * self.tensors["draw_factor"][0],
            "reliable": reliable,
        }

    def _flag(self, x: Array, t: float) -> Answer:
        observed = (np.abs(x) <= LARGEST) & np.array(self.configuration.used[: len(NAMES)])

        def is_beyond(name: str) -> npt.NDArray[np.bool_]:
            low, high = self.tensors[f"{name}_low"], self.tensors[f"{name}_high"]
            beyond: npt.NDArray[np.bool_] = observed & ((x < low) | (x > high))
            return beyond

        return {
            "imputed": ~observed,
            "out_of_range": is_beyond("range"),
            "critical": is_beyond("critical"),
            "age_out_of_range": not self.first_age <= t <= self.last_age,
        }

    def _answer_nothing(self) -> Answer:
        widths = {
            "interval": 2,
            "cause_risk_10y": len(self.configuration.causes),
            "contributions": 1 + len(self.members),
            "system_contributions": len(SYSTEMS),
        }
        single = ("biological_age", "age_gap", "mortality_10y", "percentile", "draw_sd")
        nothing: Answer = {name: np.full(width, np.nan) for name, width in widths.items()}
        return nothing | dict.fromkeys(single, np.nan) | {"reliable": False}

    def predict(self, biomarkers: Array, age: Array, sex: npt.NDArray[np.int64]) -> dict[str, Any]:
        """Answer for n people, one after the other: (n, 9), (n,), (n,), to outputs by name."""
        answers = [
            self.answer(np.asarray(x, np.float64), float(t), int(s))
            for x, t, s in zip(biomarkers, age, sex, strict=True)
        ]
        return {name: np.array([a[name] for a in answers]) for name in answers[0]}
