"""Build a cohort table from a UK Biobank extract.

Everything happens on this machine. The table contains people's data and must stay where the
extract is allowed to be; the report beside it contains only counts.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import polars as pl
from henaw.intake.words.ukb_names import (
    AGE_AT_RECRUITMENT,
    AGE_AT_VISIT,
    BIOMARKER_FIELDS,
    CAUSE_OF_DEATH,
    CENTRE,
    DATE_OF_DEATH,
    DATE_OF_VISIT,
    FIELDS,
    LOST_TO_FOLLOW_UP,
    MONTH_OF_BIRTH,
    REPORTABILITY_FIELDS,
    SEX,
    YEAR_OF_BIRTH,
    Place,
)
from henaw.model.biomarkers import PANEL
from henaw.model.errors import CohortError
from henaw.training.cohorts.table_checks import LONGEST_MONTHS
from henaw.training.readers.table import COLUMNS, check_table_path, write_table
from henaw.training.readers.ukb.configuration import UkbConfiguration
from henaw.training.readers.ukb.deaths import merge_deaths
from henaw.training.readers.ukb.files import Extract, find_sources
from henaw.training.readers.ukb.follow_up import follow_up
from henaw.training.readers.ukb.join import Joined, join_sources
from henaw.training.readers.ukb.participants import read_participants
from henaw.training.readers.ukb.visits import fill_beyond_limits, select_visits

_FIRST_YEAR = 2006
_FOREIGN_UNIT_SHARE = 0.5
"""A larger share of values outside the accepted range means another unit, not errors."""


def build_ukb_table(
    root: Path,
    out: Path,
    configuration: UkbConfiguration,
    *,
    withdrawn: Sequence[Path] = (),
    only: Sequence[Path] = (),
    progress: Callable[[int], None] = lambda _: None,
) -> dict[str, Any]:
    """Read an extract, write the cohort table and a report of counts beside it.

    Args:
        root: folder or file of the extract.
        out: Parquet to write; the report is ``out`` with ``.report.json``.
        configuration: the visit, censoring, special values.
        withdrawn: lists of participants to leave out.
        only: lists of participants to keep; empty: keep everyone.
        progress: called with the number of rows read since the last call.

    Returns:
        The report.

    Raises:
        CohortError: the extract or a list cannot be used; all problems of one stage (lists,
            files, columns, values) are listed together.
    """
    check_table_path(out)
    left_out = read_participants(withdrawn)
    kept = read_participants(only) if only else None
    extract = find_sources(root, out)
    problems = _check_fields(extract, configuration)
    if problems:
        raise CohortError(str(root), problems)
    joined = join_sources(extract.sources, lambda p: _is_wanted(p, configuration), progress)
    counts = {"participants_in_the_extract": joined.people.height, **joined.counts}
    people = joined.people
    people, counts["withdrawn"] = _filter(people, ~pl.col("eid").is_in(left_out.implode()))
    if kept is not None:
        people, counts["not_in_the_list"] = _filter(people, pl.col("eid").is_in(kept.implode()))
    people, selected = select_visits(people, configuration)
    counts |= selected
    _check_visits(people, root)
    people, limits = fill_beyond_limits(people, configuration)
    deaths, death_counts = merge_deaths(
        [records.join(people, on="eid", how="semi") for records in joined.deaths],
        other_dementia=configuration.dementia == "all",
    )
    people, follow_up_report = follow_up(people, deaths, configuration.censoring)
    table = people.sort("eid").rename({"eid": "participant_id"}).select(COLUMNS)
    counts["participants_written"] = table.height
    biomarkers = _describe_biomarkers(table, joined, limits)
    report = {
        "about": "Counts of a UK Biobank extract, without data of any one person",
        "configuration": dataclasses.asdict(configuration),
        "files": _name_relative(joined.files, root),
        "unused_files": extract.unused,
        "participants": counts,
        "biomarkers": biomarkers,
        "deaths": death_counts,
        "follow_up": follow_up_report["counts"],
        "censoring": follow_up_report["censoring"],
        "values_not_readable": joined.unreadable,
        "warnings": [
            *extract.warnings,
            *_warn_missing(extract),
            *follow_up_report["warnings"],
        ],
    }
    _check_table(table, biomarkers, root, counts)
    write_table(table.to_pandas(), report, out)
    return report


def _filter(people: pl.DataFrame, condition: pl.Expr) -> tuple[pl.DataFrame, int]:
    kept = people.filter(condition)
    return kept, people.height - kept.height


def _is_wanted(place: Place, configuration: UkbConfiguration) -> bool:
    """Whether a column is read: not for other visits, but always the first visit's centre."""
    if configuration.visit is None or not FIELDS[place.field].by_visit:
        return True
    return place.instance == configuration.visit or place == Place(CENTRE)


