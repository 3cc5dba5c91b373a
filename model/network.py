"""The HENAW network: raw blood values, age and sex to every answer, as one graph.

Everything here is a tensor operation of one module, so that training, eager use,
TorchScript and ONNX cannot disagree. The fitted numbers are buffers; how they are
fitted is in ``henaw.training``.

Notation: ``n`` people, 9 biomarkers, V = 10 variables (the nine and the logarithm of
AST/ALT), A yearly ages, J basis functions, Q = 3 modulators (constant, age, sex),
I interactions, K = V + I contributions, B ensemble members, G variance groups.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import torch
from henaw.model.biomarkers import INDEX, NAMES, PANEL
from henaw.model.configuration import CAUSE_CLASSES, VARIABLES, NetworkConfiguration
from henaw.model.tables import (
    SMALLEST_SPREAD,
    build_copula_tables,
    build_memberships,
    build_one_hot,
    build_system_shares,
    compute_adaptive_weights,
    join_members,
    list_members,
    list_variance_groups,
    smooth_margin_slope,
)
from henaw.model.transforms import (
    LARGEST,
    LOG_SCALED,
    compute_log_distance,
    compute_safe_ratio,
)
from torch import Tensor, nn

HORIZON_YEARS = 10.0
INTERVAL_SCORE = 1.6448536269514722
"""The normal quantile that leaves 5 % on each side."""

AGE_CENTRE_YEARS = 60.0
AGE_SCALE_YEARS = 15.0

Answers = tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]


class Features(NamedTuple):
    """What the answers are computed from.

    Shape:
        known: (n, V) bool; pattern: (n,) int64 of missing biomarkers
        centred: (n, V, J) basis functions, less those of people of one age and sex
        main: (V, n, Q J) the same, weighted and modulated; pairs: (n, I)
        slope: (n, V) years per unit of the transformed value
        unit: (n, 9) raw value where that is not a logarithm, else 1
    """

    known: Tensor
    pattern: Tensor
    centred: Tensor
    main: Tensor
    pairs: Tensor
    slope: Tensor
    unit: Tensor


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
    log_scaled: Tensor
    pattern_bits: Tensor
    knots: Tensor
    range_low: Tensor
    range_high: Tensor
    by_age: Tensor
    margin_start: Tensor
    margin_rate: Tensor
    margin_slope: Tensor
    whole_scores: Tensor
    copula_weight: Tensor
    copula_spread: Tensor
    prior_mean: Tensor
    weight: Tensor
    interaction_weight: Tensor
    pair_first: Tensor
    pair_second: Tensor
    systems: Tensor
    baseline_slope: Tensor
    baseline_cumulative: Tensor
    cause_weight: Tensor
    cause_age_sex: Tensor
    group_of_biomarker: Tensor
    group_of_contribution: Tensor
    group_cap: Tensor
    within_person_cv: Tensor
    ratio_sign: Tensor
    missing_variance: Tensor
    variance_start: Tensor
    variance_rate: Tensor

    def __init__(self, configuration: NetworkConfiguration, tensors: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.steps = configuration.score_steps
        self.limit = configuration.score_limit
        self.ages = configuration.ages
        self.first_age = float(configuration.first_age)
        self.last_age = float(configuration.last_age)
        self.basis_size = configuration.basis_size
        self.members = configuration.members
        self.variables = len(VARIABLES)
        self.pairs = len(configuration.interactions)
        self.ast, self.alt = INDEX["ast"], INDEX["alt"]

        self._keep("minimum", [biomarker.minimum for biomarker in PANEL])
        self._keep("maximum", [biomarker.maximum for biomarker in PANEL])
        self._keep("log_scaled", torch.tensor(LOG_SCALED))
        self._keep("pattern_bits", torch.tensor([2**i for i in range(len(NAMES))]))
        self._keep("knots", list(configuration.knots))
        self._keep("range_low", tensors["range_low"])
        self._keep("range_high", tensors["range_high"])

        # One table, so that a row's reference is one gather.
        contributions = compute_adaptive_weights(
            tensors["coefficient_of_variation"].double(), configuration
        ).float()
        by_age = [
            tensors["location"],
            tensors["scale"],
            contributions,
            tensors["basis_mean"],
            tensors["interaction_mean"],
        ]
        self.sections = [table.shape[-1] for table in by_age]
        self._keep("by_age", torch.cat(by_age, -1).flatten(0, 1))

        margin = tensors["margin"].double()
        width = (margin[:, 1:] - margin[:, :-1]).clamp(min=1e-9)
        self.step = 2.0 * self.limit / self.steps
        self._keep("margin_start", margin[:, :-1])
        self._keep("margin_rate", 1.0 / width)
        self._keep("margin_slope", smooth_margin_slope(margin, self.limit))
        self._keep("whole_scores", torch.arange(-3.0, 3.0))

        weights, spreads = build_copula_tables(tensors["correlation"])
        self._keep("copula_weight", weights)
        self._keep("copula_spread", spreads)
        unknown = torch.zeros(1, self.variables), torch.ones(1, self.variables)
        self._keep("prior_mean", self.expand_basis(*unknown)[0][0])

        # Column 0 is the point estimate, the others are the refits.
        self._keep("weight", join_members(tensors["weight"], tensors["member_weight"]))
        self._keep(
            "interaction_weight",
            join_members(tensors["interaction_weight"], tensors["member_interaction_weight"]),
        )
        pairs = configuration.interactions
        self._keep("pair_first", build_one_hot([INDEX[a] for a, _ in pairs], self.variables))
        self._keep("pair_second", build_one_hot([INDEX[b] for _, b in pairs], self.variables))
        self._keep("systems", build_system_shares(configuration))

        slope = tensors["baseline_slope"].double()
        cumulative = tensors["baseline_intercept"].double() + torch.log(
            torch.expm1(slope * HORIZON_YEARS) / slope
        )
        self._keep("baseline_slope", slope)
        self._keep("baseline_cumulative", cumulative)
        self._keep(
            "cause_weight",
            tensors["cause_weight"]
            .unflatten(1, (self.variables, self.basis_size))
            .permute(1, 2, 0)
            .contiguous(),
        )
        self._keep("cause_age_sex", tensors["cause_age_sex"].T.contiguous())

        groups = list_variance_groups(configuration)
        self._keep("group_of_biomarker", build_memberships([(name,) for name in NAMES], groups))
        self._keep("group_of_contribution", build_memberships(list_members(configuration), groups))
        self._keep("group_cap", tensors["group_cap"])
        self._keep("within_person_cv", tensors["within_person_cv"])
        ratio_sign = torch.zeros(len(NAMES))
        ratio_sign[self.ast], ratio_sign[self.alt] = 1.0, -1.0
        self._keep("ratio_sign", ratio_sign)
        self._keep("missing_variance", tensors["missing_variance"].flatten(0, 1))
        nodes = torch.tensor(configuration.variance_ages, dtype=torch.float64)
        self._keep("variance_start", nodes[:-1])
        self._keep("variance_rate", 1.0 / (nodes[1:] - nodes[:-1]))

    def _keep(self, name: str, values: Tensor | list[float]) -> None:
        """Keep a constant; the checkpoint holds the fitted tensors, not these."""
        tensor = values if isinstance(values, Tensor) else torch.tensor(values)
        if tensor.is_floating_point():
            tensor = tensor.to(torch.float32)
        self.register_buffer(name, tensor.detach().clone(), persistent=False)

    def look_up_reference(self, age: Tensor, sex: Tensor) -> Tensor:
        """Reference tables at an age and sex: (n,), (n,) int64 to (n, columns)."""
        position = torch.clamp(age, self.first_age, self.last_age) - self.first_age
        lower = torch.clamp(torch.floor(position), max=float(self.ages - 2))
        row = sex * self.ages + lower.to(torch.int64)
        fraction = (position - lower).unsqueeze(1)
        low = self.by_age.index_select(0, row)
        high = self.by_age.index_select(0, row + 1)
        return low * (1.0 - fraction) + high * fraction

    def compute_scores(
        self, biomarkers: Tensor, location: Tensor, scale: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Raw values to normal scores among people of the same age and sex.

        Shape:
            biomarkers: (n, 9) raw; location, scale: (n, V)
            result: scores (n, V), 0 where unknown; observed (n, V) bool; clipped (n, 9)
        """
        observed = biomarkers.abs() <= LARGEST
        raw = torch.where(observed, biomarkers, self.minimum)
        clipped = torch.minimum(torch.maximum(raw, self.minimum), self.maximum)
        transformed = torch.where(self.log_scaled, torch.log(clipped), clipped)
        ratio = compute_safe_ratio(biomarkers[:, self.ast], biomarkers[:, self.alt])
        both = observed[:, self.ast] & observed[:, self.alt]
        values = torch.cat([transformed, torch.log(ratio).unsqueeze(1)], 1)
        known = torch.cat([observed, both.unsqueeze(1)], 1)
        standardised = ((values - location) / scale).unsqueeze(2)
        pieces = torch.clamp((standardised - self.margin_start) * self.margin_rate, 0.0, 1.0)
        scores = pieces.sum(2) * self.step - self.limit
        return torch.where(known, scores, 0.0), known, clipped

    def impute(self, scores: Tensor, known: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Conditional mean and spread of unknown scores given the known ones.

        Shape:
            scores: (n, V); known: (n, V) bool
            result: means (n, V), spreads (n, V), missing pattern (n,) int64
        """
        observed = known[:, : self.variables - 1]
        missing = torch.logical_not(observed).to(torch.int64)
        pattern = (missing * self.pattern_bits).sum(1)
        nine = scores[:, : self.variables - 1].unsqueeze(1)
        means = (self.copula_weight.index_select(0, pattern) * nine).sum(2)
        return (
            torch.where(known, scores, means),
            self.copula_spread.index_select(0, pattern),
            pattern,
        )

    def expand_basis(self, means: Tensor, spreads: Tensor) -> tuple[Tensor, Tensor]:
        """Expected basis functions of scores known up to a normal error, and slopes.

        For m + s e, e standard normal, a hinge max(0, x - k) has the expectation
        d Phi(d / s) + s phi(d / s), d = m - k, whose derivative by m is Phi(d / s); with
        s near 0 both are the hinge and its step.

        Shape:
            means, spreads: (n, V)
            result: (n, V, J) values and (n, V, J) slopes
        """
        distance = means.unsqueeze(2) - self.knots
        spread = torch.clamp(spreads, min=SMALLEST_SPREAD).unsqueeze(2)
        relative = distance / spread
        step = 0.5 * (1.0 + torch.erf(relative * math.sqrt(0.5)))
        density = torch.exp(-0.5 * relative * relative) * (1.0 / math.sqrt(2.0 * math.pi))
        linear = means.unsqueeze(2)
        values = torch.cat([linear, distance * step + spread * density], 2)
        return values, torch.cat([torch.ones_like(linear), step], 2)

    def modulate(self, basis: Tensor, age: Tensor, sex: Tensor) -> Tensor:
        """Let each basis function change with age and sex.

        Shape:
            basis: (n, V, J); age: (n,) years; sex: (n,) int64
            result: (V, n, Q J): constant, age and sex blocks
        """
        by_variable = basis.transpose(0, 1)
        fitted_age = torch.clamp(age, self.first_age, self.last_age)
        scaled_age = ((fitted_age - AGE_CENTRE_YEARS) / AGE_SCALE_YEARS).unsqueeze(1)
        centred_sex = (sex.to(torch.float32) - 0.5).unsqueeze(1)
        return torch.cat([by_variable, by_variable * scaled_age, by_variable * centred_sex], 2)

    def build_features(self, biomarkers: Tensor, age: Tensor, sex: Tensor) -> Features:
        """Raw values to what the answers are computed from: (n, 9), (n,), (n,) int64."""
        reference = self.look_up_reference(age, sex)
        location, scale, weights, basis_mean, pair_mean = reference.split(self.sections, dim=1)
        scores, known, clipped = self.compute_scores(biomarkers, location, scale)
        means, spreads, pattern = self.impute(scores, known)
        values, slopes = self.expand_basis(means, spreads)
        centred = self.centre(values, known, basis_mean)
        main_weights = weights[:, : self.variables].unsqueeze(2)
        first, second, pairs = self.multiply_pairs(means, known, pair_mean, weights)
        return Features(
            known=known,
            pattern=pattern,
            centred=centred,
            main=self.modulate(centred * main_weights, age, sex),
            pairs=pairs,
            slope=self.compute_slope(
                means, self.modulate(slopes * main_weights, age, sex), weights, first, second
            )
            * self.compute_margin_slope(means)
            / scale,
            unit=torch.where(self.log_scaled, 1.0, clipped),
        )

    def centre(self, values: Tensor, known: Tensor, basis_mean: Tensor) -> Tensor:
        """Subtract what people of the same age and sex have on average.

        A value that was imputed is compared with a value imputed from nothing, so that
        a person of whom nothing is known has the gap 0 exactly.

        Shape:
            values: (n, V, J); known: (n, V); basis_mean: (n, V J); result: (n, V, J)
        """
        mean = basis_mean.unflatten(1, [self.variables, self.basis_size])
        return values - torch.where(known.unsqueeze(2), mean, self.prior_mean)

    def multiply_pairs(
        self, means: Tensor, known: Tensor, pair_mean: Tensor, weights: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Centred products of log-distances; 0, the average, where either is unknown.

        Shape:
            result: log-distances of the first and of the second (n, I), each zero where
                the pair is incomplete, and the weighted centred product (n, I)
        """
        distance = compute_log_distance(means)
        complete = (known.to(torch.float32) @ self.pair_first) * (
            known.to(torch.float32) @ self.pair_second
        )
        first = (distance @ self.pair_first) * complete
        second = (distance @ self.pair_second) * complete
        pair_weights = weights[:, self.variables :]
        return first, second, (first * second - pair_mean * complete) * pair_weights

    def forward(self, biomarkers: Tensor, age: Tensor, sex: Tensor) -> Answers:
        """Answer for n people; see the class."""
        valid = (age.abs() <= LARGEST) & ((sex == 0) | (sex == 1))
        usable_age = torch.where(valid, age, AGE_CENTRE_YEARS)
        usable_sex = torch.clamp(sex, 0, 1)

        features = self.build_features(biomarkers, usable_age, usable_sex)
        refits = self.compute_contributions(features)
        contributions = refits[:, :, 0]
        systems = contributions @ self.systems
        gap = systems.sum(1)
        biological_age = usable_age + gap

        hazard = self.baseline_cumulative.index_select(0, usable_sex) + (
            self.baseline_slope.index_select(0, usable_sex) * biological_age
        )
        mortality = 1.0 - torch.exp(-torch.exp(torch.clamp(hazard, max=10.0)))
        causes = self.share_causes(features.centred, usable_age, usable_sex)
        variance = self.cap_group_variance(
            self.compute_group_variance(features, refits), features.known
        ) + self.look_up_missing_variance(features.pattern, usable_age, usable_sex)
        half = (INTERVAL_SCORE * torch.sqrt(variance)).unsqueeze(1)
        centre = biological_age.unsqueeze(1)
        interval = torch.cat([centre - half, centre + half], 1)

        observed = features.known[:, : self.variables - 1]
        outside = (biomarkers < self.range_low) | (biomarkers > self.range_high)
        inside = (age >= self.first_age) & (age <= self.last_age)
        blank = torch.where(valid, 0.0, float("nan"))
        column = blank.unsqueeze(1)
        return (
            biological_age + blank,
            gap + blank,
            interval + column,
            mortality + blank,
            causes * mortality.unsqueeze(1) + column,
            contributions + column,
            systems + column,
            torch.logical_not(observed),
            outside & observed,
            torch.logical_not(inside),
        )

    def compute_contributions(self, features: Features) -> Tensor:
        """Years from each contribution, point estimate first, then refits: (n, K, 1 + B)."""
        main = torch.matmul(features.main, self.weight).transpose(0, 1)
        return torch.cat([main, features.pairs.unsqueeze(2) * self.interaction_weight], 1)

    def compute_slope(
        self, means: Tensor, main: Tensor, weights: Tensor, first: Tensor, second: Tensor
    ) -> Tensor:
        """Change of the gap with each normal score, years: (n, V).

        Shape:
            means: (n, V); main: modulated basis slopes (V, n, Q J); weights: (n, K);
            first, second: log-distances of the interactions (n, I)
        """
        slope = torch.matmul(main, self.weight[:, :, :1]).squeeze(2).transpose(0, 1)
        pair_slope = weights[:, self.variables :] * self.interaction_weight[:, 0]
        from_pairs = (pair_slope * second) @ self.pair_first.transpose(0, 1) + (
            pair_slope * first
        ) @ self.pair_second.transpose(0, 1)
        return slope + from_pairs / (1.0 + means.abs())

    def share_causes(self, centred: Tensor, age: Tensor, sex: Tensor) -> Tensor:
        """Probability of each cause, given death within the horizon: (n, 4).

        Cumulative incidence of a cause within the horizon is P(death) P(cause | death),
        which respects competing risks and cannot sum above all-cause.
        """
        features = torch.matmul(centred.transpose(0, 1), self.cause_weight).sum(0)
        logits = features + self.build_age_sex(age, sex) @ self.cause_age_sex
        return torch.softmax(logits, 1)[:, : len(CAUSE_CLASSES) - 1]

    def build_age_sex(self, age: Tensor, sex: Tensor) -> Tensor:
        """Features of the causes: 1, age, age squared (scaled) and sex, (n, 4)."""
        fitted_age = torch.clamp(age, self.first_age, self.last_age)
        scaled = (fitted_age - AGE_CENTRE_YEARS) / AGE_SCALE_YEARS
        return torch.stack(
            [torch.ones_like(scaled), scaled, scaled * scaled, sex.to(torch.float32) - 0.5], 1
        )

    def compute_margin_slope(self, means: Tensor) -> Tensor:
        """Change of the score with the standardised value, at a score: (n, V)."""
        whole = torch.clamp(means.unsqueeze(2) - self.whole_scores, 0.0, 1.0)
        steps = self.margin_slope[:, 1:] - self.margin_slope[:, :-1]
        return self.margin_slope[:, 0] + (whole * steps).sum(2)

    def compute_group_variance(self, features: Features, refits: Tensor) -> Tensor:
        """Variance of the gap over repeat draws and refits by group: (n, G) years squared.

        Shape:
            refits: (n, K, 1 + B), see :meth:`compute_contributions`
        """
        effective = torch.where(features.known, features.slope, 0.0)
        nine = effective[:, : self.variables - 1]
        nine = nine + effective[:, self.variables - 1 :] * self.ratio_sign
        draws = torch.square(nine * features.unit * self.within_person_cv)
        by_group = torch.matmul(refits.transpose(1, 2), self.group_of_contribution)
        spread = torch.square(by_group[:, 1:] - by_group[:, :1]).mean(1)
        return draws @ self.group_of_biomarker + spread

    def cap_group_variance(self, by_group: Tensor, known: Tensor) -> Tensor:
        """Sum of the groups' variances, each at most its cap: (n, G) to (n,).

        A group with a missing biomarker is put at its cap, so that knowing less never
        narrows the interval.
        """
        missing = torch.logical_not(known[:, : self.variables - 1]).to(torch.float32)
        incomplete = (missing @ self.group_of_biomarker) > 0.5
        capped = torch.minimum(by_group, self.group_cap)
        return torch.where(incomplete, self.group_cap, capped).sum(1)

    def look_up_missing_variance(self, pattern: Tensor, age: Tensor, sex: Tensor) -> Tensor:
        """Variance of the gap that missing values leave open, years squared: (n,)."""
        row = self.missing_variance.index_select(0, pattern * 2 + sex)
        pieces = torch.clamp((age.unsqueeze(1) - self.variance_start) * self.variance_rate, 0, 1)
        return row[:, 0] + (pieces * (row[:, 1:] - row[:, :-1])).sum(1)
