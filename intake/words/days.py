"""How tables write days and times, and whether the day or the month comes first."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import date, datetime, timezone

from henaw.intake.words.dates import Moment, read_time
from henaw.model.errors import ScoringError
from henaw.model.panel.folding import remember

_CLOCK = (
    r"(?:[T ,]+(\d{1,2})[:.h](\d\d)(?::(\d\d)(?:\.\d+)?)?"
    r"\s*([AaPp]\.?[Mm]\.?)?(?:Z|[+-]\d\d:?\d\d)?)?"
)
_YEAR_FIRST = re.compile(rf"(\d{{4}})[-/.]?(\d{{1,2}})[-/.]?(\d{{1,2}}){_CLOCK}")
_POINTS = re.compile(rf"(\d{{1,2}})\.\s?(\d{{1,2}})\.\s?(\d{{4}}){_CLOCK}")
_SLASHES = re.compile(rf"(\d{{1,2}})[/-](\d{{1,2}})[/-](\d{{4}}){_CLOCK}")
_WORDS = re.compile(rf"(\d{{1,2}})[-. ]?\s?([^\W\d]{{3,}})\.?[-, ]?\s?(\d{{4}}){_CLOCK}")
_WORDS_FIRST = re.compile(rf"([^\W\d]{{3,}})\.?\s(\d{{1,2}}),?\s(\d{{4}}){_CLOCK}")
MONTHS = {
    **dict.fromkeys(("jan", "ene", "gen"), 1),
    **dict.fromkeys(("feb", "fev", "f\u00e9v"), 2),
    **dict.fromkeys(("mar", "m\u00e4r", "mrz", "maa", "mrt"), 3),
    **dict.fromkeys(("apr", "avr", "abr"), 4),
    **dict.fromkeys(("may", "mai", "mei", "mag"), 5),
    **dict.fromkeys(("jun", "giu"), 6),
    **dict.fromkeys(("jul", "lug"), 7),
    **dict.fromkeys(("aug", "aou", "ao\u00fb", "ago"), 8),
    **dict.fromkeys(("sep", "set"), 9),
    **dict.fromkeys(("oct", "okt", "ott"), 10),
    "nov": 11,
    **dict.fromkeys(("dec", "dez", "d\u00e9c", "dic"), 12),
}
FRENCH_SUMMER_MONTHS = {"juin": 6, "juil": 7}


def find_order(texts: Iterable[str], *, subject: str, may_be_alone: bool = True) -> str:
    """Find whether dates such as 03/01/2024 begin with the month, "mdy", or the day, "dmy".

    Args:
        texts: dates; only those with slashes or hyphens are looked at.
        subject: what the dates are, for the message.
        may_be_alone: whether a single date that can be either is taken to begin with the month,
            because no other date is compared with it.

    Raises:
        ScoringError: the order cannot be told, or both orders occur.

    Example:
        >>> find_order(["03/01/2024", "03/15/2024"], subject="date")
        'mdy'
    """
    first = second = False
    seen: set[tuple[int, int]] = set()
    for text in texts:
        match = _SLASHES.fullmatch(text.strip())
        if match is not None:
            one, two = int(match[1]), int(match[2])
            first, second = first or one > 12, second or two > 12
            seen.add((one, two))
    if first and second:
        raise ScoringError(
            subject,
            ["dates must be in one order; some begin with the day, some with the month"],
        )
    unsure = {pair for pair in seen if pair[0] != pair[1]}
    if not first and not second and len(unsure) > int(may_be_alone):
        one, two = min(unsure)
        raise ScoringError(
            subject,
            [
                f"dates such as {one:02d}/{two:02d} may begin with the day or the month; write "
                "them as YYYY-MM-DD"
            ],
        )
    return "dmy" if first else "mdy"


@remember(65_536)
def read_day(text: str, order: str = "mdy") -> Moment | None:
    """Read a day with its time, in UTC if no zone is given; None if it is not a date.

    Args:
        text: the cell's text. A year of two digits is not read, because its century is not known.
        order: the order of day and month in dates such as 03/01/2024.

    Example:
        >>> read_day("01.03.2024 08:15").when.isoformat()
        '2024-03-01T08:15:00+00:00'
        >>> read_day("3/1/2024 8:15 PM").when.hour, read_day("1-Mar-2024").day.month
        (20, 3)
    """
    text = text.strip()
    iso = read_time(text) if len(text) > 7 else None
    if iso is not None:
        return iso
    for pattern, places in (
        (_YEAR_FIRST, (1, 2, 3)),
        (_POINTS, (3, 2, 1)),
        (_SLASHES, (3, 2, 1) if order == "dmy" else (3, 1, 2)),
        (_WORDS, (3, 2, 1)),
        (_WORDS_FIRST, (3, 1, 2)),
    ):
        match = pattern.fullmatch(text)
        if match is not None:
            return _build(match, places)
    return None


def _build(match: re.Match[str], places: tuple[int, int, int]) -> Moment | None:
    year, month, day = (match[place] for place in places)
    number = int(month) if month.isdecimal() else _read_month(month)
    hour, minute, second = (int(part or 0) for part in match.groups()[3:6])
    half = (match[7] or "").casefold().replace(".", "")
    if half:
        hour = hour % 12 + (12 if half == "pm" else 0)
    try:
        on = date(int(year), number, int(day))
        return Moment(
            datetime(on.year, on.month, on.day, hour, minute, second, tzinfo=timezone.utc), on
        )
    except ValueError:
        return None


def _read_month(word: str) -> int:
    folded = word.casefold()
    return FRENCH_SUMMER_MONTHS.get(folded[:4], MONTHS.get(folded[:3], 0))
