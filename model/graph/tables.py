"""The fitted tensors: names, shapes, what must be true of them, and tables made from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache

import torch
from henaw.model.biomarkers import INDEX, NAMES, PANEL, SYSTEMS
from henaw.model.configuration import (
    MODULATORS,
    RATIO,
    RATIO_PARTS,
    VARIABLES,
    NetworkConfiguration,
)
from torch import Tensor

SMALLEST_SPREAD = 1e-6
"""Spread, in scores, at or below which an imputed score counts as known."""

PERCENTILES: tuple[float, ...] = (
    *(0.1, 0.3, 0.7, 1.5, 3.0, 5.0, 7.5, 10.0, 15.0, 20.0, 27.5, 35.0, 42.5, 50.0),
    *(57.5, 65.0, 72.5, 80.0, 85.0, 90.0, 92.5, 95.0, 97.0, 98.5, 99.3, 99.7, 99.9),
)
"""Percentiles of the gap that are tabulated by age and sex."""

SLOPE_SCORES = range(-3, 4)
"""Scores at which the smoothed slope of a margin is tabulated."""

RATIO_MEMBERS: tuple[str, str] = (NAMES[RATIO_PARTS[0]], NAMES[RATIO_PARTS[1]])
"""Names of the ratio's two biomarkers."""


def list_tensor_shapes(configuration: NetworkConfiguration) -> dict[str, tuple[int, ...]]:
    """Name and shape of every fitted tensor that a checkpoint must have."""
    ages, basis = configuration.ages, configuration.basis_size
    variables, biomarkers = len(VARIABLES), len(NAMES)
    pairs, members = len(configuration.interactions), configuration.members
    design = len(MODULATORS) * basis
    return {
        "location": (2, ages, variables),
        "scale": (2, ages, variables),
        "coefficient_of_variation": (2, ages, biomarkers),
        "margin": (variables, configuration.score_steps + 1),
        "correlation": (variables, variables),
        "range_low": (biomarkers,),
        "range_high": (biomarkers,),
        "critical_low": (biomarkers,),
        "critical_high": (biomarkers,),
        "typical": (2, ages),
        "typical_missing": (2**biomarkers, 2, len(configuration.variance_ages)),
        "gap_percentiles": (2, ages, len(PERCENTILES)),
        "weight": (variables, design),
        "interaction_weight": (pairs,),
        "member_weight": (members, variables, design),
        "member_interaction_weight": (members, pairs),
        "member_offset": (2, ages, len(list_variance_groups(configuration)) * members),
        "baseline_intercept": (2,),
        "baseline_slope": (2,),
        "cause_weight": (len(configuration.cause_classes), variables * basis),
        "cause_age_sex": (len(configuration.cause_classes), 4),
        "within_person_cv": (biomarkers,),
        "laboratory_sd": (biomarkers,),
        "usual_score": (biomarkers,),
        "extrapolation_sd": (1,),
        "interval_factor": (1,),
        "draw_factor": (1,),
        "distance_limit": (2**biomarkers,),
        "group_cap": (len(list_variance_groups(configuration)),),
        "missing_variance": (2**biomarkers, 2, len(configuration.variance_ages)),
    }


def list_published_limits() -> tuple[Tensor, Tensor]:
    """Critical limits as tensors, (9,) and (9,): NaN where the fit must fill one in.

    The limit of a direction that is not dangerous is the largest float32 number.
    """
    largest = torch.finfo(torch.float32).max
    bounds = []
    for side, none in (("critical_low", -largest), ("critical_high", largest)):
        limits = [getattr(biomarker, side) for biomarker in PANEL]
        bounds.append(
            torch.tensor(
                [
                    none if limit is None else torch.nan if limit.value is None else limit.value
                    for limit in limits
                ]
            )
        )
    return bounds[0], bounds[1]


def place_limit(
    configuration: NetworkConfiguration,
    tensors: Mapping[str, Tensor],
    name: str,
    side: str,
    multiple: float = 1.0,
) -> Tensor | None:
    """Scores of a biomarker's reference limit by sex and age; None where it has no such limit.

    Args:
        configuration: the network's shape.
        tensors: the tensors, including the reference tables.
        name: the biomarker.
        side: "low" or "high".
        multiple: the factor by which the limit is multiplied.

    Shape:
        result: (2, ages) float64
    """
    biomarker = PANEL[INDEX[name]]
    limits = getattr(biomarker.reference, side)
    if None in limits:
        return None
    values = multiple * torch.tensor(limits).double()
    values = torch.log(values) if biomarker.log_scaled else values
    return place_values(
        configuration, tensors, INDEX[name], values.unsqueeze(1).expand(-1, configuration.ages)
    )


