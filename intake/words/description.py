"""The words by which tables are read, for programs in other languages: a part of the sidecar."""

from __future__ import annotations

from typing import Any

from henaw.intake.words.cells import NO_VALUE, SIGNS
from henaw.intake.words.columns import PARTS
from henaw.intake.words.days import FRENCH_SUMMER_MONTHS, MONTHS
from henaw.intake.words.names import BLOOD, FEMALE_WORDS, FILLING, MALE_WORDS
from henaw.model.biomarkers import PANEL, SEXES


def describe_words() -> dict[str, Any]:
    """Describe names of columns and words in cells as JSON values.

    Compare them by :func:`henaw.model.panel.folding.fold_name`, but ``comparators`` only by case.

    Returns:
        columns: names of each part of a table; the first that a table has is used. Names of
            tests are in the panel.
        sexes: words for female and male.
        specimens: words for blood, serum and plasma.
        filling: words that say nothing beside the name of a test.
        no_value: words in a cell without a value.
        comparators: words before a number, with the sign of each.
        shared_names: synonyms of a biomarker that another quantity also has; the unit tells
            them apart.
        months: first letters of the names of months; the longest match counts.

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
