"""Answers as FHIR R4: a Device, and a RiskAssessment and three Observations for each person.

The codes are those of the CodeSystem beside this module, ``henaw-codes.json``. Identifiers are
made from the model, the person and the day, so that the same input gives the same answer.
"""

from __future__ import annotations

import functools
import itertools
import json
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timezone
from importlib.resources import files
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from henaw.intake.fhir.patients import Patient
from henaw.intake.fhir.reader import FhirPeople
from henaw.intake.results import UNDATED, take
from henaw.intake.words.dates import find_day
from henaw.intake.words.loinc import UCUM_SYSTEMS
from henaw.model.reliability import Reason

Resource = dict[str, Any]

CODE_SYSTEM_NAME = "henaw-codes.json"
_ABSENT_SYSTEM = "http://terminology.hl7.org/CodeSystem/data-absent-reason"
_ABSENT_EXTENSION = "http://hl7.org/fhir/StructureDefinition/data-absent-reason"
_WITHHELD, _NOT_SCORED = "unsupported", "not-performed"
"""Codes of HL7: the numbers are not reliable, or there are none."""
_DISCLAIMER = "An estimate for research and wellness. It is not a diagnosis."
_HORIZON_YEARS = 10
_YEARS, _PERCENT = ("years", "a"), ("%", "%")


class AnsweringModel(NamedTuple):
    """The model that answers.

    Attributes:
        name: of the model.
        version: of the model.
        sha256: of its file.
        lab: the laboratory of its profile; None without one.
        cause_names: of ``cause_risk_10y``.
    """

    name: str
    version: str
    sha256: str
    lab: str | None
    cause_names: Sequence[str]


@functools.cache
def read_code_system() -> Resource:
    """Read the CodeSystem of the answers.

    Example:
        >>> read_code_system()["concept"][0]["code"]
        'method'
    """
    text = files("henaw.intake.fhir").joinpath(CODE_SYSTEM_NAME).read_text(encoding="utf-8")
    content: Resource = json.loads(text)
    return content


def answer_people(
    people: FhirPeople,
    outputs: Mapping[str, npt.NDArray[Any]],
    withheld: Mapping[int, Sequence[Reason]],
    model: AnsweringModel,
    *,
    keep: bool = False,
) -> Iterator[Resource]:
    """Yield the resources of the answers: the model's Device, then those of each person.

    Args:
        people: in the order of the outputs.
        outputs: of the graph, for each person.
        withheld: why a person's numbers are not reliable, by row.
        model: that answered.
        keep: whether to give numbers that are not reliable, with the reasons.
    """
    device = _make_device(model)
    yield device
    problems = people.table.find_problems()
    for row, patient in enumerate(people.patients):
        reasons = [] if problems[row] else withheld.get(row, ())
        person = _Person(people, row, patient, device["id"], outputs)
        if problems[row]:
            absent = _explain(_NOT_SCORED, [("not_scored", text) for text in problems[row]])
        else:
            absent = _explain(_WITHHELD, [(reason.code, reason.message) for reason in reasons])
        is_given = not problems[row] and (keep or not reasons)
        yield person.assess(model.cause_names, absent, is_given=is_given)
        yield from person.observe(absent, is_given=is_given)


def make_bundle(resources: Iterable[Resource], notes: Sequence[str] = ()) -> Iterator[str]:
    """Yield the text of a Bundle, piece by piece.

    Args:
        resources: of :func:`answer_people`.
        notes: sentences about input that was not used.
    """
    now = datetime.now(timezone.utc).isoformat(timespec="seconds")
    head = {"resourceType": "Bundle", "type": "collection", "timestamp": now}
    yield json.dumps(head)[:-1] + ', "entry": ['
    separator = "\n"
    for resource in itertools.chain(list_notes(notes), resources):
        yield separator + _write_entry(resource)
        separator = ",\n"
    yield "\n]}\n"


def list_notes(notes: Sequence[str]) -> list[Resource]:
    """Return an OperationOutcome with the notes about unused input; nothing without notes."""
    if not notes:
        return []
    issues = [{"severity": "information", "code": "informational", "diagnostics": n} for n in notes]
    return [{"resourceType": "OperationOutcome", "id": _identify("notes", *notes), "issue": issues}]


