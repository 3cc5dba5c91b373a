"""Choose one visit a participant, and set values beyond an assay's limits."""

from __future__ import annotations

from typing import Any

import polars as pl
from henaw.intake.words.ukb_names import (
    AGE_AT_RECRUITMENT,
    AGE_AT_VISIT,
    BIOMARKER_FIELDS,
    CENTRE,
    DATE_OF_VISIT,
    LOST_TO_FOLLOW_UP,
    MONTH_OF_BIRTH,
    PREGNANT,
    REPORTABILITY_FIELDS,
    SEX,
    YEAR_OF_BIRTH,
)
from henaw.model.biomarkers import NAMES
from henaw.training.readers.ukb.configuration import LAST_VISIT, UkbConfiguration
from henaw.training.readers.ukb.join import name_column
from henaw.training.readers.ukb.values import ABOVE_LIMIT, BELOW_LIMIT, REPORTED

_VISITS = range(LAST_VISIT + 1)
_MIDDLE_OF_MONTH = 15
_ENOUGH_TO_SHOW_LIMITS = 1000
_LIMIT = "{}_limit"


def select_visits(
    people: pl.DataFrame, configuration: UkbConfiguration
) -> tuple[pl.DataFrame, dict[str, int]]:
    """Take one visit of every participant.

    Age is in completed years, as in field 21003: from 21003; at the first visit from 21022;
    otherwise from the visit's date and the year and month of birth, assuming the fifteenth.

    Args:
        people: as joined, without the columns that the extract does not have.
        configuration: which visit.

    Returns:
        A row a participant with a visit, an age and a sex: eid, survey, visit_date, age, sex, the
        biomarkers, ``<name>_limit`` where there is a field of reportability, nation, lost_date,
        pregnant; and counts of the participants left out.
    """
    people = _complete(people)
    counts: dict[str, int] = {}
    people = people.with_columns(_choose_visit(configuration).alias("visit"))
    came = people.filter(pl.col("visit").is_not_null())
    counts["no_visit_with_a_date"] = people.height - came.height
    values = {name: _at_visit(field) for name, field in BIOMARKER_FIELDS.items()}
    absent = [name for name in NAMES if name not in BIOMARKER_FIELDS]
    limits = {_LIMIT.format(name): _at_visit(field) for name, field in REPORTABILITY_FIELDS.items()}
    if configuration.mix_visits:
        values = {
            name: pl.coalesce(name_column(field, visit) for visit in _VISITS)
            for name, field in BIOMARKER_FIELDS.items()
        }
        counts["with_biomarkers_of_several_visits"] = came.filter(_mixes()).height
    recorded = _recorded_age()
    computed = _computed_age()
    selected = came.select(
        "eid",
        pl.concat_str(pl.lit("UK Biobank visit "), "visit").alias("survey"),
        _at_visit(DATE_OF_VISIT).alias("visit_date"),
        pl.coalesce(recorded, computed).alias("age"),
        pl.col(name_column(SEX, 0)).alias("sex"),
        *(expression.alias(name) for name, expression in (values | limits).items()),
        *(pl.lit(None, pl.Float64).alias(name) for name in absent),
        pl.col(name_column(CENTRE, 0)).alias("nation"),
        pl.col(name_column(LOST_TO_FOLLOW_UP, 0)).alias("lost_date"),
        _at_visit(PREGNANT).alias("pregnant"),
        (recorded.is_null() & computed.is_not_null()).alias("age_was_computed"),
        ((recorded - computed).abs() > 1).fill_null(False).alias("ages_differ"),
    )
    for name in ("age", "sex"):
        counts[f"no_{name}"] = int(selected[name].is_null().sum())
        selected = selected.filter(pl.col(name).is_not_null())
    counts["age_computed_from_birth"] = int(selected["age_was_computed"].sum())
    counts["recorded_age_kept_though_birth_says_otherwise"] = int(selected["ages_differ"].sum())
    for visit in _VISITS:
        counts[f"at_visit_{visit}"] = selected.filter(
            pl.col("survey") == f"UK Biobank visit {visit}"
        ).height
    counts["without_any_biomarker"] = selected.filter(
        pl.all_horizontal(pl.col(name).is_null() for name in NAMES)
    ).height
    return selected.drop("age_was_computed", "ages_differ"), counts


