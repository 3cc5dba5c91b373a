"""FHIR R4 to people: Bundles, lists, single resources and NDJSON, with contained resources.

The shared cases in ``tests/fhir`` define the rules, one by one. Codes and units are those of
:mod:`henaw.intake.words.loinc`. The newest usable result of each biomarker counts, as in tables
(:mod:`henaw.intake.newest`).
"""

from __future__ import annotations

import collections
import json
import math
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta, timezone
from typing import IO, Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from henaw.intake.fhir.observations import (
    RefusedError,
    find_test,
    list_objects,
    read_measurement,
)
from henaw.intake.fhir.patients import Patient, Patients, check_name, locate, read_text
from henaw.intake.fhir.specimens import name_label, name_specimen
from henaw.intake.json_stream import UNPACKING, JsonStream
from henaw.intake.newest import Newest, Values, split_draw
from henaw.intake.notes import describe_unused
from henaw.intake.person_table import PersonTable
from henaw.intake.results import UNDATED, Results
from henaw.intake.words.dates import count_years, find_day, read_birth_date
from henaw.model.biomarkers import INDEX
from henaw.model.errors import ScoringError

_ENOUGH_TO_ADD = 1 << 16
_MOST_NAMED = 5


class FhirPeople(NamedTuple):
    """The people of FHIR data, and what was not used.

    Attributes:
        table: the people.
        patients: the Patient of each row.
        notes: sentences about what was skipped and refused.
    """

    table: PersonTable
    patients: list[Patient]
    notes: list[str]


class _Holder(NamedTuple):
    """A resource that may contain other resources."""

    name: str
    address: str | None
    resource: Mapping[str, Any]
    parts: Mapping[str, Mapping[str, Any]]


def read_fhir(
    files: Iterable[tuple[str, IO[str]]],
    *,
    local: Mapping[str, str] | None = None,
    by_draw: bool = False,
) -> FhirPeople:
    """Read all people from files, one document after the other.

    Args:
        files: the name and the text of each file.
        local: biomarkers by the laboratory's own codes, beside LOINC.
        by_draw: whether each day of a person is a row, with only the results of that day.

    Raises:
        ScoringError: a file is not FHIR, there is no Patient, or two Patients have the same name.
    """
    reader = FhirReader(local=local or {}, by_draw=by_draw)
    for name, file in files:
        stream = JsonStream(file)
        try:
            for value, is_entry in stream.read("entry"):
                reader.add(value, is_entry=is_entry)
        except (json.JSONDecodeError, UnicodeDecodeError, RecursionError, *UNPACKING) as error:
            raise ScoringError(
                name,
                [f"FHIR must be JSON; after {stream.count} resources it is not: {error}"],
            ) from error
    return reader.finish()


