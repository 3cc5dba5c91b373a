"""The words that tables are read by, for readers in other languages: a part of the sidecar."""

from __future__ import annotations

from typing import Any

from henaw.intake.tables.columns import PARTS
from henaw.intake.tables.layout import FEMALE_WORDS, MALE_WORDS
from henaw.intake.words.cells import NO_VALUE, SIGNS
from henaw.intake.words.days import FRENCH_SUMMER_MONTHS, MONTHS
from henaw.intake.words.names import BLOOD, FILLING
from henaw.model.biomarkers import PANEL, SEXES


def describe_words() -> dict[str, Any]:
    """Names of columns and words in cells, in terms of JSON; :func:`fold_name` compares them.

    ``columns`` are the names of each part of a table, the first that a table has being the
    one; names of tests are in the panel. ``sexes`` say female or male. ``specimens`` are
    blood, serum or plasma, ``filling`` says nothing beside the name of a test. ``no_value``
    stands in a cell without a value, ``comparators`` before a number, compared by case alone.
    ``shared_names`` are those synonyms of a biomarker that another quantity has as well, which
    its unit tells apart. ``months`` are the first letters of a month's name, by the longest that
    fits.

    Example:
        >>> words = describe_words()
        >>> "Geburtsdatum" in words["columns"]["birth"], words["comparators"]["less than"]
        (True, '<')
    """
    return {
        "columns": {part: list(names) for part, names in PARTS.items()},
        "sexes": dict(zip(SEXES, map(list, (FEMALE_WORDS, MALE_WORDS)), strict=True)),
        "specimens": list(BLOOD),
        "filling": sorted(FILLING),
        "no_value": list(NO_VALUE),
        "comparators": {spelling: sign for spelling, sign in SIGNS.items() if spelling},
        "shared_names": {b.name: list(b.shared_synonyms) for b in PANEL if b.shared_synonyms},
        "months": {**MONTHS, **FRENCH_SUMMER_MONTHS},
    }
