"""FHIR R4 Bundles to people: the newest usable Observation of each biomarker.

The rules, one by one, are the shared cases in ``tests/fhir``, which the web page's reader
is held to as well; codes and units are those of :mod:`henaw.model.fhir`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta, timezone
from typing import Any, NamedTuple, TypeGuard

import numpy as np
from henaw.intake.dates import count_years, read_birth_date, read_time
from henaw.model.biomarkers import (
    AGE_MAXIMUM_YEARS,
    AGE_MINIMUM_YEARS,
    INDEX,
    NAMES,
    PANEL,
    SEXES,
)
from henaw.model.errors import PanelError, ScoringError
from henaw.model.fhir import (
    CODES,
    COMPARATORS,
    LOINC_SYSTEMS,
    STATUSES,
    UCUM_SYSTEMS,
)


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """An Observation with a code of the panel that is not used.

    Attributes:
        observation: its id, or its place in the Bundle.
        biomarker: what it seemed to be.
        code: ``code``, ``status``, ``subject``, ``modifier``, ``date``, ``no_value``,
            ``comparator``, ``unit``, ``implausible`` or ``limit``.
        message: the reason, for people.
    """

    observation: str
    biomarker: str
    code: str
    message: str


@dataclass(frozen=True, kw_only=True)
class Person:
    """A Patient with the values that are used.

    Attributes:
        patient: the Patient's id.
        age_years: on the day of the newest value; NaN where unknown.
        sex: 0 female, 1 male; -1 where neither.
        drawn: the day of the newest value, YYYY-MM-DD.
        biomarkers: values in the panel's units by name; those without are missing.
        limits: "below" or "above" by name, where the value is a limit of the assay.
        old: days by name of values more than a year older than the newest: they are used,
            and may not say how the person was on that day.
        problems: why this person cannot be scored: messages for people by code,
            ``birth_date``, ``age``, ``sex`` or ``no_values``.
    """

    patient: str
    age_years: float
    sex: int
    drawn: str | None
    biomarkers: Mapping[str, float] = field(default_factory=dict)
    limits: Mapping[str, str] = field(default_factory=dict)
    old: Mapping[str, date] = field(default_factory=dict)
    problems: Mapping[str, str] = field(default_factory=dict)


class Reading(NamedTuple):
    """What a Bundle holds, in its order."""

    people: tuple[Person, ...]
    refusals: tuple[Refusal, ...]


class _Result(NamedTuple):
    """A dated quantity of one patient, before its unit is looked at."""

    observation: str
    name: str
    code: str
    when: datetime
    day: date
    quantity: Mapping[str, Any]


class _RefusedError(Exception):
    """Why an Observation is not used: code and message."""


def read_bundle(bundle: object, reference: Mapping[str, Any]) -> Reading:
    """Read every Patient of a Bundle.

    Of each biomarker the newest result counts, by the time that the Observation is about;
    of several of the same instant the first that can be used. What is not final, amended
    or corrected, has no time or one in the future, no quantity, a reason why that is absent
    or a modifier is no result. Where the newest cannot be used (unit, range), the biomarker
    is missing: an older one would pass for news.

    A result below or above a limit stands for the limit where the limit is on its side of
    the median of that age and sex, and is missing otherwise: "CRP below 5 mg/L" says less
    than nothing known does. Without an age and a sex it cannot be judged, and is missing.

    Args:
        bundle: the decoded JSON.
        reference: medians by age and sex, the model's ``reference``.

    Raises:
        ScoringError: it is not a Bundle, or holds no Patient.

    Example:
        >>> read_bundle({"resourceType": "Bundle", "entry": [{"resource": {
        ...     "resourceType": "Patient", "id": "a", "gender": "male"}}]}, {}).people[0].problems
        {'birth_date': 'expected a birthDate, however: None', 'no_values': 'no usable Observation'}
    """
    if not isinstance(bundle, Mapping) or bundle.get("resourceType") != "Bundle":
        raise ScoringError("FHIR", ["expected a Bundle, however: resourceType is another or none"])
    entries = [entry for entry in _list(bundle.get("entry")) if isinstance(entry, Mapping)]
    patients: dict[str, tuple[Mapping[str, Any], Any]] = {}
    for place, entry in enumerate(entries):
        resource = entry.get("resource")
        if isinstance(resource, Mapping) and resource.get("resourceType") == "Patient":
            key, full_url = _name_entry(entry, place), entry.get("fullUrl")
            known, address = patients.get(key, (resource, full_url))
            moved = _is_web(address) and _is_web(full_url) and address != full_url
            if known != resource or moved:
                raise ScoringError(
                    "FHIR", [f"expected each Patient once, however: {key!r} is two that differ"]
                )
            patients[key] = (resource, full_url)
    if not patients:
        raise ScoringError("FHIR", ["expected a Patient in the Bundle, found none"])
    refusals: list[Refusal] = []
    results: dict[str, list[_Result]] = {key: [] for key in patients}
    # Somewhere it is tomorrow already.
    latest = datetime.now(timezone.utc).date() + timedelta(days=1)
    for observation, full_url, resource in _walk_observations(entries):
        name, code, reason = _find_biomarker(resource)
        if name is None:
            continue
        if reason is not None:
            refusals.append(_write_refusal(observation, name, _RefusedError("code", reason)))
            continue
        try:
            owner = _find_patient(resource, full_url, patients)
            results[owner].append(_read_result(observation, name, code, resource, latest))
        except _RefusedError as refusal:
            refusals.append(_write_refusal(observation, name, refusal))
    people = tuple(
        _read_person(key, resource, results[key], reference, refusals)
        for key, (resource, _) in patients.items()
    )
    return Reading(people, tuple(refusals))


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _name_entry(entry: Mapping[str, Any], place: int) -> str:
    names = (entry["resource"].get("id"), entry.get("fullUrl"))
    return next((name for name in names if isinstance(name, str) and name), f"entry {place}")


def _is_web(url: object) -> TypeGuard[str]:
    return isinstance(url, str) and url.startswith(("http://", "https://"))


def _write_refusal(observation: str, name: str, refusal: _RefusedError) -> Refusal:
    code, message = refusal.args
    return Refusal(observation=observation, biomarker=name, code=code, message=message)


def _walk_observations(
    entries: list[Mapping[str, Any]],
) -> Iterator[tuple[str, object, Mapping[str, Any]]]:
    """Name, fullUrl and content of Observations and of their components.

    A component shares subject, status, time and modifiers with its Observation.
    """
    for place, entry in enumerate(entries):
        resource = entry.get("resource")
        if not isinstance(resource, Mapping) or resource.get("resourceType") != "Observation":
            continue
        name, full_url = _name_entry(entry, place), entry.get("fullUrl")
        yield name, full_url, resource
        for component in _list(resource.get("component")):
            if isinstance(component, Mapping):
                shared = {k: v for k, v in resource.items() if k not in _OWN_TO_A_COMPONENT}
                both = {**shared, **component}
                if shared.get("modifierExtension"):
                    both["modifierExtension"] = shared["modifierExtension"]
                yield name, full_url, both


_OWN_TO_A_COMPONENT = ("code", "valueQuantity", "dataAbsentReason", "component")


def _find_biomarker(resource: Mapping[str, Any]) -> tuple[str | None, str, str | None]:
    """Biomarker, LOINC code and why it is refused; no biomarker: nothing of the panel."""
    concept = resource.get("code")
    codings = _list(concept.get("coding")) if isinstance(concept, Mapping) else []
    known = [
        (str(coding["code"]), CODES[str(coding["code"])])
        for coding in codings
        if isinstance(coding, Mapping)
        and coding.get("system") in LOINC_SYSTEMS
        and str(coding.get("code")) in CODES
    ]
    if not known:
        return None, "", None
    for number, code in known:
        if code.refused is not None:
            return code.biomarker, number, f"LOINC {number}: {code.refused}"
    number, code = known[0]
    names = dict.fromkeys(other.biomarker for _, other in known)
    if len(names) > 1:
        return code.biomarker, number, f"its codes say {' and '.join(names)}"
    return code.biomarker, number, None


def _find_patient(
    resource: Mapping[str, Any], full_url: object, patients: Mapping[str, tuple[Any, Any]]
) -> str:
    """The Patient whom an Observation is of, by FHIR's rules of references in a Bundle."""
    subject = resource.get("subject")
    reference = subject.get("reference") if isinstance(subject, Mapping) else None
    if reference is None:
        if len(patients) == 1:
            return next(iter(patients))
        raise _RefusedError("subject", "it names no subject, and the Bundle has several Patients")
    wanted = reference.split("/_history/")[0] if isinstance(reference, str) else ""
    if wanted.startswith("Patient/") and _is_web(full_url) and "/Observation/" in full_url:
        wanted = f"{full_url.rpartition('/Observation/')[0]}/{wanted}"
    for key, (_, address) in patients.items():
        if wanted == address:
            return key
        # Without an address of its own a Patient goes by its id, on whichever server.
        by_id = wanted.startswith("Patient/") or (_is_web(wanted) and not _is_web(address))
        if by_id and f"/{wanted}".endswith(f"/Patient/{key}"):
            return key
    raise _RefusedError("subject", "its subject is no Patient of the Bundle")


