"""The fields of one person."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable
from typing import Any, Final, NamedTuple

from henaw.handler.contract.types import LONGEST_UNIT, PARTICIPANT_ID
from henaw.handler.errors import ProblemList
from henaw.handler.wording import (
    LONGEST_ECHO,
    as_float,
    describe_implausible,
    describe_type,
    show_value,
)
from henaw.model.biomarkers import (
    AGE_MAXIMUM_YEARS,
    AGE_MINIMUM_YEARS,
    INDEX,
    NAMES,
    PANEL,
    SEXES,
    Biomarker,
)
from henaw.model.errors import PanelError
from henaw.model.panel.units import Unit

PERSON_FIELDS: Final = frozenset({"age", "sex", "biomarkers", "participant_id"})
_QUANTITY_FIELDS: Final = frozenset({"value", "unit"})
SEX_CODES: Final[dict[object, int]] = {
    **{name: code for code, name in enumerate(SEXES)},
    **{code: code for code in range(len(SEXES))},
}
_BOUNDS: Final = {b.name: (i, b.minimum, b.maximum) for i, b in enumerate(PANEL)}

NO_VALUES: Final = (math.nan,) * len(NAMES)


class Row(NamedTuple):
    """One person, as the graph takes it.

    Attributes:
        biomarkers: nine values in the panel's units and order, NaN if missing.
        age: years.
        sex: 0 female, 1 male.
        participant_id: as given.
    """

    biomarkers: list[float]
    age: float
    sex: int
    participant_id: str | None


def read_person(
    person: object,
    instance: int,
    problems: ProblemList,
    *,
    also: frozenset[str] = frozenset(),
) -> Row:
    """Read one person, and add everything that is wrong to ``problems``.

    Args:
        person: the person, decoded from JSON.
        instance: the person's place in the request, for the messages.
        problems: the request's problems.
        also: other fields that are allowed beside a person's.

    Returns:
        The person; meaningless if a problem was added.
    """
    row = list(NO_VALUES)
    if not isinstance(person, dict):
        problems.add_wrong(instance, "", "each instance must be an object", person)
        return Row(row, 0.0, 0, None)
    if not person.keys() <= PERSON_FIELDS:
        refuse_unknown_fields(person, instance, problems, allowed=PERSON_FIELDS | also)

    age = _read_age(person, instance, problems)
    sex = _read_sex(person, instance, problems)
    participant_id = person.get("participant_id")
    if participant_id is not None and not (
        isinstance(participant_id, str) and PARTICIPANT_ID.fullmatch(participant_id)
    ):
        problems.add(
            instance,
            "participant_id",
            "not_allowed",
            "participant_id must be 1 to 64 of the characters A-Z a-z 0-9 _ . : -",
        )
        participant_id = None

    biomarkers = person.get("biomarkers")
    if isinstance(biomarkers, dict):
        for name, value in biomarkers.items():
            bounds = _BOUNDS.get(name)
            if bounds is None:
                _refuse_unknown_biomarker(name, instance, problems)
                continue
            index, minimum, maximum = bounds
            kind = value.__class__
            if (kind is float or kind is int) and minimum <= value <= maximum:
                row[index] = value
            elif value is not None:
                row[index] = _read_quantity(PANEL[index], value, instance, problems)
    elif "biomarkers" in person:
        problems.add_wrong(instance, "biomarkers", "biomarkers must be an object", biomarkers)
    else:
        problems.add(
            instance,
            "biomarkers",
            "missing",
            "biomarkers is missing",
            "send {} if none was measured",
        )
    return Row(row, age, sex, participant_id)


def _read_age(person: dict[str, Any], instance: int, problems: ProblemList) -> float:
    age = person.get("age")
    if isinstance(age, (int, float)) and not isinstance(age, bool):
        if AGE_MINIMUM_YEARS <= age <= AGE_MAXIMUM_YEARS:
            return float(age)
        problems.add(
            instance,
            "age",
            "implausible",
            describe_age(age),
        )
    elif age is None:
        problems.add(instance, "age", "missing", "age is missing", "give it in years")
    else:
        problems.add(instance, "age", "type", *describe_type("age", age))
    return 0.0


def describe_age(age: float) -> str:
    """Say that an age is out of range.

    Example:
        >>> describe_age(7)
        'age must be 18 to 120 years; got 7'
    """
    bounds = f"{AGE_MINIMUM_YEARS:g} to {AGE_MAXIMUM_YEARS:g}"
    return f"age must be {bounds} years; got {show_value(age)}"


def _read_sex(person: dict[str, Any], instance: int, problems: ProblemList) -> int:
    sex = person.get("sex")
    kind = sex.__class__
    if kind is str or kind is int or kind is float:
        code = SEX_CODES.get(sex)
        if code is not None:
            return code
    hint = None
    if isinstance(sex, str):
        near = sex.strip().casefold()
        likely = [name for name in SEXES if name.startswith(near[:1])] if near else []
        hint = f'did you mean "{likely[0]}"?' if likely else None
    if sex is None:
        problems.add(instance, "sex", "missing", "sex is missing", 'give "female" or "male"')
    else:
        expected = 'sex must be "female" or "male", or 0 or 1'
        problems.add_wrong(instance, "sex", expected, sex, code="not_allowed", hint=hint)
    return 0


def _read_quantity(
    biomarker: Biomarker, value: object, instance: int, problems: ProblemList
) -> float:
    """Read a value that is not a plain number in range: it has a unit, or it is wrong."""
    field = f"biomarkers.{biomarker.name}"
    if not isinstance(value, dict):
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            number = as_float(value)
            problems.add(instance, field, "implausible", *describe_implausible(biomarker, number))
        else:
            problems.add(instance, field, "type", *describe_type(biomarker.name, value))
        return math.nan
    if not value.keys() <= _QUANTITY_FIELDS:
        refuse_unknown_fields(
            value, instance, problems, allowed=_QUANTITY_FIELDS, prefix=f"{field}."
        )
    unit = _read_unit(biomarker, value, instance, problems)
    amount = value.get("value")
    if amount is None:
        if "value" not in value:
            problems.add(
                instance, f"{field}.value", "missing", "value is missing", "give a number or null"
            )
        return math.nan
    if not isinstance(amount, (int, float)) or isinstance(amount, bool):
        problems.add(instance, f"{field}.value", "type", *describe_type("value", amount))
        return math.nan
    if unit is None:
        return math.nan
    number = as_float(amount)
    si = unit.to_si(number)
    if not biomarker.minimum <= si <= biomarker.maximum:
        message, hint = describe_implausible(biomarker, number, given=value["unit"])
        problems.add(instance, field, "implausible", message, hint)
        return math.nan
    return si


@functools.lru_cache(maxsize=1024)
def find_unit(index: int, spelling: str) -> Unit:
    """Return the unit with this spelling, from a cache: bulk requests repeat a few spellings.

    Args:
        index: the biomarker's place in the panel.
        spelling: as given.

    Raises:
        PanelError: the biomarker has no such unit.
    """
    return PANEL[index].find_unit(spelling)


def _read_unit(
    biomarker: Biomarker, quantity: dict[str, Any], instance: int, problems: ProblemList
) -> Unit | None:
    field = f"biomarkers.{biomarker.name}.unit"
    spelling = quantity.get("unit")
    if spelling is None:
        problems.add(
            instance,
            field,
            "missing",
            f"unit is missing; it must be one of {', '.join(biomarker.units)}",
            f"a number without a unit is in {biomarker.unit}",
        )
        return None
    if not isinstance(spelling, str) or len(spelling) > LONGEST_UNIT:
        problems.add_wrong(instance, field, "unit must be the name of a unit", spelling)
        return None
    problems.count_spelling(biomarker.name, spelling, instance=instance, field=field)
    try:
        return find_unit(INDEX[biomarker.name], spelling)
    except PanelError as error:
        problems.add(instance, field, "unit", "; ".join(error.problems))
        return None


def _refuse_unknown_biomarker(name: str, instance: int, problems: ProblemList) -> None:
    near = problems.suggest(name, NAMES)
    problems.add(
        instance,
        f"biomarkers.{name[:LONGEST_ECHO]}",
        "unknown_field",
        f"{show_value(name)} is not a biomarker of the panel",
        f"did you mean {near}?" if near else f"the panel is {', '.join(NAMES)}",
    )


def refuse_unknown_fields(
    seen: Iterable[str],
    instance: int | None,
    problems: ProblemList,
    *,
    allowed: frozenset[str],
    prefix: str = "",
) -> None:
    """Add a problem for each name in ``seen`` that is not ``allowed``.

    Args:
        seen: the names of an object's fields.
        instance: the person's place in the request.
        problems: the request's problems.
        allowed: the names of fields that the object may have.
        prefix: the object's path, ending in a dot; empty at the top.
    """
    for name in seen:
        if name in allowed:
            continue
        near = problems.suggest(name, allowed)
        hint = f"did you mean {near}?" if near else None
        if not prefix and name in INDEX:
            hint = f'write {name} inside "biomarkers"'
        problems.add(
            instance,
            f"{prefix}{name[:LONGEST_ECHO]}",
            "unknown_field",
            f"{show_value(name)} is not a known field",
            hint,
        )
