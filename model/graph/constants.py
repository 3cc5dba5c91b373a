"""The network's constants: tables by age and by missing pattern, and matrices of columns.

The J basis functions of the V variables are side by side, variable by variable; the Q
modulators are one block after the other. Everything here is float64.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from henaw.model.biomarkers import INDEX, NAMES, PANEL
from henaw.model.configuration import (
    MODULATORS,
    RATIO,
    RATIO_PARTS,
    VARIABLES,
    NetworkConfiguration,
)
from henaw.model.graph.sections import AgeRow, PatternRow
from henaw.model.graph.tables import (
    PERCENTILES,
    SLOPE_SCORES,
    SMALLEST_SPREAD,
    build_copula_tables,
    build_memberships,
    build_system_shares,
    compute_adaptive_weights,
    list_members,
    list_variance_groups,
    place_limit,
    smooth_margin_slope,
)
from henaw.model.graph.transforms import LOG_SCALED
from torch import Tensor

HORIZON_YEARS = 10.0
AGE_CENTRE_YEARS = 60.0
AGE_SCALE_YEARS = 15.0
BEYOND_CAPS = 1e9
"""A variance above every cap, years squared."""
DRAW_SPREAD = 0.25
"""How far a repeat draw moves a value, in scores. The slope of an effect is its mean over this
distance, so that rounding does not choose the slope at the many values on a knot."""
BEYOND_SCORES = 100.0
"""A score beyond every other score."""
RISE_BEYOND = 1.0
"""Rise of the score from the last tabulated quantile to the end of the accepted range."""
LEAST_BEYOND = 1.0
"""Least distance from the last quantile to that end, in standardised values."""
LOWEST_RATIO, HIGHEST_RATIO = 0.1, 10.0

Tensors = Mapping[str, Tensor]


def repeat_columns(columns: int, times: int) -> Tensor:
    """Matrix that repeats each column, side by side: (columns, columns times).

    Example:
        >>> torch.tensor([[1.0, 2.0]]).double() @ repeat_columns(2, 2)
        tensor([[1., 1., 2., 2.]], dtype=torch.float64)
    """
    return torch.eye(columns, dtype=torch.float64).repeat_interleave(times, 1)


def repeat_blocks(columns: int, times: int) -> Tensor:
    """Matrix that repeats all columns as blocks: (columns, times columns).

    Example:
        >>> torch.tensor([[1.0, 2.0]]).double() @ repeat_blocks(2, 2)
        tensor([[1., 2., 1., 2.]], dtype=torch.float64)
    """
    return torch.eye(columns, dtype=torch.float64).repeat(1, times)


def spread_diagonally(rows: Tensor) -> Tensor:
    """Put each row into its own columns, with 0 elsewhere: (r, c) to (r, r c)."""
    spread: Tensor = torch.block_diag(*rows)
    return spread


def extend_margin(
    margin: Tensor, location: Tensor, scale: Tensor, limit: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Extend margins by one piece at each end, to the ends of the accepted range at any age.

    No fitted person has a value beyond the tabulated quantiles. There the score of the effects
    rises by :data:`RISE_BEYOND` in total, so that a worse value is never better and the gap stays
    bounded. The unclipped score, which tells how unusual a value is, rises as steeply as over
    the last tabulated unit.

    Shape:
        margin: (V, S + 1); location, scale: (2, ages, V)
        result: points (V, S + 3), scores (S + 3,), unclipped scores (V, S + 3)
    """
    ends = []
    for side in ("minimum", "maximum"):
        raw = torch.tensor([getattr(biomarker, side) for biomarker in PANEL]).double()
        value = torch.where(torch.tensor(LOG_SCALED), torch.log(raw), raw)
        ratio = torch.tensor([LOWEST_RATIO if side == "minimum" else HIGHEST_RATIO]).double()
        ends.append((torch.cat([value, torch.log(ratio)]) - location) / scale)
    lowest = torch.minimum(ends[0].amin((0, 1)), margin[:, 0] - LEAST_BEYOND)
    highest = torch.maximum(ends[1].amax((0, 1)), margin[:, -1] + LEAST_BEYOND)
    points = torch.cat([lowest.unsqueeze(1), margin, highest.unsqueeze(1)], 1)

    tabulated = torch.linspace(-limit, limit, margin.shape[1], dtype=torch.float64)
    ends_of_scores = torch.tensor([-limit - RISE_BEYOND, limit + RISE_BEYOND]).double()
    scores = torch.cat([ends_of_scores[:1], tabulated, ends_of_scores[1:]])
    steps = max(1, round((margin.shape[1] - 1) / (2 * limit)))
    below = tabulated[steps] - tabulated[0]
    rise_low = (margin[:, 0] - lowest) * below / (margin[:, steps] - margin[:, 0])
    rise_high = (highest - margin[:, -1]) * below / (margin[:, -1] - margin[:, -1 - steps])
    unclipped = torch.cat(
        [
            (-limit - rise_low).unsqueeze(1),
            tabulated.expand(len(margin), -1),
            (limit + rise_high).unsqueeze(1),
        ],
        1,
    )
    return points, scores, unclipped


