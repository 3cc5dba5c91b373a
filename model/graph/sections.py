"""What the columns of the network's tensors are, section by section, by name.

The letters are those of :mod:`henaw.model.network`.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from henaw.model.configuration import VARIABLES
from torch import Tensor


class NetworkOutputs(NamedTuple):
    """What the network's ``forward`` returns, in the order of the graph's outputs.

    Shape:
        biological_age, age_gap: (n,) years
        interval: (n, 2) years, lower and upper end of the 90 % interval
        mortality_10y: (n,) risk of death within ten years; cause_risk_10y: (n, C) by cause
        contributions: (n, 1 + K) years, that of the typical values first
        system_contributions: (n, 4) years
        imputed, out_of_range: (n, 9) bool; age_out_of_range: (n,) bool
        percentile: (n,) percentile of the gap among people of that age and sex
        draw_sd: (n,) years, standard deviation of a repeat draw
        critical: (n, 9) bool; reliable: (n,) bool
    """

    biological_age: Tensor
    age_gap: Tensor
    interval: Tensor
    mortality_10y: Tensor
    cause_risk_10y: Tensor
    contributions: Tensor
    system_contributions: Tensor
    imputed: Tensor
    out_of_range: Tensor
    age_out_of_range: Tensor
    percentile: Tensor
    draw_sd: Tensor
    critical: Tensor
    reliable: Tensor


class AgeRow(NamedTuple):
    """What depends on age and sex only; each column is a straight line between years.

    Shape:
        location, scale: (n, V) of the transformed values
        impute_low, impute_high: (n, V) scores within which the imputation is read
        weights: (n, V) and pair_weights: (n, 2 I), the adaptive weights
        age, sex: (n, 1) modulators; modulators: (n, Q V) all, once for each variable
        typical: (n, 1) years of a person with all values at the median
        baseline_start, baseline_slope: (n, 1) of the log of ten years' cumulative hazard
        level: (n, 4) weights of a laboratory's level of mortality: 1, age, sex and their product
        causes: (n, C) logits of the causes, less what the square of age adds
        node_shares: (n, 2 nodes) shares of the tabulated ages
        refit_offset: (n, G B) mean over people of each refit's difference from the point
            estimate, years
        percentile_start, percentile_width: (n, P - 1) gaps at the percentiles
    """

    location: Tensor
    scale: Tensor
    impute_low: Tensor
    impute_high: Tensor
    weights: Tensor
    pair_weights: Tensor
    age: Tensor
    sex: Tensor
    modulators: Tensor
    typical: Tensor
    baseline_start: Tensor
    baseline_slope: Tensor
    level: Tensor
    causes: Tensor
    node_shares: Tensor
    refit_offset: Tensor
    percentile_start: Tensor
    percentile_width: Tensor

    @property
    def modulator_columns(self) -> Tensor:
        """The modulators, each once: 1, age and sex, (n, 3)."""
        return torch.cat([torch.ones_like(self.age), self.age, self.sex], 1)

    @property
    def cause_columns(self) -> Tensor:
        """What the shares of the causes depend on besides values: 1, age, age^2, sex, (n, 4)."""
        return torch.cat([torch.ones_like(self.age), self.age, self.age * self.age, self.sex], 1)


class PatternRow(NamedTuple):
    """What depends on the missing pattern only.

    Shape:
        copula: (n, V V) weights of the V scores in the mean of each variable; a known
            variable's own weight is 1
        spreads: (n, V) of the imputed scores; slope_spreads: (n, V) the same, with the spread
            of a repeat draw added
        known: (n, V) and complete: (n, 2 I), 1 where a variable or interaction is known
        beyond_caps: (n, G) a variance beyond every cap if a biomarker of the variance group
            is missing, else 0
        any_known: (n, 1) 0 if nothing is known, else 1
        variance_at_nodes, typical_at_nodes: (n, 2 nodes)
        distance_limit: (n, 1)
    """

    copula: Tensor
    spreads: Tensor
    slope_spreads: Tensor
    known: Tensor
    complete: Tensor
    beyond_caps: Tensor
    any_known: Tensor
    variance_at_nodes: Tensor
    typical_at_nodes: Tensor
    distance_limit: Tensor


class Placed(NamedTuple):
    """Values among people of the same age and sex.

    Shape:
        scores: (n, V) normal scores at which the effects are read
        slopes: (n, V) of the margins there, scores per standardised value
        unclipped: (n, V) normal scores without the limits of the table
    """

    scores: Tensor
    slopes: Tensor
    unclipped: Tensor


class Basis(NamedTuple):
    """Expected basis functions of scores.

    Shape:
        values: (n, V J) expected values
        half_distances: (n, V J) half the distance of each score from each knot
    """

    values: Tensor
    half_distances: Tensor


class Features(NamedTuple):
    """What the answers are computed from.

    Shape:
        centred: (n, V J) basis functions, less those of the median if the value is known, or
            those of an unknown value if it is not
        weighted: (n, V J) the same, times the adaptive weights
        pairs_twice: (n, 2 I) the weighted product of each interaction, twice
        by_age: what depends on age and sex; by_pattern: what depends on what is missing
        direct: (n, 9) years per unit of the transformed value, 0 if it is unknown
        whole: (n, 9) the same with the effect of the value on imputed ones
        unit: (n, 9) raw value if the biomarker is not log-scaled, else 1
        typical: (n, 1) years of a person with all known values at the median
        unclipped: (n, V) scores of the known values without the limits of the table, else 0
    """

    centred: Tensor
    weighted: Tensor
    pairs_twice: Tensor
    by_age: AgeRow
    by_pattern: PatternRow
    direct: Tensor
    whole: Tensor
    unit: Tensor
    typical: Tensor
    unclipped: Tensor

    @property
    def pairs(self) -> Tensor:
        """The interactions, each once: (n, I)."""
        return self.pairs_twice.chunk(2, dim=1)[0]

    @property
    def main(self) -> Tensor:
        """The weighted basis with its modulations: (V, n, Q J)."""
        by_variable = self.weighted.unflatten(1, (len(VARIABLES), -1)).transpose(0, 1)
        age, sex = self.by_age.age, self.by_age.sex
        return torch.cat([by_variable, by_variable * age, by_variable * sex], 2)


class Parts(NamedTuple):
    """Years, part by part.

    Shape:
        contributions: (n, K); systems: (n, 4)
        refits: (n, G B) difference of each refit's years of each group from the point estimate
    """

    contributions: Tensor
    systems: Tensor
    refits: Tensor
