"""The HENAW network: raw blood values, age and sex to every answer, as one graph.

Everything here is a tensor operation of one module, so that training, eager use,
TorchScript and ONNX cannot disagree. The fitted numbers are buffers; how they are
fitted is in ``henaw.training``, how they are laid out is in :mod:`henaw.model.constants`.

Notation: ``n`` people, 9 biomarkers, V = 10 variables (the nine and the logarithm of
AST/ALT), J basis functions, Q = 3 modulators (constant, age, sex), I interactions,
K = V + I contributions, B ensemble members, G variance groups.

One person costs what the number of operations costs, many people what the number of
bytes moved costs. So every tensor is (n, columns), each variable's J basis functions
side by side; to copy, to sum and to weigh columns is to multiply by a constant matrix;
and what depends on age and sex only, or on which biomarkers are missing only, is one
row of a table.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import torch
from henaw.model.biomarkers import INDEX, NAMES, PANEL
from henaw.model.configuration import VARIABLES, NetworkConfiguration
from henaw.model.constants import (
    HORIZON_YEARS,
    build_age_table,
    build_contribution_matrix,
    build_draw_matrix,
    build_pattern_table,
    build_pieces,
    build_slope_matrix,
    build_variance_matrix,
    repeat_blocks,
    repeat_columns,
)
from henaw.model.tables import build_one_hot
from henaw.model.transforms import LARGEST, LOG_SCALED, compute_log_distance, divide_finite
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["HORIZON_YEARS", "Features", "Network", "Parts"]

INTERVAL_SCORE = 1.6448536269514722
"""The normal quantile that leaves 5 % on each side."""

KNOT_TIE = 2e-5
"""How far below a knot, in scores, a value already has the slope above it.

Many values lie on a knot; at the knot itself, rounding would choose their slope."""
HALF_STEP = (-0.625 * KNOT_TIE, -0.375 * KNOT_TIE)
"""Half the distances from a knot between which the slope goes from 0 to 1."""
LINEAR_START = 8.0
"""How far below 0 the linear function's knot is: below every score."""
HALF_LOG_PI = 0.5 * math.log(math.pi)
MADE_UP = 1.0
"""Stands where a value is missing until it is imputed; nothing depends on it."""

Answers = tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]


class Features(NamedTuple):
    """What the answers are computed from.

    Shape:
        centred: (n, V J) basis functions, less those of people of one age and sex
        weighted: (n, V J) the same, times the adaptive weights
        pairs_twice: (n, 2 I) alike, the product of each interaction twice
        age, sex: (n, 1) modulators
        slope: (n, V) years per unit of the transformed value, 0 where it is unknown
        unit: (n, V) raw value where that is not a logarithm, else 1
        baseline: (n, 1) and (n, 1) of the log of ten years' cumulative hazard: at
            biological age 0, and its slope
        causes: (n, C) logits of the causes at that age and sex, less what its square adds
        beyond_caps: (n, G) beyond any cap where a group has a missing biomarker, else 0
        left_open: (n, nodes) variances that missing values leave open, to be summed
    """

    centred: Tensor
    weighted: Tensor
    pairs_twice: Tensor
    age: Tensor
    sex: Tensor
    slope: Tensor
    unit: Tensor
    baseline: tuple[Tensor, Tensor]
    causes: Tensor
    beyond_caps: Tensor
    left_open: Tensor

    @property
    def pairs(self) -> Tensor:
        """The interactions, each once: (n, I)."""
        return self.pairs_twice.chunk(2, dim=1)[0]

    @property
    def main(self) -> Tensor:
        """The weighted basis with its modulations: (V, n, Q J)."""
        by_variable = self.weighted.unflatten(1, (len(VARIABLES), -1)).transpose(0, 1)
        return torch.cat([by_variable, by_variable * self.age, by_variable * self.sex], 2)


class Parts(NamedTuple):
    """Years, part by part.

    Shape:
        contributions: (n, K); systems: (n, 4)
        refits: (n, G B) by how much each refit's years of each group differ
    """

    contributions: Tensor
    systems: Tensor
    refits: Tensor


