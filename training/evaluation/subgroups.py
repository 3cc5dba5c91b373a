"""Accuracy, calibration and gap of subgroups, people with missing biomarkers included."""

from __future__ import annotations

from typing import Any

import numpy as np
from henaw.model.biomarkers import SEXES
from henaw.training.evaluation.calibration import describe_ratio, observe_risk
from henaw.training.evaluation.discrimination import compute_c, draw_c
from henaw.training.evaluation.estimates import (
    FEWEST_SHOWN,
    Rows,
    describe_group,
    describe_partition,
    estimate_from_draws,
    withhold,
)
from henaw.training.evaluation.evaluated import Evaluated, is_followed
from henaw.training.metrics import HORIZON_YEARS


def list_partitions(everyone: Evaluated) -> list[dict[str, Rows]]:
    """Ways to part everyone into groups: by missing values, by sex and decade, by survey."""
    age, sex, survey = everyone.age_years, everyone.people.sex, everyone.people.survey
    complete = everyone.people.complete
    partitions: list[dict[str, Rows]] = [
        {"all nine biomarkers": complete, "some biomarkers missing": ~complete}
    ]
    partitions += [
        {
            f"{name}, {decade}-{decade + 9}": (sex == code) & (age >= decade) & (age < decade + 10)
            for decade in range(20, 90, 10)
        }
        for code, name in enumerate(SEXES)
    ]
    names = sorted(set(map(str, survey)))
    if len(names) > 1:
        partitions.append({f"survey {name}": survey == name for name in names})
    return partitions


def tabulate_subgroups(everyone: Evaluated, *, draws: int, seed: int) -> list[dict[str, Any]]:
    """C of the 10-year risk, O/E and mean gap by subgroup."""
    result = []
    for partition in list_partitions(everyone):
        rows = [_measure(everyone, name, rows, draws, seed) for name, rows in partition.items()]
        for key in ("people", "deaths"):
            counts = [int((group & (everyone.dead | (key == "people"))).sum())
                      for group in partition.values()]  # fmt: skip
            for row, count in zip(rows, describe_partition(counts), strict=True):
                if count is None:
                    withhold(row)
                    row[key] = None
        result += rows
    return result


def _measure(everyone: Evaluated, name: str, rows: Rows, draws: int, seed: int) -> dict[str, Any]:
    count = int(rows.sum())
    risk, gap = everyone.score("mortality_10y")[rows], everyone.score("age_gap")[rows]
    row: dict[str, Any] = {
        "group": name,
        **describe_group(count, int(everyone.dead[rows].sum())),
    }
    if count >= FEWEST_SHOWN:
        row["mean_gap"] = round(float(np.mean(gap)), 2)
    if row["shown"]:
        cut, dead = everyone.cut_years[rows], everyone.dead[rows]
        drawn = draw_c({"risk": risk}, cut, dead, draws=draws, seed=seed)
        row["c"] = estimate_from_draws(compute_c(risk, cut, dead), drawn["risk"]).describe()
        if is_followed(everyone.time_years[rows]):
            seen = observe_risk(everyone.time_years[rows], everyone.event[rows], HORIZON_YEARS)
            row |= describe_ratio(seen, float(risk.mean()), count)
    return row
