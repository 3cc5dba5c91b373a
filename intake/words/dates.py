"""Dates of FHIR, complete or partial, with or without a time and its zone; and ages."""

from __future__ import annotations

import re
from datetime import date, datetime, timedelta, timezone
from typing import NamedTuple

_TIME = re.compile(
    r"([0-9]{4})(?:-(0[1-9]|1[0-2])(?:-(0[1-9]|[12][0-9]|3[01]))?)?"
    r"(?:T([0-9]{2}):([0-9]{2})(?::([0-9]{2})(?:\.[0-9]+)?)?"
    r"(?:Z|([+-])(0[0-9]|1[0-4]):([0-5][0-9]))?)?"
)
_MEAN_YEAR_DAYS = 365.25
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


class Moment(NamedTuple):
    """An instant, and the day as it is written."""

    when: datetime
    day: date


def read_time(text: object) -> Moment | None:
    """Read a date or time of FHIR; a partial date is its first day; None for any other text.

    Example:
        >>> read_time("2024-03-01T00:30:00+01:00").day
        datetime.date(2024, 3, 1)
    """
    match = _TIME.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        return None
    year, month, day, hour, minute, second = (int(part or 0) for part in match.groups()[:6])
    sign, hours, minutes = match.groups()[6:]
    offset = timedelta(hours=int(hours or 0), minutes=int(minutes or 0))
    try:
        on = date(year, month or 1, day or 1)
        # datetime has no leap seconds.
        at = datetime(year, on.month, on.day, hour, minute, min(second, 59), tzinfo=timezone.utc)
        return Moment(at + offset if sign == "-" else at - offset, on)
    except (ValueError, OverflowError):
        return None


def count_moment(moment: Moment) -> tuple[int, int]:
    """Microseconds since 1970 in UTC, and days since 1970 of the day as it is written.

    Example:
        >>> count_moment(read_time("1970-01-02T00:30:00+01:00"))
        (84600000000, 1)
    """
    return (moment.when - _EPOCH) // timedelta(microseconds=1), (moment.day - _EPOCH.date()).days


def find_day(days: int) -> date:
    """The day that is a number of days after 1 January 1970."""
    return _EPOCH.date() + timedelta(days=days)


def read_birth_date(text: object) -> date | None:
    """Read a birth date; a month without a day is its 15th, a year alone is 1 July.

    Example:
        >>> read_birth_date("1970"), read_birth_date("1970-02")
        (datetime.date(1970, 7, 1), datetime.date(1970, 2, 15))
    """
    moment = read_time(text)
    if moment is None or not isinstance(text, str):
        return None
    return {4: moment.day.replace(month=7), 7: moment.day.replace(day=15)}.get(
        len(text), moment.day
    )


def count_years(start: date, end: date) -> float:
    """Count the years between two days by the calendar: whole years at each birthday.

    Between two birthdays, the days count by their share of that year.

    Example:
        >>> count_years(date(2005, 3, 1), date(2023, 3, 1))
        18.0
    """
    if end < start:
        return (end - start).days / _MEAN_YEAR_DAYS
    year = end.year if _find_birthday(start, end.year) <= end else end.year - 1
    last, following = _find_birthday(start, year), _find_birthday(start, year + 1)
    return year - start.year + (end - last).days / (following - last).days


def _find_birthday(birth: date, year: int) -> date:
    """The birthday in a year; that of 29 February is 1 March if the year has no such day."""
    try:
        return birth.replace(year=year)
    except ValueError:
        return date(year, 3, 1)
