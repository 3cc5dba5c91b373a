"""The model's order of deaths against age, age and sex, and other clocks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from henaw.training.evaluation.measures.discrimination import estimate_auc, estimate_c
from henaw.training.evaluation.measures.estimates import (
    FEWEST_DEATHS,
    FEWEST_SHOWN,
    Array,
    Rows,
    describe_count,
    describe_group,
    withhold,
)
from henaw.training.evaluation.measures.hazard_regression import fit_hazard_regression
from henaw.training.evaluation.measures.stratification import fit_hazard_ratio
from henaw.training.evaluation.scored_people import Evaluated
from henaw.training.metrics import AGE_BANDS, HORIZON_YEARS
from lifelines import CoxPHFitter

CLOCKS: tuple[str, ...] = ("phenoage", "kdm")
"""Columns of other clocks that are compared where a cohort has them."""

AUC_HORIZONS_YEARS: tuple[float, ...] = (2.0, 5.0, 10.0)
AUC_DRAWS = 200
SCORES: dict[str, str] = {
    "mortality_10y": "HENAW, 10-year risk",
    "biological_age": "HENAW, biological age",
    "age_sex": "age and sex (Cox)",
    "age": "age",
    "phenoage": "PhenoAge",
    "kdm": "Klemera-Doubal",
}
"""Names of the scores for people."""


def fit_age_sex(evaluated: Evaluated) -> Array:
    """Log hazard of a Cox model of age, sex and their product, fitted on these people: (n,)."""
    sex = evaluated.people.sex.astype(np.float64)
    age = (evaluated.age_years - 50.0) / 10.0
    columns = {"age": age}
    if 0 < sex.mean() < 1:
        columns |= {"sex": sex, "age_sex": age * sex}
    table = pd.DataFrame(columns)
    fit = CoxPHFitter().fit(
        table.assign(time=evaluated.cut_years, dead=evaluated.dead), "time", "dead"
    )
    hazard: Array = fit.predict_log_partial_hazard(table).to_numpy(np.float64)
    return hazard


def predict_by_age_sex(evaluated: Evaluated) -> Array:
    """Risk by the horizon of a Cox model of age, sex and their product: (n,).

    It is fitted on these people, which favours it slightly.
    """
    age, sex = (evaluated.age_years - 50.0) / 10.0, evaluated.people.sex.astype(np.float64)
    both = np.column_stack([age, sex, age * sex]) if 0 < sex.mean() < 1 else age[:, None]
    fit = fit_hazard_regression(both, evaluated.cut_years, evaluated.dead, HORIZON_YEARS)
    return fit.predict_risk(both)


def measure_c_index(evaluated: Evaluated, *, draws: int, seed: int) -> list[dict[str, Any]]:
    """C by age band and sex of the model, of age, and of age and sex, with the gains."""
    scores = {
        "mortality_10y": evaluated.score("mortality_10y"),
        "biological_age": evaluated.score("biological_age"),
        "age_sex": fit_age_sex(evaluated),
        "age": evaluated.age_years,
    }
    return _compare(scores, evaluated.groups, evaluated, draws=draws, seed=seed)


def compare_clocks(evaluated: Evaluated, *, draws: int, seed: int) -> dict[str, Any]:
    """The model against other clocks, each on the people for whom it is known."""
    result: dict[str, Any] = {}
    for clock in CLOCKS:
        ages = evaluated.people.clocks.get(clock)
        if ages is None:
            result[clock] = {"shown": False, "reason": f"the cohort has no column {clock}"}
            continue
        known = np.isfinite(ages)
        if not describe_group(int(known.sum()), int((known & evaluated.dead).sum()))["shown"]:
            result[clock] = {
                "shown": False,
                "reason": f"the column {clock} is empty for all, or nearly all, of these people",
            }
            continue
        scores = {
            "mortality_10y": evaluated.score("mortality_10y"),
            "biological_age": evaluated.score("biological_age"),
            clock: ages,
        }
        groups = {name: rows & known for name, rows in evaluated.groups.items()}
        rows = _compare(scores, groups, evaluated, draws=draws, seed=seed)
        for row in rows:
            # Beside those of everyone, these counts would tell of the few not known.
            del row["people"], row["deaths"]
        unknown = describe_count(int((~known).sum()))
        result[clock] = {
            "shown": True,
            "people": None if unknown is None else int(known.sum()),
            "groups": rows,
        }
    return result


def _compare(
    scores: Mapping[str, Array],
    groups: Mapping[str, Rows],
    evaluated: Evaluated,
    *,
    draws: int,
    seed: int,
) -> list[dict[str, Any]]:
    result = {}
    for group, rows in groups.items():
        row = {"group": group, **describe_group(int(rows.sum()), int(evaluated.dead[rows].sum()))}
        if row["shown"]:
            figures, gains = estimate_c(
                {name: score[rows] for name, score in scores.items()},
                evaluated.cut_years[rows],
                evaluated.dead[rows],
                draws=draws,
                seed=seed,
            )
            row["c"] = {name: figure.describe() for name, figure in figures.items()}
            row["gain"] = {name: figure.describe() for name, figure in gains.items()}
        result[group] = row
    for band in AGE_BANDS:
        pair = ["women", "men"] if band == "all" else [f"women {band}", f"men {band}"]
        if not all(result[name]["shown"] for name in pair):
            # The other sex is the band less this one.
            for name in pair:
                withhold(result[name])
    return list(result.values())


def measure_auc(evaluated: Evaluated, *, seed: int) -> list[dict[str, Any]]:
    """Cumulative/dynamic AUC at AUC_HORIZONS_YEARS, for everyone and at 40-69."""
    scores = {
        "mortality_10y": evaluated.score("mortality_10y"),
        "biological_age": evaluated.score("biological_age"),
        "age_sex": fit_age_sex(evaluated),
    }
    ages = evaluated.people.clocks.get("phenoage")
    if ages is not None and np.isfinite(ages).all():
        scores["phenoage"] = ages
    result = []
    for group in ("all", "40-69"):
        rows = evaluated.groups[group]
        time, event = evaluated.time_years[rows], evaluated.event[rows]
        for horizon in AUC_HORIZONS_YEARS:
            deaths = int((event & (time <= horizon)).sum())
            alive = int((time >= horizon).sum())
            row: dict[str, Any] = {
                "group": group,
                "horizon_years": horizon,
                "deaths": describe_count(deaths),
                "shown": deaths >= FEWEST_DEATHS and alive >= FEWEST_SHOWN,
            }
            if row["shown"]:
                figures, gains = estimate_auc(
                    {name: score[rows] for name, score in scores.items()},
                    time,
                    event,
                    horizon,
                    draws=AUC_DRAWS,
                    seed=seed,
                )
                row["auc"] = {name: figure.describe() for name, figure in figures.items()}
                row["gain"] = {name: figure.describe() for name, figure in gains.items()}
            result.append(row)
    return result


def measure_hazard_ratios(evaluated: Evaluated) -> list[dict[str, Any]]:
    """Hazard ratio per SD of the gap, adjusted for age and sex, by band and by sex."""
    gap, groups = evaluated.score("age_gap"), evaluated.groups
    result = {}
    for group in (*AGE_BANDS, "women", "men"):
        rows = groups[group]
        row = {"group": group, **describe_group(int(rows.sum()), int(evaluated.dead[rows].sum()))}
        if row["shown"]:
            row |= fit_hazard_ratio(
                gap[rows],
                evaluated.age_years[rows],
                evaluated.people.sex[rows],
                evaluated.cut_years[rows],
                evaluated.dead[rows],
            )
        result[group] = row
    if not (result["women"]["shown"] and result["men"]["shown"]):
        withhold(result["women"])
        withhold(result["men"])
    return list(result.values())