class FhirReader:
    """Read resources in any order.

    Args:
        local: biomarkers by the laboratory's own codes, beside LOINC.
        by_draw: whether each day of a person is a row.
    """

    def __init__(self, *, local: Mapping[str, str], by_draw: bool = False) -> None:
        self._local = local
        self._by_draw = by_draw
        self._patients = Patients()
        self._newest = Newest(by_draw=by_draw)
        self._others: collections.Counter[str] = collections.Counter()
        self._refused: collections.Counter[str] = collections.Counter()
        self._counts: collections.Counter[str] = collections.Counter()
        self._specimens: dict[str, str] = {}
        self._rows: list[_Row] = []
        # Results whose Specimen comes later; ``specimen`` is its address until then.
        self._waiting: list[_Row] = []
        self._resources = self._pages = 0
        # In some time zone it is already tomorrow.
        tomorrow = datetime.now(timezone.utc).date() + timedelta(days=1)
        self._latest = (tomorrow - find_day(0)).days

    def add(self, value: object, *, is_entry: bool = False) -> None:
        """Add a resource, or an entry of a Bundle."""
        if not isinstance(value, Mapping):
            return
        if is_entry:
            self._add_entry(value)
        else:
            self._add_resource(value, None)

    def finish(self) -> FhirPeople:
        """Return all people, in the order of the Patients.

        Raises:
            ScoringError: there is no FHIR, or no Patient.
        """
        if not self._resources:
            raise ScoringError(
                "FHIR",
                ["there must be FHIR R4 resources, such as a Bundle; got no resourceType"],
            )
        patients = self._patients.known
        if not patients:
            raise ScoringError("FHIR", ["there must be a Patient; got none, so no age is known"])
        self._flush(
            [row._replace(specimen=self._specimens.get(row.specimen, "")) for row in self._waiting]
        )
        self._flush(self._rows)
        names = self._assign(list(patients))
        values = self._newest.finish()
        owners = [patients[name] for name in names]
        table = PersonTable(
            [patient.name for patient in owners],
            _find_ages(owners, values),
            [read_text(patient.gender) for patient in owners],
            values,
        )
        refused = self._refused + self._newest.refused
        notes = describe_unused(self._others, refused, self._newest.tied, noun="results")
        if self._pages:
            notes.append("a Bundle has a next page. Is that page in the data too?")
        return FhirPeople(table, owners, notes)

    def _assign(self, names: list[str]) -> list[str]:
        """Assign the results to the Patients; return the name of the Patient of each row."""
        lone = names[0] if len(names) == 1 else None
        found: list[str | None] = []
        days = []
        for text in self._newest.people:
            reference, day = split_draw(text) if self._by_draw else (text, 0)
            found.append(self._patients.find(reference) if reference else lone)
            days.append(day)
        nowhere = {}
        for reference, count in self._counts.items():
            if not reference and lone is None:
                self._refused["no subject is named, and there are several Patients"] += count
            elif reference and self._patients.find(reference) is None:
                nowhere[reference] = count
        if nowhere:
            some = ", ".join(f"{name:.60}" for name in list(nowhere)[:_MOST_NAMED])
            more = " and others" if len(nowhere) > _MOST_NAMED else ""
            self._refused[f"the subject is not a Patient of this data: {some}{more}"] = sum(
                nowhere.values()
            )
        if not self._by_draw:
            places = {name: place for place, name in enumerate(names)}
            owners = [-1 if name is None else places[name] for name in found]
            self._newest.merge(names, np.array(owners, np.int64))
            return names
        draws: dict[tuple[str, int], int] = {}
        owners = [
            -1 if name is None else draws.setdefault((name, day), len(draws))
            for name, day in zip(found, days, strict=True)
        ]
        self._newest.merge([f"{name} {day}" for name, day in draws], np.array(owners, np.int64))
        return [name for name, _ in draws]

    def _flush(self, rows: list[_Row]) -> None:
        if rows:
            self._counts.update(row.person for row in rows)
            self._newest.add(_to_results(rows))

    def _add_entry(self, entry: Mapping[str, Any]) -> None:
        resource = entry.get("resource")
        if isinstance(resource, Mapping):
            self._add_resource(resource, read_text(entry.get("fullUrl")))

    def _add_resource(self, resource: Mapping[str, Any], address: str | None) -> None:
        kind = resource.get("resourceType")
        if kind is None:
            return
        self._resources += 1
        if kind == "Bundle":
            if resource.get("type") == "history":
                raise ScoringError(
                    "FHIR",
                    [
                        "a Bundle of type history has earlier versions of its resources too: send "
                        "the present ones, such as the Bundle of a search"
                    ],
                )
            self._pages += any(
                link.get("relation") == "next" for link in list_objects(resource.get("link"))
            )
            for entry in list_objects(resource.get("entry")):
                self._add_entry(entry)
            return
        if kind == "Parameters":
            for parameter in list_objects(resource.get("parameter")):
                self._add_entry(parameter)
            return
        number = read_text(resource.get("id"))
        name = address or (f"{kind}/{number}" if number else f"resource {self._resources}")
        check_name(name)
        contained = list_objects(resource.get("contained"))
        parts = {str(part.get("id")): part for part in contained} if contained else _NOTHING
        holder = _Holder(name, address, resource, parts)
        if kind == "Observation":
            self._add_observation(resource, holder, name)
        elif kind == "Patient":
            self._patients.add(resource, address, name)
        elif kind == "Specimen":
            type_ = name_specimen(resource.get("type"))
            self._specimens[locate({"reference": f"Specimen/{number}"}, address, name)] = type_
            if address is not None:
                self._specimens[address] = type_
        for part in contained:
            if part.get("resourceType") == "Patient":
                self._patients.add_contained(part, name)
            elif part.get("resourceType") == "Observation":
                self._add_contained(part, holder)

    def _add_contained(self, part: Mapping[str, Any], holder: _Holder) -> None:
        """Add an Observation of a report; without a subject or time it takes the report's."""
        lacking = ("subject",) if any(key in part for key in _TIMES) else ("subject", *_TIMES)
        shared = {key: holder.resource[key] for key in lacking if key in holder.resource}
        number = read_text(part.get("id")) or "an Observation"
        check_name(number)
        self._add_observation({**shared, **part}, holder, f"{number} contained in {holder.name}")

    def _add_observation(self, resource: Mapping[str, Any], holder: _Holder, name: str) -> None:
        """Add an Observation and its components, with its subject, status, time and modifiers."""
        components = list_objects(resource.get("component"))
        self._add_result(resource, holder, name, is_panel=bool(components))
        shared = {key: resource[key] for key in _SHARED if key in resource}
        for component in components:
            # FHIR has these for the Observation alone, but for modifiers.
            both = {**component, **shared}
            both["modifierExtension"] = _list_modifiers(resource) + _list_modifiers(component)
            self._add_result(both, holder, name)

    def _add_result(
        self,
        resource: Mapping[str, Any],
        holder: _Holder,
        name: str,
        *,
        is_panel: bool = False,
    ) -> None:
        test = find_test(resource.get("code"), self._local)
        if test.biomarker is None:
            if not is_panel:
                self._others[test.name] += 1
            return
        problem = test.problem
        if problem is None:
            try:
                self._read_result(resource, holder, name, test.biomarker, test.code)
            except RefusedError as refusal:
                problem = str(refusal)
        if problem is not None:
            self._refused[f"{test.biomarker}: {problem}"] += 1

    def _read_result(
        self,
        resource: Mapping[str, Any],
        holder: _Holder,
        name: str,
        biomarker: str,
        code: str,
    ) -> None:
        measured = read_measurement(resource, biomarker, code, latest_day=self._latest)
        specimen, where = self._find_specimen(resource.get("specimen"), holder)
        row = _Row(
            person=locate(resource.get("subject"), holder.address, holder.name),
            biomarker=INDEX[biomarker],
            comparator=measured.comparator,
            value=measured.value,
            unit=measured.unit,
            specimen=where or specimen,
            time=measured.time,
            day=measured.day,
            source=name,
        )
        (self._waiting if where else self._rows).append(row)
        if len(self._rows) >= _ENOUGH_TO_ADD:
            self._flush(self._rows)
            self._rows = []

    def _find_specimen(self, reference: object, holder: _Holder) -> tuple[str, str]:
        """Find the specimen if it is not blood, and its address if the Specimen comes later."""
        if not isinstance(reference, Mapping):
            return "", ""
        text = reference.get("reference")
        if isinstance(text, str) and text.startswith("#"):
            part = holder.parts.get(text[1:])
            return ("", "") if part is None else (name_specimen(part.get("type")), "")
        where = locate(reference, holder.address, holder.name)
        known = self._specimens.get(where)
        if known is not None:
            return known, ""
        label = name_label(reference.get("display"))
        return (label, "") if label else ("", where)


