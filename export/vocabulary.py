"""The words by which laboratory reports are read, for readers in other languages."""

from __future__ import annotations

from typing import Any

from henaw.intake.cells import NO_VALUE_WORDS, SIGNS
from henaw.intake.columns import PARTS
from henaw.intake.days import FRENCH_SUMMER_MONTHS, MONTHS
from henaw.model.biomarkers import PANEL, SEXES
from henaw.model.layout import FEMALE_WORDS, MALE_WORDS
from henaw.model.names import BLOOD_WORDS, FILLING_WORDS


def describe_vocabulary() -> dict[str, Any]:
    """The names that readers of tables know, in the languages of the panel's synonyms.

    ``shared_names`` are those synonyms of a biomarker that another quantity has as well, which
    its unit tells apart. ``months`` are the first letters of a month's name, by the longest that
    fits.

    Example:
        >>> described = describe_vocabulary()
        >>> "Ergebnis" in described["columns"]["value"], described["comparators"]["unter"]
        (True, '<')
    """
    words = dict(zip(SEXES, (FEMALE_WORDS, MALE_WORDS), strict=True))
    return {
        "columns": {part: list(names) for part, names in PARTS.items()},
        "shared_names": {b.name: list(b.shared_synonyms) for b in PANEL if b.shared_synonyms},
        "sexes": {sex: list(names) for sex, names in words.items()},
        "blood": list(BLOOD_WORDS),
        "filling": sorted(FILLING_WORDS),
        "no_value": list(NO_VALUE_WORDS),
        "comparators": {spelling: sign for spelling, sign in SIGNS.items() if spelling},
        "months": {**MONTHS, **FRENCH_SUMMER_MONTHS},
    }
