"""Join the files of an extract on the participant.

The result has one row per participant and one column per field and instance; of an array the first
value that is not missing is kept. Where files share a column, the first file in the order of
paths that has a value wins, and disagreements are counted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

import polars as pl
from henaw.intake.words.ukb_names import (
    CAUSE_OF_DEATH,
    DATE_OF_DEATH,
    FIELDS,
    Place,
)
from henaw.model.errors import CohortError
from henaw.training.readers.ukb.batches import read_batches
from henaw.training.readers.ukb.deaths import take_fields, take_records
from henaw.training.readers.ukb.files import Source
from henaw.training.readers.ukb.values import find_short_year, parse_values

_UNREADABLE_SHARE = 0.01
"""A larger share of values that cannot be read means another coding, not a few errors."""
_DEATH_FIELDS = (DATE_OF_DEATH, CAUSE_OF_DEATH)


def name_column(number: int, instance: int) -> str:
    """Name the column of a field and instance in the joined table."""
    return f"{number}_{instance}"


@dataclass(kw_only=True)
class Joined:
    """The files of an extract, joined.

    Attributes:
        people: one row per participant: ``eid`` and columns named by ``name_column``.
        deaths: death records, as from ``take_fields``.
        counts: of dropped rows and disagreements.
        unreadable: number of values that could not be read, by field.
        files: number of rows and columns read, by file.
    """

    people: pl.DataFrame
    deaths: list[pl.DataFrame] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    unreadable: dict[str, int] = field(default_factory=dict)
    files: dict[str, dict[str, int]] = field(default_factory=dict)


def join_sources(
    sources: Iterable[Source], keep: Callable[[Place], bool], progress: Callable[[int], None]
) -> Joined:
    """Read the wanted columns of every file and join them on the participant.

    Args:
        sources: the files.
        keep: whether a column is wanted.
        progress: called with the number of rows read since the last call.

    Raises:
        CohortError: files are damaged, have two different rows of a participant, or fields in an
            unknown coding; all problems of all files are listed.
    """
    joined = Joined(people=pl.DataFrame(schema={"eid": pl.Int64}))
    problems: list[str] = []
    present: dict[str, int] = {}
    for source in sources:
        wanted = replace(
            source, places={p: number for p, number in source.places.items() if keep(p)}
        )
        if not wanted.places and not wanted.records:
            continue
        try:
            _join_one(joined, wanted, present, progress)
        except CohortError as error:
            problems += [f"{source.path}: {problem}" for problem in error.problems]
    for title, count in joined.unreadable.items():
        if count > max(_UNREADABLE_SHARE * present[title], 1):
            problems.append(
                f"{title}: {count:,} of {present[title]:,} values are neither a code nor a "
                "spelling of the Showcase. Check the field, and the format of dates"
            )
    if problems:
        raise CohortError("the extract", problems)
    return joined


def _join_one(
    joined: Joined, source: Source, present: dict[str, int], progress: Callable[[int], None]
) -> None:
    parts, rows = [], 0
    for batch in read_batches(source):
        _refuse_short_years(batch, source, first_line=rows + 2)
        rows += batch.height
        part = _read_participants(batch, joined)
        if source.records:
            part = part.rename({str(n): meaning for meaning, n in source.records.items()})
            records = take_records(part)
            for name, field_number in (("date", DATE_OF_DEATH), ("cause", CAUSE_OF_DEATH)):
                title = FIELDS[field_number].title
                filled = part[name].count() if name in part.columns else 0
                present[title] = present.get(title, 0) + filled
                _count(joined.unreadable, title, int(records[f"{name}_unread"].sum()))
            joined.deaths.append(records.select("eid", "record", "date", "cause"))
        else:
            parts.append(_parse_places(part, source, joined, present))
        progress(batch.height)
    joined.files[str(source.path)] = {"rows": rows, "columns": len(source.wanted)}
    if not rows:
        raise CohortError(str(source.path), ["the file has no rows"])
    if parts:
        _lay_over(joined, _drop_repeated(pl.concat(parts), source, joined))


def _refuse_short_years(batch: pl.DataFrame, source: Source, *, first_line: int) -> None:
    dates = {
        str(number): FIELDS[place.field].title
        for place, number in source.places.items()
        if FIELDS[place.field].kind == "date"
    }
    if "date" in source.records:
        dates[str(source.records["date"])] = FIELDS[DATE_OF_DEATH].title
    for column, title in dates.items():
        short = batch.select(find_short_year(column)).to_series()
        if short.any():
            raise CohortError(
                str(source.path),
                [
                    f"{title}, line {first_line + int(short.arg_max() or 0)}: the year has two "
                    "digits, so its century is not known; export dates as YYYY-MM-DD"
                ],
            )


def _read_participants(batch: pl.DataFrame, joined: Joined) -> pl.DataFrame:
    # An identifier that was once a float ends in .0.
    eid = pl.col("eid").str.replace(r"\.0+$", "").cast(pl.Int64, strict=False)
    part = batch.with_columns(eid)
    _count(joined.counts, "rows_without_a_participant", int(part["eid"].is_null().sum()))
    # Some files list participants who withdrew with negative identifiers.
    _count(joined.counts, "rows_with_a_negative_participant", int((part["eid"] <= 0).sum()))
    return part.filter(pl.col("eid") > 0)


def _parse_places(
    part: pl.DataFrame, source: Source, joined: Joined, present: dict[str, int]
) -> pl.DataFrame:
    for place, number in source.places.items():
        column, known = str(number), FIELDS[place.field]
        filled = part[column].count()
        part = part.with_columns(parse_values(column, known.kind).alias(column))
        present[known.title] = present.get(known.title, 0) + filled
        _count(joined.unreadable, known.title, filled - part[column].count())
    deaths = [place for place in source.places if place.field in _DEATH_FIELDS]
    if deaths:
        renamed = part.select("eid", *(pl.col(str(source.places[p])).alias(str(p)) for p in deaths))
        joined.deaths.append(take_fields(renamed, deaths))
    columns: dict[str, list[str]] = {}
    for place in sorted(set(source.places) - set(deaths)):
        name = name_column(place.field, place.instance)
        columns.setdefault(name, []).append(str(source.places[place]))
    return part.select("eid", *(pl.coalesce(c).alias(name) for name, c in columns.items()))


def _drop_repeated(frame: pl.DataFrame, source: Source, joined: Joined) -> pl.DataFrame:
    if frame["eid"].n_unique() == frame.height:
        return frame
    distinct = frame.unique(maintain_order=True)
    twice = distinct.height - distinct["eid"].n_unique()
    if twice:
        raise CohortError(
            str(source.path),
            [
                f"each participant must have one row; {twice} participants have rows that differ. "
                "Keep the right one of each"
            ],
        )
    _count(joined.counts, "rows_repeated_and_alike", frame.height - distinct.height)
    return distinct


def _lay_over(joined: Joined, frame: pl.DataFrame) -> None:
    if joined.people.width == 1 and joined.people.is_empty():
        joined.people = frame
        return
    shared = [name for name in frame.columns if name != "eid" and name in joined.people.columns]
    people = joined.people.join(frame, on="eid", how="full", coalesce=True, suffix="_new")
    for name in shared:
        differs = people.select((pl.col(name) != pl.col(f"{name}_new")).sum()).item()
        _count(joined.counts, "values_that_differ_between_files_first_kept", int(differs))
    joined.people = people.with_columns(
        pl.coalesce(name, f"{name}_new").alias(name) for name in shared
    ).drop(f"{name}_new" for name in shared)


def _count(counts: dict[str, int], name: str, number: int) -> None:
    if number:
        counts[name] = counts.get(name, 0) + number
