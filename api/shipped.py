"""Answers by the shipped model, which is opened once, when it is first asked."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar, overload

from henaw.scoring.answering.person_answer import PersonAnswer
from henaw.scoring.henaw import Henaw

Frame = TypeVar("Frame")


@overload
def predict(people: Mapping[str, Any]) -> PersonAnswer: ...
@overload
def predict(
    people: Sequence[Mapping[str, Any]], *, accept: Sequence[str] = ()
) -> list[PersonAnswer]: ...
@overload
def predict(people: Frame, *, accept: Sequence[str] = ()) -> Frame: ...
def predict(people: Any, *, accept: Sequence[str] = ()) -> Any:
    """Biological age of one person or of many, by the shipped model.

    Args:
        people: one person as a dict, many as a list of dicts, or a table, as
            :meth:`Henaw.predict` takes them; more options are there.
        accept: what is right though it looks wrong, by the names that the error gives.

    Returns:
        A :class:`PersonAnswer` for a person, a list of them for a list, else the same kind
        of table.

    Raises:
        ScoringError: somebody's values or the table cannot be used, or several people's look
            like something else; every problem is listed.

    Warns:
        InputWarning: as :meth:`Henaw.predict`.

    Example:
        >>> answer = predict({"age": 54, "sex": "female", "crp": (0.12, "mg/dL"), "albumin": 45})
        >>> answer.reliable, answer.interval[0] < answer.biological_age < answer.interval[1]
        (True, True)
    """
    return _open_shipped().predict(people, accept=accept)


def explain(people: Any) -> Any:
    """What each biomarker adds to a biological age, as :meth:`Henaw.explain`."""
    return _open_shipped().explain(people)


@functools.cache
def _open_shipped() -> Henaw:
    return Henaw()
