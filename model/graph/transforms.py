"""What a single value goes through: its scale, the safe ratio, the hinges, the log-distance."""

from __future__ import annotations

import math

import torch
from henaw.model.biomarkers import PANEL
from torch import Tensor

LOG_SCALED: tuple[bool, ...] = tuple(biomarker.log_scaled for biomarker in PANEL)
"""Which biomarkers are skewed, so that their logarithm is used."""

LARGEST = torch.finfo(torch.float32).max
"""Larger values are infinite. A comparison with it is false for NaN in every runtime."""

_HALF_LOG_PI = 0.5 * math.log(math.pi)


def compute_safe_ratio(ast: Tensor, alt: Tensor) -> Tensor:
    """AST/ALT (the De Ritis ratio) that is finite, with a finite gradient, everywhere.

    Shape:
        ast, alt, result: any, alike.

    Args:
        ast: aspartate aminotransferase, U/L, raw.
        alt: alanine aminotransferase, U/L, raw.

    Returns:
        The ratio clamped to 0.1 - 10; 1.0 where ALT is below 1e-6 or either value is
        not finite.

    Source:
        De Ritis F, Coltorti M, Giusti G (1957), Clin Chim Acta 2:70-74.

    Example:
        >>> compute_safe_ratio(torch.tensor([30.0, 0.0]), torch.tensor([20.0, 0.0]))
        tensor([1.5000, 1.0000])
    """
    finite = (ast.abs() <= LARGEST) & (alt.abs() <= LARGEST)
    return divide_finite(torch.where(finite, ast, 1.0), torch.where(finite, alt, 1.0))


def divide_finite(ast: Tensor, alt: Tensor) -> Tensor:
    """:func:`compute_safe_ratio` of values that are known to be finite."""
    usable = alt >= 1e-6
    # Both operands are replaced before the division: with a `where` around the quotient only,
    # the branch that is not taken still gives NaN gradients.
    quotient = torch.where(usable, ast, 1.0) / torch.where(usable, alt, 1.0)
    return torch.clamp(quotient, 0.1, 10.0)


def compute_log_distance(score: Tensor) -> Tensor:
    """h(z) = sign(z) log(1 + |z|): linear near 0, logarithmic far from it. Any shape.

    Example:
        >>> compute_log_distance(torch.tensor([-1.0, 0.0]))
        tensor([-0.6931,  0.0000])
    """
    return torch.sign(score) * torch.log1p(score.abs())


def expect_hinges(half: Tensor, spread: Tensor) -> Tensor:
    """Expected value of a hinge max(0, x - k) if x is known up to a normal error.

    For x = m + s e, e standard normal, and d = m - k it is d Phi(d / s) + s phi(d / s); with
    s near 0 it is the hinge itself. With t = d / (s sqrt 2), Phi(d / s) is (1 + erf t) / 2 and
    phi(d / s) is exp(-t^2) / sqrt(2 pi).

    Shape:
        half, spread, result: any, alike.

    Args:
        half: d / 2.
        spread: s / sqrt 2.

    Example:
        >>> sure, unsure = torch.tensor([1e-6, 1.0]) / math.sqrt(2.0)
        >>> [f"{float(expect_hinges(torch.tensor(0.5), spread)):.4f}" for spread in (sure, unsure)]
        ['1.0000', '1.0833']
    """
    relative = half / spread
    density = torch.exp(-_HALF_LOG_PI - relative * relative)
    return half + half * torch.erf(relative) + spread * density
