"""Follow-up from the visit to death or censoring."""

from __future__ import annotations

from typing import Any

import polars as pl
from henaw.training.readers.ukb.configuration import CensoringDates
from henaw.training.readers.ukb.values import NATIONS

_DAYS_PER_MONTH = 365.25 / 12
_ENOUGH_DEATHS = 1000
_LATE_MONTHS = 3
_COMPLETE_SHARE = 0.9
_LEAST_SHARE = 0.5
"""Of a usual month's deaths; a month with fewer has only a few stray records."""


def follow_up(
    people: pl.DataFrame, deaths: pl.DataFrame, censoring: CensoringDates
) -> tuple[pl.DataFrame, dict[str, Any]]:
    """Add death, follow-up and cause of death.

    Follow-up ends at death, at the date the person was lost to follow-up (field 191), or at the
    nation's censoring date, whichever is first; a later death counts as survival up to that day.
    The nation is that of the first assessment's centre, since all imaging centres are in
    England; where it is unknown, the earliest censoring date applies.

    People with a visit after censoring, a death before the visit, or a cause of death without a
    date are not followed: death and follow-up are empty, and their values stay.

    Args:
        people: eid, visit_date, nation (place in NATIONS), lost_date and others.
        deaths: eid, death_date, ucod_leading.
        censoring: the dates.

    Returns:
        ``people`` with death (1, 0 or null), followup_months and ucod_leading; and a report
        of counts, the censoring by nation, and warnings.
    """
    dates = censoring.list_dates()
    administrative = pl.coalesce(
        *(pl.when(pl.col("nation") == i).then(pl.lit(date)) for i, date in enumerate(dates)),
        pl.lit(min(dates)),
    )
    table = people.join(
        deaths.with_columns(pl.lit(True).alias("has_record")), on="eid", how="left"
    ).with_columns(
        administrative.alias("administrative"),
        pl.min_horizontal(administrative, "lost_date").alias("censored"),
    )
    no_date = pl.col("has_record").fill_null(False) & pl.col("death_date").is_null()
    before_visit = (pl.col("death_date") < pl.col("visit_date")).fill_null(False)
    after_end = pl.col("visit_date") > pl.col("censored")
    dead = (pl.col("death_date") <= pl.col("censored")).fill_null(False)
    lost_alive = pl.col("lost_date").is_not_null() & ~dead
    late = (pl.col("death_date") > pl.col("censored")).fill_null(False)
    counts = table.select(
        followed=(~(no_date | before_visit | after_end)).sum(),
        died_during_follow_up=(dead & ~before_visit & ~after_end).sum(),
        not_followed_visit_after_censoring=after_end.sum(),
        not_followed_death_before_visit=(before_visit & ~after_end).sum(),
        not_followed_cause_without_date=(no_date & ~after_end).sum(),
        censored_when_lost_to_follow_up=(lost_alive & ~after_end).sum(),
        deaths_after_censoring_counted_as_survival=(late & ~after_end).sum(),
        nation_unknown=pl.col("nation").is_null().sum(),
    ).row(0, named=True)
    end = pl.when(dead).then("death_date").otherwise("censored")
    days = (end - pl.col("visit_date")).dt.total_days()
    followed = ~(no_date | before_visit | after_end)
    result = table.with_columns(
        pl.when(followed).then(dead.cast(pl.Int8)).alias("death"),
        pl.when(followed).then(days / _DAYS_PER_MONTH).alias("followup_months"),
        pl.when(followed & dead).then(pl.col("ucod_leading")).alias("ucod_leading"),
    )
    by_nation, warnings = _check_dates(table, censoring)
    report = {"counts": counts, "censoring": by_nation, "warnings": warnings}
    return result, report


def _check_dates(
    table: pl.DataFrame, censoring: CensoringDates
) -> tuple[dict[str, Any], list[str]]:
    """Compare each nation's censoring date with the last complete month of deaths.

    UK Biobank's rule: the last complete month is the last one with more than 90 % of the mean
    number of records of the three months before it. It must also have half the records of a
    usual month, so that a stray death long after the others does not count. Without this check,
    an extract older than its censoring date would count people who died in between as alive.
    """
    report: dict[str, Any] = {}
    warnings = []
    for i, (nation, date) in enumerate(zip(NATIONS, censoring.list_dates(), strict=True)):
        there = table.filter(pl.col("nation") == i)
        deaths = there["death_date"].drop_nulls()
        report[nation] = {"date": date.isoformat(), "participants": there.height}
        if deaths.len() < _ENOUGH_DEATHS:
            continue
        estimated = _find_last_complete_month(deaths)
        if estimated is None:
            continue
        report[nation]["last_complete_month_of_deaths"] = f"{estimated[0]}-{estimated[1]:02d}"
        months = (date.year - estimated[0]) * 12 + date.month - estimated[1]
        if months >= _LATE_MONTHS:
            warnings.append(
                f"{nation}: follow-up ends on {date}, but the extract's deaths are complete only "
                f"up to {estimated[0]}-{estimated[1]:02d}, so people who died after that would "
                "count as alive. Set the censoring date of this extract"
            )
        elif months <= -_LATE_MONTHS * 2:
            warnings.append(
                f"{nation}: follow-up ends on {date}, but the extract's deaths are complete up to "
                f"{estimated[0]}-{estimated[1]:02d}. Set the censoring date of this extract to use "
                "them"
            )
    return report, warnings


def _find_last_complete_month(deaths: pl.Series) -> tuple[int, int] | None:
    months = (
        deaths.to_frame("date")
        .group_by(pl.col("date").dt.truncate("1mo"))
        .len("records")
        .sort("date")
        .upsample("date", every="1mo")
        .with_columns(pl.col("records").fill_null(0))
    )
    before = pl.col("records").shift(1).rolling_mean(3)
    usual = months.filter(pl.col("records") > 0)["records"].median()
    complete = months.filter(
        (pl.col("records") > _COMPLETE_SHARE * before)
        & (pl.col("records") >= _LEAST_SHARE * pl.lit(usual))
    )
    if complete.is_empty():
        return None
    last = complete["date"][-1]
    return last.year, last.month
