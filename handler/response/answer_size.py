"""The size of answers, estimated before they are written, to bound work and memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
from henaw.handler.errors import OverloadedError, TooLargeError
from henaw.handler.request.instances import Form, Instances
from henaw.handler.response.answers import NUMBERS
from henaw.model.runtime import Outputs

if TYPE_CHECKING:
    from henaw.intake.fhir.reader import FhirPeople

_PERSON: Final = 400
"""Bytes of one person's answer without its numbers: id, names, lists."""

_NUMBER: Final = 32
"""Bytes of a number and the name before it."""

_EXPLANATION: Final = 3_000
_FLAG: Final = 340
"""Bytes of the longest warning or reason for a value."""

_FLAGS: Final = ("critical", "out_of_range", "age_out_of_range")
_TENSOR_NUMBER: Final = 14
_PATIENT: Final = 11_000
_PATIENT_FLAG: Final = 3_600
"""Bytes of a reason in FHIR, which repeats it at every number that is withheld."""

_USUAL_NAME: Final = 100
"""Characters of a Patient's or Observation's name that are counted already."""
_NAME: Final = 12
"""Bytes for each byte of a longer name: in four resources, each with at most three as ASCII."""


def bound_size(instances: Instances, outputs: Outputs, *, explain: bool) -> int:
    """Return an upper bound of an answer's size, bytes; few answers exceed it, and by little.

    Args:
        instances: the request's instances.
        outputs: the graph's outputs, for these instances only.
        explain: whether the client asks for explanations.
    """
    if instances.form is Form.TENSORS:
        values = sum(outputs[name].size for name in instances.outputs)
        return values * _TENSOR_NUMBER + 4_096
    people = len(instances)
    # For few people np.count_nonzero takes a tenth of the time of a sum.
    unreliable: int = people - np.count_nonzero(outputs["reliable"])
    unusual: int = 2 * unreliable + sum(np.count_nonzero(outputs[name]) for name in _FLAGS)
    if instances.form is Form.BUNDLE:
        names = _count_long_names(instances.source)
        return len(instances.source.patients) * _PATIENT + unusual * _PATIENT_FLAG + names * _NAME
    if explain:
        return people * _EXPLANATION + unusual * _FLAG
    numbers = sum(
        outputs[NUMBERS[field][0]].size for field in instances.outputs if field in NUMBERS
    )
    return people * _PERSON + numbers * _NUMBER + unusual * _FLAG


def _count_long_names(found: FhirPeople) -> int:
    """Return the bytes of all long names."""
    names = [patient.reference or patient.name for patient in found.patients]
    names += found.table.values.sources.to_pylist()
    return sum(len(name.encode()) for name in names if len(name) > _USUAL_NAME)


class Room:
    """The bytes that the answers of one batch may have.

    Args:
        each: the largest size of one answer.
        together: the largest size of all answers together.

    Example:
        >>> room = Room(each=1_000, together=1_500)
        >>> room.take(900, people=3)
        >>> room.take(900, people=3)
        Traceback (most recent call last):
        henaw.handler.errors.OverloadedError: The server is writing too many large answers. ...
    """

    def __init__(self, *, each: int, together: int) -> None:
        self._each = each
        self._left = together

    def take(self, size: int, people: int) -> None:
        """Reserve room for an answer.

        Args:
            size: the answer's largest size, bytes.
            people: the number of people in it.

        Raises:
            TooLargeError: no answer may be so large.
            OverloadedError: other answers have taken the room.
        """
        if size > self._each:
            fitting = people * self._each // size
            raise TooLargeError(
                f"The answer must be at most {self._each} bytes; this one could be {size}. "
                f"Send about {fitting} people per request, or name the outputs that you need."
            )
        if size > self._left:
            raise OverloadedError("The server is writing too many large answers. Retry after 1 s.")
        self._left -= size