def fill_beyond_limits(
    people: pl.DataFrame, configuration: UkbConfiguration
) -> tuple[pl.DataFrame, dict[str, dict[str, Any]]]:
    """Set values that were too low or too high for the assay to its limit, or leave them missing.

    Returns:
        The people without the ``<name>_limit`` columns, and counts by biomarker.
    """
    given = {limits.biomarker: (limits.low, limits.high) for limits in configuration.limits}
    report: dict[str, dict[str, Any]] = {}
    for name in REPORTABILITY_FIELDS:
        value, code = pl.col(name), pl.col(_LIMIT.format(name))
        below = people.select((value.is_null() & (code == BELOW_LIMIT)).sum()).item()
        above = people.select((value.is_null() & (code == ABOVE_LIMIT)).sum()).item()
        seen = people[name].drop_nulls()
        low, high = given.get(name, (None, None))
        if name not in given and seen.len() >= _ENOUGH_TO_SHOW_LIMITS:
            low, high = seen.min(), seen.max()  # type: ignore[assignment]
        fill = configuration.beyond_limit == "limit" and low is not None
        report[name] = {
            "below_limit": int(below),
            "above_limit": int(above),
            **(
                {"beyond_limit": "set to the limit" if fill else "left missing"}
                if below or above
                else {}
            ),
            "called_unreportable_yet_given_kept": people.select(
                (value.is_not_null() & code.is_not_null() & (code != REPORTED)).sum()
            ).item(),
        }
        if fill:
            people = people.with_columns(
                pl.when(value.is_null() & (code == BELOW_LIMIT))
                .then(pl.lit(low, pl.Float64))
                .when(value.is_null() & (code == ABOVE_LIMIT))
                .then(pl.lit(high, pl.Float64))
                .otherwise(value)
                .alias(name)
            )
    return people.drop(_LIMIT.format(name) for name in REPORTABILITY_FIELDS), report


def _complete(people: pl.DataFrame) -> pl.DataFrame:
    """Add the columns that the extract does not have, empty."""
    dates = {name_column(DATE_OF_VISIT, visit) for visit in _VISITS}
    dates.add(name_column(LOST_TO_FOLLOW_UP, 0))
    by_visit = (
        DATE_OF_VISIT,
        CENTRE,
        AGE_AT_VISIT,
        PREGNANT,
        *BIOMARKER_FIELDS.values(),
        *REPORTABILITY_FIELDS.values(),
    )
    once = (SEX, YEAR_OF_BIRTH, MONTH_OF_BIRTH, AGE_AT_RECRUITMENT, LOST_TO_FOLLOW_UP)
    names = {name_column(field, visit) for field in by_visit for visit in _VISITS}
    names |= {name_column(field, 0) for field in once}
    return people.with_columns(
        pl.lit(None, pl.Date if name in dates else pl.Float64).alias(name)
        for name in sorted(names - set(people.columns))
    )


def _at_visit(field: int) -> pl.Expr:
    """The field's value at the visit of each row."""
    return pl.coalesce(
        pl.when(pl.col("visit") == visit).then(pl.col(name_column(field, visit)))
        for visit in _VISITS
    )


def _has_biomarker(visit: int) -> pl.Expr:
    """Whether a biomarker of the panel was measured, even if too low or too high to report."""
    measured = (*BIOMARKER_FIELDS.values(), *REPORTABILITY_FIELDS.values())
    return pl.any_horizontal(pl.col(name_column(field, visit)).is_not_null() for field in measured)


def _choose_visit(configuration: UkbConfiguration) -> pl.Expr:
    came = {v: pl.col(name_column(DATE_OF_VISIT, v)).is_not_null() for v in _VISITS}
    if configuration.visit is not None:
        return pl.when(came[configuration.visit]).then(configuration.visit)
    if configuration.mix_visits:
        latest = pl.max_horizontal(_first_visit_with(f) for f in BIOMARKER_FIELDS.values())
        chosen = pl.coalesce(latest, pl.lit(0))
        return pl.coalesce(pl.when((chosen == v) & came[v]).then(v) for v in _VISITS)
    # Participants without any biomarker get their first visit.
    return pl.coalesce(
        *(pl.when(came[visit] & _has_biomarker(visit)).then(visit) for visit in _VISITS),
        *(pl.when(came[visit]).then(visit) for visit in _VISITS),
    )


def _first_visit_with(field: int) -> pl.Expr:
    return pl.coalesce(
        pl.when(pl.col(name_column(field, visit)).is_not_null()).then(visit) for visit in _VISITS
    )


def _mixes() -> pl.Expr:
    first = [_first_visit_with(field) for field in BIOMARKER_FIELDS.values()]
    return pl.max_horizontal(first) != pl.min_horizontal(first)


def _recorded_age() -> pl.Expr:
    at_recruitment = pl.when(pl.col("visit") == 0).then(pl.col(name_column(AGE_AT_RECRUITMENT, 0)))
    return pl.coalesce(_at_visit(AGE_AT_VISIT), at_recruitment)


def _computed_age() -> pl.Expr:
    # Columns that the extract does not have are empty floats.
    year, month = (
        pl.col(name_column(field, 0)).cast(pl.Int32) for field in (YEAR_OF_BIRTH, MONTH_OF_BIRTH)
    )
    date = _at_visit(DATE_OF_VISIT)
    had_birthday = (date.dt.month() > month) | (
        (date.dt.month() == month) & (date.dt.day() >= _MIDDLE_OF_MONTH)
    )
    return (date.dt.year() - year - 1 + had_birthday.cast(pl.Int32)).cast(pl.Float64)
