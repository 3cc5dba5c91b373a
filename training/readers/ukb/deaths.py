"""Merge the death records of an extract to one death a person.

An extract may list a death in fields 40000 and 40001, whose instances are death records, in the
record-level tables ``death`` and ``death_cause``, or in both, and twice in each: some people have
two certificates. The earliest date is kept, with the cause of that record. Disagreements are
counted.
"""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl
from henaw.intake.words.ukb_names import CAUSE_OF_DEATH, DATE_OF_DEATH, Place
from henaw.training.readers.ukb.values import code_cause, parse_values

_SCHEMA = {"eid": pl.Int64(), "record": pl.Int32(), "date": pl.Date(), "cause": pl.String()}


def take_fields(frame: pl.DataFrame, places: Sequence[Place]) -> pl.DataFrame:
    """Turn fields 40000 and 40001 into death records.

    Args:
        frame: ``eid`` and parsed columns named ``str(place)``.
        places: those of these fields that the extract has.

    Returns:
        One row a record: eid, record, date, cause (an ICD-10 category).
    """
    records = [pl.DataFrame(schema=_SCHEMA)]
    for instance in sorted({place.instance for place in places}):
        columns: dict[str, list[str]] = {
            name: [str(p) for p in sorted(places) if (p.field, p.instance) == (field, instance)]
            for name, field in (("date", DATE_OF_DEATH), ("cause", CAUSE_OF_DEATH))
        }
        record = frame.select(
            "eid",
            pl.lit(instance, pl.Int32).alias("record"),
            *(
                pl.coalesce(pl.lit(None), *columns[name]).cast(_SCHEMA[name]).alias(name)
                for name in ("date", "cause")
            ),
        )
        records.append(record.filter(pl.col("date").is_not_null() | pl.col("cause").is_not_null()))
    return pl.concat(records)


def take_records(frame: pl.DataFrame) -> pl.DataFrame:
    """Turn a part of a table ``death`` or ``death_cause`` into death records.

    Contributory causes are left out: only ``level`` 1 counts or, where there is no level, only
    the first array.

    Args:
        frame: ``eid`` as a number; record, array, level, date and cause as text, if present.

    Returns:
        As ``take_fields``, with two more columns ``date_unread`` and ``cause_unread``, true where
        a value could not be read.
    """
    for name, first in (("level", 1), ("array", 0)):
        if name in frame.columns:
            place = pl.col(name).cast(pl.Float64, strict=False)
            frame = frame.filter(place.is_null() | (place == first))
            break
    read = {"date": pl.lit(None, pl.Date), "cause": pl.lit(None, pl.String)}
    unread = {"date": pl.lit(False), "cause": pl.lit(False)}
    for name in ("date", "cause"):
        if name in frame.columns:
            read[name] = parse_values(name, "date" if name == "date" else "cause")
            unread[name] = pl.col(name).is_not_null() & read[name].is_null()
    record = (
        parse_values("record", "integer").fill_null(0)
        if "record" in frame.columns
        else pl.lit(0, pl.Int32)
    )
    return frame.select(
        "eid",
        record.alias("record"),
        *(expression.alias(name) for name, expression in read.items()),
        *(expression.alias(f"{name}_unread") for name, expression in unread.items()),
    )


def merge_deaths(
    records: Sequence[pl.DataFrame], *, other_dementia: bool
) -> tuple[pl.DataFrame, dict[str, int]]:
    """Merge death records to one per person.

    Args:
        records: frames of eid, record, date, cause.
        other_dementia: as for ``code_cause``.

    Returns:
        One row per person: eid, death_date (null where only a cause is known) and ucod_leading;
        and counts of people with several records, or with records that disagree.
    """
    every = pl.concat([pl.DataFrame(schema=_SCHEMA), *records]).with_columns(
        code_cause("cause", other_dementia=other_dementia)
    )
    # The date and the cause of a record may be in different tables.
    by_record = (
        every.sort("eid", "record", "date", nulls_last=True)
        .group_by("eid", "record", maintain_order=True)
        .agg(
            pl.col("date").min(),
            pl.col("date").drop_nulls().n_unique().alias("dates"),
            pl.col("cause").drop_nulls().first(),
            pl.col("cause").drop_nulls().n_unique().alias("causes"),
        )
    )
    people = (
        by_record.sort("eid", "date", "record", nulls_last=True)
        .group_by("eid", maintain_order=True)
        .agg(
            pl.col("date").first().alias("death_date"),
            pl.col("cause").drop_nulls().first().alias("ucod_leading"),
            pl.len().alias("records"),
            ((pl.col("date").drop_nulls().n_unique() > 1) | (pl.col("dates") > 1).any()).alias(
                "date_differs"
            ),
            ((pl.col("cause").drop_nulls().n_unique() > 1) | (pl.col("causes") > 1).any()).alias(
                "cause_differs"
            ),
        )
    )
    counts = {
        "people_with_a_death_record": people.height,
        "with_more_than_one_record": int((people["records"] > 1).sum()),
        "with_dates_that_differ_earliest_kept": int(people["date_differs"].sum()),
        "with_causes_that_differ_earliest_record_kept": int(people["cause_differs"].sum()),
        "with_a_cause_and_no_date": int(people["death_date"].is_null().sum()),
        "without_a_cause": int(people["ucod_leading"].is_null().sum()),
    }
    return people.select("eid", "death_date", "ucod_leading"), counts
