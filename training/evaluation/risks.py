"""Whether the model's risks of death are right: by own follow-up, and at ten years."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from henaw.training.evaluation.comparison import predict_by_age_sex
from henaw.training.evaluation.measures.calibration import (
    calibrate,
    calibrate_cells,
    observe_risk,
)
from henaw.training.evaluation.measures.decision import trace_decisions
from henaw.training.evaluation.measures.estimates import (
    FEWEST_SHOWN,
    Array,
    withhold_unless_both,
)
from henaw.training.evaluation.measures.follow_up import compute_hazard_slope, describe_deaths
from henaw.training.evaluation.measures.prediction_error import describe_prediction_error
from henaw.training.evaluation.measures.smoothing import describe_smoothed
from henaw.training.evaluation.scored_people import ScoredPeople, is_followed
from henaw.training.metrics import AGE_BANDS, HORIZON_YEARS


def measure_follow_up(scored: ScoredPeople, older: ScoredPeople) -> dict[str, Any]:
    """Observed over expected deaths and the slope, each person by their own follow-up.

    Args:
        scored: people of evaluated ages.
        older: people of higher or top-coded ages, reported separately.
    """
    rows = {
        name: _compare_deaths(scored.select(scored.groups[name]), name)
        for name in (*AGE_BANDS, "women", "men")
    }
    withhold_unless_both(rows["women"], rows["men"])
    return {"groups": list(rows.values()), "older": _compare_deaths(older, "older or top-coded")}


def _compare_deaths(scored: ScoredPeople, name: str) -> dict[str, Any]:
    row = scored.describe_group(name)
    if row["shown"]:
        row |= describe_deaths(scored.hazard, scored.cut_years, scored.dead)
        slope = compute_hazard_slope(scored.hazard, scored.cut_years, scored.dead)
        row["slope"] = slope.describe(3)
    return row


def explain_short(scored: ScoredPeople) -> dict[str, Any] | None:
    """Why risks at the horizon cannot be observed in these people; None where they can."""
    if is_followed(scored.time_years):
        return None
    return {
        "shown": False,
        "reason": f"fewer than {FEWEST_SHOWN} people were followed for {HORIZON_YEARS:g} years",
    }


def measure_calibration(scored: ScoredPeople, names: Sequence[str]) -> dict[str, Any]:
    """Calibration of the 10-year risks, or why it cannot be measured.

    Args:
        scored: the people.
        names: the model's causes of death, in its order.
    """
    if short := explain_short(scored):
        return short
    time, event, people = scored.time_years, scored.event, scored.people
    risk, causes = scored.output("mortality_10y"), scored.output("cause_risk_10y")
    # A death of unknown cause competes with every cause, as "other" does.
    code = np.where(event, np.where(people.cause < 0, len(names), people.cause) + 1, 0)
    return {
        "shown": True,
        "all_causes": calibrate(risk, time, event, HORIZON_YEARS),
        "cells": calibrate_cells(
            risk,
            time,
            event,
            age_years=scored.age_years,
            sex=people.sex,
            horizon_years=HORIZON_YEARS,
        ),
        "by_cause": {
            name: calibrate(
                causes[:, place], time, event, HORIZON_YEARS, cause=code, of_interest=place + 1
            )
            for place, name in enumerate(names)
        },
    }


def measure_smoothed(scored: ScoredPeople, *, draws: int, seed: int) -> dict[str, Any]:
    """The smooth calibration curve and its distances, or why there are none."""
    return explain_short(scored) or {"shown": True} | describe_smoothed(
        scored.output("mortality_10y"),
        scored.cut_years,
        scored.dead,
        HORIZON_YEARS,
        draws=draws,
        seed=seed,
    )


def measure_prediction_error(scored: ScoredPeople, *, draws: int, seed: int) -> dict[str, Any]:
    """Brier scores and IPA of the model and of age and sex, or why there are none."""
    time, event = scored.time_years, scored.event
    return explain_short(scored) or {"shown": True} | describe_prediction_error(
        _list_risks(scored),
        time,
        event,
        HORIZON_YEARS,
        null_risk=observe_risk(time, event, HORIZON_YEARS).value,
        draws=draws,
        seed=seed,
    )


def measure_decisions(scored: ScoredPeople) -> dict[str, Any]:
    """The decision curves of the model and of age and sex, or why there are none."""
    if short := explain_short(scored):
        return short
    rows = trace_decisions(_list_risks(scored), scored.time_years, scored.event, HORIZON_YEARS)
    return {"shown": True, "rows": rows}


def _list_risks(scored: ScoredPeople) -> dict[str, Array]:
    return {
        "mortality_10y": scored.output("mortality_10y"),
        "age_sex": predict_by_age_sex(scored),
    }
