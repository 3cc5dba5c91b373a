"""What each path of the inference address is for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

MODEL: Final = "henaw"
_PEOPLE: Final = {"predictions": False, "explanations": True}


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A request that the service answers.

    Attributes:
        method: the one that asks it.
        version: of the model; None is the default one.
        explain: whether explanations are asked for.
        describe: whether the description is asked for.
    """

    method: str
    version: str | None = None
    explain: bool = False
    describe: bool = False


def find_question(path: str) -> Question | None:
    """Return what a path asks the service; None where it asks nothing of it.

    >>> find_question("/explanations/henaw/1.2.0")
    Question(method='POST', version='1.2.0', explain=True, describe=False)
    """
    kind, model, *rest = [*path.split("/")[1:], ""][:4]
    if model != MODEL or len(path.split("/")) > 4:
        return None
    version = rest[0] or None if rest else None
    if kind in _PEOPLE:
        return Question(method="POST", version=version, explain=_PEOPLE[kind])
    if kind == "models":
        return Question(method="GET", version=version, describe=True)
    return None