def place_values(
    configuration: NetworkConfiguration,
    tensors: Mapping[str, Tensor],
    variable: int,
    values: Tensor,
) -> Tensor:
    """Scores of transformed values, clipped to the tabulated ones: (2, ages) to (2, ages)."""
    location, scale, margin = (tensors[name].double() for name in ("location", "scale", "margin"))
    limit = configuration.score_limit
    scores = torch.linspace(-limit, limit, margin.shape[1], dtype=torch.float64)
    standardised = ((values - location[:, :, variable]) / scale[:, :, variable]).contiguous()
    points = margin[variable]
    right = torch.searchsorted(points, standardised).clamp(1, len(points) - 1)
    low, high = points[right - 1], points[right]
    passed = ((standardised - low) / (high - low)).clamp(0.0, 1.0)
    return scores[right - 1] + passed * (scores[right] - scores[right - 1])


POSITIVE_TENSORS: tuple[str, ...] = (
    "scale",
    "coefficient_of_variation",
    "range_low",
    "range_high",
    "baseline_slope",
    "within_person_cv",
    "interval_factor",
    "draw_factor",
)
"""Fitted tensors that make no sense unless every entry is above zero."""


def list_correlation_problems(tensors: Mapping[str, Tensor]) -> list[str]:
    """List what is wrong with tables that must be ordered, symmetric or not negative."""
    problems = []
    if "correlation" in tensors:
        correlation = tensors["correlation"].double()
        least = float(torch.linalg.eigvalsh(correlation).min())
        if bool(((correlation - correlation.T).abs() > 1e-6).any()):
            problems.append("tensor correlation: must be symmetric")
        if bool(((correlation.diagonal() - 1.0).abs() > 1e-6).any()):
            problems.append("tensor correlation: must have a diagonal of 1")
        if least <= 0:
            problems.append(
                f"tensor correlation: must be positive definite; the least eigenvalue is {least:g}"
            )
    if {"range_low", "range_high"} <= set(tensors) and not bool(
        (tensors["range_low"] < tensors["range_high"]).all()
    ):
        problems.append("tensor range_low: must be below range_high everywhere")
    problems += [
        f"tensor {name}: each row must increase"
        for name in ("margin", "gap_percentiles")
        if name in tensors and not bool((tensors[name].diff(dim=-1) > 0).all())
    ]
    if "missing_variance" in tensors:
        table = tensors["missing_variance"]
        for bit in range(len(NAMES)):
            patterns = torch.arange(len(table))
            without = patterns[(patterns >> bit & 1) == 0]
            if bool((table[without] > table[without | (1 << bit)]).any()):
                problems.append(
                    f"tensor missing_variance: a missing {NAMES[bit]} must not narrow the interval"
                )
    return problems + [
        f"tensor {name}: must be 0 or more everywhere"
        for name in ("missing_variance", "group_cap", "laboratory_sd", "extrapolation_sd")
        if name in tensors and bool((tensors[name] < 0).any())
    ]


def list_hierarchy_problems(
    tensors: Mapping[str, Tensor], configuration: NetworkConfiguration
) -> list[str]:
    """List interactions that are larger than their biomarkers' own weights allow.

    |beta| <= hierarchy (|alpha_a| + |alpha_b|) / 2, where |alpha| of a biomarker is the
    Euclidean norm of its unmodulated weights.
    """
    problems = []
    for prefix in ("", "member_"):
        if not {f"{prefix}weight", f"{prefix}interaction_weight"} <= set(tensors):
            continue
        own = tensors[f"{prefix}weight"][..., : configuration.basis_size].norm(dim=-1)
        for i, (a, b) in enumerate(configuration.interactions):
            limit = configuration.hierarchy * 0.5 * (own[..., INDEX[a]] + own[..., INDEX[b]])
            size = tensors[f"{prefix}interaction_weight"][..., i].abs()
            if bool((size > limit * 1.0001 + 1e-6).any()):
                problems.append(
                    f"tensor {prefix}interaction_weight: {a}_x_{b} must be at most "
                    f"{float(limit.max()):.3g}; got {float(size.max()):.3g}"
                )
    return problems


def list_variance_groups(configuration: NetworkConfiguration) -> tuple[tuple[str, ...], ...]:
    """Group the biomarkers whose effects depend on each other's values.

    AST and ALT share their ratio; the two biomarkers of an interaction share its slope.

    Example:
        >>> for group in list_variance_groups(NetworkConfiguration()):
        ...     print(*group)
        crp hba1c
        creatinine albumin
        lymphocyte_pct
        rdw
        ggt
        ast alt
    """
    groups = [{name} for name in NAMES]
    for pair in (RATIO_MEMBERS, *configuration.interactions):
        joined = set().union(*(group for group in groups if group & set(pair)))
        groups = [group for group in groups if not group & joined] + [joined]
    ordered = [tuple(name for name in NAMES if name in group) for group in groups]
    return tuple(sorted(ordered, key=lambda group: INDEX[group[0]]))