def _check_fields(extract: Extract, configuration: UkbConfiguration) -> list[str]:
    places = (place for source in extract.sources for place in source.places)
    there = {place.field for place in places if _is_wanted(place, configuration)}
    at = "" if configuration.visit is None else f" at visit {configuration.visit}"
    problems = [
        f"field {number} ({FIELDS[number].title}) is missing{at}; add it to the export"
        for number in (SEX, DATE_OF_VISIT)
        if number not in there
    ]
    ages = (AGE_AT_VISIT, AGE_AT_RECRUITMENT, YEAR_OF_BIRTH)
    if not there & {*ages}:
        problems.append(
            f"age is missing; add field {AGE_AT_VISIT}{at}, {AGE_AT_RECRUITMENT}, or "
            f"{YEAR_OF_BIRTH} and {MONTH_OF_BIRTH}"
        )
    if not there & set(BIOMARKER_FIELDS.values()):
        listed = ", ".join(f"{field} ({name})" for name, field in BIOMARKER_FIELDS.items())
        problems.append(f"no biomarker was found{at}; add some of {listed}")
    if DATE_OF_DEATH not in there and not any("date" in s.records for s in extract.sources):
        problems.append(
            f"deaths are missing; add field {DATE_OF_DEATH}, or a table with eid, ins_index and "
            "date_of_death. Without them everyone would count as alive"
        )
    return problems


def _warn_missing(extract: Extract) -> list[str]:
    there = {place.field for source in extract.sources for place in source.places}
    causes = any("cause" in source.records for source in extract.sources)
    warnings = [
        f"{name} (field {field}) is not in the extract"
        for name, field in BIOMARKER_FIELDS.items()
        if field not in there
    ]
    blind = [
        f"{REPORTABILITY_FIELDS[name]} ({name})"
        for name in REPORTABILITY_FIELDS
        if BIOMARKER_FIELDS[name] in there and REPORTABILITY_FIELDS[name] not in there
    ]
    if blind:
        warnings.append(
            f"reportability is not in the extract for {', '.join(blind)}: values too low or too "
            "high for the assay look like missing values"
        )
    if CENTRE not in there:
        warnings.append(
            f"field {CENTRE} (assessment centre) is not in the extract: everyone is censored at "
            "the earliest of the nations' dates"
        )
    if not causes and CAUSE_OF_DEATH not in there:
        warnings.append(
            f"field {CAUSE_OF_DEATH} (cause of death) is not in the extract: no cause is known"
        )
    return warnings


def _describe_biomarkers(
    table: pl.DataFrame, joined: Joined, limits: dict[str, dict[str, Any]]
) -> dict[str, dict[str, Any]]:
    described = {}
    for biomarker in PANEL:
        values = table[biomarker.name].drop_nulls()
        title = "" if biomarker.ukb_field is None else FIELDS[biomarker.ukb_field].title
        outside = ((values < biomarker.minimum) | (values > biomarker.maximum)).sum()
        described[biomarker.name] = {
            "field": biomarker.ukb_field,
            "unit": biomarker.unit,
            "present": values.len(),
            "missing": table.height - values.len(),
            "not_readable": joined.unreadable.get(title, 0),
            "outside_accepted_range_kept": int(outside),
            **limits.get(biomarker.name, {}),
        }
    return described


def _check_visits(people: pl.DataFrame, root: Path) -> None:
    early = people.filter(pl.col("visit_date").dt.year() < _FIRST_YEAR).height
    if early:
        raise CohortError(
            str(root),
            [
                f"{FIELDS[DATE_OF_VISIT].title} (field {DATE_OF_VISIT}) must be {_FIRST_YEAR} or "
                f"later, since UK Biobank began then; {early:,} of {people.height:,} dates are "
                "earlier. Correct the format of the dates"
            ],
        )


def _check_table(
    table: pl.DataFrame,
    biomarkers: dict[str, dict[str, Any]],
    root: Path,
    counts: dict[str, int],
) -> None:
    if table.is_empty():
        raise CohortError(str(root), [f"no participant is left; counts: {counts}"])
    problems = []
    long = table.filter(pl.col("followup_months") > LONGEST_MONTHS).height
    if long:
        problems.append(
            f"{long:,} of {table.height:,} participants would be followed for over a hundred "
            f"years. Correct the censoring dates, or fields {DATE_OF_DEATH} and "
            f"{LOST_TO_FOLLOW_UP}"
        )
    problems += [
        f"{biomarker.name} must be {biomarker.minimum:g} to {biomarker.maximum:g} "
        f"{biomarker.unit}; {row['outside_accepted_range_kept']:,} of {row['present']:,} values "
        "are outside. Check whether it is in another unit, or another field of the same name"
        for biomarker, row in zip(PANEL, biomarkers.values(), strict=True)
        if row["outside_accepted_range_kept"] > _FOREIGN_UNIT_SHARE * row["present"]
    ]
    if problems:
        raise CohortError(str(root), problems)


def _name_relative(files: dict[str, dict[str, int]], root: Path) -> dict[str, dict[str, int]]:
    return {
        str(Path(name).relative_to(root)) if root.is_dir() else Path(name).name: what
        for name, what in files.items()
    }
