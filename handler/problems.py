"""Errors as ``application/problem+json`` (RFC 9457): the one map to status codes."""

from __future__ import annotations

import msgspec
from henaw.handler.errors import (
    InvalidInputError,
    MalformedBodyError,
    MethodNotAllowedError,
    NotFoundError,
    OverloadedError,
    PreconditionError,
    Problem,
    RequestError,
    ThrottledError,
    TooLargeError,
    UnsupportedMediaError,
)

CONTENT_TYPE = "application/problem+json"

_TYPE = "urn:henaw:problem:"
_KINDS: dict[type, tuple[int, str, str]] = {
    RequestError: (400, "bad-request", "Bad request"),
    MalformedBodyError: (400, "malformed-body", "Malformed body"),
    NotFoundError: (404, "not-found", "Not found"),
    MethodNotAllowedError: (405, "method-not-allowed", "Method not allowed"),
    PreconditionError: (412, "precondition-failed", "Precondition failed"),
    TooLargeError: (413, "too-large", "Too large"),
    UnsupportedMediaError: (415, "unsupported-media", "Unsupported media type"),
    InvalidInputError: (422, "invalid-input", "Invalid input"),
    ThrottledError: (429, "too-many-requests", "Too many requests"),
    OverloadedError: (503, "overloaded", "Overloaded"),
}

STATUSES = {status: title for status, _, title in _KINDS.values()} | {500: "Internal error"}
"""The title of each status that is answered with a problem document."""

_INTERNAL_DETAIL = (
    "The server could not answer this request. "
    "Try again; if it persists, give the operator this request id."
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


def describe_error(error: RequestError, *, in_short: bool = False) -> tuple[int, bytes]:
    """Return the status and the body that tell a client about ``error``.

    Args:
        error: what is wrong.
        in_short: whether ``error`` says it in one sentence beside the rest, as clients of the
            Open Inference Protocol expect it.
    """
    # A kind that is not listed is told as its parent is.
    status, slug, title = next(_KINDS[kind] for kind in type(error).__mro__ if kind in _KINDS)
    problems = error.problems if isinstance(error, InvalidInputError) else ()
    shortened = ": ".join([str(error), *(f"{p.field}: {p.message}" for p in problems[:1])])
    document = ProblemDocument(
        type=f"{_TYPE}{slug}",
        title=title,
        status=status,
        detail=str(error),
        errors=problems,
        error=shortened if in_short else None,
    )
    return status, msgspec.json.encode(document)


def describe_internal_error(request_id: str) -> tuple[int, bytes]:
    """Return the status and body for everything that is not the client's doing.

    The sentence is fixed, so that no internals can leak through it.
    """
    document = ProblemDocument(
        type=f"{_TYPE}internal",
        title=STATUSES[500],
        status=500,
        detail=_INTERNAL_DETAIL,
        request_id=request_id,
    )
    return 500, msgspec.json.encode(document)
