"""The network's constants: tables by age and by missing pattern, and matrices of columns.

Columns of the V variables' J basis functions are side by side, variable by variable;
Q modulators of them one block after the other. Everything here is float64.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from henaw.model.biomarkers import INDEX, NAMES
from henaw.model.configuration import (
    MODULATORS,
    RATIO,
    VARIABLES,
    NetworkConfiguration,
)
from henaw.model.tables import (
    SMALLEST_SPREAD,
    build_copula_tables,
    build_memberships,
    build_system_shares,
    compute_adaptive_weights,
    list_members,
    list_variance_groups,
    smooth_margin_slope,
)
from torch import Tensor

HORIZON_YEARS = 10.0
AGE_CENTRE_YEARS = 60.0
AGE_SCALE_YEARS = 15.0
BEYOND_CAPS = 1e9
"""A variance that every cap is below, years squared."""

Tensors = Mapping[str, Tensor]


def repeat_columns(columns: int, times: int) -> Tensor:
    """Matrix that writes each column several times, side by side: (columns, columns times)."""
    return torch.eye(columns, dtype=torch.float64).repeat_interleave(times, 1)


def repeat_blocks(columns: int, times: int) -> Tensor:
    """Matrix that writes all columns again and again: (columns, times columns)."""
    return torch.eye(columns, dtype=torch.float64).repeat(1, times)


def spread_diagonally(rows: Tensor) -> Tensor:
    """Each row in columns of its own: (r, c) to (r, r c)."""
    spread: Tensor = torch.block_diag(*rows)
    return spread


def build_pieces(margin: Tensor, limit: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Margins as clipped straight pieces, from a standardised value to its score and slope.

    With p = clip(value @ rate + start, 0, 1), how far the value has come through each of
    the S pieces, p @ total + offset is the normal score and the margin's slope there.

    Shape:
        margin: (V, S + 1)
        result: rate (V, V S), start (V S,), total (V S, 2 V), offset (2 V,)
    """
    variables, points = margin.shape
    rate = 1.0 / (margin[:, 1:] - margin[:, :-1]).clamp(min=1e-9)
    scores = torch.linspace(-limit, limit, points, dtype=torch.float64)
    smooth = smooth_margin_slope(margin, limit)
    whole = torch.clamp(scores.unsqueeze(1) - torch.arange(-3.0, 3.0), 0.0, 1.0).double()
    slopes = smooth[:, :1] + smooth.diff(dim=1) @ whole.T
    total = [spread_diagonally(table.diff(dim=1)).T for table in (scores.expand_as(slopes), slopes)]
    offset = torch.cat([torch.full((variables,), -limit, dtype=torch.float64), slopes[:, 0]])
    return (
        spread_diagonally(rate),
        (-margin[:, :-1] * rate).flatten(),
        torch.cat(total, 1),
        offset,
    )


