"""One Observation of FHIR data: which biomarker it is, and its value, or why it is not used."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from henaw.intake.fhir.patients import read_text
from henaw.intake.results import COMPARATORS
from henaw.intake.words.dates import count_moment, read_time
from henaw.intake.words.loinc import CODES, LOINC_SYSTEMS, STATUSES, UCUM_SYSTEMS
from henaw.model.biomarkers import INDEX, PANEL
from henaw.model.panel.folding import remember
from henaw.model.panel.units import fold_unit

_SIGNS = {sign: place for place, sign in enumerate(COMPARATORS)}
_LARGEST = 1e300
"""JSON may have integers beyond the range of a float."""
_LONGEST = 60
"""Characters of a name or value in a message."""


class RefusedError(Exception):
    """Why a result is not used."""


class CodedTest(NamedTuple):
    """What the code of an Observation means.

    Attributes:
        biomarker: by the panel's name; None for a test outside the panel.
        code: its LOINC code; "" for a local code.
        problem: why the test is refused.
        name: of a test outside the panel.
    """

    biomarker: str | None
    code: str = ""
    problem: str | None = None
    name: str = ""


class Measurement(NamedTuple):
    """The value of an Observation.

    Attributes:
        comparator: the index in COMPARATORS.
        value: in the unit.
        unit: as it is written.
        time: microseconds since 1970 in UTC.
        day: days since 1970, as the date is written.
    """

    comparator: int
    value: float
    unit: str
    time: int
    day: int


def find_test(concept: object, local: Mapping[str, str]) -> CodedTest:
    """Find which biomarker a CodeableConcept is.

    Args:
        concept: the Observation's or component's ``code``.
        local: biomarkers by the laboratory's own codes.

    Example:
        >>> find_test({"coding": [{"system": "http://loinc.org", "code": "1988-5"}]}, {})
        CodedTest(biomarker='crp', code='1988-5', problem=None, name='')
    """
    codings = list_objects(concept.get("coding")) if isinstance(concept, Mapping) else []
    known = []
    for coding in codings:
        code = coding.get("code")
        if not isinstance(code, str):
            continue
        if code in local:
            return CodedTest(local[code])
        if code in CODES and _is_of(coding.get("system"), LOINC_SYSTEMS):
            known.append(code)
    if not known:
        return CodedTest(None, name=_name_concept(concept, codings))
    for code in known:
        if CODES[code].refused is not None:
            return CodedTest(CODES[code].biomarker, code, f"LOINC {code}: {CODES[code].refused}")
    names = dict.fromkeys(CODES[code].biomarker for code in known)
    problem = f"its codes say {' and '.join(names)}" if len(names) > 1 else None
    # A code with its own units is more specific than the codes beside it.
    code = next((one for one in known if CODES[one].units is not None), known[0])
    return CodedTest(next(iter(names)), code, problem)


def read_measurement(
    resource: Mapping[str, Any], biomarker: str, code: str, *, latest_day: int
) -> Measurement:
    """Read the value of an Observation, or of a component with what it inherits.

    Args:
        resource: the Observation.
        biomarker: that it is.
        code: its LOINC code, "" for a local code.
        latest_day: days since 1970; a later result is in the future.

    Raises:
        RefusedError: the value cannot be used.
    """
    status = resource.get("status")
    if status not in STATUSES:
        raise RefusedError(f"the status must be {', '.join(STATUSES)}; got {status!r:.{_LONGEST}}")
    if resource.get("modifierExtension"):
        raise RefusedError("it has a modifierExtension, whose meaning is not known")
    moment = _find_time(resource)
    if moment is None:
        raise RefusedError("it has no effective date")
    time, day = moment
    if day > latest_day:
        raise RefusedError("its effective date is in the future")
    quantity = resource.get("valueQuantity")
    value = quantity.get("value") if isinstance(quantity, Mapping) else None
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise RefusedError("it has no valueQuantity with a number")
    if resource.get("dataAbsentReason") is not None:
        raise RefusedError("it has a dataAbsentReason beside its value")
    quantity = resource["valueQuantity"]
    value = min(max(value, -_LARGEST), _LARGEST)
    if math.isnan(value):
        raise RefusedError("its value is not a number")
    comparator = quantity.get("comparator")
    sign = _SIGNS.get("" if comparator is None else str(comparator))
    if sign is None:
        raise RefusedError(f"comparator {comparator!r:.{_LONGEST}} is not known")
    unit_code = quantity.get("code")
    ucum = unit_code if _is_of(quantity.get("system"), UCUM_SYSTEMS) else None
    unit = ucum or quantity.get("unit") or unit_code
    unit = unit if isinstance(unit, str) else ""
    if len(unit) > _LONGEST:
        raise RefusedError(f"the unit {unit[:_LONGEST]!r}... is not known")
    problem = _check_unit(unit, biomarker, code)
    if problem is not None:
        raise RefusedError(problem)
    return Measurement(sign, value, unit, time, day)


def list_objects(value: object) -> list[Mapping[str, Any]]:
    """The JSON objects of a list; none for any other value."""
    return [one for one in value if isinstance(one, Mapping)] if isinstance(value, list) else []


@remember(256)
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


def _find_time(resource: Mapping[str, Any]) -> tuple[int, int] | None:
    """Microseconds and days since 1970; None without a time."""
    period = resource.get("effectivePeriod")
    ends = (period.get("end"), period.get("start")) if isinstance(period, Mapping) else ()
    for text in (resource.get("effectiveDateTime"), resource.get("effectiveInstant"), *ends):
        if isinstance(text, str):
            found = _count_time(text)
            if found is not None:
                return found
    return None


@remember(4096)
def _count_time(text: str) -> tuple[int, int] | None:
    moment = read_time(text)
    return None if moment is None else count_moment(moment)


@remember(4096)
def _check_unit(unit: str, biomarker: str, code: str) -> str | None:
    """Why a code cannot have a unit; None for a unit that is not known, which is judged later."""
    allowed = CODES[code].units if code in CODES else None
    if allowed is None or not unit:
        return None
    spelled = PANEL[INDEX[biomarker]].spellings.get(fold_unit(unit))
    if spelled is None or spelled in allowed:
        return None
    return f"LOINC {code} comes in {', '.join(allowed)}; got {unit!r}"
