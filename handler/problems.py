"""Errors as ``application/problem+json`` (RFC 9457): the one map to status codes."""

from __future__ import annotations

from typing import Final, NamedTuple

import msgspec
from henaw.handler.errors import (
    InvalidInputError,
    LargeHeadersError,
    LongPathError,
    MalformedBodyError,
    MalformedRequestError,
    MethodNotAllowedError,
    NotFoundError,
    OverloadedError,
    PreconditionError,
    Problem,
    RequestError,
    SlowRequestError,
    ThrottledError,
    TooLargeError,
    TransferCodingError,
    UnauthorizedError,
    UnsupportedMediaError,
)

CONTENT_TYPE = "application/problem+json"


class Kind(NamedTuple):
    """How one class of errors is answered.

    Attributes:
        status: of HTTP.
        slug: the end of the problem's type.
        title: of the problem.
    """

    status: int
    slug: str
    title: str


_TYPE: Final = "urn:henaw:problem:"
_KINDS: Final[dict[type, Kind]] = {
    RequestError: Kind(400, "bad-request", "Bad request"),
    MalformedRequestError: Kind(400, "malformed-request", "Malformed request"),
    MalformedBodyError: Kind(400, "malformed-body", "Malformed body"),
    UnauthorizedError: Kind(401, "unauthorized", "Unauthorized"),
    NotFoundError: Kind(404, "not-found", "Not found"),
    MethodNotAllowedError: Kind(405, "method-not-allowed", "Method not allowed"),
    SlowRequestError: Kind(408, "too-slow", "Request timeout"),
    PreconditionError: Kind(412, "precondition-failed", "Precondition failed"),
    TooLargeError: Kind(413, "too-large", "Too large"),
    LongPathError: Kind(414, "too-long", "URI too long"),
    UnsupportedMediaError: Kind(415, "unsupported-media", "Unsupported media type"),
    InvalidInputError: Kind(422, "invalid-input", "Invalid input"),
    ThrottledError: Kind(429, "too-many-requests", "Too many requests"),
    LargeHeadersError: Kind(431, "malformed-request", "Request header fields too large"),
    TransferCodingError: Kind(501, "unknown-transfer-coding", "Not implemented"),
    OverloadedError: Kind(503, "overloaded", "Overloaded"),
}
_INTERNAL: Final = Kind(500, "internal", "Internal error")

STATUSES: Final = {kind.status: kind.title for kind in (*_KINDS.values(), _INTERNAL)}
"""The title of each status that is answered with a problem document."""

_INTERNAL_DETAIL: Final = (
    "The server could not answer this request. "
    "Try again. If it fails again, send the operator this request id."
)


class ProblemDocument(
    msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True, kw_only=True
):
    """Why a request was not answered (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    errors: tuple[Problem, ...] = ()
    error: str | None = None
    request_id: str | None = None


def find_kind(error: type[RequestError]) -> Kind:
    """Return how a class of errors is answered: as its nearest parent in the map.

    Example:
        >>> class NewError(TooLargeError):
        ...     pass
        >>> find_kind(NewError).status
        413
    """
    return next(_KINDS[parent] for parent in error.__mro__ if parent in _KINDS)


def describe_error(error: RequestError, *, in_short: bool = False) -> tuple[int, bytes]:
    """Return the status and the body that tell a client about ``error``.

    Args:
        error: the problem.
        in_short: whether the body has the member ``error`` too: one sentence, as clients of the
            Open Inference Protocol expect it.
    """
    kind = find_kind(type(error))
    problems = error.problems if isinstance(error, InvalidInputError) else ()
    shortened = ": ".join([str(error), *(f"{p.field}: {p.message}" for p in problems[:1])])
    document = ProblemDocument(
        type=f"{_TYPE}{kind.slug}",
        title=kind.title,
        status=kind.status,
        detail=str(error),
        errors=problems,
        error=shortened if in_short else None,
    )
    return kind.status, msgspec.json.encode(document)


def describe_internal_error(request_id: str) -> tuple[int, bytes]:
    """Return the status and the body for an internal error.

    The sentence is fixed, so that it cannot leak anything.
    """
    document = ProblemDocument(
        type=f"{_TYPE}{_INTERNAL.slug}",
        title=_INTERNAL.title,
        status=_INTERNAL.status,
        detail=_INTERNAL_DETAIL,
        request_id=request_id,
    )
    return _INTERNAL.status, msgspec.json.encode(document)
