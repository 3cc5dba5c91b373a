"""People from results: their values, and their age and sex from the same or another table."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from henaw.intake.newest import Newest, Values, encode, pair, split_draw
from henaw.intake.notes import MOST_NAMED, describe_unused
from henaw.intake.person_table import PersonTable
from henaw.intake.results import UNDATED, Unusable, repeat
from henaw.intake.tables.long_table import LongTable, read_age, to_text
from henaw.intake.words.columns import ResultColumns, find_parts
from henaw.intake.words.dates import count_years, find_day, read_birth_date
from henaw.intake.words.days import find_order, read_day
from henaw.intake.words.near_names import find_near_names
from henaw.model.biomarkers import NAMES
from henaw.model.errors import ScoringError
from henaw.model.panel.folding import fold_name

ReadColumns = Callable[[Sequence[str]], Iterator[pa.RecordBatch]]
"""Read columns of a table from its beginning, batch by batch."""

_OMOP_SEXES = {"8507": "male", "8532": "female"}
_MOST_COMPARED = 1000
_NOBODY = (
    "no person has both an age (or birth date) and a sex. Give a table with one row per person "
    "(identifier, birth date or age, sex) by --people, such as OMOP's PERSON, or add columns such "
    "as age and sex"
)


class _Facts:
    """Age, sex and birth date of people, as text; one with two different texts is not known."""

    def __init__(self) -> None:
        self.known: dict[str, dict[str, str]] = {"age": {}, "sex": {}, "birth": {}}
        self.differing: dict[str, set[str]] = {part: set() for part in self.known}

    def add(self, part: str, people: pa.Array, texts: pa.Array) -> None:
        """Add (n,) texts of a part, "age", "sex" or "birth", of (n,) people."""
        names, person = encode(people)
        words, word = encode(texts)
        people_of, words_of, _ = pair(person, word)
        for name_at, text_at in zip(people_of.tolist(), words_of.tolist(), strict=True):
            name, text = names[name_at], words[text_at]
            if text and self.known[part].setdefault(name, text) != text:
                self.differing[part].add(name)

    def add_columns(self, batch: pa.RecordBatch, parts: Mapping[str, str]) -> None:
        """Add the sexes and birth dates of a batch."""
        people = read_people(batch, parts)
        if "sex" in parts:
            sexes = to_text(batch.column(parts["sex"]))
            if fold_name(parts["sex"]) == "genderconceptid":
                words, indices = encode(sexes)
                named = [_OMOP_SEXES.get(word, "") for word in words]
                sexes = pa.array(named, pa.string()).take(pa.array(indices))
            self.add("sex", people, sexes)
        if "birth" in parts:
            self.add("birth", people, to_text(batch.column(parts["birth"])))
        if "birth_year" in parts:
            known = [to_text(batch.column(parts[part])) for part in _BIRTH_PARTS if part in parts]
            dates = [_join_date(*row) for row in zip(*(c.to_pylist() for c in known), strict=True)]
            dated = self.known["birth"]
            names = people.to_pylist()
            left = [
                text if name not in dated else "" for name, text in zip(names, dates, strict=True)
            ]
            self.add("birth", people, pa.array(left, pa.string()))

    def find(self, part: str, person: str) -> str:
        """Return the text of a person; "" if it is not known."""
        return "" if person in self.differing[part] else self.known[part].get(person, "")


_BIRTH_PARTS = ("birth_year", "birth_month", "birth_day")


def _join_date(year: str, month: str = "", day: str = "") -> str:
    """Write a date as FHIR does, complete or partial."""
    if not month:
        return year
    return (
        f"{year}-{int(month):02d}" + (f"-{int(day):02d}" if day else "")
        if month.isdecimal()
        else ""
    )


def read_people(batch: pa.RecordBatch, parts: Mapping[str, str]) -> pa.Array:
    """(n,) identifiers; all are "" without a column of them."""
    if "person" in parts:
        return to_text(batch.column(parts["person"]))
    return repeat("", batch.num_rows)


def tabulate_people(
    results: ReadColumns,
    columns: ResultColumns,
    names: Sequence[str],
    *,
    decimal: str,
    local: Mapping[str, str],
    people: tuple[ReadColumns, Sequence[str]] | None = None,
    by_draw: bool = False,
) -> tuple[PersonTable, list[str], list[Unusable]]:
    """Turn a table with one result per row into the table of people that is scored.

    Args:
        results: the table.
        columns: of the table.
        names: of all its columns.
        decimal: the decimal mark of its text.
        local: biomarkers by the laboratory's own codes.
        people: a table with one row per person, and the names of its columns.
        by_draw: whether each day of a person is a row, with only the results of that day.

    Returns:
        The people; sentences about what each column was taken for and what was not used; and
        the biomarkers none of whose results can be used.

    Raises:
        ScoringError: dates can be read in two ways, or no person has an age and a sex.
    """
    parts = columns.parts
    order = _find_order(results, parts.get("time"), may_be_alone=True)
    table = LongTable(columns, local=local, decimal=decimal, order=order)
    newest, facts = Newest(by_draw=by_draw), _Facts()
    for batch in results(columns.columns):
        if not by_draw:
            newest.number(read_people(batch, parts))
        found, properties = table.read(batch)
        newest.add(found)
        facts.add_columns(batch, parts)
        for part, rows in properties.items():
            facts.add(part, rows.column("person"), rows.column("text"))
    birth_order = _find_order(results, parts.get("birth"), may_be_alone=False)
    if people is not None:
        birth_order = _add_people(facts, people, "person" in parts) or birth_order
    differing = [part for part, several in facts.differing.items() if several]
    if differing and "person" not in parts:
        raise ScoringError(
            "people",
            [
                f"{' and '.join(differing)} differ between rows, so a column must say which "
                f"person a result belongs to; got {', '.join(map(repr, names))}"
            ],
        )
    values = newest.finish()
    identifiers = list(newest.people)
    if by_draw:
        identifiers = [split_draw(name)[0] for name in identifiers]
    ages = _find_ages(identifiers, values, facts, birth_order)
    sexes = [facts.find("sex", person) or None for person in identifiers]
    if identifiers and (np.isnan(ages).all() or not facts.known["sex"]):
        problems = [_NOBODY]
        if np.isnan(values.value).all():
            # The ages come with the results, so they are not known because of this.
            refused = (table.refused + newest.refused).most_common(MOST_NAMED)
            reasons = [f"{count} rows, {reason}" for reason, count in refused]
            problems = ["no result can be used", *reasons] if reasons else problems
        raise ScoringError("people", problems)
    table_of = PersonTable(identifiers if "person" in parts else None, ages, sexes, values)
    notes = [*columns.describe(names), *_report(table, newest, facts, "person" in parts)]
    return table_of, notes, _find_unusable(table, newest, values)


def _find_order(read: ReadColumns, column: str | None, *, may_be_alone: bool) -> str:
    if column is None:
        return "mdy"
    texts = (
        text
        for batch in read([column])
        for text in encode(to_text(batch.filter(_find_unsure(batch)).column(0)))[0]
    )
    return find_order(texts, subject=f"column {column!r}", may_be_alone=may_be_alone)


def _find_unsure(batch: pa.RecordBatch) -> pa.Array:
    """(n,) whether a cell is a date that begins with the day or the month."""
    return pc.match_substring_regex(to_text(batch.column(0)), r"^\d{1,2}[/-]\d{1,2}[/-]")


def _add_people(
    facts: _Facts, people: tuple[ReadColumns, Sequence[str]], has_person: bool
) -> str | None:
    """Add the facts of a table of people; return the order of its birth dates, None without any."""
    read, names = people
    parts = {
        part: column
        for part, column in find_parts(names).items()
        if part in ("person", "age", "sex", "birth", *_BIRTH_PARTS)
    }
    if not has_person or "person" not in parts:
        raise ScoringError(
            "people", ["both tables must have an identifier of people; one has none"]
        )
    for batch in read(tuple(dict.fromkeys(parts.values()))):
        facts.add_columns(batch, parts)
        if "age" in parts:
            facts.add("age", read_people(batch, parts), to_text(batch.column(parts["age"])))
    if "birth" not in parts:
        return None
    return _find_order(read, parts["birth"], may_be_alone=False)


def _find_ages(
    identifiers: Sequence[str], values: Values, facts: _Facts, birth_order: str
) -> npt.NDArray[np.float64]:
    """(people,) years on the day of the newest value, NaN where not known."""
    ages: npt.NDArray[np.float64] = values.age.copy()
    for place, person in enumerate(identifiers):
        birth = _read_birth(facts.find("birth", person), birth_order)
        drawn = int(values.drawn[place])
        if birth is not None and drawn != UNDATED:
            ages[place] = count_years(birth, find_day(drawn))
        elif math.isnan(ages[place]):
            ages[place] = read_age(facts.find("age", person))
    return ages


def _read_birth(text: str, order: str) -> date | None:
    if re.fullmatch(r"\d{4}(-\d\d)?", text):
        return read_birth_date(text)
    moment = read_day(text, order) if text else None
    return None if moment is None else moment.day


def _find_unusable(table: LongTable, newest: Newest, values: Values) -> list[Unusable]:
    """Find biomarkers with results but without a value, and tests whose names may mean one."""
    refused, doubted = table.refused + newest.refused, table.doubted + newest.doubted
    unusable, absent = [], []
    for name, values_of in zip(NAMES, values.value.T, strict=True):
        if not np.isnan(values_of).all():
            continue
        if not table.found[name]:
            absent.append(name)
        elif doubted[name]:
            reasons = [
                f"{count} rows, {reason}"
                for reason, count in refused.most_common()
                if reason.startswith((f"{name}:", f"{name} "))
            ]
            outside = tuple(newest.outside.get(name, ()))
            unusable.append(Unusable(name, doubted[name], tuple(reasons[:3]), outside))
    tests = [name for name, _ in table.others.most_common(_MOST_COMPARED)]
    for near in find_near_names(tests, absent):
        reason = f"the test {near.name!r} is not known; name it by --tests"
        unusable.append(Unusable(near.meant, table.others[near.name], (reason,), ()))
    return unusable


def _report(table: LongTable, newest: Newest, facts: _Facts, has_person: bool) -> list[str]:
    noun = "draws" if newest.by_draw else "people"
    lines = [f"{table.rows} rows of results, {len(newest.people)} {noun}"]
    if not has_person:
        lines.append(
            "no column has an identifier of people: all results are taken for one person's"
        )
    lines += describe_unused(table.others, table.refused + newest.refused, newest.tied)
    lines += [
        f"not used: {part} of {len(people)} people, which differs between their rows"
        for part, people in facts.differing.items()
        if people
    ]
    return lines
