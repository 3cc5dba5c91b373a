"""Who was evaluated: how many people each step left out, and the baseline of the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from henaw.model.biomarkers import PANEL
from henaw.training.cohorts.cohort import Cohort
from henaw.training.evaluation.measures.estimates import (
    FEWEST_SHOWN,
    Array,
    Rows,
    describe_count,
    describe_partition,
)
from henaw.training.evaluation.scored_people import ScoredPeople
from henaw.training.metrics import HORIZON_YEARS, OLDEST_EVALUATED_YEARS

REASONS: dict[str, str] = {
    "age_not_fitted": "age outside the ages that the model is fitted on",
    "age_top_coded": "age known only as the survey's highest or more",
    "pregnant": "pregnant",
    "not_followed": "not followed for death",
    "no_biomarker": "none of the nine biomarkers measured",
}
"""The reader's reasons to leave people out, in its order, in words."""

SEX_COLUMNS: tuple[str, ...] = ("women", "men")


def describe_flow(cohort: Cohort, *, of_surveys: int, usable: int, scored: ScoredPeople) -> Any:
    """How many people each step leaves out, and why; small counts are withheld.

    Args:
        cohort: as read.
        of_surveys: number of people in the chosen surveys.
        usable: number of these young enough to be evaluated.
        scored: those of them with all nine biomarkers.

    Returns:
        A list of steps, each with ``name``, ``people`` at its start, and ``left_out``, rows of
        ``reason`` and ``people``. The last step leaves no one out and has ``ends`` instead.
    """
    people = len(scored.people)
    report = cohort.report
    stages: list[tuple[str, int, dict[str, int]]] = []
    if "rows" in report:
        dropped = {words: report.get(key, 0) for key, words in REASONS.items()}
        unnamed = report["rows"] - len(cohort) - sum(dropped.values())
        if unnamed > 0:
            dropped["other reasons"] = unnamed
        stages.append(("rows in the file", report["rows"], dropped))
    stages.append(
        (
            "adults that a fit of the model would keep",
            len(cohort),
            {
                "of surveys not evaluated here": len(cohort) - of_surveys,
                f"older than {OLDEST_EVALUATED_YEARS:g} years": of_surveys - usable,
                "some of the nine biomarkers missing": usable - people,
            },
        )
    )
    steps = []
    for name, start, dropped in stages:
        named = {reason: count for reason, count in dropped.items() if count}
        shown = describe_partition(list(named.values()))
        steps.append(
            {
                "name": name,
                "people": start,
                "left_out": [
                    {"reason": reason, "people": count}
                    for reason, count in zip(named, shown, strict=True)
                ],
            }
        )
        if shown.count(None) == 1:
            # The start less the end would reveal the one small count.
            for step in steps:
                step["people"] = None
    alive = scored.time_years >= HORIZON_YEARS
    ends = {
        f"died within {HORIZON_YEARS:g} years": int(scored.dead.sum()),
        f"alive at {HORIZON_YEARS:g} years": int((alive & ~scored.dead).sum()),
        f"alive at the end of a follow-up of less than {HORIZON_YEARS:g} years": int(
            (~alive & ~scored.dead).sum()
        ),
    }
    counts = describe_partition(list(ends.values()))
    return [
        *steps,
        {
            "name": "people evaluated",
            "people": people,
            "left_out": [],
            "ends": [
                {"end": end, "people": count} for end, count in zip(ends, counts, strict=True)
            ],
        },
    ]


def describe_quantiles(values: Array, digits: int = 3) -> dict[str, float]:
    """Median, lower and upper quartile, rounded to significant digits.

    Shape:
        values: (n,)

    Example:
        >>> describe_quantiles(np.array([1.0, 2.0, 3.0, 4.0, 5.0]))
        {'median': 3.0, 'low': 2.0, 'high': 4.0}
    """
    quartiles = np.quantile(values, [0.5, 0.25, 0.75])
    return {
        name: float(f"{value:.{digits}g}")
        for name, value in zip(("median", "low", "high"), quartiles, strict=True)
    }


def describe_baseline(scored: ScoredPeople, usable: Cohort) -> dict[str, Any]:
    """Baseline of the people evaluated, by sex.

    Args:
        scored: people with all nine biomarkers.
        usable: these people and those with some biomarkers missing, for the shares missing.

    Returns:
        ``people`` and ``deaths`` by column (women, men, all); ``rows``, each with ``label``,
        ``unit``, the median and quartiles by column, and for a biomarker the share ``missing``
        by column among the usable; ``person_years`` and ``deaths_per_1000`` by column, follow-up
        cut at the horizon. A figure is None where it would reveal a small group.
    """
    columns: dict[str, Rows] = {
        name: scored.people.sex == code for code, name in enumerate(SEX_COLUMNS)
    }
    people = _count_by_sex(columns, np.ones(len(scored.people), bool))
    deaths = _count_by_sex(columns, scored.dead)
    columns["all"] = np.ones(len(scored.people), bool)
    shown = {name: rows for name, rows in columns.items() if people[name] is not None}
    values = {
        ("Age", "years"): scored.age_years,
        ("Follow-up", "years"): scored.time_years,
    }
    missing = {}
    for place, biomarker in enumerate(PANEL):
        if biomarker.name not in usable.panel:
            continue
        key = (biomarker.label, biomarker.unit)
        values[key] = scored.people.biomarkers[:, place].astype(np.float64)
        missing[key] = _share_missing(usable, place)
    rows = [
        {
            "label": label,
            "unit": unit,
            **{
                name: describe_quantiles(column[columns[name]]) if name in shown else None
                for name in columns
            },
            **({"missing": missing[label, unit]} if (label, unit) in missing else {}),
        }
        for (label, unit), column in values.items()
    ]
    person_years = {
        name: round(float(scored.cut_years[rows].sum())) if name in shown else None
        for name, rows in columns.items()
    }
    return {
        "people": people,
        "deaths": deaths,
        "person_years": person_years,
        "deaths_per_1000": {
            name: round(1000 * count / years, 1)
            if (count := deaths[name]) is not None and (years := person_years[name])
            else None
            for name in columns
        },
        "usable": len(usable) if _may_show([len(usable) - len(scored.people)]) else None,
        "rows": rows,
    }


def _may_show(counts: Sequence[int]) -> bool:
    return all(describe_count(count) is not None for count in counts)


def _count_by_sex(columns: Mapping[str, Rows], inside: Rows) -> dict[str, int | None]:
    counts = describe_partition([int((rows & inside).sum()) for rows in columns.values()])
    return dict(zip(columns, counts, strict=True)) | {"all": describe_count(int(inside.sum()))}


def _share_missing(usable: Cohort, place: int) -> dict[str, float | None]:
    missing = np.isnan(usable.biomarkers[:, place])
    by_sex = [usable.sex == code for code in range(len(SEX_COLUMNS))]
    apart = _may_show([int((rows & part).sum()) for rows in by_sex for part in (missing, ~missing)])
    together = _may_show([int(missing.sum()), int((~missing).sum())])
    shares: dict[str, float | None] = {
        name: round(float(missing[rows].mean()), 4)
        if apart and rows.sum() >= FEWEST_SHOWN
        else None
        for name, rows in zip(SEX_COLUMNS, by_sex, strict=True)
    }
    return shares | {"all": round(float(missing.mean()), 4) if together else None}
