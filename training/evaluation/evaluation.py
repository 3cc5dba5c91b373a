"""All figures of an evaluation, as one JSON document: aggregates only, no row of anyone."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from henaw.model.checkpoint import Checkpoint
from henaw.model.configuration import OTHER_CAUSE
from henaw.training.cohort import Cohort
from henaw.training.evaluation.comparison import (
    AUC_DRAWS,
    SCORES,
    compare_clocks,
    measure_auc,
    measure_c_index,
    measure_hazard_ratios,
    predict_by_age_sex,
)
from henaw.training.evaluation.measures.calibration import calibrate, calibrate_cells, observe_risk
from henaw.training.evaluation.measures.decision import trace_decisions
from henaw.training.evaluation.measures.estimates import (
    FEWEST_DEATHS,
    FEWEST_SHOWN,
    Rows,
    describe_count,
    describe_group,
    withhold,
)
from henaw.training.evaluation.measures.follow_up import compute_hazard_slope, describe_deaths
from henaw.training.evaluation.measures.prediction_error import describe_prediction_error
from henaw.training.evaluation.measures.smoothing import describe_smoothed
from henaw.training.evaluation.measures.stratification import (
    describe_gap,
    describe_percentile,
    split_thirds,
    trace_survival,
)
from henaw.training.evaluation.missing import measure_missing
from henaw.training.evaluation.participants import describe_baseline, describe_flow
from henaw.training.evaluation.repetition import simulate_repeats
from henaw.training.evaluation.scored_people import (
    Evaluated,
    answer_people,
    check_people,
    describe_seen,
    is_followed,
    select_surveys,
)
from henaw.training.evaluation.shapes import summarise_contributions, trace_shapes
from henaw.training.evaluation.subgroups import remark_on_groups, tabulate_subgroups
from henaw.training.metrics import (
    AGE_BANDS,
    HORIZON_YEARS,
    OLDEST_EVALUATED_YEARS,
    select_evaluated,
)
from henaw.training.reference import estimate_profiles, take_profiles_off

Progress = Callable[[str], None]

FORMAT = 2
"""Of evaluation.json."""

CURVE_DRAWS = 200
"""Bootstrap samples of the smooth calibration curve, at most."""

SECTIONS: tuple[str, ...] = (
    "flow",
    "baseline",
    "c_index",
    "clocks",
    "auc",
    "follow_up",
    "calibration",
    "smoothed",
    "prediction_error",
    "decisions",
    "gap",
    "percentile",
    "hazard_ratio",
    "survival",
    "subgroups",
    "remarks",
    "contributions",
    "missing",
    "repeats",
    "shapes",
)
"""What an evaluation holds besides ``model``, ``cohort`` and ``settings``, in order."""


def evaluate(
    checkpoint: Checkpoint,
    cohort: Cohort,
    *,
    surveys: tuple[str, ...] = (),
    older: Cohort | None = None,
    own_profile: bool = False,
    draws: int = 1000,
    seed: int = 1,
    progress: Progress = lambda _: None,
) -> dict[str, Any]:
    """Measure everything that the report shows.

    Args:
        checkpoint: the model.
        cohort: the people, read with ``clocks=CLOCKS``.
        surveys: evaluate these only; without any, everyone.
        older: people of :func:`read_older`, who are reported apart; without them, those of
            the cohort who are too old.
        own_profile: take each survey's own profile off first, as a laboratory that was
            calibrated by its people's values would.
        draws: bootstrap samples of each C-index.
        seed: of the bootstrap and the simulation.
        progress: called with the name of each of SECTIONS as it ends.

    Raises:
        CohortError: a survey is not in the cohort, or too few people can be evaluated.
    """
    chosen = select_surveys(cohort, surveys)
    profiles = {}
    if own_profile:
        profiles = estimate_profiles(chosen, checkpoint.network, checkpoint.tensors)
        chosen = take_profiles_off(chosen, profiles)
    usable = chosen.select(chosen.age_years <= OLDEST_EVALUATED_YEARS)
    if older is None:
        older = chosen.select(chosen.age_years > OLDEST_EVALUATED_YEARS)
    else:
        older = older.select(np.isin(older.survey, chosen.survey))
        older = take_profiles_off(older, profiles) if own_profile else older
    apart = answer_people(checkpoint, older.select(older.complete))
    people = usable.select(select_evaluated(usable))
    check_people(people, usable)
    evaluated = answer_people(checkpoint, people)
    gap, age = evaluated.score("age_gap"), evaluated.age_years
    measures: dict[str, Callable[[], Any]] = {
        "flow": lambda: describe_flow(
            cohort, of_surveys=len(chosen), usable=len(usable), evaluated=evaluated
        ),
        "baseline": lambda: describe_baseline(evaluated, usable),
        "c_index": lambda: measure_c_index(evaluated, draws=draws, seed=seed),
        "clocks": lambda: compare_clocks(evaluated, draws=draws, seed=seed),
        "auc": lambda: measure_auc(evaluated, seed=seed),
        "follow_up": lambda: measure_follow_up(evaluated, apart),
        "calibration": lambda: measure_calibration(evaluated, checkpoint.network.causes),
        "smoothed": lambda: measure_smoothed(evaluated, draws=min(draws, CURVE_DRAWS), seed=seed),
        "prediction_error": lambda: measure_prediction_error(evaluated, draws=draws, seed=seed),
        "decisions": lambda: measure_decisions(evaluated),
        "gap": lambda: describe_gap(gap, age),
        "percentile": lambda: describe_percentile(
            evaluated.score("percentile") if "percentile" in evaluated.answers else None, age
        ),
        "hazard_ratio": lambda: measure_hazard_ratios(evaluated),
        "survival": lambda: trace_survival(
            split_thirds(gap, age, people.sex),
            age,
            evaluated.time_years,
            evaluated.event,
            int(HORIZON_YEARS),
        ),
        "subgroups": lambda: tabulate_subgroups(
            answer_people(checkpoint, usable), draws=draws, seed=seed
        ),
        "remarks": lambda: remark_on_groups(result["subgroups"]),
        "contributions": lambda: summarise_contributions(
            evaluated.answers["contributions"].astype(np.float64),
            checkpoint.network.contribution_names,
        ),
        "missing": lambda: measure_missing(checkpoint, evaluated, draws=draws, seed=seed),
        "repeats": lambda: simulate_repeats(checkpoint.build_network(), people, seed=seed),
        "shapes": lambda: trace_shapes(checkpoint),
    }
    result: dict[str, Any] = {
        "henaw_evaluation": FORMAT,
        "date": datetime.date.today().isoformat(),
        "model": describe_model(checkpoint),
        "cohort": describe_cohort(checkpoint, evaluated, usable),
        "settings": {
            "horizon_years": HORIZON_YEARS,
            "draws": draws,
            "auc_draws": AUC_DRAWS,
            "seed": seed,
            "own_profile": own_profile,
            "fewest_shown": FEWEST_SHOWN,
            "fewest_deaths": FEWEST_DEATHS,
            "curve_draws": min(draws, CURVE_DRAWS),
        },
        "score_names": SCORES,
    }
    for name in SECTIONS:
        result[name] = measures[name]()
        progress(name)
    return result


def describe_model(checkpoint: Checkpoint) -> dict[str, Any]:
    """Which model was evaluated and what it was fitted on."""
    return {
        "name": checkpoint.name,
        "version": checkpoint.version,
        "date": checkpoint.date,
        "sha256": checkpoint.sha256,
        "training_data": checkpoint.training.get("data", ""),
        "training_people": checkpoint.training.get("people"),
        "training_deaths": checkpoint.training.get("deaths"),
        "intended_use": checkpoint.intended_use,
    }


def describe_cohort(checkpoint: Checkpoint, evaluated: Evaluated, usable: Cohort) -> dict[str, Any]:
    """Who was evaluated, in counts."""
    people, dead = evaluated.people, evaluated.dead
    causes = {
        name: describe_count(int((dead & (people.cause == code)).sum()))
        for code, name in enumerate(checkpoint.network.cause_classes)
    }
    if None in causes.values():
        # "other" is shown nowhere else: without it the sum tells of no single cause.
        causes[OTHER_CAUSE] = None
    incomplete = describe_count(len(usable) - len(people))
    return {
        "sha256": people.digest,
        "surveys": sorted(set(map(str, people.survey))),
        "seen": describe_seen(checkpoint, people),
        "usable": None if incomplete is None else len(usable),
        "people": len(people),
        "deaths": int(dead.sum()),
        "deaths_by_cause": causes,
        "share_women": round(float((people.sex == 0).mean()), 2),
        "mean_age": round(float(evaluated.age_years.mean()), 1),
        "ages": [float(people.age_years.min()), float(people.age_years.max())],
        "median_follow_up_years": round(float(np.median(evaluated.time_years)), 1),
        "oldest": OLDEST_EVALUATED_YEARS,
    }


def explain_short(evaluated: Evaluated) -> dict[str, Any] | None:
    """Why risks at the horizon cannot be observed in these people; None where they can."""
    if is_followed(evaluated.time_years):
        return None
    return {
        "shown": False,
        "reason": f"fewer than {FEWEST_SHOWN} people were followed for {HORIZON_YEARS:g} years",
    }


def measure_follow_up(evaluated: Evaluated, older: Evaluated) -> dict[str, Any]:
    """Observed over expected deaths and slope by own follow-up, the oldest people apart.

    Args:
        evaluated: people of evaluated ages.
        older: people of higher ages, or of top-coded ones.
    """
    groups = evaluated.groups
    rows = {
        name: _compare_deaths(evaluated, groups[name], name)
        for name in (*AGE_BANDS, "women", "men")
    }
    if not (rows["women"]["shown"] and rows["men"]["shown"]):
        withhold(rows["women"])
        withhold(rows["men"])
    everyone = np.ones(len(older.people), bool)
    return {
        "groups": list(rows.values()),
        "older": _compare_deaths(older, everyone, "older or top-coded"),
    }


def _compare_deaths(evaluated: Evaluated, rows: Rows, name: str) -> dict[str, Any]:
    row = {"group": name, **describe_group(int(rows.sum()), int(evaluated.dead[rows].sum()))}
    if row["shown"]:
        hazard, cut, dead = (
            evaluated.hazard.select(rows),
            evaluated.cut_years[rows],
            evaluated.dead[rows],
        )
        row |= describe_deaths(hazard, cut, dead)
        row["slope"] = compute_hazard_slope(hazard, cut, dead).describe(3)
    return row


def measure_smoothed(evaluated: Evaluated, *, draws: int, seed: int) -> dict[str, Any]:
    """The smooth calibration curve and its distances, or why there is none."""
    short = explain_short(evaluated)
    if short is not None:
        return short
    return {"shown": True} | describe_smoothed(
        evaluated.score("mortality_10y"),
        evaluated.cut_years,
        evaluated.dead,
        HORIZON_YEARS,
        draws=draws,
        seed=seed,
    )


def measure_prediction_error(evaluated: Evaluated, *, draws: int, seed: int) -> dict[str, Any]:
    """Brier scores and IPA of the model and of age and sex, or why there are none."""
    short = explain_short(evaluated)
    if short is not None:
        return short
    time, event = evaluated.time_years, evaluated.event
    return {"shown": True} | describe_prediction_error(
        {
            "mortality_10y": evaluated.score("mortality_10y"),
            "age_sex": predict_by_age_sex(evaluated),
        },
        time,
        event,
        HORIZON_YEARS,
        null_risk=observe_risk(time, event, HORIZON_YEARS).value,
        draws=draws,
        seed=seed,
    )


def measure_decisions(evaluated: Evaluated) -> dict[str, Any]:
    """The decision curve of the model and of age and sex, or why there is none."""
    short = explain_short(evaluated)
    if short is not None:
        return short
    risks = {
        "mortality_10y": evaluated.score("mortality_10y"),
        "age_sex": predict_by_age_sex(evaluated),
    }
    return {
        "shown": True,
        "rows": trace_decisions(risks, evaluated.time_years, evaluated.event, HORIZON_YEARS),
    }


def measure_calibration(evaluated: Evaluated, names: Sequence[str]) -> dict[str, Any]:
    """Calibration of the 10-year risks, or why it cannot be measured.

    Args:
        evaluated: the people.
        names: the model's causes of death, in its order.
    """
    time, event, people = evaluated.time_years, evaluated.event, evaluated.people
    short = explain_short(evaluated)
    if short is not None:
        return short
    risk = evaluated.score("mortality_10y")
    causes = evaluated.answers["cause_risk_10y"].astype(np.float64)
    # A death of unknown cause competes with every cause, as "other" does.
    code = np.where(event, np.where(people.cause < 0, len(names), people.cause) + 1, 0)
    return {
        "shown": True,
        "all_causes": calibrate(risk, time, event, HORIZON_YEARS),
        "cells": calibrate_cells(
            risk,
            time,
            event,
            age_years=evaluated.age_years,
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
