"""What can be wrong with a request, and the list of its problems.

    HenawError
    └── RequestError
        ├── MalformedRequestError
        ├── MalformedBodyError
        ├── UnauthorizedError
        ├── NotFoundError
        ├── MethodNotAllowedError
        ├── SlowRequestError
        ├── PreconditionError
        ├── TooLargeError
        ├── LongPathError
        ├── UnsupportedMediaError
        ├── InvalidInputError
        ├── ThrottledError
        ├── LargeHeadersError
        ├── TransferCodingError
        └── OverloadedError

:mod:`henaw.handler.problems` decides which status each one becomes.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final, NoReturn

import msgspec
from henaw.handler.wording import show_value, suggest
from henaw.model.errors import HenawError

PROBLEMS_LISTED: Final = 100
"""Problems in one answer. Of 10 000 people in the wrong unit, 100 are enough."""

SPELLINGS: Final = 64
"""Spellings of units in one request: seven for each biomarker."""

_SUGGESTIONS: Final = 6
"""Wrong names in one request that are compared with the right names."""


class Problem(
    msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True, kw_only=True
):
    """One problem with one field of one instance."""

    instance: int | None = None
    field: str
    code: str
    message: str
    hint: str | None = None


class ProblemList:
    """The problems of one request; the search for them ends at the hundredth.

    The work on hints is bounded too: a body of misspelt names costs no more than one of people.
    """

    def __init__(self) -> None:
        self.listed: list[Problem] = []
        self._suggestions: dict[tuple[str, Collection[str]], str | None] = {}
        self._spellings: set[tuple[str, str]] = set()

    def __bool__(self) -> bool:
        """Whether the request has a problem."""
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

        Args:
            instance: the person's place in the request; None where it concerns no one person.
            field: the path of the field.
            code: the kind of problem, for programs.
            message: one sentence for people.
            hint: what the client probably meant.

        Raises:
            InvalidInputError: this is the hundredth problem.
        """
        self.listed.append(
            Problem(instance=instance, field=field, code=code, message=message, hint=hint)
        )
        if len(self.listed) == PROBLEMS_LISTED:
            self.refuse()

    def add_wrong(
        self,
        instance: int | None,
        field: str,
        expected: str,
        value: object,
        *,
        code: str = "type",
        hint: str | None = None,
    ) -> None:
        """Add the problem "``expected``; got ``value``".

        Args:
            instance: the person's place in the request; None where it concerns no one person.
            field: the path of the field.
            expected: what it must be, such as "data must be an array".
            value: what it is, as decoded from JSON.
            code: the kind of problem, for programs.
            hint: what the client probably meant.
        """
        self.add(instance, field, code, f"{expected}; got {show_value(value)}", hint)

    def refuse(self) -> NoReturn:
        """Raise an :class:`InvalidInputError` with all problems."""
        raise InvalidInputError(self.listed)

    def check_name(
        self, instance: int | None, field: str, name: object, names: Collection[str], what: str
    ) -> None:
        """Add a problem unless ``name`` is one of ``names``, with the likely one as a hint.

        Args:
            instance: the person's place in the request.
            field: the path of the field that has the name.
            name: as given.
            names: those that are allowed.
            what: an allowed name is, such as "an output".
        """
        if isinstance(name, str) and name in names:
            return
        near = self.suggest(name, names) if isinstance(name, str) else None
        self.add(
            instance,
            field,
            "not_allowed",
            f"{show_value(name)} is not {what}",
            f"did you mean {near}?" if near else f"choose from {', '.join(names)}",
        )

    def suggest(self, name: str, names: Collection[str]) -> str | None:
        """Return the one of ``names`` that ``name`` probably means; None past the first few."""
        key = (name, names)
        if key not in self._suggestions:
            if len(self._suggestions) == _SUGGESTIONS:
                return None
            self._suggestions[key] = suggest(name, sorted(names))
        return self._suggestions[key]

    def count_spelling(self, biomarker: str, spelling: str, *, instance: int, field: str) -> None:
        """Count a spelling of a unit: looking each one up costs as much as some people do.

        Raises:
            InvalidInputError: the request has too many spellings.
        """
        self._spellings.add((biomarker, spelling))
        if len(self._spellings) > SPELLINGS:
            self.add(
                instance,
                field,
                "unit",
                f"a request must have at most {SPELLINGS} different spellings of units",
                "write each unit the same way every time",
            )
            self.refuse()


class RequestError(HenawError, ValueError):
    """The request cannot be answered as it is."""


class MalformedRequestError(RequestError):
    """The request is not valid HTTP."""


class UnauthorizedError(RequestError):
    """The client must send a key, and has not."""


class SlowRequestError(RequestError):
    """The request did not arrive in time."""


class LongPathError(RequestError):
    """The path and query are over the limit."""


class LargeHeadersError(RequestError):
    """The headers are over the limit."""


class TransferCodingError(RequestError):
    """The body is sent in a transfer coding that the server does not know."""


class MalformedBodyError(RequestError):
    """The body is not the JSON that this server reads."""


class NotFoundError(RequestError):
    """There is nothing at the path."""


class MethodNotAllowedError(RequestError):
    """The path does not answer this method."""


class PreconditionError(RequestError):
    """The body lacks data that the client must send with it."""


class TooLargeError(RequestError):
    """The body, the number of people in it or their answer is over the limit."""


class UnsupportedMediaError(RequestError):
    """The headers declare something other than plain JSON."""


class InvalidInputError(RequestError):
    """The body is JSON, but its content is wrong.

    Args:
        problems: all of them, or the first hundred.
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
    """The server has more work than it can do in time."""


def locate_error(error: Exception) -> str:
    """Return the type and place of an error, but not its message, which may contain values."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return type(error).__name__
    file = trace.tb_frame.f_code.co_filename.rpartition("/")[2]
    return f"{type(error).__name__} at {file}:{trace.tb_lineno}"
