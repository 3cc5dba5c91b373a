"""Decision curve: the net benefit of acting on a risk, by the threshold at which one acts.

Somebody who acts on risks of at least p thinks one person rightly treated worth (1 - p) / p
people treated in vain. Per person of all, with R the Kaplan-Meier risk of the people who are
acted on,

    net benefit = share acted on x (R - (1 - R) p / (1 - p)).

It is compared with acting on everyone, on no one (0), and on the risk by age and sex.

Sources: Vickers AJ, Elkin EB (2006), Med Decis Making 26:565-574; Vickers AJ et al. (2008), BMC
Med Inform Decis Mak 8:53 (censored data).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from henaw.training.evaluation.measures.calibration import observe_risk
from henaw.training.evaluation.measures.estimates import FEWEST_DEATHS, FEWEST_SHOWN, Array, Rows

THRESHOLDS: tuple[float, ...] = (
    0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5,
)  # fmt: skip


def compute_net_benefit(
    risk: Array, time: Array, event: Rows, horizon_years: float, threshold: float
) -> float:
    """Net benefit per person of acting on risks of at least a threshold.

    Args:
        risk: (n,) predicted.
        time: (n,) years.
        event: (n,) died at the end of it.
        horizon_years: the horizon.
        threshold: above 0, below 1.

    Example:
        Ten people, five of them acted on at 20 %; two of these die: 0.2 - 0.3 x 0.25.

        >>> time = np.full(10, 12.0)
        >>> time[:2] = 3.0
        >>> risk = np.repeat([0.3, 0.1], 5)
        >>> round(compute_net_benefit(risk, time, time < 10, 10.0, 0.2), 4)
        0.125
    """
    flagged = risk >= threshold
    if not flagged.any():
        return 0.0
    observed = observe_risk(time[flagged], event[flagged], horizon_years).value
    return float(flagged.mean() * (observed - (1.0 - observed) * threshold / (1.0 - threshold)))


def may_show(flagged: Rows, dead: Rows) -> bool:
    """Whether both the people acted on and the others are enough to be shown.

    Shape:
        flagged, dead: (n,)
    """
    return all(
        rows.sum() >= FEWEST_SHOWN and dead[rows].sum() >= FEWEST_DEATHS
        for rows in (flagged, ~flagged)
    )


def trace_decisions(
    risks: Mapping[str, Array], time: Array, event: Rows, horizon_years: float
) -> list[dict[str, Any]]:
    """Net benefit by threshold, of each risk and of acting on everyone.

    A figure is None where it rests on fewer than FEWEST_DEATHS deaths on either side of the
    threshold, or where fewer than FEWEST_SHOWN people lie between it and the last one shown.

    Args:
        risks: (n,) predicted, by name.
        time: (n,) years, not cut.
        event: (n,) died at the end of it.
        horizon_years: the horizon.
    """
    dead = event & (time <= horizon_years)
    everyone = np.ones(len(time))
    before = dict.fromkeys(risks, -1)
    rows = []
    for threshold in THRESHOLDS:
        benefit: dict[str, float | None] = {}
        shares: dict[str, float | None] = {}
        for name, risk in risks.items():
            flagged = risk >= threshold
            count = int(flagged.sum())
            apart = before[name] < 0 or before[name] - count >= FEWEST_SHOWN
            shown = may_show(flagged, dead) and (apart or before[name] == count)
            value = compute_net_benefit(risk, time, event, horizon_years, threshold)
            benefit[name] = round(value, 5) if shown else None
            shares[name] = round(count / len(time), 3) if shown else None
            before[name] = count if shown else before[name]
        all_treated = compute_net_benefit(everyone, time, event, horizon_years, threshold)
        rows.append(
            {
                "threshold": threshold,
                "acted_on": shares,
                "net_benefit": benefit,
                "everybody": round(all_treated, 5),
            }
        )
    return rows