def _read_result(
    observation: str, name: str, code: str, resource: Mapping[str, Any], latest: date
) -> _Result:
    if resource.get("status") not in STATUSES:
        raise _RefusedError(
            "status",
            f"status must be {', '.join(STATUSES)}, however: {resource.get('status')!r}",
        )
    if resource.get("modifierExtension") not in (None, []):
        raise _RefusedError("modifier", "it has a modifierExtension, whose meaning is not known")
    period = resource.get("effectivePeriod")
    period = period if isinstance(period, Mapping) else {}
    for text in (
        resource.get("effectiveDateTime"),
        resource.get("effectiveInstant"),
        period.get("end"),
        period.get("start"),
    ):
        moment = read_time(text)
        if moment is not None:
            break
    else:
        raise _RefusedError("date", "it has no effective date")
    if moment.day > latest:
        raise _RefusedError("date", f"its effective date, {moment.day}, is in the future")
    quantity = resource.get("valueQuantity")
    quantity = quantity if isinstance(quantity, Mapping) else {}
    value = quantity.get("value")
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise _RefusedError("no_value", "it has no valueQuantity with a number")
    if resource.get("dataAbsentReason") is not None:
        raise _RefusedError("no_value", "it has a dataAbsentReason beside its value")
    return _Result(observation, name, code, *moment, quantity)


