"""All figures of an evaluation as one JSON document: aggregates only, nothing of one person."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from typing import Any

import numpy as np
from henaw.model.checkpoint import Checkpoint
from henaw.model.configuration import OTHER_CAUSE
from henaw.training.cohorts.cohort import Cohort
from henaw.training.evaluation.comparison import (
    AUC_DRAWS,
    SCORES,
    compare_clocks,
    measure_auc,
    measure_c_index,
    measure_hazard_ratios,
)
from henaw.training.evaluation.measures.estimates import (
    FEWEST_DEATHS,
    FEWEST_SHOWN,
    describe_count,
)
from henaw.training.evaluation.measures.stratification import (
    describe_gap,
    describe_percentile,
    split_thirds,
    trace_survival,
)
from henaw.training.evaluation.missing import measure_missing
from henaw.training.evaluation.participants import describe_baseline, describe_flow
from henaw.training.evaluation.repetition import simulate_repeats
from henaw.training.evaluation.risks import (
    measure_calibration,
    measure_decisions,
    measure_follow_up,
    measure_prediction_error,
    measure_smoothed,
)
from henaw.training.evaluation.scored_people import (
    ScoredPeople,
    check_people,
    describe_seen,
    score_people,
    select_surveys,
)
from henaw.training.evaluation.shapes import summarise_contributions, trace_shapes
from henaw.training.evaluation.subgroups import remark_on_groups, tabulate_subgroups
from henaw.training.metrics import HORIZON_YEARS, OLDEST_EVALUATED_YEARS, select_evaluated
from henaw.training.reference.harmonisation import estimate_profiles, take_profiles_off

Progress = Callable[[str], None]

FORMAT = 2
"""Version of the format of evaluation.json."""

CURVE_DRAWS = 200
"""Bootstrap samples of the smooth calibration curve, at most."""

SECTIONS: tuple[str, ...] = (
    *("flow", "baseline", "c_index", "clocks", "auc", "follow_up", "calibration", "smoothed"),
    *("prediction_error", "decisions", "gap", "percentile", "hazard_ratio", "survival"),
    *("subgroups", "remarks", "contributions", "missing", "repeats", "shapes"),
)
"""What an evaluation contains besides ``model``, ``cohort`` and ``settings``, in order."""


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
        surveys: evaluate these only; empty: everyone.
        older: people of :func:`read_older`, who are reported separately; None: the people of
            the cohort who are too old.
        own_profile: take each survey's own profile off first, as a laboratory does that was
            calibrated on its people's values.
        draws: bootstrap samples of each C-index.
        seed: of the bootstrap and the simulation.
        progress: called with the name of each of SECTIONS when it is done.

    Returns:
        The document, one entry for each of SECTIONS.

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
    scored_older = score_people(checkpoint, older.select(older.complete))
    people = usable.select(select_evaluated(usable))
    check_people(people, usable)
    scored = score_people(checkpoint, people)
    gap, age = scored.output("age_gap"), scored.age_years
    measures: dict[str, Callable[[], Any]] = {
        "flow": lambda: describe_flow(
            cohort, of_surveys=len(chosen), usable=len(usable), scored=scored
        ),
        "baseline": lambda: describe_baseline(scored, usable),
        "c_index": lambda: measure_c_index(scored, draws=draws, seed=seed),
        "clocks": lambda: compare_clocks(scored, draws=draws, seed=seed),
        "auc": lambda: measure_auc(scored, seed=seed),
        "follow_up": lambda: measure_follow_up(scored, scored_older),
        "calibration": lambda: measure_calibration(scored, checkpoint.network.causes),
        "smoothed": lambda: measure_smoothed(scored, draws=min(draws, CURVE_DRAWS), seed=seed),
        "prediction_error": lambda: measure_prediction_error(scored, draws=draws, seed=seed),
        "decisions": lambda: measure_decisions(scored),
        "gap": lambda: describe_gap(gap, age),
        "percentile": lambda: describe_percentile(
            scored.output("percentile") if "percentile" in scored.outputs else None, age
        ),
        "hazard_ratio": lambda: measure_hazard_ratios(scored),
        "survival": lambda: trace_survival(
            split_thirds(gap, age, people.sex),
            age,
            scored.time_years,
            scored.event,
            int(HORIZON_YEARS),
        ),
        "subgroups": lambda: tabulate_subgroups(
            score_people(checkpoint, usable), draws=draws, seed=seed
        ),
        "remarks": lambda: remark_on_groups(result["subgroups"]),
        "contributions": lambda: summarise_contributions(
            scored.output("contributions"), checkpoint.network.contribution_names
        ),
        "missing": lambda: measure_missing(checkpoint, scored, draws=draws, seed=seed),
        "repeats": lambda: simulate_repeats(checkpoint.build_network(), people, seed=seed),
        "shapes": lambda: trace_shapes(checkpoint),
    }
    result: dict[str, Any] = {
        "henaw_evaluation": FORMAT,
        "date": datetime.date.today().isoformat(),
        "model": describe_model(checkpoint),
        "cohort": describe_cohort(checkpoint, scored, usable),
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


def describe_cohort(checkpoint: Checkpoint, scored: ScoredPeople, usable: Cohort) -> dict[str, Any]:
    """Who was evaluated, in counts."""
    people, dead = scored.people, scored.dead
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
        "mean_age": round(float(scored.age_years.mean()), 1),
        "ages": [float(people.age_years.min()), float(people.age_years.max())],
        "median_follow_up_years": round(float(np.median(scored.time_years)), 1),
        "oldest": OLDEST_EVALUATED_YEARS,
    }