def build_age_table(
    configuration: NetworkConfiguration, tensors: Tensors
) -> tuple[Tensor, Tensor, list[int]]:
    """What depends on age and sex only, a row for each year of age and sex.

    Columns: location, scale, weights of the variables, weights of the interactions (twice),
    means of the basis, less those of a score of which nothing is known, means of the
    interactions (twice), age and sex as modulators, all modulators once for each
    variable, intercept and slope of the log of ten years' cumulative hazard, the shares
    of the nodes of ``missing_variance``, and the causes' logits, less what the square of
    age adds. Each of them is a straight line from one year to the next, so that
    interpolating loses nothing.

    Year y of a woman is row y, that of a man so many rows on as there are ages. The rows
    before the first age are NaN: what has no reference has no answer.

    Shape:
        result: each year's value and its rise to the next year's, both
            (first_age + 2 ages, columns); and the widths of the sections
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
    columns = [
        tensors["location"].double(),
        tensors["scale"].double(),
        weights[:, :, :variables],
        weights[:, :, variables:].repeat(1, 1, 2),
        tensors["basis_mean"].double() - compute_prior_basis(configuration).repeat(variables),
        tensors["interaction_mean"].double().repeat(1, 1, 2),
        age,
        sex,
        torch.cat([torch.ones_like(age), age, sex], 2).repeat_interleave(variables, 2),
        intercept.reshape(2, 1, 1).expand(2, ages, 1),
        slope.reshape(2, 1, 1).expand(2, ages, 1),
        torch.stack([torch.kron(row, shares) for row in torch.eye(2).double()]),
        torch.cat([torch.ones_like(age), age, torch.zeros_like(age), sex], 2)
        @ tensors["cause_age_sex"].double().T,
    ]
    table = torch.cat(columns, 2)
    rise = torch.cat([table.diff(dim=1), torch.zeros_like(table[:, :1])], 1)
    before = torch.full((configuration.first_age, table.shape[2]), torch.nan).double()
    return (
        torch.cat([before, table.flatten(0, 1)]),
        torch.cat([before, rise.flatten(0, 1)]),
        [column.shape[2] for column in columns],
    )


def compute_prior_basis(configuration: NetworkConfiguration) -> Tensor:
    """Expected basis functions of a standard normal score: (J,), 0 for the linear one."""
    knots = torch.tensor(configuration.knots).double()
    normal = torch.distributions.Normal(torch.zeros_like(knots), 1.0)
    hinges = torch.exp(normal.log_prob(knots)) - knots * normal.cdf(-knots)
    return torch.cat([torch.zeros(1).double(), hinges])


def list_known() -> Tensor:
    """Which variables are known in each of the missing patterns: (512, V) bool."""
    observed = (torch.arange(2 ** len(NAMES)).unsqueeze(1) >> torch.arange(len(NAMES)) & 1) == 0
    both = observed[:, INDEX["ast"]] & observed[:, INDEX["alt"]]
    return torch.cat([observed, both.unsqueeze(1)], 1)


def build_pattern_table(
    configuration: NetworkConfiguration, tensors: Tensors
) -> tuple[Tensor, list[int]]:
    """What depends on the missing pattern only, a row for each.

    Columns: weights of the V scores in the mean of each variable, a known one's own
    being 1; the spreads; 1 where a variable is known; 1 where an interaction is (twice);
    :data:`BEYOND_CAPS` where a variance group is not wholly known; ``missing_variance``.

    Shape:
        result: (512, columns), and the widths of the sections
    """
    known = list_known()
    nine, spreads = build_copula_tables(tensors["correlation"])
    weights = torch.nn.functional.pad(nine.double(), (0, 1))
    ratio = VARIABLES.index(RATIO)
    weights[known[:, ratio], ratio] = torch.eye(len(VARIABLES)).double()[ratio]
    complete = [known[:, INDEX[a]] & known[:, INDEX[b]] for a, b in configuration.interactions]
    groups = list_variance_groups(configuration)
    members = build_memberships([(name,) for name in NAMES], groups).double()
    missing = (~known[:, : len(NAMES)]).double()
    columns = [
        weights.flatten(1),
        spreads.double().clamp(min=SMALLEST_SPREAD),
        known.double(),
        torch.stack([*complete, *complete], 1).double() if complete else known[:, :0].double(),
        (missing @ members).clamp(max=1.0) * BEYOND_CAPS,
        tensors["missing_variance"].double().flatten(1),
    ]
    return torch.cat(columns, 1), [column.shape[1] for column in columns]


def build_contribution_matrix(
    configuration: NetworkConfiguration, tensors: Tensors
) -> tuple[Tensor, list[int]]:
    """Modulated basis functions and interactions to years.

    Columns: the K contributions; the systems, sums of shares of them; and for each
    variance group and refit, by how much the refit's years differ from those of the
    point estimate.

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
    """(V, Q J) and (I,) to (Q V J + 2 I, K); of an interaction's two columns each is half."""
    blocks = weight.double().unflatten(1, (len(MODULATORS), -1)).transpose(0, 1)
    main = torch.cat([spread_diagonally(block).T for block in blocks])
    half = torch.diag(0.5 * interaction.double())
    matrix: Tensor = torch.block_diag(main, torch.cat([half, half]))
    return matrix


def build_slope_matrix(weight: Tensor) -> Tensor:
    """Steps of the basis to slopes, a block for each modulator: (V, Q J) to (V J, Q V)."""
    blocks = weight.double().unflatten(1, (len(MODULATORS), -1)).transpose(0, 1)
    return torch.cat([spread_diagonally(block).T for block in blocks], 1)


def build_draw_matrix(within_person_cv: Tensor) -> Tensor:
    """Slopes of the variables to what one standard deviation of a repeat draw does: (V, 9).

    AST and ALT also move their ratio, one up and one down.
    """
    ratio = torch.zeros(1, len(NAMES)).double()
    ratio[0, INDEX["ast"]], ratio[0, INDEX["alt"]] = 1.0, -1.0
    return torch.cat([torch.eye(len(NAMES)).double(), ratio]) * within_person_cv.double()


def build_variance_matrix(configuration: NetworkConfiguration) -> Tensor:
    """Squares of draws and of refits' differences to variances by group: (9 + G B, G)."""
    groups = list_variance_groups(configuration)
    refits = repeat_columns(len(groups), configuration.members).T / configuration.members
    return torch.cat([build_memberships([(name,) for name in NAMES], groups).double(), refits])
