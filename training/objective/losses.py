"""The parts of the loss, as pure functions.

L = L_mortality + l1 L_age + l2 L_cause + l3 R_elastic (see ``FitConfiguration``).
"""

from __future__ import annotations

import torch
from torch import Tensor


def compute_cumulative_hazard(log_hazard: Tensor, slope: Tensor, time_years: Tensor) -> Tensor:
    """Deaths expected of each person in the follow-up: e^a (e^{bT} - 1) / b, all (n,)."""
    return torch.exp(log_hazard) * torch.expm1(slope * time_years) / slope


def compute_mortality_loss(
    log_hazard: Tensor, slope: Tensor, time_years: Tensor, event: Tensor, weight: Tensor
) -> Tensor:
    """Negative log-likelihood of the Gompertz model, summed over people.

    With log h(t) = a + b t, a the log hazard at the examination, a person followed for
    T years contributes e^a (e^{bT} - 1) / b - d (a + b T). Being a plain sum, any split
    into batches gives the same total.

    Shape:
        all: (n,)

    Args:
        log_hazard: a, log of deaths per year.
        slope: b, per year.
        time_years: T, follow-up.
        event: d, 1 where the follow-up ended in death.
        weight: how much a person counts; with weights of sum 1 the loss is a mean.

    Returns:
        The weighted sum, a scalar.

    Source:
        Gompertz B (1825), Phil Trans R Soc 115:513-583.

    Example:
        >>> one = torch.ones(1, dtype=torch.float64)
        >>> compute_mortality_loss(-3 * one, 0.1 * one, 10 * one, one, one)
        tensor(2.8555, dtype=torch.float64)
    """
    cumulative = compute_cumulative_hazard(log_hazard, slope, time_years)
    return (weight * (cumulative - event * (log_hazard + slope * time_years))).sum()


def compute_age_loss(age_gap: Tensor, weight: Tensor) -> Tensor:
    """Sum of weighted squared age gaps, years squared: (n,), (n,) to a scalar."""
    return (weight * age_gap * age_gap).sum()


def compute_cause_loss(logits: Tensor, cause: Tensor) -> Tensor:
    """Cross-entropy of the cause among the deaths: (d, C), (d,) int64 to a scalar."""
    if len(cause) == 0:
        return logits.sum()
    return torch.nn.functional.cross_entropy(logits, cause)


def compute_elastic_net(weight: Tensor, penalty: Tensor, alpha: float) -> Tensor:
    """Elastic net: sum of penalty (alpha |w| + (1 - alpha) w^2), a scalar.

    |w| is sqrt(w^2 + 1e-6), smooth at 0 for a quasi-Newton method.

    Shape:
        weight, penalty: any, alike

    Source:
        Zou H, Hastie T (2005), J R Stat Soc B 67:301-320.

    Example:
        >>> compute_elastic_net(torch.tensor([3.0]), torch.tensor([1.0]), 0.5)
        tensor(6.)
    """
    square = weight * weight
    return (penalty * (alpha * torch.sqrt(square + 1e-6) + (1.0 - alpha) * square)).sum()
