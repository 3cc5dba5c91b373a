"""People as Python mappings to Arrow columns in the panel's units."""

from __future__ import annotations

import math
import numbers
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import pyarrow as pa
from henaw.model.biomarkers import INDEX, NAMES, PANEL, Biomarker, suggest_name
from henaw.model.errors import PanelError, ScoringError

_FIELDS = ("age", "sex", "participant_id")
_MOST_LISTED = 20
_ABSENT_TYPES = ("NAType", "NaTType")
"""Types of pandas's missing values, for which comparison does not work."""


def find_people(people: object) -> list[Mapping[str, Any]] | None:
    """Return the people of a mapping, a pandas Series or a sequence of them; else None."""
    one = _find_person(people)
    if one is not None:
        return [one]
    if not isinstance(people, Sequence) or isinstance(people, (str, bytes)):
        return None
    found = [person for item in people if (person := _find_person(item)) is not None]
    return found if len(found) == len(people) else None


def is_one(people: object) -> bool:
    """Return whether ``people`` is one person, not a sequence of people."""
    return _find_person(people) is not None


def read_people(people: Sequence[Mapping[str, Any]]) -> pa.RecordBatch:
    """Return the columns age, sex and the panel's biomarkers, in its units.

    Args:
        people: mappings of ``age`` (years), ``sex`` and biomarkers by name: a number in the
            panel's unit, a pair of a number and its unit, or None or NaN if missing.

    Raises:
        ScoringError: a name, a type or a unit is wrong; the error lists every problem.
    """
    problems: list[str] = []
    columns: dict[str, list[Any]] = {"age": [], "sex": [], **{name: [] for name in NAMES}}
    for place, person in enumerate(people):
        who = f"person {place}: " if len(people) > 1 else ""
        problems += [who + problem for problem in _read_person(person, columns)]
    if problems:
        more = len(problems) - _MOST_LISTED
        if more > 0:
            problems[_MOST_LISTED:] = [f"and {more} more"]
        raise ScoringError("person" if len(people) == 1 else "people", problems)
    return pa.RecordBatch.from_pydict(
        {
            name: pa.array(values, pa.string() if name == "sex" else pa.float64())
            for name, values in columns.items()
        }
    )


def _find_person(item: object) -> Mapping[str, Any] | None:
    if isinstance(item, Mapping):
        return item
    for base in type(item).__mro__:
        if base.__module__.partition(".")[0] == "pandas" and base.__name__ == "Series":
            series: Any = item
            return {str(name): value for name, value in series.items()}
    return None


def _read_person(person: Mapping[str, Any], columns: Mapping[str, list[Any]]) -> list[str]:
    unknown = [name for name in person if name not in (*_FIELDS, *INDEX)]
    if len(unknown) == len(person) > 3:
        # It is a column of a table, or a row without names.
        return [
            "a person must have age, sex and biomarkers by name; got "
            f"{', '.join(map(repr, unknown[:5]))}"
        ]
    problems = [_describe_unknown(name) for name in unknown]
    age: Any = person.get("age")
    sex: Any = person.get("sex")
    if not _is_absent(age) and not _is_number(age):
        problems.append(f"age must be a number of years; got {_show(age)}")
        age = None
    if isinstance(sex, bool) or not (_is_absent(sex) or _is_number(sex) or isinstance(sex, str)):
        problems.append(f"sex must be 'female' or 'male'; got {_show(sex)}")
        sex = None
    columns["age"].append(None if _is_absent(age) else float(age))
    columns["sex"].append(None if _is_absent(sex) else str(sex))
    for biomarker in PANEL:
        value = None
        try:
            value = _read_quantity(biomarker, person.get(biomarker.name))
        except PanelError as error:
            problems += error.problems
        columns[biomarker.name].append(value)
    return problems


def _read_quantity(biomarker: Biomarker, quantity: Any) -> float | None:
    unit = biomarker.unit
    if isinstance(quantity, (tuple, list)):
        if len(quantity) != 2 or not isinstance(quantity[1], str):
            raise _refuse(biomarker, quantity)
        quantity, unit = quantity
    # This includes missing values: a wrong unit is a mistake in any case.
    conversion = biomarker.find_unit(unit)
    if _is_absent(quantity):
        return None
    if not _is_number(quantity):
        raise _refuse(biomarker, quantity)
    return conversion.to_si(float(quantity))


def _refuse(biomarker: Biomarker, quantity: object) -> PanelError:
    several = isinstance(quantity, (tuple, list)) or hasattr(quantity, "__array__")
    hint = ". For several people, give a list of dicts or a table" if several else ""
    return PanelError(
        biomarker.name,
        [
            f"{biomarker.name} must be a number in {biomarker.unit}, a pair such as (1.0, "
            f"{biomarker.unit!r}), or None; got {_show(quantity)}{hint}"
        ],
    )


def _is_absent(value: Any) -> bool:
    if value is None or type(value).__name__ in _ABSENT_TYPES:
        return True
    return isinstance(value, (float, Decimal, numbers.Real)) and math.isnan(value)


def _is_number(value: object) -> bool:
    return isinstance(value, (numbers.Real, Decimal)) and not isinstance(value, bool)


def _describe_unknown(name: object) -> str:
    if name == "biomarkers":
        return "unknown name 'biomarkers': put each biomarker beside age and sex"
    near = suggest_name(str(name), (*_FIELDS, *NAMES))
    hint = f"did you mean {near}?" if near else f"known are {', '.join((*_FIELDS, *NAMES))}"
    return f"unknown name {name!r}: {hint}"


def _show(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
