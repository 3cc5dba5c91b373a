"""The forms of a request: one person, many instances, or arrays."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from henaw.handler.contract.types import ANSWER_ALL, ANSWER_FIELDS, UNRELIABLE_CHOICES
from henaw.handler.errors import ProblemList, TooLargeError
from henaw.handler.request.person import read_person, refuse_unknown_fields
from henaw.handler.request.tensors import count_rows, read_tensors
from henaw.handler.wording import show_value
from henaw.model.biomarkers import NAMES

_ONE_FIELDS = frozenset({"outputs", "unreliable"})
_NOT_EXPLAINED = frozenset({"inputs", "outputs"})
_MANY_FIELDS = frozenset({"instances", "outputs", "unreliable"})


class Form(enum.Enum):
    """How a request was written, and so how its answer is."""

    ONE = "one"
    MANY = "instances"
    TENSORS = "inputs"
    BUNDLE = "bundle"
    HOOK = "hook"


@dataclass(frozen=True, slots=True, kw_only=True)
class People:
    """The people of one valid request.

    Attributes:
        form: how the request was written.
        biomarkers: (n, 9) float32, the panel's units and order, NaN = missing.
        age: (n,) float32, years.
        sex: (n,) int64, 0 female, 1 male.
        participant_ids: n ids as given, None where none was.
        outputs: the fields asked for.
        answer_unreliable: whether numbers that are not reliable are answered all the same.
        request_id: the id an Open Inference Protocol request gave itself.
        binary_outputs: the outputs that it wants in binary.
        source: of FHIR, everybody, and what was not used.
    """

    form: Form
    biomarkers: npt.NDArray[np.float32]
    age: npt.NDArray[np.float32]
    sex: npt.NDArray[np.int64]
    participant_ids: tuple[str | None, ...]
    outputs: tuple[str, ...]
    answer_unreliable: bool = False
    request_id: str | None = None
    binary_outputs: frozenset[str] = frozenset()
    source: Any = None

    def __len__(self) -> int:
        """Return how many people there are."""
        return len(self.age)


def count_people(tree: dict[str, Any]) -> int:
    """Return how many people a decoded body asks about, before it is validated."""
    instances = tree.get("instances")
    if isinstance(instances, list):
        return len(instances)
    return count_rows(tree) if "inputs" in tree else 1


def read_people(
    tree: dict[str, Any], *, maximum_instances: int, explain: bool = False, binary: bytes = b""
) -> People:
    """Validate a decoded body.

    Args:
        tree: as decoded from JSON.
        maximum_instances: the most people in one request.
        explain: whether explanations are asked for; they are always given in full,
            and not as arrays.
        binary: the bytes after the JSON.

    Raises:
        TooLargeError: more people than that.
        InvalidInputError: anything else that is wrong, all of it.

    Example:
        >>> tree = {"age": 54, "sex": "male", "biomarkers": {"crp": 1.2}}
        >>> people = read_people(tree, maximum_instances=10)
        >>> people.form, len(people), int(people.sex[0])
        (<Form.ONE: 'one'>, 1, 1)
    """
    count = count_people(tree)
    if count > maximum_instances:
        raise TooLargeError(f"expected at most {maximum_instances} instances, however: {count}")
    problems = ProblemList()
    if explain and not tree.keys().isdisjoint(_NOT_EXPLAINED):
        for name in sorted(tree.keys() & _NOT_EXPLAINED):
            problems.add(None, name, "not_allowed", f'"{name}" has no meaning for explanations')
        problems.refuse()
    if "inputs" in tree:
        people = _read_arrays(tree, problems, binary)
    elif "instances" in tree:
        people = _read_many(tree, problems)
    else:
        people = _gather(Form.ONE, [tree], problems, tree, also=_ONE_FIELDS)
    if problems:
        problems.refuse()
    return people


def _read_arrays(tree: dict[str, Any], problems: ProblemList, binary: bytes) -> People:
    tensors = read_tensors(tree, problems, binary)
    return People(
        form=Form.TENSORS,
        biomarkers=tensors.biomarkers,
        age=tensors.age,
        sex=tensors.sex,
        participant_ids=(),
        outputs=tensors.outputs,
        binary_outputs=tensors.binary_outputs,
        request_id=tensors.request_id,
    )


def _read_many(tree: dict[str, Any], problems: ProblemList) -> People:
    refuse_unknown_fields(tree, None, problems, allowed=_MANY_FIELDS)
    instances = tree["instances"]
    if not isinstance(instances, list):
        problems.add(
            None, "instances", "type", f"expected an array, however: {show_value(instances)}"
        )
        instances = []
    return _gather(Form.MANY, instances, problems, tree)


def _gather(
    form: Form,
    persons: list[Any],
    problems: ProblemList,
    tree: dict[str, Any],
    *,
    also: frozenset[str] = frozenset(),
) -> People:
    outputs = _read_outputs(tree, problems)
    answer_unreliable = _read_unreliable(tree, problems)
    rows = [read_person(p, i, problems, also=also) for i, p in enumerate(persons)]
    biomarkers = np.array([row[0] for row in rows], dtype=np.float32)
    return People(
        form=form,
        biomarkers=biomarkers.reshape(len(rows), len(NAMES)),
        age=np.array([row[1] for row in rows], dtype=np.float32),
        sex=np.array([row[2] for row in rows], dtype=np.int64),
        participant_ids=tuple(row[3] for row in rows),
        outputs=outputs,
        answer_unreliable=answer_unreliable,
    )


def _read_unreliable(tree: dict[str, Any], problems: ProblemList) -> bool:
    choice = tree.get("unreliable")
    if choice is not None and choice not in UNRELIABLE_CHOICES:
        expected = " or ".join(f'"{name}"' for name in UNRELIABLE_CHOICES)
        seen = show_value(choice)
        problems.add(
            None, "unreliable", "not_allowed", f"unreliable must be {expected}; got {seen}"
        )
    return choice == ANSWER_ALL


def _read_outputs(tree: dict[str, Any], problems: ProblemList) -> tuple[str, ...]:
    asked = tree.get("outputs")
    if asked is None:
        return ANSWER_FIELDS
    if not isinstance(asked, list) or not asked:
        problems.add(
            None,
            "outputs",
            "type",
            f"expected an array of names of fields, however: {show_value(asked)}",
        )
        return ANSWER_FIELDS
    for name in asked:
        if not isinstance(name, str) or name not in ANSWER_FIELDS:
            near = problems.suggest(name, ANSWER_FIELDS) if isinstance(name, str) else None
            problems.add(
                None,
                "outputs",
                "not_allowed",
                f"{show_value(name)} is not a field of an answer",
                f"did you mean {near}?" if near else f"one of {', '.join(ANSWER_FIELDS)}",
            )
    return tuple(name for name in ANSWER_FIELDS if name in asked)