def list_members(configuration: NetworkConfiguration) -> tuple[tuple[str, ...], ...]:
    """The biomarkers of each contribution, except that of the typical values."""
    return (*((name,) for name in NAMES), RATIO_MEMBERS, *configuration.interactions)


def compute_adaptive_weights(variation: Tensor, configuration: NetworkConfiguration) -> Tensor:
    """Weights w_i(t) of the contributions, from coefficients of variation.

    w_i(t) = 9 exp(-lambda CV_i(t)) / sum_j exp(-lambda CV_j(t)), whose mean is 1. A
    contribution of two biomarkers has the mean of their weights.

    Shape:
        variation: (..., 9)
        result: (..., K)

    Example:
        >>> compute_adaptive_weights(torch.full((9,), 0.2), NetworkConfiguration())[:3]
        tensor([1., 1., 1.])
    """
    weights = len(NAMES) * torch.softmax(-configuration.adaptive_lambda * variation, dim=-1)
    columns = [
        torch.stack([weights[..., INDEX[name]] for name in names], -1).mean(-1)
        for names in list_members(configuration)
    ]
    return torch.stack(columns, -1)


def build_copula_tables(
    correlation: Tensor,
) -> tuple[Tensor, Tensor]:
    """Weights of conditional means, and their spreads, for each of the 512 missing patterns.

    Bit i of a pattern is set if biomarker i is missing. The ratio is known if both AST and ALT
    are known. It imputes no other biomarker, because AST and ALT have the same information.

    Shape:
        correlation: (V, V) of the normal scores
        result: (512, V, 9) weights of the nine observed scores, and (512, V) standard
            deviations, 0 if known. Do not change them: they are kept, because a fit builds
            many networks with one correlation.
    """
    return _solve_patterns(tuple(map(tuple, correlation.double().tolist())))


@lru_cache(maxsize=4)
def _solve_patterns(correlation: tuple[tuple[float, ...], ...]) -> tuple[Tensor, Tensor]:
    count = len(NAMES)
    exact = torch.tensor(correlation, dtype=torch.float64)
    weights = torch.zeros(2**count, len(VARIABLES), count, dtype=torch.float64)
    spreads = torch.zeros(2**count, len(VARIABLES), dtype=torch.float64)
    for pattern in range(2**count):
        known = [i for i in range(count) if not pattern >> i & 1]
        missing = [i for i in range(count) if pattern >> i & 1]
        if set(RATIO_PARTS) & set(missing):
            missing.append(VARIABLES.index(RATIO))
        for i in known:
            weights[pattern, i, i] = 1.0
        if not missing:
            continue
        variance = torch.ones(len(missing), dtype=torch.float64)
        if known:
            cross = exact[missing][:, known]
            solved = torch.linalg.solve(exact[known][:, known], cross.T).T
            variance = variance - (solved * cross).sum(1)
            for row, i in enumerate(missing):
                weights[pattern, i, known] = solved[row]
        spreads[pattern, missing] = variance.clamp(min=SMALLEST_SPREAD**2).sqrt()
    return weights.float(), spreads.float()


def smooth_margin_slope(margin: Tensor, limit: float) -> Tensor:
    """Slope of each margin at scores -3 to 3, each over one score to both sides: (V, 7)."""
    scores = torch.linspace(-limit, limit, margin.shape[1], dtype=margin.dtype)
    columns = []
    for score in SLOPE_SCORES:
        low = int(torch.argmin((scores - (score - 1.0)).abs()))
        high = int(torch.argmin((scores - (score + 1.0)).abs()))
        columns.append((scores[high] - scores[low]) / (margin[:, high] - margin[:, low]))
    return torch.stack(columns, 1)


def build_memberships(
    members: Sequence[tuple[str, ...]], groups: Sequence[tuple[str, ...]]
) -> Tensor:
    """1 where a row's biomarkers belong to a group: (rows, G)."""
    return torch.tensor([[float(names[0] in group) for group in groups] for names in members])


def build_system_shares(configuration: NetworkConfiguration) -> Tensor:
    """Share of each contribution in each system, rows summing to 1: (K, 4)."""
    rows = []
    for names in list_members(configuration):
        share = torch.zeros(len(SYSTEMS))
        for name in names:
            inside = torch.tensor([float(name in members) for members in SYSTEMS.values()])
            share += inside / inside.sum() / len(names)
        rows.append(share)
    return torch.stack(rows)
