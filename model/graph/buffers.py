"""The constants that the network keeps: everything that is computed once, before any person.

The letters are those of :mod:`henaw.model.network`. What is computed in float64 is kept in
float32. The order is that of the exported file.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from henaw.model.biomarkers import INDEX, NAMES, PANEL
from henaw.model.change import INTERVAL_SCORE
from henaw.model.configuration import RATIO_CAPS, RATIO_PARTS, VARIABLES, NetworkConfiguration
from henaw.model.graph.constants import (
    build_age_table,
    build_contribution_matrix,
    build_pattern_table,
    build_pieces,
    build_slope_matrix,
    build_variance_matrix,
    build_whitening,
    compute_median_basis,
    list_percentile_steps,
    repeat_blocks,
    repeat_columns,
)
from henaw.model.graph.tables import PERCENTILES
from henaw.model.graph.transforms import LOG_SCALED, expect_hinges
from henaw.model.profile import PROFILE_SHAPES
from torch import Tensor

LINEAR_START = 16.0
"""How far below 0 the knot of the linear function is: below every score."""
LARGEST_RISK = 0.999
"""No risk is certain. The risks of extreme profiles stop here."""
NEVER = 1e9
"""A squared distance beyond every limit."""

Buffers = dict[str, Tensor | None]
Tensors = Mapping[str, Tensor]


class Widths(NamedTuple):
    """How many columns each section of a row has, in the order of the section's names.

    Attributes:
        age_row: columns of :class:`henaw.model.graph.sections.AgeRow`.
        pattern_row: columns of :class:`henaw.model.graph.sections.PatternRow`.
        parts: columns of :class:`henaw.model.graph.sections.Parts`.
    """

    age_row: list[int]
    pattern_row: list[int]
    parts: list[int]


def build_buffers(configuration: NetworkConfiguration, tensors: Tensors) -> tuple[Buffers, Widths]:
    """Build every constant of the network from its fitted tensors.

    Args:
        configuration: the network's shape.
        tensors: every tensor of :func:`henaw.model.graph.tables.list_tensor_shapes`.

    Returns:
        The constants by name, None for one that the graph does not need; and the widths of the
        sections.
    """
    by_age, rise, age_widths = build_age_table(configuration, tensors)
    by_pattern, pattern_widths = build_pattern_table(configuration, tensors)
    contributions, part_widths = build_contribution_matrix(configuration, tensors)
    buffers = _build_used(configuration)
    buffers |= {name: torch.zeros(shape) for name, shape in PROFILE_SHAPES.items()}
    buffers |= _build_values(tensors)
    buffers |= {
        "by_age": _fix(by_age),
        "rise_by_age": _fix(rise),
        "by_pattern": _fix(by_pattern),
        "pattern_bits": torch.tensor([[2.0**i] for i in range(len(NAMES))]),
    }
    buffers |= _build_scores(configuration, tensors)
    buffers |= _build_basis(configuration, tensors["margin"].double())
    buffers |= _build_pairs(configuration, tensors["interaction_weight"])
    buffers["contribution_matrix"] = _fix(contributions)
    buffers |= _build_slopes(tensors["weight"])
    buffers |= _build_interval(configuration, tensors)
    buffers |= _build_answers(tensors)
    return buffers, Widths(age_widths, pattern_widths, part_widths)


def _fix(values: Tensor | Sequence[float]) -> Tensor:
    """A float32 copy with its own memory."""
    tensor = values if isinstance(values, Tensor) else torch.tensor(values)
    if tensor.is_floating_point():
        tensor = tensor.to(torch.float32)
    return tensor.detach().clone(memory_format=torch.contiguous_format)


def _build_used(configuration: NetworkConfiguration) -> Buffers:
    """Which biomarkers and basis functions are used; None if all nine are."""
    if not configuration.left_out:
        return {"used": None, "used_basis": None}
    used = torch.tensor(configuration.used)
    by_function = used.repeat_interleave(configuration.basis_size).double()
    return {"used": _fix(used[: len(NAMES)]), "used_basis": _fix(by_function)}


def _build_values(tensors: Tensors) -> Buffers:
    """What raw values are compared with and clipped to."""
    return {
        "laboratory_sd": _fix(tensors["laboratory_sd"]),
        "minimum": _fix([biomarker.minimum for biomarker in PANEL]),
        "maximum": _fix([biomarker.maximum for biomarker in PANEL]),
        "flag_low": _fix(torch.cat([tensors["range_low"], tensors["critical_low"]])),
        "flag_high": _fix(torch.cat([tensors["range_high"], tensors["critical_high"]])),
        "ratio_caps": _fix(RATIO_CAPS),
        "log_scaled": _fix(torch.tensor([*LOG_SCALED, True])),
        "logged": _fix(torch.tensor(LOG_SCALED).double()),
    }


def _build_scores(configuration: NetworkConfiguration, tensors: Tensors) -> Buffers:
    """Margins as clipped straight pieces, and sums over scores and slopes by the copula."""
    location, scale = tensors["location"].double(), tensors["scale"].double()
    rate, start, total, offset = build_pieces(
        tensors["margin"].double(), location, scale, configuration.score_limit
    )
    variables = len(VARIABLES)
    blocks, columns = repeat_blocks(variables, variables), repeat_columns(variables, variables)
    return {
        "piece_rate": _fix(rate),
        "piece_start": _fix(start),
        "piece_total": _fix(total),
        "piece_offset": _fix(offset),
        "repeat_scores": _fix(blocks),
        "sum_scores": _fix(columns.T),
        "repeat_slopes": _fix(columns),
        "sum_slopes": _fix(blocks.T),
    }


def _build_basis(configuration: NetworkConfiguration, margin: Tensor) -> Buffers:
    """Half distances from the knots, spreads, and the functions that values are compared with."""
    variables = len(VARIABLES)
    repeat = repeat_columns(variables, configuration.basis_size)
    knots = torch.tensor([-LINEAR_START, *configuration.knots]).double()
    half_basis, half_knots = _fix(0.5 * repeat), _fix(-0.5 * knots.repeat(variables))
    spread_basis = _fix(repeat / math.sqrt(2.0))
    half = torch.addmm(half_knots, torch.zeros(1, variables), half_basis)
    unknown = _fix(expect_hinges(half, torch.ones(1, variables) @ spread_basis)[0])
    median = compute_median_basis(configuration, margin)
    median[:, 0] += LINEAR_START
    return {
        "repeat_basis": _fix(repeat),
        "half_basis": half_basis,
        "half_knots": half_knots,
        "spread_basis": spread_basis,
        "unknown_basis": unknown,
        "known_basis": _fix(repeat * (median.flatten() - unknown.double())),
    }


def _build_pairs(configuration: NetworkConfiguration, weight: Tensor) -> Buffers:
    """Matrices that choose the two biomarkers of each interaction, once in either order."""
    first, second = ([INDEX[pair[i]] for pair in configuration.interactions] for i in (0, 1))
    choose = torch.eye(len(VARIABLES))
    first_second = choose[:, [*first, *second]]
    return {
        "first_second": _fix(first_second),
        "second_first": _fix(choose[:, [*second, *first]]),
        "place_pairs": _fix((first_second * torch.cat([weight, weight])).T),
    }


def _build_slopes(weight: Tensor) -> Buffers:
    """Slopes of the effects, and how AST and ALT move their ratio."""
    # Phi is (1 + erf) / 2.
    slopes = 0.5 * build_slope_matrix(weight)
    ends, signs = torch.zeros(len(NAMES)), torch.zeros(len(NAMES))
    ends[list(RATIO_PARTS)] = torch.tensor(RATIO_CAPS)
    signs[list(RATIO_PARTS)] = torch.tensor([1.0, -1.0])
    return {
        "slope_matrix": _fix(slopes),
        "slope_offset": _fix(slopes.sum(0)),
        "sum_modulators": _fix(repeat_blocks(len(VARIABLES), 3).T),
        "ratio_ends": ends,
        "ratio_signs": signs,
    }


def _build_interval(configuration: NetworkConfiguration, tensors: Tensors) -> Buffers:
    """What the variance of the gap and the distance from the fitted people are made of."""
    beyond = torch.ones(len(VARIABLES), 1) * tensors["extrapolation_sd"] ** 2
    beyond[len(NAMES) :] = 0.0
    return {
        "within_person_cv": _fix(tensors["within_person_cv"]),
        "variance_matrix": _fix(build_variance_matrix(configuration)),
        "group_cap": _fix(tensors["group_cap"]),
        "whitening": _fix(build_whitening(tensors["correlation"])),
        "extrapolation": _fix(beyond),
    }


def _build_answers(tensors: Tensors) -> Buffers:
    """Percentiles, risks by cause, and the ends of the interval."""
    scores = torch.tensor([-INTERVAL_SCORE, INTERVAL_SCORE])
    return {
        "percentile_steps": _fix(list_percentile_steps().unsqueeze(1)),
        "percentile_first": _fix([PERCENTILES[0]]),
        "count_critical": torch.full((len(NAMES), 1), NEVER),
        "cause_matrix": _fix(tensors["cause_weight"].T),
        "cause_of_squared_age": _fix(tensors["cause_age_sex"][:, 2:3].T),
        "largest_hazard": _fix([math.log(-math.log1p(-LARGEST_RISK))]),
        "interval_scores": _fix(scores * tensors["interval_factor"]),
        "draw_factor": _fix(tensors["draw_factor"]),
    }
