"""What can be wrong with a request.

    HenawError
    └── RequestError
        ├── MalformedBodyError
        ├── NotFoundError
        ├── MethodNotAllowedError
        ├── PreconditionError
        ├── TooLargeError
        ├── UnsupportedMediaError
        ├── InvalidInputError
        ├── ThrottledError
        └── OverloadedError

Which status each one becomes is decided in :mod:`henaw.handler.problems`.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final, NoReturn

import msgspec
from henaw.handler.wording import suggest
from henaw.model.errors import HenawError

PROBLEMS_LISTED: Final = 100
"""A client that sent 10 000 people in the wrong unit learns nothing from the rest."""

SPELLINGS: Final = 64
"""Of units in one request: seven for each biomarker."""

_SUGGESTIONS: Final = 6
"""Distinct wrong names of one request that are compared with the right ones."""


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
    """Collects what is wrong with one request, and stops the search at the hundredth problem.

    What is worked out to explain problems is bounded too: a body of nothing but misspelt names
    costs no more than one of people.
    """

    def __init__(self) -> None:
        self.listed: list[Problem] = []
        self._suggestions: dict[tuple[str, Collection[str]], str | None] = {}
        self._spellings: set[tuple[str, str]] = set()

    def __bool__(self) -> bool:
        """Whether there is any."""
        return bool(self.listed)

    def add(
        self,
        instance: int | None,
        field: str,
        code: str,
        message: str,
        hint: str | None = None,
    ) -> None:
        """Add one problem.

        Raises:
            InvalidInputError: it is the hundredth.
        """
        self.listed.append(
            Problem(instance=instance, field=field, code=code, message=message, hint=hint)
        )
        if len(self.listed) == PROBLEMS_LISTED:
            self.refuse()

    def refuse(self) -> NoReturn:
        """Raise an :class:`InvalidInputError` of all that was added."""
        raise InvalidInputError(self.listed)

    def suggest(self, name: str, names: Collection[str]) -> str | None:
        """Return the one of ``names`` that ``name`` probably means, for the first few names."""
        key = (name, names)
        if key not in self._suggestions:
            if len(self._suggestions) == _SUGGESTIONS:
                return None
            self._suggestions[key] = suggest(name, sorted(names))
        return self._suggestions[key]

    def count_spelling(self, biomarker: str, spelling: str, *, instance: int, field: str) -> None:
        """Take note of how a unit is spelt: each spelling costs as much as some people do.

        Raises:
            InvalidInputError: these are too many spellings for one request.
        """
        self._spellings.add((biomarker, spelling))
        if len(self._spellings) > SPELLINGS:
            self.add(
                instance,
                field,
                "unit",
                f"one request must have at most {SPELLINGS} spellings of units",
                "write each unit in one way",
            )
            self.refuse()


class RequestError(HenawError, ValueError):
    """A request cannot be answered as it is."""


class MalformedBodyError(RequestError):
    """The body is not the JSON this server reads."""


class NotFoundError(RequestError):
    """There is nothing at the path."""


class MethodNotAllowedError(RequestError):
    """The path answers other methods."""


class PreconditionError(RequestError):
    """The body lacks data that the client should have put into it."""


class TooLargeError(RequestError):
    """The body, the number of people in it or their answer is over the limit."""


class UnsupportedMediaError(RequestError):
    """The body is declared to be something other than plain JSON."""


class InvalidInputError(RequestError):
    """The body is JSON with wrong content.

    Args:
        problems: all, or the first hundred.
    """

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        count = len(self.problems)
        super().__init__(
            f"at least {count} problems; the first {count} are listed"
            if count == PROBLEMS_LISTED
            else f"{count} problem{'' if count == 1 else 's'}"
        )


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
