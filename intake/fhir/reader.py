"""FHIR R4 to people: Bundles, lists, single resources and NDJSON, with contained resources.

The shared cases in ``tests/fhir`` define the rules, one by one. Codes and units are those of
:mod:`henaw.intake.words.loinc`. The newest usable result of each biomarker counts, as in tables
(:mod:`henaw.intake.newest`).
"""

from __future__ import annotations

import collections
import functools
import json
import math
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta, timezone
from typing import IO, Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from henaw.intake.fhir.patients import Patient, Patients, locate, read_text
from henaw.intake.fhir.specimens import name_label, name_specimen
from henaw.intake.json_stream import UNPACKING, JsonStream
from henaw.intake.newest import Newest, Values, split_draw
from henaw.intake.notes import describe_unused
from henaw.intake.person_table import PersonTable
from henaw.intake.results import COMPARATORS, UNDATED, Results
from henaw.intake.words.dates import count_moment, count_years, find_day, read_birth_date, read_time
from henaw.intake.words.loinc import CODES, LOINC_SYSTEMS, STATUSES, UCUM_SYSTEMS
from henaw.model.biomarkers import INDEX, PANEL
from henaw.model.errors import ScoringError
from henaw.model.panel.units import fold_unit

_ENOUGH_TO_ADD = 1 << 16
_MOST_NAMED = 5
_SIGNS = {sign: place for place, sign in enumerate(COMPARATORS)}
_LARGEST = 1e300
"""JSON may have integers beyond the range of a float."""


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
    """A resource, for those that it contains."""

    name: str
    address: str | None
    resource: Mapping[str, Any]
    parts: Mapping[str, Mapping[str, Any]]


class _RefusedError(Exception):
    """Why a result is not used."""


