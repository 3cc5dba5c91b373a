"""What can be wrong with a request.

    HenawError
    └── RequestError
        ├── MalformedBodyError
        ├── TooLargeError
        ├── UnsupportedMediaError
        ├── InvalidInputError
        ├── ThrottledError
        └── OverloadedError

Which status each one becomes is decided in :mod:`henaw.handler.problems`.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from henaw.model.errors import HenawError

PROBLEMS_LISTED = 100
"""A client that sent 10 000 people in the wrong unit learns nothing from the rest."""


class Problem(
    msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True, kw_only=True
):
    """One thing that is wrong with one field of one instance."""

    instance: int | None = None
    field: str
    code: str
    message: str
    hint: str | None = None


class ProblemList:
    """Collects problems: the first hundred in full, all of them in number."""

    def __init__(self) -> None:
        self.count = 0
        self.listed: list[Problem] = []

    def skip(self) -> bool:
        """Count a problem that will not be listed; False while there is room to list it.

        Asked before a message is worked out, so that a body of a million misspelt
        names costs no more than reading it.
        """
        if self.count < PROBLEMS_LISTED:
            return False
        self.count += 1
        return True

    def add(
        self,
        instance: int | None,
        field: str,
        code: str,
        message: str,
        hint: str | None = None,
    ) -> None:
        """Add one problem."""
        self.count += 1
        if self.count <= PROBLEMS_LISTED:
            self.listed.append(
                Problem(instance=instance, field=field, code=code, message=message, hint=hint)
            )


class RequestError(HenawError, ValueError):
    """A request cannot be answered as it is."""


class MalformedBodyError(RequestError):
    """The body is not the JSON this server reads."""


class TooLargeError(RequestError):
    """The body, or the number of people in it, is over the limit."""


class UnsupportedMediaError(RequestError):
    """The body is declared to be something other than plain JSON."""


class InvalidInputError(RequestError):
    """The body is JSON with wrong content.

    Args:
        count: how many problems there are.
        problems: the first of them.
    """

    def __init__(self, count: int, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        detail = f"{count} problem{'' if count == 1 else 's'}"
        if count > len(self.problems):
            detail += f", the first {len(self.problems)} listed"
        super().__init__(detail)


class ThrottledError(RequestError):
    """The client is over its rate."""


class OverloadedError(RequestError):
    """The server has more work than it does in time."""


def locate_error(error: Exception) -> str:
    """Name an error and where it arose; its message may hold a client's values."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return type(error).__name__
    file = trace.tb_frame.f_code.co_filename.rpartition("/")[2]
    return f"{type(error).__name__} at {file}:{trace.tb_lineno}"