class Network(nn.Module):
    """Raw values to biological age, risks, interval, contributions and flags.

    Shape:
        biomarkers: (n, 9) float32, the panel's units, NaN or infinite = missing
        age: (n,) float32, years
        sex: (n,) int64, 0 female, 1 male

    Returns of ``forward``, in this order:
        biological_age (n,) years; age_gap (n,) years; interval (n, 2) years, 90 %;
        mortality_10y (n,); cause_risk_10y (n, 4); contributions (n, K) years;
        system_contributions (n, 4) years; imputed (n, 9) bool;
        out_of_range (n, 9) bool; age_out_of_range (n,) bool.

    A row whose age is not finite or whose sex is neither 0 nor 1 answers NaN.

    Args:
        configuration: the shape.
        tensors: every tensor of :func:`list_tensor_shapes`.
    """

    minimum: Tensor
    maximum: Tensor
    range_low: Tensor
    range_high: Tensor
    log_scaled: Tensor
    by_age: Tensor
    rise_by_age: Tensor
    pattern_bits: Tensor
    by_pattern: Tensor
    piece_rate: Tensor
    piece_start: Tensor
    piece_total: Tensor
    piece_offset: Tensor
    repeat_scores: Tensor
    sum_scores: Tensor
    repeat_basis: Tensor
    half_basis: Tensor
    half_knots: Tensor
    spread_basis: Tensor
    prior_mean: Tensor
    first_second: Tensor
    second_first: Tensor
    place_pairs: Tensor
    contribution_matrix: Tensor
    slope_matrix: Tensor
    slope_offset: Tensor
    sum_modulators: Tensor
    raw_unit: Tensor
    no_unit: Tensor
    draw_matrix: Tensor
    variance_matrix: Tensor
    group_cap: Tensor
    cause_matrix: Tensor
    cause_of_squared_age: Tensor
    largest_hazard: Tensor
    interval_scores: Tensor

    def __init__(self, configuration: NetworkConfiguration, tensors: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.first_age = float(configuration.first_age)
        self.last_age = float(configuration.last_age)
        self.basis_size = configuration.basis_size
        self.variables = len(VARIABLES)
        self.pairs = len(configuration.interactions)
        self.ast = INDEX["ast"]

        self._keep("minimum", [biomarker.minimum for biomarker in PANEL])
        self._keep("maximum", [biomarker.maximum for biomarker in PANEL])
        self._keep("range_low", tensors["range_low"])
        self._keep("range_high", tensors["range_high"])
        self._keep("log_scaled", torch.tensor([*LOG_SCALED, True]))

        by_age, rise, self.sections = build_age_table(configuration, tensors)
        self._keep("by_age", by_age)
        self._keep("rise_by_age", rise)
        self.ages = float(configuration.ages)
        by_pattern, self.pattern_sections = build_pattern_table(configuration, tensors)
        self._keep("by_pattern", by_pattern)
        self._keep("pattern_bits", torch.tensor([[2.0**i] for i in range(len(NAMES))]))

        pieces = build_pieces(tensors["margin"].double(), configuration.score_limit)
        for name, piece in zip(("rate", "start", "total", "offset"), pieces, strict=True):
            self._keep(f"piece_{name}", piece)
        self._keep("repeat_scores", repeat_blocks(self.variables, self.variables))
        self._keep("sum_scores", repeat_columns(self.variables, self.variables).T)

        repeat = repeat_columns(self.variables, self.basis_size)
        knots = torch.tensor([-LINEAR_START, *configuration.knots]).double()
        self._keep("repeat_basis", repeat)
        self._keep("half_basis", 0.5 * repeat)
        self._keep("half_knots", -0.5 * knots.repeat(self.variables))
        self._keep("spread_basis", repeat / math.sqrt(2.0))
        unknown = torch.zeros(1, self.variables), torch.ones(1, self.variables)
        self._keep("prior_mean", self.expand_basis(*unknown)[0][0])

        first, second = ([INDEX[pair[i]] for pair in configuration.interactions] for i in (0, 1))
        self._keep("first_second", build_one_hot([*first, *second], self.variables))
        self._keep("second_first", build_one_hot([*second, *first], self.variables))
        weight = tensors["interaction_weight"]
        self._keep("place_pairs", (self.first_second * torch.cat([weight, weight])).T)

        matrix, self.part_sections = build_contribution_matrix(configuration, tensors)
        self._keep("contribution_matrix", matrix)
        slopes = build_slope_matrix(tensors["weight"]) / (HALF_STEP[1] - HALF_STEP[0])
        self._keep("slope_matrix", slopes)
        self._keep("slope_offset", -HALF_STEP[0] * slopes.sum(0))
        self._keep("sum_modulators", repeat_blocks(self.variables, 3).T)
        logged = self.log_scaled.double()
        self._keep("raw_unit", torch.diag(1.0 - logged))
        self._keep("no_unit", logged)
        self._keep("draw_matrix", build_draw_matrix(tensors["within_person_cv"]))
        self._keep("variance_matrix", build_variance_matrix(configuration))
        self._keep("group_cap", tensors["group_cap"])
        self._keep("cause_matrix", tensors["cause_weight"].T)
        self._keep("cause_of_squared_age", tensors["cause_age_sex"][:, 2:3].T)
        self._keep("largest_hazard", [10.0])
        self._keep("interval_scores", [-INTERVAL_SCORE, INTERVAL_SCORE])

    def _keep(self, name: str, values: Tensor | list[float]) -> None:
        """Keep a constant; the checkpoint holds the fitted tensors, not these."""
        tensor = values if isinstance(values, Tensor) else torch.tensor(values)
        if tensor.is_floating_point():
            tensor = tensor.to(torch.float32)
        kept = tensor.detach().clone(memory_format=torch.contiguous_format)
        self.register_buffer(name, kept, persistent=False)

    def look_up_reference(self, age: Tensor, sex: Tensor) -> Tensor:
        """Reference tables at an age and sex: (n,), (n,) int64 to (n, columns).

        The columns are those of ``henaw.model.constants.build_age_table``; all are NaN where
        the age is not finite or the sex neither 0 nor 1, and so is all that follows.
        """
        usable_sex = torch.clamp(sex, 0, 1)
        valid = (age.abs() <= LARGEST) & (sex == usable_sex)
        fitted = torch.clamp(age, self.first_age, self.last_age)
        year = torch.floor(fitted)
        # Row 0 is NaN throughout.
        row = torch.where(valid, year + usable_sex * self.ages, 0.0).to(torch.int64)
        value, rise = (functional.embedding(row, t) for t in (self.by_age, self.rise_by_age))
        reference: Tensor = value + rise * (fitted - year).unsqueeze(1)
        return reference

    def compute_scores(
        self, biomarkers: Tensor, location: Tensor, scale: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Raw values to normal scores among people of the same age and sex.

        Shape:
            biomarkers: (n, 9) raw; location, scale: (n, V)
            result: scores (n, V), finite and of no meaning where unknown; known (n, V)
                bool; clipped (n, 9)
        """
        observed = biomarkers.abs() <= LARGEST
        natural = self.prepare(torch.where(observed, biomarkers, MADE_UP))
        scores, _ = self.place(natural, location, 1.0 / scale)
        both = observed[:, self.ast] & observed[:, self.ast + 1]
        known = torch.cat([observed, both.unsqueeze(1)], 1)
        return scores, known, natural[:, : len(NAMES)]

    def prepare(self, raw: Tensor) -> Tensor:
        """Clip to the accepted ranges and add AST/ALT: (n, 9) finite to (n, V)."""
        clipped = torch.minimum(torch.maximum(raw, self.minimum), self.maximum)
        _, ast, alt = raw.split([self.ast, 1, 1], dim=1)
        return torch.cat([clipped, divide_finite(ast, alt)], 1)

    def place(self, natural: Tensor, location: Tensor, rate: Tensor) -> tuple[Tensor, Tensor]:
        """Prepared values to normal scores, and the margins' slopes there.

        Shape:
            natural, location: (n, V); rate: (n, V) 1 / scale; result: (n, V) and (n, V)
        """
        values = torch.where(self.log_scaled, torch.log(natural), natural)
        standardised = (values - location) * rate
        pieces = torch.clamp(torch.addmm(self.piece_start, standardised, self.piece_rate), 0.0, 1.0)
        placed = torch.addmm(self.piece_offset, pieces, self.piece_total)
        scores, slopes = placed.split([self.variables, self.variables], dim=1)
        return scores, slopes

    def impute(self, scores: Tensor, weights: Tensor) -> Tensor:
        """Conditional means of all scores given the known ones; those are their own.

        Shape:
            scores: (n, V); weights: (n, V V) of every score in each mean; result: (n, V)
        """
        return (scores @ self.repeat_scores * weights) @ self.sum_scores

    def expand_basis(self, means: Tensor, spreads: Tensor) -> tuple[Tensor, Tensor]:
        """Expected basis functions of scores known up to a normal error.

        For m + s e, e standard normal, a hinge max(0, x - k) has the expectation
        d Phi(d / s) + s phi(d / s), d = m - k; with s near 0 it is the hinge. With
        t = d / (s sqrt 2), Phi(d / s) is (1 + erf t) / 2 and phi(d / s) is
        exp(-t^2) / sqrt(2 pi). The linear function is the hinge at -LINEAR_START, below
        every score: x + LINEAR_START.

        Shape:
            means, spreads: (n, V), spreads at least SMALLEST_SPREAD
            result: (n, V J) values, and (n, V J) half the distances d
        """
        half = torch.addmm(self.half_knots, means, self.half_basis)
        spread = spreads @ self.spread_basis
        relative = half / spread
        density = torch.exp(-HALF_LOG_PI - relative * relative)
        return half + half * torch.erf(relative) + spread * density, half

    def compute_main_slope(self, half: Tensor, modulators: Tensor) -> Tensor:
        """Years per unit of a known score, without interactions and adaptive weights.

        A hinge rises by 1 from KNOT_TIE below its knot, and by 0 before.

        Shape:
            half: (n, V J) half the distances from the knots; modulators: (n, Q V)
            result: (n, V)
        """
        steps = torch.clamp(half, *HALF_STEP)
        slopes = torch.addmm(self.slope_offset, steps, self.slope_matrix)
        return (slopes * modulators) @ self.sum_modulators

    def modulate(self, basis: Tensor, age: Tensor, sex: Tensor) -> Tensor:
        """Let each basis function change with age and sex.

        Shape:
            basis: (n, V, J); age: (n,) years; sex: (n,) int64
            result: (V, n, Q J): constant, age and sex blocks
        """
        _, scaled_age, _, centred_sex = self.build_age_sex(age, sex).split(1, dim=1)
        by_variable = basis.transpose(0, 1)
        return torch.cat([by_variable, by_variable * scaled_age, by_variable * centred_sex], 2)

    def build_age_sex(self, age: Tensor, sex: Tensor) -> Tensor:
        """Features of the causes: 1, age, age squared (scaled) and sex, (n, 4)."""
        sections = self.look_up_reference(age, sex).split(self.sections, dim=1)
        scaled, centred_sex = sections[6], sections[7]
        return torch.cat([torch.ones_like(scaled), scaled, scaled * scaled, centred_sex], 1)

    def multiply_pairs(self, scores: Tensor) -> tuple[Tensor, Tensor]:
        """Log-distances of the two of each pair, each once as the first, once as the second.

        Shape:
            scores: (n, V); result: (n, 2 I) and (n, 2 I), whose product has each pair's twice
        """
        distance = compute_log_distance(scores)
        return distance @ self.first_second, distance @ self.second_first

    def build_features(self, biomarkers: Tensor, age: Tensor, sex: Tensor) -> Features:
        """Raw values to what the answers are computed from: (n, 9), (n,), (n,) int64."""
        observed = biomarkers.abs() <= LARGEST
        return self.compute_features(torch.where(observed, biomarkers, MADE_UP), observed, age, sex)

    def compute_features(self, raw: Tensor, observed: Tensor, age: Tensor, sex: Tensor) -> Features:
        """See :class:`Features`.

        Shape:
            raw: (n, 9) finite; observed: (n, 9) bool, false where ``raw`` is made up
        """
        (
            location,
            scale,
            weights,
            pair_weights,
            basis_mean,
            pair_mean,
            scaled_age,
            centred_sex,
            modulators,
            baseline_start,
            baseline_slope,
            node_shares,
            cause_start,
        ) = self.look_up_reference(age, sex).split(self.sections, dim=1)
        missing = torch.logical_not(observed).to(torch.float32)
        pattern = (missing @ self.pattern_bits).squeeze(1).to(torch.int64)
        copula_weights, spreads, known, complete, beyond_caps, open_at_nodes = functional.embedding(
            pattern, self.by_pattern
        ).split(self.pattern_sections, dim=1)

        natural = self.prepare(raw)
        # 0 where unknown, and so is all that a value's scale would take part in.
        rate = known / scale
        scores, margin_slope = self.place(natural, location, rate)
        values, half = self.expand_basis(self.impute(scores, copula_weights), spreads)

        # A value that was imputed is compared with a value imputed from nothing, so that
        # a person of whom nothing is known has the gap 0 exactly.
        centred = values - self.prior_mean - basis_mean * (known @ self.repeat_basis)
        complete_weights = pair_weights * complete
        one, other = self.multiply_pairs(scores)
        pairs_twice = (one * other - pair_mean) * complete_weights

        slope = self.compute_main_slope(half, modulators) * weights + (
            (other * complete_weights) @ self.place_pairs
        ) / (1.0 + scores.abs())
        return Features(
            centred=centred,
            weighted=centred * (weights @ self.repeat_basis),
            pairs_twice=pairs_twice,
            age=scaled_age,
            sex=centred_sex,
            slope=slope * margin_slope * rate,
            unit=torch.addmm(self.no_unit, natural, self.raw_unit),
            baseline=(baseline_start, baseline_slope),
            causes=cause_start,
            beyond_caps=beyond_caps,
            left_open=node_shares * open_at_nodes,
        )

    def compute_contributions(self, features: Features) -> Parts:
        """Years from each contribution, system and refit."""
        main = features.weighted
        design = torch.cat(
            [main, main * features.age, main * features.sex, features.pairs_twice], 1
        )
        return Parts(*(design @ self.contribution_matrix).split(self.part_sections, dim=1))

    def compute_group_variance(self, features: Features, parts: Parts) -> Tensor:
        """Variance of the gap over repeat draws and refits by group: (n, G) years squared.

        Beyond any cap where a biomarker of the group is missing.
        """
        draws = (features.slope * features.unit) @ self.draw_matrix
        deviations = torch.cat([draws, parts.refits], 1)
        return torch.addmm(features.beyond_caps, deviations * deviations, self.variance_matrix)

    def compute_variance(self, features: Features, parts: Parts) -> Tensor:
        """Variance of the gap, years squared: (n, 1).

        Each group's is at most its cap. A group with a missing biomarker is put at its
        cap, so that knowing less never narrows the interval.
        """
        capped = torch.minimum(self.compute_group_variance(features, parts), self.group_cap)
        return torch.cat([capped, features.left_open], 1).sum(1, keepdim=True)

    def share_causes(self, features: Features) -> Tensor:
        """Probability of each cause, given death within the horizon: (n, 4).

        Cumulative incidence of a cause within the horizon is P(death) P(cause | death),
        which respects competing risks and cannot sum above all-cause.
        """
        squared = features.age * features.age
        logits = torch.addmm(
            torch.addmm(features.causes, squared, self.cause_of_squared_age),
            features.centred,
            self.cause_matrix,
        )
        causes = logits.shape[1]
        named: Tensor = torch.softmax(logits, 1).split([causes - 1, 1], dim=1)[0]
        return named

    def forward(self, biomarkers: Tensor, age: Tensor, sex: Tensor) -> Answers:
        """Answer for n people; see the class."""
        observed = biomarkers.abs() <= LARGEST
        raw = torch.where(observed, biomarkers, MADE_UP)
        features = self.compute_features(raw, observed, age, sex)
        parts = self.compute_contributions(features)
        gap = parts.systems.sum(1)
        biological_age = age + gap
        centre = biological_age.unsqueeze(1)

        start, slope = features.baseline
        # Of the two, only minimum keeps NaN in every runtime; clamp need not.
        hazard = torch.minimum(start + slope * centre, self.largest_hazard)
        mortality = 1.0 - torch.exp(-torch.exp(hazard))
        half = torch.sqrt(self.compute_variance(features, parts)) * self.interval_scores
        return (
            biological_age,
            gap,
            centre + half,
            mortality.squeeze(1),
            self.share_causes(features) * mortality,
            parts.contributions,
            parts.systems,
            torch.logical_not(observed),
            ((raw < self.range_low) | (raw > self.range_high)) & observed,
            torch.clamp(age, self.first_age, self.last_age) != age,
        )