class _Row(NamedTuple):
    """One result: a row of :class:`Results`."""

    person: str
    biomarker: int
    comparator: int
    value: float
    unit: str
    specimen: str
    time: int
    day: int
    source: str


def _to_results(rows: list[_Row]) -> Results:
    person, biomarker, comparator, value, unit, specimen, time, day, source = zip(
        *rows, strict=True
    )
    return Results(
        person=pa.array(person, pa.string()),
        biomarker=np.array(biomarker, np.int64),
        comparator=np.array(comparator, np.int8),
        value=np.array(value, np.float64),
        unit=pa.array(unit, pa.string()),
        specimen=pa.array(specimen, pa.string()),
        time=np.array(time, np.int64),
        day=np.array(day, np.int64),
        age=np.full(len(rows), np.nan),
        source=pa.array(source, pa.string()),
    )


_TIMES = ("effectiveDateTime", "effectiveInstant", "effectivePeriod")
_SHARED = ("subject", "status", "modifierExtension", "specimen", *_TIMES)
"""What a component inherits from its Observation."""


def _list_modifiers(resource: Mapping[str, Any]) -> list[object]:
    found = resource.get("modifierExtension")
    return [found] if found else []


_NOTHING: Mapping[str, Mapping[str, Any]] = {}


def _find_ages(patients: list[Patient], values: Values) -> npt.NDArray[np.float64]:
    ages = np.full(len(patients), math.nan)
    for place, (patient, day) in enumerate(zip(patients, values.drawn.tolist(), strict=True)):
        birth = read_birth_date(patient.birth_date)
        if birth is not None and day != UNDATED:
            ages[place] = count_years(birth, find_day(day))
    return ages
