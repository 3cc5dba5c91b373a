"""How well the model orders deaths, beside age, age and sex, and other clocks."""

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
    describe_all,
    describe_count,
    describe_group,
    withhold_unless_both,
)
from henaw.training.evaluation.measures.hazard_regression import fit_hazard_regression
from henaw.training.evaluation.measures.stratification import fit_hazard_ratio
from henaw.training.evaluation.scored_people import ScoredPeople
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
"""What the scores are called in the report."""


def _tabulate_age_sex(scored: ScoredPeople) -> pd.DataFrame:
    """Predictors: age in decades from 50 and, where both sexes are there, sex and the product."""
    age, sex = (scored.age_years - 50.0) / 10.0, scored.people.sex.astype(np.float64)
    columns = {"age": age}
    if 0 < sex.mean() < 1:
        columns |= {"sex": sex, "age_sex": age * sex}
    return pd.DataFrame(columns)


def fit_age_sex(scored: ScoredPeople) -> Array:
    """Log hazard of a Cox model of age, sex and their product, fitted on these people: (n,)."""
    table = _tabulate_age_sex(scored)
    fit = CoxPHFitter().fit(table.assign(time=scored.cut_years, dead=scored.dead), "time", "dead")
    hazard: Array = fit.predict_log_partial_hazard(table).to_numpy(np.float64)
    return hazard


def predict_by_age_sex(scored: ScoredPeople) -> Array:
    """Risk by the horizon of a Cox model of age, sex and their product: (n,).

    The model is fitted on these people, which favours it slightly.
    """
    columns = _tabulate_age_sex(scored).to_numpy(np.float64)
    fit = fit_hazard_regression(columns, scored.cut_years, scored.dead, HORIZON_YEARS)
    return fit.predict_risk(columns)


def _list_scores(scored: ScoredPeople, **others: Array) -> dict[str, Array]:
    """The model's two scores, then those that they are compared with."""
    return {name: scored.output(name) for name in ("mortality_10y", "biological_age")} | others


def measure_c_index(scored: ScoredPeople, *, draws: int, seed: int) -> list[dict[str, Any]]:
    """C by age band and sex of the model, of age, and of age and sex, with the gains."""
    scores = _list_scores(scored, age_sex=fit_age_sex(scored), age=scored.age_years)
    return _compare(scores, scored.groups, scored, draws=draws, seed=seed)


def compare_clocks(scored: ScoredPeople, *, draws: int, seed: int) -> dict[str, Any]:
    """C of the model and of other clocks, each on the people whose clock age is known."""
    result: dict[str, Any] = {}
    for clock in CLOCKS:
        ages = scored.people.clocks.get(clock)
        if ages is None:
            result[clock] = {"shown": False, "reason": f"the cohort has no column {clock}"}
            continue
        known = np.isfinite(ages)
        if not describe_group(int(known.sum()), int((known & scored.dead).sum()))["shown"]:
            result[clock] = {
                "shown": False,
                "reason": f"the column {clock} is empty for all, or nearly all, of these people",
            }
            continue
        scores = _list_scores(scored, **{clock: ages})
        groups = {name: rows & known for name, rows in scored.groups.items()}
        rows = _compare(scores, groups, scored, draws=draws, seed=seed)
        for row in rows:
            # The counts of everyone less these would be those of the few who are not known.
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
    scored: ScoredPeople,
    *,
    draws: int,
    seed: int,
) -> list[dict[str, Any]]:
    result = {}
    for group, rows in groups.items():
        part = scored.select(rows)
        row = part.describe_group(group)
        if row["shown"]:
            values, gains = estimate_c(
                {name: score[rows] for name, score in scores.items()},
                part.cut_years,
                part.dead,
                draws=draws,
                seed=seed,
            )
            row |= {"c": describe_all(values), "gain": describe_all(gains)}
        result[group] = row
    for band in AGE_BANDS:
        suffix = "" if band == "all" else f" {band}"
        withhold_unless_both(result[f"women{suffix}"], result[f"men{suffix}"])
    return list(result.values())


def measure_auc(scored: ScoredPeople, *, seed: int) -> list[dict[str, Any]]:
    """Cumulative/dynamic AUC at AUC_HORIZONS_YEARS, for everyone and at 40-69."""
    scores = _list_scores(scored, age_sex=fit_age_sex(scored))
    ages = scored.people.clocks.get("phenoage")
    if ages is not None and np.isfinite(ages).all():
        scores["phenoage"] = ages
    result = []
    for group in ("all", "40-69"):
        rows = scored.groups[group]
        time, event = scored.time_years[rows], scored.event[rows]
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
                values, gains = estimate_auc(
                    {name: score[rows] for name, score in scores.items()},
                    time,
                    event,
                    horizon,
                    draws=AUC_DRAWS,
                    seed=seed,
                )
                row |= {"auc": describe_all(values), "gain": describe_all(gains)}
            result.append(row)
    return result


def measure_hazard_ratios(scored: ScoredPeople) -> list[dict[str, Any]]:
    """Hazard ratio per SD of the gap, adjusted for age and sex, by band and by sex."""
    result = {}
    for group in (*AGE_BANDS, "women", "men"):
        part = scored.select(scored.groups[group])
        result[group] = part.describe_group(group)
        if result[group]["shown"]:
            result[group] |= fit_hazard_ratio(
                part.output("age_gap"), part.age_years, part.people.sex, part.cut_years, part.dead
            )
    withhold_unless_both(result["women"], result["men"])
    return list(result.values())
