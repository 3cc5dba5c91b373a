"""How large answers will be, before any is written: work and memory are bounded by it."""

from __future__ import annotations

from typing import Final

from henaw.handler.errors import OverloadedError, TooLargeError
from henaw.handler.request.instances import Form, People
from henaw.handler.response.answers import NUMBERS
from henaw.model.runtime import Outputs

_PERSON: Final = 400
"""Bytes of one person's answer beside its numbers: id, names, lists."""

_NUMBER: Final = 32
"""Bytes of a number and the name before it."""

_EXPLANATION: Final = 3_000
_FLAG: Final = 340
"""Bytes of the longest warning or reason for a value."""

_FLAGS: Final = ("critical", "out_of_range", "age_out_of_range")
_TENSOR_NUMBER: Final = 14
_PATIENT: Final = 11_000
_PATIENT_FLAG: Final = 3_600
"""Of an answer in FHIR, where each reason stands at every number that is withheld for it."""


def bound_size(people: People, outputs: Outputs, *, explain: bool) -> int:
    """Return how many bytes the answer has at most, or hardly more.

    Args:
        people: a request.
        outputs: the graph's, for its people alone.
        explain: whether explanations are asked for.
    """
    count = len(people)
    if people.form is Form.TENSORS:
        values = sum(outputs[name].size for name in people.outputs)
        return values * _TENSOR_NUMBER + 4_096
    unusual = sum(int(outputs[name].sum()) for name in _FLAGS) + 2 * int(
        (~outputs["reliable"]).sum()
    )
    if people.form is Form.BUNDLE:
        return len(people.source.patients) * _PATIENT + unusual * _PATIENT_FLAG
    asked = (NUMBERS[field][0] for field in people.outputs if field in NUMBERS)
    numbers = sum(outputs[name][:1].size for name in asked)
    each = _EXPLANATION if explain else _PERSON + _NUMBER * numbers
    return count * each + unusual * _FLAG


class Room:
    """What the answers of one batch may take up together, and each alone.

    Args:
        each: bytes of the largest answer.
        together: bytes of all.
    """

    def __init__(self, *, each: int, together: int) -> None:
        self._each = each
        self._left = together

    def take(self, size: int, people: int) -> None:
        """Take room for an answer.

        Args:
            size: bytes that it has at most.
            people: the people of the answer.

        Raises:
            TooLargeError: no answer may be so large.
            OverloadedError: others have taken the room.
        """
        if size > self._each:
            fitting = people * self._each // size
            raise TooLargeError(
                f"The answer must be at most {self._each} bytes; it could have {size}. "
                f"Send about {fitting} people at once, or name the outputs that you need."
            )
        if size > self._left:
            raise OverloadedError("Too many large answers are asked for at once. Retry after 1 s.")
        self._left -= size