def build_pieces(
    margin: Tensor, location: Tensor, scale: Tensor, limit: float
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Margins as clipped linear pieces, from standardised values to scores and slopes.

    p = clip(value @ rate + start, 0, 1) is the share of each of the S + 2 pieces that is below
    the value. p @ total + offset is the score, the margin's slope and the unclipped score, V
    columns each.

    Shape:
        margin: (V, S + 1)
        result: rate (V, V S'), start (V S',), total (V S', 3 V), offset (3 V,), S' = S + 2
    """
    points, scores, unclipped = extend_margin(margin, location, scale, limit)
    rate = 1.0 / (points[:, 1:] - points[:, :-1]).clamp(min=1e-9)
    smooth = smooth_margin_slope(margin, limit)
    at = torch.tensor(SLOPE_SCORES[:-1])
    whole = torch.clamp(scores.unsqueeze(1) - at, 0.0, 1.0).double()
    slopes = smooth[:, :1] + smooth.diff(dim=1) @ whole.T
    read = [scores.expand_as(slopes), slopes, unclipped]
    total = [spread_diagonally(table.diff(dim=1)).T for table in read]
    return (
        spread_diagonally(rate),
        (-points[:, :-1] * rate).flatten(),
        torch.cat(total, 1),
        torch.cat([table[:, 0] for table in read]),
    )


def build_age_table(
    configuration: NetworkConfiguration, tensors: Tensors
) -> tuple[Tensor, Tensor, list[int]]:
    """:class:`AgeRow` for each year of age and sex.

    Row y is for women aged y; the row for men is y plus the number of ages. The rows
    before the first age are NaN, so that a person without a reference gets no answer.

    Shape:
        result: the value of each year and its rise to that of the next year, both
            (first_age + 2 ages, columns); and the widths of the fields
    """
    ages, variables = configuration.ages, len(VARIABLES)
    years = torch.arange(configuration.first_age, configuration.last_age + 1).double()
    age = ((years - AGE_CENTRE_YEARS) / AGE_SCALE_YEARS).expand(2, ages).unsqueeze(2)
    sex = torch.tensor([-0.5, 0.5]).double().reshape(2, 1, 1).expand(2, ages, 1)
    weights = compute_adaptive_weights(tensors["coefficient_of_variation"].double(), configuration)
    slope = tensors["baseline_slope"].double()
    intercept = tensors["baseline_intercept"].double() + torch.log(
        torch.expm1(slope * HORIZON_YEARS) / slope
    )
    nodes = torch.tensor(configuration.variance_ages).double()
    start, end = nodes[:-1], nodes[1:]
    passed = torch.clamp((years.unsqueeze(1) - start) / (end - start), 0.0, 1.0)
    shares = torch.nn.functional.pad(passed, (1, 0), value=1.0)
    shares = shares - torch.nn.functional.pad(passed, (0, 1))
    percentiles = tensors["gap_percentiles"].double()
    row = AgeRow(
        location=tensors["location"].double(),
        scale=tensors["scale"].double(),
        impute_low=_list_imputing_ends(configuration, tensors, "low"),
        impute_high=_list_imputing_ends(configuration, tensors, "high"),
        weights=weights[:, :, :variables],
        pair_weights=weights[:, :, variables:].repeat(1, 1, 2),
        age=age,
        sex=sex,
        modulators=torch.cat([torch.ones_like(age), age, sex], 2).repeat_interleave(variables, 2),
        typical=tensors["typical"].double().unsqueeze(2),
        baseline_start=intercept.reshape(2, 1, 1).expand(2, ages, 1),
        baseline_slope=slope.reshape(2, 1, 1).expand(2, ages, 1),
        level=torch.cat([torch.ones_like(age), age, sex, age * sex], 2),
        causes=torch.cat([torch.ones_like(age), age, torch.zeros_like(age), sex], 2)
        @ tensors["cause_age_sex"].double().T,
        node_shares=torch.stack([torch.kron(row, shares) for row in torch.eye(2).double()]),
        refit_offset=tensors["member_offset"].double(),
        percentile_start=percentiles[:, :, :-1],
        percentile_width=percentiles.diff(dim=2),
    )
    table = torch.cat(row, 2)
    rise = torch.cat([table.diff(dim=1), torch.zeros_like(table[:, :1])], 1)
    before = torch.full((configuration.first_age, table.shape[2]), torch.nan).double()
    return (
        torch.cat([before, table.flatten(0, 1)]),
        torch.cat([before, rise.flatten(0, 1)]),
        [column.shape[2] for column in row],
    )


def _list_imputing_ends(configuration: NetworkConfiguration, tensors: Tensors, side: str) -> Tensor:
    """Scores at which the imputation by a value is clipped: (2, ages, V)."""
    sign = 1.0 if side == "high" else -1.0
    ends = torch.full((2, configuration.ages, len(VARIABLES)), sign * BEYOND_SCORES).double()
    for name in configuration.imputes_within_limits:
        scores = place_limit(configuration, tensors, name, side)
        if scores is not None and side in PANEL[INDEX[name]].harmful:
            ends[:, :, INDEX[name]] = sign * (sign * scores).clamp(min=0.0)
    return ends


def compute_median_basis(configuration: NetworkConfiguration, margin: Tensor) -> Tensor:
    """Basis functions of the score at the location, the median: (V, J).

    Shape:
        margin: (V, S + 1)
    """
    scores = torch.linspace(
        -configuration.score_limit,
        configuration.score_limit,
        margin.shape[1],
        dtype=torch.float64,
    )
    right = torch.searchsorted(margin, torch.zeros(len(margin), 1).double()).clamp(
        1, margin.shape[1] - 1
    )
    low, high = margin.gather(1, right - 1), margin.gather(1, right)
    step = (scores[right] - scores[right - 1]) / (high - low)
    median = scores[right - 1] - low * step
    knots = torch.tensor(configuration.knots).double()
    return torch.cat([median, (median - knots).clamp(min=0.0)], 1)


def list_known() -> Tensor:
    """Which variables are known in each of the 2^9 missing patterns: (patterns, V) bool."""
    observed = (torch.arange(2 ** len(NAMES)).unsqueeze(1) >> torch.arange(len(NAMES)) & 1) == 0
    both = observed[:, list(RATIO_PARTS)].all(1, keepdim=True)
    return torch.cat([observed, both], 1)


def build_pattern_table(
    configuration: NetworkConfiguration, tensors: Tensors
) -> tuple[Tensor, list[int]]:
    """:class:`PatternRow` for each missing pattern.

    Shape:
        result: (patterns, columns), and the widths of the fields
    """
    known = list_known()
    nine, spreads = build_copula_tables(tensors["correlation"])
    weights = torch.nn.functional.pad(nine.double(), (0, 1))
    ratio = VARIABLES.index(RATIO)
    weights[known[:, ratio], ratio] = torch.eye(len(VARIABLES)).double()[ratio]
    complete = [known[:, INDEX[a]] & known[:, INDEX[b]] for a, b in configuration.interactions]
    groups = list_variance_groups(configuration)
    members = build_memberships([(name,) for name in NAMES], groups).double()
    # A biomarker that the model leaves out does not count as missing.
    used = torch.tensor(configuration.used[: len(NAMES)])
    missing = (~known[:, : len(NAMES)] & used).double()
    row = PatternRow(
        copula=weights.flatten(1),
        spreads=spreads.double().clamp(min=SMALLEST_SPREAD),
        slope_spreads=torch.sqrt(spreads.double() ** 2 + DRAW_SPREAD**2),
        known=known.double(),
        complete=torch.stack([*complete, *complete], 1).double()
        if complete
        else known[:, :0].double(),
        beyond_caps=(missing @ members).clamp(max=1.0) * BEYOND_CAPS,
        any_known=known.any(1, keepdim=True).double(),
        variance_at_nodes=tensors["missing_variance"].double().flatten(1),
        typical_at_nodes=tensors["typical_missing"].double().flatten(1),
        distance_limit=tensors["distance_limit"].double().unsqueeze(1),
    )
    return torch.cat(row, 1), [column.shape[1] for column in row]


def build_contribution_matrix(
    configuration: NetworkConfiguration, tensors: Tensors
) -> tuple[Tensor, list[int]]:
    """Modulated basis functions and interactions to years.

    Columns: the K contributions; the systems, which are sums of shares of them; and for each
    variance group and refit the difference of the refit's years from the point estimate.

    Shape:
        result: (Q V J + 2 I, K + 4 + G B), and the widths of the sections
    """
    point = _lay_out(tensors["weight"], tensors["interaction_weight"])
    groups = build_memberships(list_members(configuration), list_variance_groups(configuration))
    refits = [
        (_lay_out(weight, interaction) - point) @ groups.double()
        for weight, interaction in zip(
            tensors["member_weight"], tensors["member_interaction_weight"], strict=True
        )
    ]
    columns = [
        point,
        point @ build_system_shares(configuration).double(),
        torch.stack(refits, 2).flatten(1),
    ]
    return torch.cat(columns, 1), [column.shape[1] for column in columns]


def _lay_out(weight: Tensor, interaction: Tensor) -> Tensor:
    """(V, Q J) and (I,) to (Q V J + 2 I, K); each of the two rows of an interaction has half."""
    blocks = weight.double().unflatten(1, (len(MODULATORS), -1)).transpose(0, 1)
    main = torch.cat([spread_diagonally(block).T for block in blocks])
    half = torch.diag(0.5 * interaction.double())
    matrix: Tensor = torch.block_diag(main, torch.cat([half, half]))
    return matrix


def build_slope_matrix(weight: Tensor) -> Tensor:
    """Steps of the basis to slopes, a block for each modulator: (V, Q J) to (V J, Q V)."""
    blocks = weight.double().unflatten(1, (len(MODULATORS), -1)).transpose(0, 1)
    return torch.cat([spread_diagonally(block).T for block in blocks], 1)


def build_variance_matrix(configuration: NetworkConfiguration) -> Tensor:
    """Squared effects of draws, shifts and refits to variances by group.

    Shape:
        result: (9 + 9 + G B, G)
    """
    groups = list_variance_groups(configuration)
    nine = build_memberships([(name,) for name in NAMES], groups).double()
    refits = repeat_columns(len(groups), configuration.members).T / configuration.members
    return torch.cat([nine, nine, refits])


def build_whitening(correlation: Tensor) -> Tensor:
    """Matrix from nine scores to independent ones of variance 1: (V, 9), 0 for the ratio."""
    count = len(NAMES)
    inverse = torch.linalg.inv(correlation.double()[:count, :count])
    return torch.nn.functional.pad(torch.linalg.cholesky(inverse), (0, 0, 0, 1))


def list_percentile_steps() -> Tensor:
    """Differences between the tabulated percentiles, percent: (P - 1,)."""
    return torch.tensor(PERCENTILES).double().diff()
