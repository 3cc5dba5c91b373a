"""Unused columns and tests whose names look like those of biomarkers, age or sex."""

from __future__ import annotations

import difflib
import functools
import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from henaw.intake.words.names import AGE, ALL_SPELLINGS, SEX, read_header
from henaw.model.panel.folding import fold_name, remember

_LEAST_LIKENESS = 0.87
_LEAST_LETTERS = 6
"""Letters of a name that may be misspelt. In shorter names, one letter makes another test: ALP."""

# A name with one of these words is not misspelt: it is another quantity, or none.
_OTHER_WORDS = frozenset(
    map(
        fold_name,
        (
            *("urine", "urinary", "urin", "harn", "u", "csf", "liquor", "dialysate", "fluid"),
            *("clearance", "ratio", "quotient", "uacr", "acr", "egfr", "globulin", "kinase"),
            *("date", "datum", "time", "day", "year", "flag", "comment", "note", "method", "code"),
            *("unit", "units", "einheit", "low", "high", "lower", "upper", "limit", "ref", "range"),
            *("min", "max", "lln", "uln", "id", "loinc", "status", "source", "qc", "lab", "device"),
            *("polygenic", "prs"),
            *("corrected", "adjusted", "ionised", "modified", "glycated", "done", "missing"),
            *("history", "known", "diagnosis", "reason", "change", "delta"),
        ),
    )
)
_OTHER_TESTS = frozenset(
    map(
        fold_name,
        (
            *("creatine", "creatin", "kreatin", "creatina", "prealbumin", "microalbumin"),
            *("mikroalbumin", "macroalbumin", "lymphoblasts", "lymphoblasten", "globulin"),
            *("ovalbumin", "albuminuria", "lymphoma", "haemoglobin", "hemoglobin", "carbamide"),
            *("Hämoglobin", "hémoglobine", "hemoglobina", "emoglobina", "hemoglobine"),
        ),
    )
)


class NearName(NamedTuple):
    """An unused name, and the biomarker (or age, or sex) that it may mean."""

    name: str
    meant: str


def find_near_names(names: Sequence[str], absent: Iterable[str]) -> list[NearName]:
    """Find names that look like those of something that was not found.

    Args:
        names: of unused columns or tests.
        absent: biomarkers, "age" and "sex" that were not found.

    Example:
        >>> find_near_names(["Lymphocyts", "crp_baseline", "crp_date", "Creatine"], ["crp",
        ...     "creatinine", "lymphocyte_pct"])
        [NearName(name='Lymphocyts', meant='lymphocyte_pct'),
         NearName(name='crp_baseline', meant='crp')]
    """
    wanted = set(absent)
    found = []
    for name in names if wanted else ():
        meant = _find_meant(name)
        if meant in wanted:
            found.append(NearName(name, meant))
    return found


@remember(16_384)
def _find_meant(name: str) -> str:
    """What a name may mean; "" for nothing of the panel."""
    words = [fold_name(word) for word in re.split(r"[\s_.,;:/|()\[\]-]+", name)]
    words = [word for word in words if word]
    known = _list_known()
    folded = fold_name(name)
    if not words or folded in _OTHER_TESTS or not _OTHER_WORDS.isdisjoint(words):
        return ""
    if not _OTHER_TESTS.isdisjoint(words):
        return ""
    header = read_header(name)
    if header is not None:
        return header.biomarker
    for count in range(len(words), 0, -1):
        for first in range(len(words) - count + 1):
            meant = known.get("".join(words[first : first + count]))
            if meant is not None:
                return meant
    for candidate in (folded, *words):
        if len(candidate) >= _LEAST_LETTERS:
            # The first letter is rarely wrong, and a table may have thousands of columns.
            near = difflib.get_close_matches(
                candidate, _list_long(candidate[0]), n=1, cutoff=_LEAST_LIKENESS
            )
            if near:
                return known[near[0]]
    return ""


@functools.cache
def _list_known() -> dict[str, str]:
    people = {"age": AGE, "sex": SEX}
    known = {fold_name(name): part for part, names in people.items() for name in names}
    return {name: meant for name, meant in {**ALL_SPELLINGS, **known}.items() if len(name) > 2}


@functools.cache
def _list_long(letter: str) -> list[str]:
    return sorted(
        name for name in _list_known() if len(name) >= _LEAST_LETTERS and name[0] == letter
    )
