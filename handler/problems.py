"""Errors as ``application/problem+json`` (RFC 9457): the one map to status codes."""

from __future__ import annotations

from typing import Any

import msgspec
from henaw.handler.errors import (
    InvalidInputError,
    MalformedBodyError,
    RequestError,
    ThrottledError,
    TooLargeError,
    UnsupportedMediaError,
)

CONTENT_TYPE = "application/problem+json"

_KINDS: dict[type[RequestError], tuple[int, str, str]] = {
    MalformedBodyError: (400, "malformed-body", "Malformed body"),
    TooLargeError: (413, "too-large", "Too large"),
    UnsupportedMediaError: (415, "unsupported-media", "Unsupported media type"),
    InvalidInputError: (422, "invalid-input", "Invalid input"),
    ThrottledError: (429, "too-many-requests", "Too many requests"),
}

_INTERNAL_DETAIL = (
    "The server could not answer this request. "
    "Try again; if it persists, give the operator this request id."
)


def describe_error(error: RequestError) -> tuple[int, bytes]:
    """Return the status and the body that tell a client about ``error``."""
    status, slug, title = _KINDS[type(error)]
    document: dict[str, Any] = {
        "type": f"urn:henaw:problem:{slug}",
        "title": title,
        "status": status,
        "detail": str(error),
    }
    if isinstance(error, InvalidInputError):
        document["errors"] = error.problems
    return status, msgspec.json.encode(document)


def describe_internal_error(request_id: str) -> tuple[int, bytes]:
    """Return the status and body for everything that is not the client's doing.

    The sentence is fixed, so that no internals can leak through it.
    """
    document = {
        "type": "urn:henaw:problem:internal",
        "title": "Internal error",
        "status": 500,
        "detail": _INTERNAL_DETAIL,
        "request_id": request_id,
    }
    return 500, msgspec.json.encode(document)
