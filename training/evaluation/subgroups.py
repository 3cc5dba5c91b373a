"""Accuracy, calibration and gap of subgroups, people with missing biomarkers included.

Observed over expected deaths are taken over each person's own follow-up, and by Kaplan-Meier
too where enough people were followed to the horizon.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from henaw.model.biomarkers import SEXES
from henaw.training.evaluation.measures.calibration import describe_ratio, observe_risk
from henaw.training.evaluation.measures.discrimination import estimate_c
from henaw.training.evaluation.measures.estimates import (
    FEWEST_SHOWN,
    Rows,
    describe_all,
    describe_partition,
    withhold,
)
from henaw.training.evaluation.measures.follow_up import describe_deaths
from henaw.training.evaluation.scored_people import ScoredPeople, is_followed
from henaw.training.metrics import HORIZON_YEARS


def list_partitions(everyone: ScoredPeople) -> list[dict[str, Rows]]:
    """Ways to divide everyone into groups: by missing values, by sex and decade, by survey.

    Also by whether the answer is reliable, where the model says so.
    """
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
    if "reliable" in everyone.outputs:
        reliable = np.asarray(everyone.outputs["reliable"], bool)
        partitions.append({"reliable answers": reliable, "answers not reliable": ~reliable})
    names = sorted(set(map(str, survey)))
    if len(names) > 1:
        partitions.append({f"survey {name}": survey == name for name in names})
    return partitions


def tabulate_subgroups(everyone: ScoredPeople, *, draws: int, seed: int) -> list[dict[str, Any]]:
    """C of the 10-year risk, O/E both ways, and the gap by subgroup."""
    result = []
    for partition in list_partitions(everyone):
        rows = [_measure(everyone.select(rows), name, draws, seed)
                for name, rows in partition.items()]  # fmt: skip
        for key in ("people", "deaths"):
            counts = [int((group & (everyone.dead | (key == "people"))).sum())
                      for group in partition.values()]  # fmt: skip
            for row, count in zip(rows, describe_partition(counts), strict=True):
                if count is None:
                    withhold(row)
                    row[key] = None
        result += rows
    return result


def _measure(people: ScoredPeople, name: str, draws: int, seed: int) -> dict[str, Any]:
    risk, gap = people.output("mortality_10y"), people.output("age_gap")
    row = people.describe_group(name)
    if len(people) >= FEWEST_SHOWN:
        row["mean_gap"] = round(float(np.mean(gap)), 2)
        row["median_gap"] = round(float(np.median(gap)), 2)
    if row["shown"]:
        c, _ = estimate_c({"c": risk}, people.cut_years, people.dead, draws=draws, seed=seed)
        row |= describe_all(c)
        row["own_follow_up"] = describe_deaths(people.hazard, people.time_years, people.event)
        if is_followed(people.time_years):
            observed = observe_risk(people.time_years, people.event, HORIZON_YEARS)
            row |= describe_ratio(observed, float(risk.mean()), len(people))
    return row


WELL_CALIBRATED: tuple[float, float] = (0.8, 1.25)
"""A group whose O/E lies between these needs no remark."""


def remark_on_groups(subgroups: list[dict[str, Any]]) -> list[str]:
    """Remark on the groups of sex and decade whose O/E is outside WELL_CALIBRATED.

    Args:
        subgroups: rows of :func:`tabulate_subgroups`.

    Returns:
        A sentence that counts these groups, then one for each, farthest from 1 first.
    """
    low, high = WELL_CALIBRATED
    cells = [
        row
        for row in subgroups
        if row["shown"] and row["group"].startswith(tuple(f"{sex}, " for sex in SEXES))
    ]
    far = [row for row in cells if not low <= row["own_follow_up"]["ratio"]["value"] <= high]
    if not cells:
        return ["No group of sex and decade of age has enough deaths to compare."]
    if not far:
        return [
            f"In each of the {len(cells)} groups of sex and decade of age with enough deaths, "
            f"observed over expected deaths is between {low:g} and {high:g}."
        ]
    verb = "has" if len(far) == 1 else "have"
    first = (
        f"{len(far)} of {len(cells)} groups of sex and decade of age {verb} an observed over "
        f"expected ratio outside {low:g} to {high:g}."
    )
    far.sort(key=lambda row: -abs(np.log(max(row["own_follow_up"]["ratio"]["value"], 1e-3))))
    return [first, *(_remark(row) for row in far)]


def _remark(row: dict[str, Any]) -> str:
    sex, ages = row["group"].split(", ")
    who = {"female": "Women", "male": "Men"}[sex]
    deaths, ratio = row["own_follow_up"], row["own_follow_up"]["ratio"]
    if ratio["low"] <= 1.0 <= ratio["high"]:
        meaning = "The interval includes 1: this can be chance."
    elif ratio["value"] > 1.0:
        meaning = "The interval is above 1: the model predicts too few deaths here."
    else:
        meaning = "The interval is below 1: the model predicts too many deaths here."
    return (
        f"{who} aged {ages}: {deaths['observed']} deaths, {deaths['expected']:g} expected, ratio "
        f"{ratio['value']:.2f} ({ratio['low']:.2f} to {ratio['high']:.2f}). {meaning}"
    )
