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
from henaw.model.biomarkers import NAMES

_ONE_FIELDS = frozenset({"outputs", "unreliable"})
_NOT_EXPLAINED = frozenset({"inputs", "outputs"})
_MANY_FIELDS = frozenset({"instances", "outputs", "unreliable"})


class Form(enum.Enum):
    """The form of a request, which is the form of its answer too."""

    ONE = "one"
    MANY = "instances"
    TENSORS = "inputs"
    BUNDLE = "bundle"
    HOOK = "hook"


@dataclass(frozen=True, slots=True, kw_only=True)
class Instances:
    """The people of one valid request, and what the client asks to know about them.

    Attributes:
        form: the form of the request.
        biomarkers: (n, 9) float32, the panel's units and order, NaN = missing.
        age: (n,) float32, years.
        sex: (n,) int64, 0 female, 1 male.
        participant_ids: n ids as given; None for a person without one.
        outputs: the fields of the answer that the client asks for.
        answer_unreliable: whether the client asks for numbers that are not reliable too.
        request_id: the id that an Open Inference Protocol request has.
        binary_outputs: the outputs that the client asks for in binary.
        source: the FHIR resources that were read; None for other forms.
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
        """Return the number of people."""
        return len(self.age)


def count_instances(tree: dict[str, Any]) -> int:
    """Return the number of people in a decoded body, before it is validated.

    Example:
        >>> count_instances({"instances": [{}, {}]}), count_instances({"age": 54})
        (2, 1)
    """
    instances = tree.get("instances")
    if isinstance(instances, list):
        return len(instances)
    return count_rows(tree) if "inputs" in tree else 1


def read_instances(
    tree: dict[str, Any], *, maximum_instances: int, explain: bool = False, binary: bytes = b""
) -> Instances:
    """Validate a decoded body.

    Args:
        tree: the body, decoded from JSON.
        maximum_instances: the most people in one request.
        explain: whether the client asks for explanations, which are always complete and never
            arrays.
        binary: the bytes after the JSON.

    Raises:
        TooLargeError: the request has more than ``maximum_instances`` people.
        InvalidInputError: anything else is wrong; the error lists everything.

    Example:
        >>> tree = {"age": 54, "sex": "male", "biomarkers": {"crp": 1.2}}
        >>> instances = read_instances(tree, maximum_instances=10)
        >>> instances.form, len(instances), int(instances.sex[0])
        (<Form.ONE: 'one'>, 1, 1)
    """
    count = count_instances(tree)
    if count > maximum_instances:
        raise TooLargeError(f"A request must have at most {maximum_instances} people; got {count}")
    problems = ProblemList()
    if explain and not tree.keys().isdisjoint(_NOT_EXPLAINED):
        for name in sorted(tree.keys() & _NOT_EXPLAINED):
            problems.add(
                None, name, "not_allowed", f'a request for explanations must not have "{name}"'
            )
        problems.refuse()
    if "inputs" in tree:
        instances = _read_arrays(tree, problems, binary)
    elif "instances" in tree:
        instances = _read_many(tree, problems)
    else:
        instances = _gather(Form.ONE, [tree], problems, tree, also=_ONE_FIELDS)
    if problems:
        problems.refuse()
    return instances


def _read_arrays(tree: dict[str, Any], problems: ProblemList, binary: bytes) -> Instances:
    tensors = read_tensors(tree, problems, binary)
    return Instances(
        form=Form.TENSORS,
        biomarkers=tensors.biomarkers,
        age=tensors.age,
        sex=tensors.sex,
        participant_ids=(),
        outputs=tensors.outputs,
        binary_outputs=tensors.binary_outputs,
        request_id=tensors.request_id,
    )


def _read_many(tree: dict[str, Any], problems: ProblemList) -> Instances:
    refuse_unknown_fields(tree, None, problems, allowed=_MANY_FIELDS)
    persons = tree["instances"]
    if not isinstance(persons, list):
        problems.add_wrong(None, "instances", "instances must be an array", persons)
        persons = []
    return _gather(Form.MANY, persons, problems, tree)


def _gather(
    form: Form,
    persons: list[Any],
    problems: ProblemList,
    tree: dict[str, Any],
    *,
    also: frozenset[str] = frozenset(),
) -> Instances:
    outputs = _read_outputs(tree, problems)
    answer_unreliable = _read_unreliable(tree, problems)
    rows = [read_person(p, i, problems, also=also) for i, p in enumerate(persons)]
    biomarkers = np.array([row.biomarkers for row in rows], dtype=np.float32)
    return Instances(
        form=form,
        biomarkers=biomarkers.reshape(len(rows), len(NAMES)),
        age=np.array([row.age for row in rows], dtype=np.float32),
        sex=np.array([row.sex for row in rows], dtype=np.int64),
        participant_ids=tuple(row.participant_id for row in rows),
        outputs=outputs,
        answer_unreliable=answer_unreliable,
    )


def _read_unreliable(tree: dict[str, Any], problems: ProblemList) -> bool:
    choice = tree.get("unreliable")
    if choice is not None and choice not in UNRELIABLE_CHOICES:
        expected = " or ".join(f'"{name}"' for name in UNRELIABLE_CHOICES)
        problems.add_wrong(
            None, "unreliable", f"unreliable must be {expected}", choice, code="not_allowed"
        )
    return choice == ANSWER_ALL


def _read_outputs(tree: dict[str, Any], problems: ProblemList) -> tuple[str, ...]:
    asked = tree.get("outputs")
    if asked is None:
        return ANSWER_FIELDS
    if not isinstance(asked, list) or not asked:
        problems.add_wrong(None, "outputs", "outputs must be an array of at least one name", asked)
        return ANSWER_FIELDS
    for name in asked:
        problems.check_name(None, "outputs", name, ANSWER_FIELDS, "a field of an answer")
    return tuple(name for name in ANSWER_FIELDS if name in asked)
