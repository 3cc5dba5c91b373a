"""A simulation of repeat blood draws: coverage of the interval, reliability of the answers.

No one here was measured twice. Each person's measured values are taken as that person's
mean, and draws vary around it log-normally by the panel's within-person and analytical
variation, independently between biomarkers. The interval also covers another fit and another
laboratory: to test it, every draw gets a laboratory of its own, with shifts as large as those
between surveys, and one of the refits answers.

Two limits follow. Measured values scatter more than true means do, so the simulated
reliability is too high; ``icc_*_corrected`` takes the variance of the measured values as the
total. And the draws use the variation that the model's interval uses: the simulation checks
how the variation passes through the network, not whether it is right.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from henaw.model.network import Network
from henaw.model.runtime import TorchRuntime
from henaw.training.cohorts.cohort import Cohort
from henaw.training.evaluation.measures.estimates import Array, Estimate, estimate_normal
from henaw.training.reference.uncertainty import answer_by_refit, draw_values, move_laboratory

DRAWS = 10
_NINE_IN_TEN = 1.6448536269514722
"""90 % of a normal distribution lies within this many standard deviations of its mean."""


def compute_icc(within: Array, total: Array) -> float:
    """Intraclass correlation, the share of variance between people: 1 - within / total.

    Args:
        within: variance between draws of one person.
        total: variance of all values.
    """
    return float(1.0 - within / total)


def simulate_repeats(network: Network, people: Cohort, *, seed: int) -> dict[str, Any]:
    """Draw each complete person's blood DRAWS times.

    Args:
        network: the model.
        people: n people with all nine biomarkers.
        seed: of the draws.

    Returns:
        ``coverage``: the share of draws, each by another laboratory and one of the refits, with
        a biological age inside the interval of the person's mean; it should be 90 %. All else is
        of draws in one laboratory, answered by the model itself: ``coverage_of_draw_sd`` is the
        share within 1.645 ``draw_sd``, which should be 90 % too; ``coverage_of_next`` is the
        share inside the interval of the previous draw.
    """
    generator = np.random.default_rng(seed)
    biomarkers, age_years, sex = people.biomarkers, people.age_years, people.sex
    runtime = TorchRuntime(network, name="eager")

    def answer(values: npt.NDArray[np.float32]) -> tuple[Array, Array]:
        answers = runtime.predict(values, age_years, sex)
        return answers["biological_age"].astype(np.float64), answers["interval"].astype(np.float64)

    first = runtime.predict(biomarkers, age_years, sex)
    centre, interval = answer(biomarkers)
    ages, inside, inside_of_last = [], [], []
    last = None
    laboratory_sd = network.laboratory_sd.double().numpy()
    refits = network.members
    for draw in range(DRAWS):
        values = draw_values(biomarkers, generator)
        drawn, own = answer(values)
        ages.append(drawn)
        elsewhere = move_laboratory(values, laboratory_sd, generator)
        again = answer_by_refit(network, elsewhere, people, draw % refits)
        inside.append((again >= interval[:, 0]) & (again <= interval[:, 1]))
        if last is not None:
            inside_of_last.append((drawn >= last[:, 0]) & (drawn <= last[:, 1]))
        last = own
    repeats = np.stack(ages)
    within = repeats.var(0, ddof=1).mean()
    gaps = centre - age_years
    result: dict[str, Any] = {
        "people": len(age_years),
        "draws": DRAWS,
        "within_person_sd_years": round(float(np.sqrt(within)), 2),
        "median_interval_width_years": round(float(np.median(np.diff(interval, axis=1))), 2),
        "coverage": _estimate_share(np.stack(inside)).describe(),
        "coverage_of_next": _estimate_share(np.stack(inside_of_last)).describe(),
    }
    spread = first["draw_sd"].astype(np.float64)
    result["draw_sd_years"] = round(float(np.sqrt(np.mean(spread**2))), 2)
    near = np.abs(repeats - centre) <= _NINE_IN_TEN * spread
    result["coverage_of_draw_sd"] = _estimate_share(near).describe()
    for name, answered in {"biological_age": centre, "gap": gaps}.items():
        between = answered.var(ddof=1)
        result[f"icc_{name}"] = round(compute_icc(within, between + within), 4)
        result[f"icc_{name}_corrected"] = round(compute_icc(within, between), 4)
    return result


def _estimate_share(inside: npt.NDArray[np.bool_]) -> Estimate:
    """Share with a 95 % interval over people, since a person's draws are not independent.

    Shape:
        inside: (draws, n)
    """
    by_person = inside.mean(0)
    error = by_person.std(ddof=1) / np.sqrt(len(by_person))
    return estimate_normal(float(by_person.mean()), float(error))