def _read_person(
    key: str,
    patient: Mapping[str, Any],
    results: list[_Result],
    reference: Mapping[str, Any],
    refusals: list[Refusal],
) -> Person:
    problems = {}
    birth = read_birth_date(patient.get("birthDate"))
    gender = patient.get("gender")
    sex = SEXES.index(gender) if gender in SEXES else -1
    values: dict[str, tuple[_Result, float]] = {}
    limits: dict[str, str] = {}
    for name, (result, value) in _pick_newest(results, refusals).items():
        try:
            side = _judge_limit(result, value, birth, sex, reference)
        except _RefusedError as refusal:
            refusals.append(_write_refusal(result.observation, name, refusal))
            continue
        values[name] = (result, value)
        if side is not None:
            limits[name] = side
    drawn = max((result.day for result, _ in values.values()), default=None)
    age = math.nan
    if birth is None:
        problems["birth_date"] = f"expected a birthDate, however: {patient.get('birthDate')!r}"
    elif drawn is not None:
        age = count_years(birth, drawn)
        if not _accepts_age(age):
            problems["age"] = (
                # The first day outside is less than 0.003 years away.
                f"{age:.3f} years is outside {AGE_MINIMUM_YEARS:g} to {AGE_MAXIMUM_YEARS:g}"
            )
    if sex < 0:
        problems["sex"] = f"gender must be {' or '.join(SEXES)}, however: {gender!r}"
    if not values:
        problems["no_values"] = "no usable Observation"
    return Person(
        patient=key,
        age_years=age,
        sex=sex,
        drawn=None if drawn is None else drawn.isoformat(),
        biomarkers={name: value for name, (_, value) in values.items()},
        limits=limits,
        old={
            name: result.day
            for name, (result, _) in values.items()
            if drawn is not None and count_years(result.day, drawn) > 1
        },
        problems=problems,
    )


