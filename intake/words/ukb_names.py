"""The names of UK Biobank columns, in every convention in use.

A column is a field, an instance (the visit, or the number of a death record) and an
array place. The same column is ``30710-0.0`` in the CSV of ukbconv, ``f.30710.0.0`` in
its R tables, ``n_30710_0_0`` in its Stata files, ``x30710_0_0`` or ``X30710.0.0`` where
a program puts a letter before the digit, ``c_reactive_protein_f30710_0_0`` after
ukbtools, ``p30710_i0`` or ``participant.p30710_i0`` on the Research Analysis Platform,
and ``C-reactive protein | Instance 0`` where titles were exported.

Field numbers and titles are those of the UK Biobank Showcase
(https://biobank.ndph.ox.ac.uk/showcase/). Every biochemistry field has a companion field,
numbered 6 higher, that says whether the value could be reported (30716 for 30710, data-coding
4917); blood counts have none.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from henaw.model.biomarkers import PANEL

Kind = Literal["number", "integer", "date", "sex", "month", "centre", "limit", "yes", "cause"]

SEX = 31
YEAR_OF_BIRTH = 34
MONTH_OF_BIRTH = 52
DATE_OF_VISIT = 53
CENTRE = 54
LOST_TO_FOLLOW_UP = 191
PREGNANT = 3140
AGE_AT_VISIT = 21003
AGE_AT_RECRUITMENT = 21022
DATE_OF_DEATH = 40000
CAUSE_OF_DEATH = 40001

_REPORTABILITY_OFFSET = 6
_BIOCHEMISTRY = range(30600, 30900)
"""Blood biochemistry (category 17518); blood counts, 30000 to 30300, are never censored."""

_TITLES = {b.ukb_field: b.ukb_title or b.label for b in PANEL if b.ukb_field is not None}

BIOMARKER_FIELDS: Mapping[str, int] = MappingProxyType(
    {b.name: b.ukb_field for b in PANEL if b.ukb_field is not None}
)
"""Fields of the biomarkers that UK Biobank has."""
REPORTABILITY_FIELDS: Mapping[str, int] = MappingProxyType(
    {
        name: field + _REPORTABILITY_OFFSET
        for name, field in BIOMARKER_FIELDS.items()
        if field in _BIOCHEMISTRY
    }
)


@dataclass(frozen=True, kw_only=True)
class Field:
    """A field that cohorts are made from.

    Attributes:
        number: the field.
        title: its name in the Showcase.
        kind: how its values are read.
        by_visit: whether its instances are visits; of the other fields, only deaths have any.
    """

    number: int
    title: str
    kind: Kind
    by_visit: bool = True


FIELDS: Mapping[int, Field] = MappingProxyType(
    {
        field.number: field
        for field in (
            Field(number=SEX, title="Sex", kind="sex", by_visit=False),
            Field(number=YEAR_OF_BIRTH, title="Year of birth", kind="integer", by_visit=False),
            Field(number=MONTH_OF_BIRTH, title="Month of birth", kind="month", by_visit=False),
            Field(number=DATE_OF_VISIT, title="Date of attending assessment centre", kind="date"),
            Field(number=CENTRE, title="UK Biobank assessment centre", kind="centre"),
            Field(
                number=LOST_TO_FOLLOW_UP,
                title="Date lost to follow-up",
                kind="date",
                by_visit=False,
            ),
            Field(number=PREGNANT, title="Pregnant", kind="yes"),
            Field(number=AGE_AT_VISIT, title="Age when attended assessment centre", kind="number"),
            Field(
                number=AGE_AT_RECRUITMENT,
                title="Age at recruitment",
                kind="number",
                by_visit=False,
            ),
            Field(number=DATE_OF_DEATH, title="Date of death", kind="date", by_visit=False),
            Field(
                number=CAUSE_OF_DEATH,
                title="Underlying (primary) cause of death: ICD10",
                kind="cause",
                by_visit=False,
            ),
            *(
                Field(number=number, title=_TITLES[number], kind="number")
                for number in BIOMARKER_FIELDS.values()
            ),
            *(
                Field(
                    number=number,
                    title=f"{_TITLES[number - _REPORTABILITY_OFFSET]} reportability",
                    kind="limit",
                )
                for number in REPORTABILITY_FIELDS.values()
            ),
        )
    }
)


@dataclass(frozen=True, order=True)
class Place:
    """Field, instance and array place of a column."""

    field: int
    instance: int = 0
    array: int = 0


def _fold(text: str) -> str:
    """Keep only letters and digits: R writes dots, and exporters differ in case and spaces."""
    return re.sub(r"[^a-z0-9]", "", text.casefold())


_PARTICIPANT = {
    "eid",
    "neid",
    "feid",
    "xeid",
    "participantid",
    "encodedanonymisedparticipantid",
}
_ENTITY = re.compile(
    r"^[a-z_]+\.(?=p\d|eid$|(?:ins|arr)_index$|level$|date_of_death$|cause_icd10$)", re.IGNORECASE
)
"""On the platform, the name of the table may be in front of the name of the column."""
_NUMBERED = re.compile(r"^(?:.+_f|(?:[fxns]|ts)[._]?)?(\d+)[-._](\d+)[._](\d+)$", re.IGNORECASE)
_PLATFORM = re.compile(r"^p(\d+)(?:_i(\d+))?(?:_a(\d+))?$", re.IGNORECASE)
_TITLED_PLACE = re.compile(r"^(.+?)(?:instance(\d+))?(?:array(\d+))?$")
_TITLED_SUFFIX = re.compile(r"^(.*\D)[-._](\d+)[._](\d+)$")
_FIELD_BY_TITLE = {_fold(field.title): field.number for field in FIELDS.values()}


def is_participant(name: str) -> bool:
    """Whether a column has the participant's identifier.

    Example:
        >>> [is_participant(n) for n in ("eid", "n_eid", "participant.eid", "Participant ID")]
        [True, True, True, True]
        >>> is_participant("30710-0.0")
        False
    """
    return _fold(_ENTITY.sub("", name.strip())) in _PARTICIPANT


def parse_column(name: str) -> Place | None:
    """Return the place of a column; None for a field that is not needed.

    Example:
        >>> parse_column("c_reactive_protein_f30710_0_0")
        Place(field=30710, instance=0, array=0)
        >>> parse_column("participant.p30710_i1")
        Place(field=30710, instance=1, array=0)
        >>> parse_column("C-reactive protein | Instance 0") == parse_column("30710-0.0")
        True
        >>> parse_column("30711-0.0") is None
        True
    """
    name = _ENTITY.sub("", name.strip())
    numbered = _NUMBERED.match(name) or _PLATFORM.match(name)
    if numbered:
        field, instance, array = (int(part or 0) for part in numbered.groups())
        return Place(field, instance, array) if field in FIELDS else None
    for pattern, text in ((_TITLED_SUFFIX, name), (_TITLED_PLACE, _fold(name))):
        titled = pattern.match(text)
        if titled and _fold(titled[1]) in _FIELD_BY_TITLE:
            return Place(
                _FIELD_BY_TITLE[_fold(titled[1])], int(titled[2] or 0), int(titled[3] or 0)
            )
    return None


RECORD_COLUMNS: Mapping[str, str] = MappingProxyType(
    {
        "insindex": "record",
        "instanceindex": "record",
        "arrindex": "array",
        "arrayindex": "array",
        "level": "level",
        "dateofdeath": "date",
        "causeicd10": "cause",
    }
)
"""Columns of the record-level tables ``death`` and ``death_cause``, by folded name."""


def parse_record_column(name: str) -> str | None:
    """Return what a column of a record-level death table is; None for another column.

    Example:
        >>> parse_record_column("death.date_of_death"), parse_record_column("eid")
        ('date', None)
    """
    return RECORD_COLUMNS.get(_fold(_ENTITY.sub("", name.strip())))