def read_fhir(
    files: Iterable[tuple[str, IO[str]]],
    *,
    local: Mapping[str, str] | None = None,
    by_draw: bool = False,
) -> FhirPeople:
    """Read all people of some files, one document after the other.

    Args:
        files: names and text.
        local: biomarkers by the laboratory's own codes, beside LOINC.
        by_draw: whether each day of a person is a row, with only the results of that day.

    Raises:
        ScoringError: a file is not FHIR, there is no Patient, or two Patients have one name.
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
        # Results whose Specimen comes later; its address is in place of the specimen.
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
                ["the file must hold FHIR R4 resources, such as a Bundle; got no resourceType"],
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
            some = ", ".join(list(nowhere)[:_MOST_NAMED])
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
            self._pages += any(
                link.get("relation") == "next" for link in _list(resource.get("link"))
            )
            for entry in _list(resource.get("entry")):
                self._add_entry(entry)
            return
        if kind == "Parameters":
            for parameter in _list(resource.get("parameter")):
                self._add_entry(parameter)
            return
        number = read_text(resource.get("id"))
        name = address or (f"{kind}/{number}" if number else f"resource {self._resources}")
        contained = _list(resource.get("contained"))
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
        """An Observation without subject or time has those of the report that contains it."""
        lacking = ("subject",) if any(key in part for key in _TIMES) else ("subject", *_TIMES)
        shared = {key: holder.resource[key] for key in lacking if key in holder.resource}
        number = read_text(part.get("id")) or "an Observation"
        self._add_observation({**shared, **part}, holder, f"{number} contained in {holder.name}")

    def _add_observation(self, resource: Mapping[str, Any], holder: _Holder, name: str) -> None:
        """An Observation and its components, which share subject, status, time and modifiers."""
        components = _list(resource.get("component"))
        self._add_result(resource, holder, name, is_panel=bool(components))
        shared = {key: resource[key] for key in _SHARED if key in resource}
        for component in components:
            both = {**shared, **component}
            if shared.get("modifierExtension"):
                both["modifierExtension"] = shared["modifierExtension"]
            self._add_result(both, holder, name)

    def _add_result(
        self,
        resource: Mapping[str, Any],
        holder: _Holder,
        name: str,
        *,
        is_panel: bool = False,
    ) -> None:
        biomarker, number, problem = self._find_biomarker(resource.get("code"), is_panel=is_panel)
        if biomarker is None:
            return
        if problem is None:
            try:
                self._read_result(resource, holder, name, biomarker, number)
            except _RefusedError as refusal:
                problem = str(refusal)
        if problem is not None:
            self._refused[f"{biomarker}: {problem}"] += 1

    def _find_biomarker(
        self, concept: object, *, is_panel: bool
    ) -> tuple[str | None, str, str | None]:
        """Biomarker, LOINC code and why it is refused; None for a test outside the panel."""
        codings = _list(concept.get("coding")) if isinstance(concept, Mapping) else []
        known = []
        for coding in codings:
            code = coding.get("code")
            if not isinstance(code, str):
                continue
            if code in self._local:
                return self._local[code], "", None
            if code in CODES and _is_of(coding.get("system"), LOINC_SYSTEMS):
                known.append(code)
        if not known:
            if not is_panel:
                self._others[_name_concept(concept, codings)] += 1
            return None, "", None
        for number in known:
            if CODES[number].refused is not None:
                return CODES[number].biomarker, number, f"LOINC {number}: {CODES[number].refused}"
        names = dict.fromkeys(CODES[number].biomarker for number in known)
        problem = f"its codes say {' and '.join(names)}" if len(names) > 1 else None
        # A code with its own units is more specific than the codes beside it.
        number = next((one for one in known if CODES[one].units is not None), known[0])
        return next(iter(names)), number, problem

    def _read_result(
        self,
        resource: Mapping[str, Any],
        holder: _Holder,
        name: str,
        biomarker: str,
        number: str,
    ) -> None:
        status = resource.get("status")
        if status not in STATUSES:
            raise _RefusedError(
                f"the status must be {', '.join(STATUSES)}; got {status!r:.{_LONGEST}}"
            )
        if resource.get("modifierExtension"):
            raise _RefusedError("it has a modifierExtension, whose meaning is not known")
        time, day = _find_time(resource)
        if time is None:
            raise _RefusedError("it has no effective date")
        if day > self._latest:
            raise _RefusedError("its effective date is in the future")
        quantity = resource.get("valueQuantity")
        value = quantity.get("value") if isinstance(quantity, Mapping) else None
        if not isinstance(value, (int, float)) or isinstance(value, bool):
            raise _RefusedError("it has no valueQuantity with a number")
        if resource.get("dataAbsentReason") is not None:
            raise _RefusedError("it has a dataAbsentReason beside its value")
        quantity = resource["valueQuantity"]
        value = min(max(value, -_LARGEST), _LARGEST)
        if math.isnan(value):
            raise _RefusedError("its value is not a number")
        comparator = quantity.get("comparator")
        sign = _SIGNS.get("" if comparator is None else str(comparator))
        if sign is None:
            raise _RefusedError(f"comparator {comparator!r:.{_LONGEST}} is not known")
        code = quantity.get("code")
        ucum = code if _is_of(quantity.get("system"), UCUM_SYSTEMS) else None
        unit = ucum or quantity.get("unit") or code
        unit = unit if isinstance(unit, str) else ""
        problem = _check_unit(biomarker, number, unit)
        if problem is not None:
            raise _RefusedError(problem)
        specimen, where = self._find_specimen(resource.get("specimen"), holder)
        row = _Row(
            person=locate(resource.get("subject"), holder.address, holder.name),
            biomarker=INDEX[biomarker],
            comparator=sign,
            value=value,
            unit=unit,
            specimen=where or specimen,
            time=time,
            day=day,
            source=name,
        )
        (self._waiting if where else self._rows).append(row)
        if len(self._rows) >= _ENOUGH_TO_ADD:
            self._flush(self._rows)
            self._rows = []

    def _find_specimen(self, reference: object, holder: _Holder) -> tuple[str, str]:
        """The specimen if it is not blood; and its address, if the Specimen comes later."""
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

_LONGEST = 60
_NOTHING: Mapping[str, Mapping[str, Any]] = {}


def _list(value: object) -> list[Mapping[str, Any]]:
    return [one for one in value if isinstance(one, Mapping)] if isinstance(value, list) else []


@functools.lru_cache(maxsize=256)
def _is_known_system(system: str, systems: tuple[str, ...]) -> bool:
    plain = system.strip().rstrip("/").casefold().replace("https://", "http://", 1)
    return plain.replace("http://www.", "http://", 1) in systems


def _is_of(system: object, systems: tuple[str, ...]) -> bool:
    """Whether a code is of a system; some write its address with a slash at the end, or https."""
    return isinstance(system, str) and _is_known_system(system, systems)


def _name_concept(concept: object, codings: list[Mapping[str, Any]]) -> str:
    for coding in codings:
        words = [read_text(coding.get(key)) for key in ("code", "display")]
        if any(words):
            return " ".join(word for word in words if word)[:_LONGEST]
    text = read_text(concept.get("text")) if isinstance(concept, Mapping) else None
    return (text or "no code")[:_LONGEST]


def _find_time(resource: Mapping[str, Any]) -> tuple[int | None, int]:
    """Microseconds and days since 1970; None without a time."""
    period = resource.get("effectivePeriod")
    ends = (period.get("end"), period.get("start")) if isinstance(period, Mapping) else ()
    for text in (resource.get("effectiveDateTime"), resource.get("effectiveInstant"), *ends):
        if isinstance(text, str):
            found = _count_time(text)
            if found is not None:
                return found
    return None, UNDATED


@functools.lru_cache(maxsize=65_536)
def _count_time(text: str) -> tuple[int, int] | None:
    moment = read_time(text)
    return None if moment is None else count_moment(moment)


@functools.lru_cache(maxsize=4096)
def _check_unit(biomarker: str, number: str, unit: str) -> str | None:
    """Why a code cannot have a unit; None for a unit that is not known, which is judged later."""
    allowed = CODES[number].units if number in CODES else None
    if allowed is None or not unit:
        return None
    spelled = PANEL[INDEX[biomarker]].spellings.get(fold_unit(unit))
    if spelled is None or spelled in allowed:
        return None
    return f"LOINC {number} comes in {', '.join(allowed)}; got {unit!r}"


def _find_ages(patients: list[Patient], values: Values) -> npt.NDArray[np.float64]:
    ages = np.full(len(patients), math.nan)
    for place, (patient, day) in enumerate(zip(patients, values.drawn.tolist(), strict=True)):
        birth = read_birth_date(patient.birth_date)
        if birth is not None and day != UNDATED:
            ages[place] = count_years(birth, find_day(day))
    return ages
