"""The HENAW network: raw blood values, age and sex to every answer, as one graph.

Everything here is a tensor operation of one module, so that training, eager use, TorchScript
and ONNX give the same answers. :mod:`henaw.model.reference_network` has the same formulas for
one person, step by step: read it first. The constants are built in
:mod:`henaw.model.graph.buffers` from the tensors that ``henaw.training`` fits, and
:mod:`henaw.model.graph.sections` names the columns of each tensor.

Notation: ``n`` people, 9 biomarkers, V = 10 variables (the nine and the logarithm of
AST/ALT), J basis functions, Q = 3 modulators (constant, age, sex), I interactions,
K = V + I contributions besides that of the typical values, B ensemble members, G variance
groups, P tabulated percentiles.

The time for one person depends on the number of operations, the time for many people on the
number of bytes moved. So every tensor is (n, columns), with the J basis functions of each
variable side by side. A product with a constant matrix copies, sums or weighs columns. What
depends only on age and sex, or only on which biomarkers are missing, is one row of a table.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from henaw.model.biomarkers import NAMES
from henaw.model.configuration import RATIO_PARTS, VARIABLES, NetworkConfiguration
from henaw.model.graph.buffers import LINEAR_START, build_buffers
from henaw.model.graph.constants import HORIZON_YEARS
from henaw.model.graph.sections import (
    AgeRow,
    Basis,
    Features,
    NetworkOutputs,
    Parts,
    PatternRow,
    Placed,
)
from henaw.model.graph.transforms import (
    LARGEST,
    compute_log_distance,
    divide_finite,
    expect_hinges,
)
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["HORIZON_YEARS", "LINEAR_START", "Features", "Network", "NetworkOutputs", "Parts"]

MADE_UP = 1.0
"""Stands for a missing value until the score is imputed; no answer depends on it."""
FITTED_SCORE = 3.090232306167813
"""The normal score of the 99.9 % mark: beyond it a value is outside the fitted range."""


class Network(nn.Module):
    """Raw values to biological age, risks, interval, contributions and flags.

    Shape:
        biomarkers: (n, 9) float32, the panel's units, NaN or infinite = missing
        age: (n,) float32, years
        sex: (n,) int64, 0 female, 1 male

    ``forward`` returns :class:`henaw.model.graph.sections.NetworkOutputs` as a plain tuple. A row
    whose age is not finite or whose sex is neither 0 nor 1 gets NaN, and is not reliable.

    Args:
        configuration: the shape.
        tensors: every tensor of :func:`henaw.model.graph.tables.list_tensor_shapes`.

    Attributes:
        lab_shift: (9,) a laboratory's shift of each biomarker, subtracted before anything else
            is computed: of the logarithm where the biomarker is log-scaled, else in its unit.
            0 as shipped.
        lab_standard_error: (9,) standard error of each shift. 0 as shipped, which means that it
            is not known; the spread between surveys is then used.
        lab_level: (4, 1) change of the log hazard, by age and sex, from the fitted people to the
            laboratory's country. 0 as shipped.

    Example:
        >>> from pathlib import Path
        >>> from henaw.model.checkpoint import load_checkpoint
        >>> network = load_checkpoint(
        ...     Path("model/weights/henaw-nhanes.safetensors")).build_network()
        >>> values = torch.tensor([[1.2, 35.5, 79.6, 45, 29, 13.1, torch.nan, 24, 20]])
        >>> with torch.inference_mode():
        ...     outputs = network.answer(values, torch.tensor([54.0]), torch.tensor([0]))
        >>> print(f"{outputs.biological_age.item():.1f}")
        52.2
    """

    used: Tensor | None
    used_basis: Tensor | None
    lab_shift: Tensor
    lab_standard_error: Tensor
    lab_level: Tensor
    laboratory_sd: Tensor
    minimum: Tensor
    maximum: Tensor
    flag_low: Tensor
    flag_high: Tensor
    ratio_caps: Tensor
    log_scaled: Tensor
    logged: Tensor
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
    repeat_slopes: Tensor
    sum_slopes: Tensor
    repeat_basis: Tensor
    half_basis: Tensor
    half_knots: Tensor
    spread_basis: Tensor
    unknown_basis: Tensor
    known_basis: Tensor
    first_second: Tensor
    second_first: Tensor
    place_pairs: Tensor
    contribution_matrix: Tensor
    slope_matrix: Tensor
    slope_offset: Tensor
    sum_modulators: Tensor
    ratio_ends: Tensor
    ratio_signs: Tensor
    within_person_cv: Tensor
    variance_matrix: Tensor
    group_cap: Tensor
    whitening: Tensor
    extrapolation: Tensor
    percentile_steps: Tensor
    percentile_first: Tensor
    count_critical: Tensor
    cause_matrix: Tensor
    cause_of_squared_age: Tensor
    largest_hazard: Tensor
    interval_scores: Tensor
    draw_factor: Tensor

    def __init__(self, configuration: NetworkConfiguration, tensors: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.first_age = float(configuration.first_age)
        self.last_age = float(configuration.last_age)
        self.basis_size = configuration.basis_size
        self.variables = len(VARIABLES)
        self.members = configuration.members
        self.ages = float(configuration.ages)
        self.causes = len(configuration.causes)

        buffers, self.widths = build_buffers(configuration, tensors)
        for name, values in buffers.items():
            # The checkpoint has the fitted tensors, not what is computed from them.
            self.register_buffer(name, values, persistent=False)

    def look_up_reference(self, age: Tensor, sex: Tensor) -> AgeRow:
        """Reference tables at an age and sex: (n,), (n,) int64.

        Every column is NaN where the age is not finite or the sex is neither 0 nor 1, and so
        are the answers.
        """
        usable_sex = torch.clamp(sex, 0, 1)
        valid = (age.abs() <= LARGEST) & (sex == usable_sex)
        fitted = torch.clamp(age, self.first_age, self.last_age)
        year = torch.floor(fitted)
        # Row 0 is NaN throughout.
        row = torch.where(valid, year + usable_sex * self.ages, 0.0).to(torch.int64)
        value, rise = (functional.embedding(row, t) for t in (self.by_age, self.rise_by_age))
        reference = value + rise * (fitted - year).unsqueeze(1)
        return AgeRow(*reference.split(self.widths.age_row, dim=1))

    def look_up_pattern(self, observed: Tensor) -> PatternRow:
        """Tables of the missing pattern: (n, 9) bool."""
        missing = torch.logical_not(observed).to(torch.float32)
        pattern = (missing @ self.pattern_bits).squeeze(1).to(torch.int64)
        row = functional.embedding(pattern, self.by_pattern)
        return PatternRow(*row.split(self.widths.pattern_row, dim=1))

    def compute_scores(
        self, biomarkers: Tensor, location: Tensor, scale: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Raw values to normal scores among people of the same age and sex.

        Shape:
            biomarkers: (n, 9) raw; location, scale: (n, V)
            result: scores (n, V), finite but without meaning where unknown; known (n, V) bool
        """
        observed = biomarkers.abs() <= LARGEST
        natural = self.prepare(torch.where(observed, biomarkers, MADE_UP))
        placed = self.place(natural, location, 1.0 / scale)
        numerator, denominator = (observed[:, i : i + 1] for i in RATIO_PARTS)
        return placed.scores, torch.cat([observed, numerator & denominator], 1)

    def prepare(self, raw: Tensor) -> Tensor:
        """Subtract the laboratory's shift, clip to the accepted ranges, and add AST/ALT.

        Shape:
            raw: (n, 9) finite; result: (n, V)
        """
        factor = torch.exp(-self.lab_shift * self.logged)
        shifted = raw * factor - self.lab_shift * (1.0 - self.logged)
        clipped = torch.minimum(torch.maximum(shifted, self.minimum), self.maximum)
        numerator, denominator = (
            torch.minimum(shifted[:, place : place + 1], cap)
            for place, cap in zip(RATIO_PARTS, self.ratio_caps.split(1), strict=True)
        )
        return torch.cat([clipped, divide_finite(numerator, denominator)], 1)

    def place(self, natural: Tensor, location: Tensor, rate: Tensor) -> Placed:
        """Scores of prepared values among people of the same age and sex.

        Shape:
            natural, location: (n, V); rate: (n, V) 1 / scale
        """
        values = torch.where(self.log_scaled, torch.log(natural), natural)
        standardised = (values - location) * rate
        pieces = torch.clamp(torch.addmm(self.piece_start, standardised, self.piece_rate), 0.0, 1.0)
        placed = torch.addmm(self.piece_offset, pieces, self.piece_total)
        return Placed(*placed.split([self.variables] * 3, dim=1))

    def impute(self, scores: Tensor, copula: Tensor) -> Tensor:
        """Conditional means of all scores given the known ones; a known score is its own mean.

        Shape:
            scores: (n, V); copula: (n, V V) of every score in each mean; result: (n, V)
        """
        return (scores @ self.repeat_scores * copula) @ self.sum_scores

    def trace_back(self, slopes: Tensor, copula: Tensor) -> Tensor:
        """Slopes by the known scores, through the scores that they impute.

        Shape:
            slopes: (n, V); copula: (n, V V); result: (n, V), 0 where unknown
        """
        return (slopes @ self.repeat_slopes * copula) @ self.sum_slopes

    def expand_basis(self, means: Tensor, spreads: Tensor) -> Basis:
        """Expected basis functions of scores known up to a normal error.

        The linear function is the hinge at -LINEAR_START, below every score:
        x + LINEAR_START. See :func:`henaw.model.graph.transforms.expect_hinges`.

        Shape:
            means, spreads: (n, V), spreads at least SMALLEST_SPREAD
        """
        half = torch.addmm(self.half_knots, means, self.half_basis)
        return Basis(expect_hinges(half, spreads @ self.spread_basis), half)

    def compute_main_slope(self, half: Tensor, slope_spreads: Tensor, modulators: Tensor) -> Tensor:
        """Expected years per unit of a score, without interactions and adaptive weights.

        A hinge rises by Phi(d / s), where d is the distance from its knot and s the spread of
        the score together with that of a repeat draw.

        Shape:
            half: (n, V J) half the distances from the knots; slope_spreads: (n, V);
            modulators: (n, Q V); result: (n, V)
        """
        steps = torch.erf(half / (slope_spreads @ self.spread_basis))
        slopes = torch.addmm(self.slope_offset, steps, self.slope_matrix)
        return (slopes * modulators) @ self.sum_modulators

    def multiply_pairs(self, scores: Tensor) -> tuple[Tensor, Tensor]:
        """Log-distances of the two biomarkers of each pair, in either order.

        Shape:
            scores: (n, V); result: (n, 2 I) and (n, 2 I), whose product has each pair twice
        """
        distance = compute_log_distance(scores)
        return distance @ self.first_second, distance @ self.second_first

    def build_features(self, biomarkers: Tensor, age: Tensor, sex: Tensor) -> Features:
        """Raw values to what the answers are computed from: (n, 9), (n,), (n,) int64."""
        observed = self.find_observed(biomarkers)
        return self.compute_features(torch.where(observed, biomarkers, MADE_UP), observed, age, sex)

    def find_observed(self, biomarkers: Tensor) -> Tensor:
        """Which values are given and used: (n, 9) to (n, 9) bool."""
        observed = biomarkers.abs() <= LARGEST
        return observed if self.used is None else observed & self.used

    def compute_features(self, raw: Tensor, observed: Tensor, age: Tensor, sex: Tensor) -> Features:
        """See :class:`Features`.

        Shape:
            raw: (n, 9) finite; observed: (n, 9) bool, false where ``raw`` is made up
        """
        by_age = self.look_up_reference(age, sex)
        by_pattern = self.look_up_pattern(observed)
        known = by_pattern.known

        # Scores of the known values, and expected scores of the others.
        natural = self.prepare(raw)
        # 0 where unknown, so that a made-up value has no slope.
        rate = known / by_age.scale
        placed = self.place(natural, by_age.location, rate)
        imputing = torch.minimum(
            torch.maximum(placed.scores, by_age.impute_low), by_age.impute_high
        )
        # The own weight of a known variable is 1: this adds back what the limits cut off.
        means = self.impute(imputing, by_pattern.copula) + (placed.scores - imputing)
        basis = self.expand_basis(means, by_pattern.spreads)

        # Effects are compared with those of the median person. An imputed value is compared
        # with one imputed from nothing, so that the gap is exactly 0 where nothing is known.
        centred = basis.values - torch.addmm(self.unknown_basis, known, self.known_basis)
        if self.used_basis is not None:
            # Exactly 0, so that a fit finds nothing in the columns of unused biomarkers.
            centred = centred * self.used_basis
        complete_weights = by_age.pair_weights * by_pattern.complete
        one, other = self.multiply_pairs(placed.scores)

        # Years per unit of each value, for the interval.
        main_slope = self.compute_main_slope(
            basis.half_distances, by_pattern.slope_spreads, by_age.modulators
        )
        slope = main_slope * by_age.weights + ((other * complete_weights) @ self.place_pairs) / (
            1.0 + placed.scores.abs()
        )
        per_value = placed.slopes * rate
        imputes = (imputing == placed.scores).to(torch.float32)
        traced = slope * known + self.trace_back(slope * (1.0 - known), by_pattern.copula) * imputes
        nine = natural.split([len(NAMES), 1], dim=1)[0]
        # A value beyond its cap does not move the ratio.
        moves_ratio = torch.where(nine < self.ratio_ends, self.ratio_signs, 0.0)
        return Features(
            centred=centred,
            weighted=centred * (by_age.weights @ self.repeat_basis),
            pairs_twice=one * other * complete_weights,
            by_age=by_age,
            by_pattern=by_pattern,
            direct=self.join_ratio(slope * per_value, moves_ratio),
            whole=self.join_ratio(traced * per_value, moves_ratio),
            unit=torch.where(self.logged > 0.0, 1.0, nine),
            typical=self.compute_typical(by_age, by_pattern),
            unclipped=placed.unclipped * known,
        )

    def compute_typical(self, by_age: AgeRow, by_pattern: PatternRow) -> Tensor:
        """Years of a person with all known values at the median: (n, 1).

        They bring the median of the gap to 0, and are 0 where nothing is known.
        """
        missing = (by_age.node_shares * by_pattern.typical_at_nodes).sum(1, keepdim=True)
        typical: Tensor = by_age.typical * by_pattern.any_known + missing
        return typical

    def join_ratio(self, slope: Tensor, moves_ratio: Tensor) -> Tensor:
        """Slopes of the variables to slopes of the nine; AST and ALT also move their ratio.

        Shape:
            slope: (n, V); moves_ratio: (n, 9) 1, -1 or 0; result: (n, 9)
        """
        own, ratio = slope.split([len(NAMES), 1], dim=1)
        joined: Tensor = own + ratio * moves_ratio
        return joined

    def compute_contributions(self, features: Features) -> Parts:
        """Years from each contribution, system and refit."""
        main, by_age = features.weighted, features.by_age
        design = torch.cat([main, main * by_age.age, main * by_age.sex, features.pairs_twice], 1)
        return Parts(*(design @ self.contribution_matrix).split(self.widths.parts, dim=1))

    def compute_draws(self, slope: Tensor, features: Features) -> Tensor:
        """Years that one standard deviation of a repeat draw of each value makes: (n, 9)."""
        return slope * features.unit * self.within_person_cv

    def compute_group_variance(self, features: Features, parts: Parts) -> Tensor:
        """Variance of the gap by group: (n, G) years squared.

        The sum of the variances of repeat draws, of the laboratory's shift and of refits. It
        is beyond every cap where a biomarker of the group is missing.
        """
        unknown_shift = self.lab_standard_error <= 0.0
        shift_sd = torch.where(unknown_shift, self.laboratory_sd, self.lab_standard_error)
        deviations = torch.cat(
            [
                self.compute_draws(features.direct, features),
                features.direct * shift_sd,
                parts.refits - features.by_age.refit_offset,
            ],
            1,
        )
        return torch.addmm(
            features.by_pattern.beyond_caps, deviations * deviations, self.variance_matrix
        )

    def compute_variance(self, features: Features, parts: Parts) -> Tensor:
        """Variance of the gap, years squared: (n, 1).

        The variance of each group is at most its cap, and is its cap where a biomarker is
        missing, so that a missing value never narrows the interval. Values outside the fitted
        range add the error that their extrapolated effect may have.
        """
        capped = torch.minimum(self.compute_group_variance(features, parts), self.group_cap)
        left_open = features.by_age.node_shares * features.by_pattern.variance_at_nodes
        scores = features.unclipped
        beyond = scores - torch.clamp(scores, -FITTED_SCORE, FITTED_SCORE)
        extrapolated = (beyond * beyond) @ self.extrapolation
        return torch.cat([capped, left_open, extrapolated], 1).sum(1, keepdim=True)

    def compute_distance(self, features: Features) -> Tensor:
        """Squared Mahalanobis distance of the known values' scores: (n, 1).

        The conditional means of the unknown scores add nothing to it.
        """
        independent = self.impute(features.unclipped, features.by_pattern.copula) @ self.whitening
        return (independent * independent).sum(1, keepdim=True)

    def place_gap(self, gap: Tensor, by_age: AgeRow) -> Tensor:
        """Percentile of a gap among people of that age and sex: (n, 1) years to (n, 1)."""
        passed = (gap - by_age.percentile_start) / by_age.percentile_width
        # minimum and maximum keep NaN in every runtime; clamp need not.
        passed = torch.maximum(torch.minimum(passed, torch.ones_like(gap)), torch.zeros_like(gap))
        return torch.addmm(self.percentile_first, passed, self.percentile_steps)

    def compute_mortality(self, biological_age: Tensor, by_age: AgeRow) -> Tensor:
        """Risk of death within the horizon, by a Gompertz hazard: (n, 1) years to (n, 1)."""
        log_hazard = torch.addmm(
            by_age.baseline_start + by_age.baseline_slope * biological_age,
            by_age.level,
            self.lab_level,
        )
        # minimum keeps NaN in every runtime; clamp need not.
        log_hazard = torch.minimum(log_hazard, self.largest_hazard)
        return 1.0 - torch.exp(-torch.exp(log_hazard))

    def share_causes(self, features: Features) -> Tensor:
        """Probability of each cause, given death within the horizon: (n, 4).

        Cumulative incidence of a cause within the horizon is P(death) P(cause | death),
        which respects competing risks and cannot sum above all-cause.
        """
        age = features.by_age.age
        logits = torch.addmm(
            torch.addmm(features.by_age.causes, age * age, self.cause_of_squared_age),
            features.centred,
            self.cause_matrix,
        )
        # By a constant, not by the shape of logits: a trace would read the shape from the
        # device at each call, which a CUDA graph must not do.
        named: Tensor = torch.softmax(logits, 1).split([self.causes, 1], dim=1)[0]
        return named

    def forward(self, biomarkers: Tensor, age: Tensor, sex: Tensor) -> tuple[Tensor, ...]:
        """Answer for n people; see :class:`Network`."""
        return tuple(self.answer(biomarkers, age, sex))

    def answer(self, biomarkers: Tensor, age: Tensor, sex: Tensor) -> NetworkOutputs:
        """What ``forward`` returns, by name."""
        observed = self.find_observed(biomarkers)
        raw = torch.where(observed, biomarkers, MADE_UP)
        features = self.compute_features(raw, observed, age, sex)
        parts = self.compute_contributions(features)
        gap = features.typical + parts.systems.sum(1, keepdim=True)
        biological_age = age.unsqueeze(1) + gap

        mortality = self.compute_mortality(biological_age, features.by_age)
        half = torch.sqrt(self.compute_variance(features, parts)) * self.interval_scores
        draws = self.compute_draws(features.whole, features)

        twice = torch.cat([raw, raw], 1)
        beyond = (twice < self.flag_low) | (twice > self.flag_high)
        flagged = beyond & torch.cat([observed, observed], 1)
        out_of_range, critical = flagged.split([len(NAMES)] * 2, dim=1)
        outside_ages = torch.clamp(age, self.first_age, self.last_age) != age
        # A critical value makes the distance larger than every limit.
        distance = torch.addmm(
            self.compute_distance(features), critical.to(torch.float32), self.count_critical
        )
        near = (distance <= features.by_pattern.distance_limit).squeeze(1)
        return NetworkOutputs(
            biological_age=biological_age.squeeze(1),
            age_gap=gap.squeeze(1),
            interval=biological_age + half,
            mortality_10y=mortality.squeeze(1),
            cause_risk_10y=self.share_causes(features) * mortality,
            contributions=torch.cat([features.typical, parts.contributions], 1),
            system_contributions=parts.systems,
            imputed=torch.logical_not(observed),
            out_of_range=out_of_range,
            age_out_of_range=outside_ages,
            percentile=self.place_gap(gap, features.by_age).squeeze(1),
            draw_sd=torch.sqrt((draws * draws).sum(1)) * self.draw_factor,
            critical=critical,
            reliable=near & torch.logical_not(outside_ages),
        )
