"""The panel's names and order, its description, and the check and correction of names.

The entries are in :data:`henaw.model.panel.table.PANEL`.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from types import MappingProxyType
from typing import Any

from henaw.model.errors import PanelError
from henaw.model.panel.entry import (
    SYSTEM_NAMES,
    Biomarker,
    CriticalLimit,
    ReferenceInterval,
    Variation,
)
from henaw.model.panel.folding import fold_name
from henaw.model.panel.table import PANEL

__all__ = [
    "AGE_MAXIMUM_YEARS",
    "AGE_MINIMUM_YEARS",
    "CAUSES",
    "INDEX",
    "NAMES",
    "PANEL",
    "SEXES",
    "SYSTEMS",
    "SYSTEM_NAMES",
    "Biomarker",
    "CriticalLimit",
    "ReferenceInterval",
    "Variation",
    "check_names",
    "describe_fitted_panel",
    "describe_panel",
    "explain_unknown",
    "list_total_cv",
    "suggest_name",
]

NAMES: tuple[str, ...] = tuple(biomarker.name for biomarker in PANEL)
INDEX: Mapping[str, int] = MappingProxyType({name: i for i, name in enumerate(NAMES)})

AGE_MINIMUM_YEARS = 18.0
AGE_MAXIMUM_YEARS = 120.0

SEXES: tuple[str, ...] = ("female", "male")
"""The code of a sex is its place here: 0 female, 1 male."""

SYSTEMS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        system: tuple(biomarker.name for biomarker in PANEL if system in biomarker.systems)
        for system in SYSTEM_NAMES
    }
)

CAUSES: tuple[str, ...] = ("cardiovascular", "cancer", "diabetes", "dementia")


def describe_panel() -> list[dict[str, Any]]:
    """The whole panel as JSON values, for the model's sidecar."""
    return [
        {
            "name": biomarker.name,
            "label": biomarker.label,
            "synonyms": [*biomarker.synonyms, *biomarker.shared_synonyms],
            "shared_synonyms": list(biomarker.shared_synonyms),
            "unit": biomarker.unit,
            "units": list(biomarker.units),
            "minimum": biomarker.minimum,
            "maximum": biomarker.maximum,
            "log_scaled": biomarker.log_scaled,
            "systems": list(biomarker.systems),
            "harmful": sorted(biomarker.harmful),
            "reference": asdict(biomarker.reference),
            "critical_low": _describe_limit(biomarker.critical_low),
            "critical_high": _describe_limit(biomarker.critical_high),
            "variation": asdict(biomarker.variation),
            "ukb_field": biomarker.ukb_field,
            "loinc": list(biomarker.loinc),
        }
        for biomarker in PANEL
    ]


def _describe_limit(limit: CriticalLimit | None) -> dict[str, Any] | None:
    return None if limit is None else asdict(limit)


_FITTED = (
    *("name", "unit", "minimum", "maximum", "log_scaled", "systems", "harmful", "reference"),
    *("critical_low", "critical_high", "variation"),
)


def describe_fitted_panel() -> list[dict[str, Any]]:
    """The part of the panel that a fit depends on, for the checkpoint.

    It has no synonyms, codes or other units, and no sources: a better citation needs no new fit.
    """
    return [
        {key: _drop_source(value) for key, value in row.items() if key in _FITTED}
        for row in describe_panel()
    ]


def _drop_source(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: part for key, part in value.items() if key != "source"}
    return value


def list_total_cv() -> list[float]:
    """Coefficients of variation of a repeat draw in the panel's order, as fractions.

    Example:
        >>> [round(cv, 2) for cv in list_total_cv()[:3]]
        [0.43, 0.03, 0.05]
    """
    return [biomarker.variation.total_cv for biomarker in PANEL]


SPELLINGS: Mapping[str, str] = MappingProxyType(
    {fold_name(text): b.name for b in PANEL for text in (b.name, b.label, *b.synonyms)}
)
"""Biomarkers by folded name."""

SHARED_SPELLINGS: Mapping[str, str] = MappingProxyType(
    {fold_name(text): b.name for b in PANEL for text in b.shared_synonyms}
)
"""Biomarkers by those folded names that another quantity has as well."""


def suggest_name(unknown: str, names: Sequence[str] = NAMES) -> str | None:
    """Return the biomarker that a synonym or a misspelt name means, or None.

    Example:
        >>> suggest_name("creatinin"), suggest_name("gamma-GT"), suggest_name("zzz")
        ('creatinine', 'ggt', None)
    """
    folded = fold_name(unknown)
    synonym = SPELLINGS.get(folded, SHARED_SPELLINGS.get(folded))
    if synonym in names:
        return synonym
    near = difflib.get_close_matches(unknown.casefold(), names, n=1, cutoff=0.6)
    return near[0] if near else None


def explain_unknown(name: str) -> str:
    """Say that a biomarker is unknown, and which one its name may mean.

    Example:
        >>> explain_unknown("creatinin")
        "unknown biomarker 'creatinin': did you mean creatinine?"
    """
    near = suggest_name(name)
    return f"unknown biomarker {name!r}" + (f": did you mean {near}?" if near else "")


def check_names(names: Iterable[str], *, subject: str) -> None:
    """Check that names are some of the panel's, in the panel's order.

    Args:
        names: names as found in a configuration or a checkpoint.
        subject: where the names were found, for the message.

    Raises:
        PanelError: with every unknown, repeated and misplaced name.
    """
    seen = list(names)
    problems = []
    for name in dict.fromkeys(seen):
        if name not in INDEX:
            problems.append(explain_unknown(name))
        elif seen.count(name) > 1:
            problems.append(f"{name} is listed {seen.count(name)} times")
    ordered = [name for name in NAMES if name in seen]
    if not problems and not seen:
        problems.append(f"list at least one of {', '.join(NAMES)}")
    if not problems and seen != ordered:
        problems.append(f"order must be {', '.join(ordered)}; got {', '.join(seen)}")
    if problems:
        raise PanelError(subject, problems)
