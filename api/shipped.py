"""Answers of the shipped model, which is opened at the first call."""

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
    """Estimate the biological age of one person or of many with the shipped model.

    Args:
        people: one person as a dict, several as a list of dicts, or a table; see
            :meth:`Henaw.predict`, which has more options.
        accept: names of findings to accept, as the error message gives them.

    Returns:
        A :class:`PersonAnswer` for one person, a list of them for a list of people; for a table
        the same kind of table.

    Raises:
        ScoringError: values or columns cannot be used, or the values of several people look
            wrong, such as by their unit; the error lists every problem.

    Warns:
        InputWarning: a value of one person looks wrong, or a table was not read as it stands.

    Example:
        >>> answer = predict({"age": 54, "sex": "female", "crp": (0.12, "mg/dL"), "albumin": 45})
        >>> answer.reliable, answer.interval[0] < answer.biological_age < answer.interval[1]
        (True, True)
    """
    return _open_shipped().predict(people, accept=accept)


def explain(people: Any) -> Any:
    """List what each biomarker adds to the biological age, with the shipped model.

    Args:
        people: as :func:`predict` takes them.

    Returns:
        A list of dicts for a person or a list of people, for a table the same kind of table;
        one row for each contribution, in years. See :meth:`Henaw.explain`.

    Raises:
        ScoringError: as :func:`predict`.

    Example:
        >>> parts = explain({"age": 54, "sex": "female", "crp": 1.2, "albumin": 45})
        >>> [part["label"] for part in parts if part["value"] is not None]
        ['C-reactive protein', 'Albumin']
    """
    return _open_shipped().explain(people)


@functools.cache
def _open_shipped() -> Henaw:
    return Henaw()
