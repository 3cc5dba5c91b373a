"""The parts of the loss, as pure functions.

L = L_mortality + l1 L_age + l2 L_cause + l3 R_elastic (see ``FitConfiguration``).
"""

from __future__ import annotations

import torch
from torch import Tensor


def compute_cumulative_hazard(log_hazard: Tensor, slope: Tensor, time_years: Tensor) -> Tensor:
    """Expected deaths of each person during the follow-up: e^a (e^{bT} - 1) / b.

    Shape:
        all: (n,)

    Args:
        log_hazard: a, log of deaths per year at the examination.
        slope: b, per year.
        time_years: T, follow-up.

    Example:
        >>> one = torch.ones(1, dtype=torch.float64)
        >>> compute_cumulative_hazard(-3 * one, 0.1 * one, 10 * one)
        tensor([0.8555], dtype=torch.float64)
    """
    return torch.exp(log_hazard) * torch.expm1(slope * time_years) / slope


def compute_mortality_loss(
    log_hazard: Tensor, slope: Tensor, time_years: Tensor, event: Tensor, weight: Tensor
) -> Tensor:
    """Negative log-likelihood of the Gompertz model, summed over people.

    The log hazard t years after the examination is a + b t. A person followed for T years
    contributes e^a (e^{bT} - 1) / b - d (a + b T). As the loss is a sum over people, it can
    be computed in any batches.

    Shape:
        all: (n,)

    Args:
        log_hazard: a, log of deaths per year at the examination.
        slope: b, per year.
        time_years: T, follow-up.
        event: d, 1 where the follow-up ended in death.
        weight: each person's weight; if the weights sum to 1, the loss is a weighted mean.

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
    """Weighted sum of squared age gaps, years squared.

    Shape:
        age_gap, weight: (n,); result: a scalar

    Example:
        >>> compute_age_loss(torch.tensor([2.0, -1.0]), torch.tensor([0.5, 0.5]))
        tensor(2.5000)
    """
    return (weight * age_gap * age_gap).sum()


def compute_cause_loss(logits: Tensor, cause: Tensor) -> Tensor:
    """Mean cross-entropy of the cause of death among d deaths; 0 without deaths.

    Shape:
        logits: (d, C); cause: (d,) int64; result: a scalar

    Example:
        >>> compute_cause_loss(torch.zeros(3, 4), torch.tensor([0, 1, 3]))
        tensor(1.3863)
    """
    if len(cause) == 0:
        return logits.sum()
    return torch.nn.functional.cross_entropy(logits, cause)


def compute_elastic_net(weight: Tensor, penalty: Tensor, alpha: float) -> Tensor:
    """Elastic net: sum of penalty (alpha |w| + (1 - alpha) w^2).

    |w| is sqrt(w^2 + 1e-6), which is smooth at 0; a quasi-Newton method needs this.

    Shape:
        weight, penalty: any, the same for both; result: a scalar

    Args:
        weight: w.
        penalty: the penalty of each weight.
        alpha: the share of |w|, 0 to 1.

    Source:
        Zou H, Hastie T (2005), J R Stat Soc B 67:301-320.

    Example:
        >>> compute_elastic_net(torch.tensor([3.0]), torch.tensor([1.0]), 0.5)
        tensor(6.)
    """
    square = weight * weight
    return (penalty * (alpha * torch.sqrt(square + 1e-6) + (1.0 - alpha) * square)).sum()