def _accepts_age(age: float) -> bool:
    return AGE_MINIMUM_YEARS <= age <= AGE_MAXIMUM_YEARS


def _pick_newest(
    results: list[_Result], refusals: list[Refusal]
) -> dict[str, tuple[_Result, float]]:
    """The newest result of each biomarker, and its value in the panel's unit."""
    values: dict[str, tuple[_Result, float]] = {}
    for name in NAMES:
        mine = [result for result in results if result.name == name]
        newest = max((result.when for result in mine), default=None)
        for result in mine:
            if result.when != newest or name in values:
                continue
            try:
                values[name] = (result, _convert(result))
            except _RefusedError as refusal:
                refusals.append(_write_refusal(result.observation, name, refusal))
    return values


def _judge_limit(
    result: _Result, value: float, birth: date | None, sex: int, reference: Mapping[str, Any]
) -> str | None:
    """Which side of the limit the value is on; None where it is no limit.

    It is judged by the person's age on its own day: on which day the person's newest value
    was drawn depends on which limits are used.
    """
    side = COMPARATORS.get(str(result.quantity.get("comparator")))
    if side is None:
        return None
    limit = f"{side} {value:g} {PANEL[INDEX[result.name]].unit}"
    age = math.nan if birth is None else count_years(birth, result.day)
    if sex < 0 or not _accepts_age(age):
        raise _RefusedError(
            "limit",
            f"{limit} is a limit, which needs a sex and an age of {AGE_MINIMUM_YEARS:g} to "
            f"{AGE_MAXIMUM_YEARS:g} to be judged",
        )
    median = np.interp(age, reference["age"], reference[SEXES[sex]][result.name])
    if (value > median) if side == "below" else (value < median):
        raise _RefusedError("limit", f"{limit} says too little: so are most")
    return side


def _convert(result: _Result) -> float:
    """The value in the panel's unit."""
    biomarker = PANEL[INDEX[result.name]]
    quantity = result.quantity
    comparator = quantity.get("comparator")
    if comparator is not None and str(comparator) not in COMPARATORS:
        raise _RefusedError("comparator", f"comparator {comparator!r} is not known")
    ucum = quantity.get("code") if quantity.get("system") in UCUM_SYSTEMS else None
    spelling = ucum or quantity.get("unit") or quantity.get("code")
    if not isinstance(spelling, str):
        raise _RefusedError("unit", f"expected one of {', '.join(biomarker.units)}, found none")
    try:
        unit = biomarker.find_unit(spelling)
    except PanelError as error:
        raise _RefusedError("unit", "; ".join(error.problems)) from error
    allowed = CODES[result.code].units
    if allowed is not None and unit not in [biomarker.find_unit(name) for name in allowed]:
        raise _RefusedError(
            "unit",
            f"LOINC {result.code} comes in {', '.join(allowed)}, however: unit={spelling!r}",
        )
    # JSON has integers that no float holds.
    value = unit.to_si(min(max(quantity["value"], -1e300), 1e300))
    if not biomarker.minimum <= value <= biomarker.maximum:
        raise _RefusedError(
            "implausible",
            f"{value:g} {biomarker.unit} is outside {biomarker.minimum:g} to {biomarker.maximum:g}",
        )
    return value