class _Person:
    """The resources of one person."""

    def __init__(
        self,
        people: FhirPeople,
        row: int,
        patient: Patient,
        device: str,
        outputs: Mapping[str, npt.NDArray[Any]],
    ) -> None:
        table = people.table
        day = int(table.values.drawn[row])
        self._numbers = {name: values[row] for name, values in outputs.items()}
        self._age = float(table.age[row])
        self._drawn = None if day == UNDATED else str(find_day(day))
        self._device = {"reference": f"urn:uuid:{device}"}
        self._key = (device, patient.name, str(self._drawn))
        self._subject = (
            {"display": patient.name}
            if patient.reference is None
            else {"reference": patient.reference}
        )
        # Without the sources of limits that were not used.
        places = table.values.source[row][~outputs["imputed"][row]]
        sources = take(table.values.sources, places[places >= 0]).to_pylist()
        self._sources = [_refer(source) for source in dict.fromkeys(sources)]

    def assess(self, causes: Sequence[str], absent: Resource, *, is_given: bool) -> Resource:
        """The RiskAssessment."""
        risks = [self._numbers["mortality_10y"], *self._numbers["cause_risk_10y"]]
        resource: Resource = {
            "resourceType": "RiskAssessment",
            "id": _identify("risk", *self._key),
            "status": "final",
            "method": _code("method"),
            "code": _code("risk-10y"),
            "subject": self._subject,
            "performer": self._device,
            "prediction": [
                self._predict(name, float(risk), absent, is_given=is_given)
                for name, risk in zip(("mortality", *causes), risks, strict=True)
            ],
            "note": [{"text": text} for text in (_DISCLAIMER, *_list_texts(absent))],
        }
        if self._drawn is not None:
            resource["occurrenceDateTime"] = self._drawn
        if self._sources:
            resource["basis"] = self._sources
        return resource

    def observe(self, absent: Resource, *, is_given: bool) -> Iterator[Resource]:
        """The Observations."""
        numbers = self._numbers
        low, high = numbers["interval"]
        parts = {"interval-low": low, "interval-high": high, "draw-sd": numbers["draw_sd"]}
        yield self._observe(
            "biological-age", numbers["biological_age"], _YEARS, absent, is_given
        ) | {
            "component": [
                {"code": _code(name)} | _measure(value, _YEARS, absent, is_given)
                for name, value in parts.items()
            ]
        }
        yield self._observe("age-gap", numbers["age_gap"], _YEARS, absent, is_given)
        yield self._observe("percentile", numbers["percentile"], _PERCENT, absent, is_given)

    def _predict(self, name: str, risk: float, absent: Resource, *, is_given: bool) -> Resource:
        prediction: Resource = {"outcome": _code(name)}
        if is_given:
            # R4 has probabilities in per cent.
            prediction["probabilityDecimal"] = round(100 * risk, 4)
        else:
            reason = absent["coding"][0]["code"]
            extension = {"url": _ABSENT_EXTENSION, "valueCode": reason}
            prediction["_probabilityDecimal"] = {"extension": [extension]}
        if np.isfinite(self._age):
            ages = (self._age, self._age + _HORIZON_YEARS)
            prediction["whenRange"] = {
                end: _quantify(age, _YEARS) for end, age in zip(("low", "high"), ages, strict=True)
            }
        return prediction

    def _observe(
        self, name: str, value: float, unit: tuple[str, str], absent: Resource, is_given: bool
    ) -> Resource:
        resource: Resource = {
            "resourceType": "Observation",
            "id": _identify(name, *self._key),
            "status": "final",
            "code": _code(name),
            "subject": self._subject,
            "method": _code("method"),
            "device": self._device,
        }
        if self._drawn is not None:
            resource["effectiveDateTime"] = self._drawn
        if self._sources:
            resource["derivedFrom"] = self._sources
        texts = _list_texts(absent)
        if texts:
            resource["note"] = [{"text": text} for text in texts]
        return resource | _measure(value, unit, absent, is_given)


def _make_device(model: AnsweringModel) -> Resource:
    name = model.name if model.lab is None else f"{model.name} with the profile of {model.lab}"
    return {
        "resourceType": "Device",
        "id": _identify("device", model.sha256, name),
        "identifier": [{"type": {"text": "SHA-256 of the model's file"}, "value": model.sha256}],
        "status": "active",
        "deviceName": [{"name": name, "type": "model-name"}],
        "type": {"text": "Software"},
        "version": [{"type": {"text": "model"}, "value": model.version}],
    }


def _code(name: str) -> Resource:
    system = read_code_system()
    return {"coding": [{"system": system["url"], "code": name, "display": _list_displays()[name]}]}


@functools.cache
def _list_displays() -> Mapping[str, str]:
    return {concept["code"]: concept["display"] for concept in read_code_system()["concept"]}


def _explain(absent_code: str, reasons: Sequence[tuple[str, str]]) -> Resource:
    """A CodeableConcept of why there is no number; empty without reasons."""
    if not reasons:
        return {}
    codes = dict.fromkeys(code for code, _ in reasons)
    return {
        "coding": [
            {"system": _ABSENT_SYSTEM, "code": absent_code},
            *(_code(code)["coding"][0] for code in codes),
        ],
        "text": " ".join(text for _, text in reasons),
    }


def _list_texts(absent: Resource) -> list[str]:
    return [absent["text"]] if absent else []


def _measure(value: float, unit: tuple[str, str], absent: Resource, is_given: bool) -> Resource:
    return {"valueQuantity": _quantify(value, unit)} if is_given else {"dataAbsentReason": absent}


def _quantify(value: float, unit: tuple[str, str]) -> Resource:
    name, code = unit
    return {"value": round(float(value), 3), "unit": name, "system": UCUM_SYSTEMS[0], "code": code}


def _refer(source: str) -> Resource:
    """Refer to an Observation; a contained one can only be referred to by name."""
    kind: Resource = {"type": "Observation"}
    return kind | ({"display": source} if " " in source else {"reference": source})


def _identify(*parts: str) -> str:
    return str(uuid.uuid5(_NAMESPACE, "\n".join(parts)))


_NAMESPACE = uuid.UUID("5f0a6e0e-6a39-5d6c-9c53-2d2a1c0f9b11")


def _write_entry(resource: Resource) -> str:
    return json.dumps({"fullUrl": f"urn:uuid:{resource['id']}", "resource": resource})
