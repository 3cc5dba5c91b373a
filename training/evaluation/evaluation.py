"""All figures of an evaluation, as one JSON document: aggregates only, no row of anyone."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from typing import Any

import numpy as np
from henaw.model.biomarkers import CAUSES
from henaw.model.checkpoint import Checkpoint
from henaw.model.configuration import CAUSE_CLASSES
from henaw.training.cohort import Cohort
from henaw.training.evaluation.calibration import calibrate, calibrate_cells
from henaw.training.evaluation.comparison import (
    AUC_DRAWS,
    SCORES,
    compare_clocks,
    measure_auc,
    measure_c_index,
    measure_hazard_ratios,
)
from henaw.training.evaluation.estimates import FEWEST_DEATHS, FEWEST_SHOWN, describe_count
from henaw.training.evaluation.evaluated import (
    Evaluated,
    answer_people,
    check_people,
    describe_seen,
    is_followed,
    select_surveys,
)
from henaw.training.evaluation.missing import measure_missing
from henaw.training.evaluation.repetition import simulate_repeats
from henaw.training.evaluation.shapes import summarise_contributions, trace_shapes
from henaw.training.evaluation.stratification import describe_gap, split_thirds, trace_survival
from henaw.training.evaluation.subgroups import tabulate_subgroups
from henaw.training.metrics import HORIZON_YEARS, OLDEST_EVALUATED_YEARS, select_evaluated

Progress = Callable[[str], None]

SECTIONS: tuple[str, ...] = (
    "c_index",
    "clocks",
    "auc",
    "calibration",
    "gap",
    "hazard_ratio",
    "survival",
    "subgroups",
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
    draws: int = 1000,
    seed: int = 1,
    progress: Progress = lambda _: None,
) -> dict[str, Any]:
    """Measure everything that the report shows.

    Args:
        checkpoint: the model.
        cohort: the people, read with ``clocks=CLOCKS``.
        surveys: evaluate these only; without any, everyone.
        draws: bootstrap samples of each C-index.
        seed: of the bootstrap and the simulation.
        progress: called with the name of each of SECTIONS as it ends.

    Raises:
        CohortError: a survey is not in the cohort, or too few people can be evaluated.
    """
    usable = select_surveys(cohort, surveys)
    usable = usable.select(usable.age_years <= OLDEST_EVALUATED_YEARS)
    people = usable.select(select_evaluated(usable))
    check_people(people, usable)
    evaluated = answer_people(checkpoint, people)
    gap, age = evaluated.score("age_gap"), evaluated.age_years
    measures: dict[str, Callable[[], Any]] = {
        "c_index": lambda: measure_c_index(evaluated, draws=draws, seed=seed),
        "clocks": lambda: compare_clocks(evaluated, draws=draws, seed=seed),
        "auc": lambda: measure_auc(evaluated, seed=seed),
        "calibration": lambda: measure_calibration(evaluated),
        "gap": lambda: describe_gap(gap, age),
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
        "contributions": lambda: summarise_contributions(
            evaluated.answers["contributions"].astype(np.float64),
            checkpoint.network.contribution_names,
        ),
        "missing": lambda: measure_missing(checkpoint, evaluated, draws=draws, seed=seed),
        "repeats": lambda: simulate_repeats(checkpoint.build_network(), people, seed=seed),
        "shapes": lambda: trace_shapes(checkpoint),
    }
    result: dict[str, Any] = {
        "henaw_evaluation": 1,
        "date": datetime.date.today().isoformat(),
        "model": describe_model(checkpoint),
        "cohort": describe_cohort(checkpoint, evaluated, usable),
        "settings": {
            "horizon_years": HORIZON_YEARS,
            "draws": draws,
            "auc_draws": AUC_DRAWS,
            "seed": seed,
            "fewest_shown": FEWEST_SHOWN,
            "fewest_deaths": FEWEST_DEATHS,
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
        for code, name in enumerate(CAUSE_CLASSES)
    }
    if None in causes.values():
        # "other" is shown nowhere else: without it the sum tells of no single cause.
        causes["other"] = None
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


def measure_calibration(evaluated: Evaluated) -> dict[str, Any]:
    """Calibration of the 10-year risks, or why it cannot be measured."""
    time, event, people = evaluated.time_years, evaluated.event, evaluated.people
    if not is_followed(time):
        return {
            "shown": False,
            "reason": f"fewer than {FEWEST_SHOWN} people were followed for {HORIZON_YEARS:g} years",
        }
    risk = evaluated.score("mortality_10y")
    causes = evaluated.answers["cause_risk_10y"].astype(np.float64)
    # A death of unknown cause competes with every cause, as "other" does.
    code = np.where(event, np.where(people.cause < 0, len(CAUSES), people.cause) + 1, 0)
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
            for place, name in enumerate(CAUSES)
        },
    }
