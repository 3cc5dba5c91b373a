"""Responses to requests that the engine refuses without asking the service."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

from henaw.handler.errors import (
    LargeHeadersError,
    LongPathError,
    MalformedRequestError,
    MethodNotAllowedError,
    NotFoundError,
    OverloadedError,
    RequestError,
    SlowRequestError,
    TooLargeError,
    TransferCodingError,
    UnauthorizedError,
)
from henaw.handler.exchange import Response
from henaw.handler.problems import CONTENT_TYPE, describe_error

MALFORMED: Final = MalformedRequestError("This is not a valid HTTP/1.1 request.")
LARGE_HEADERS: Final = LargeHeadersError(
    "A request must have at most 100 headers, with at most 32 KiB in total."
)
UNKNOWN_CODING: Final = TransferCodingError(
    'The header Transfer-Encoding may only be "chunked". Send the body without another coding.'
)
LONG_PATH: Final = LongPathError("The path and query must be at most 8 KiB.")
SLOW: Final = SlowRequestError(
    "The request did not arrive in time. Send it again, or split it into smaller requests."
)
FULL: Final = OverloadedError("The server is overloaded. Retry after 1 s.")
NO_KEY: Final = UnauthorizedError(
    "This server requires a client key. Send yours in the header X-API-Key."
)
NOT_FOUND: Final = NotFoundError(
    "There is nothing at this path. Predictions are at /predictions/henaw, the Open Inference "
    "Protocol at /v2/models/henaw."
)

_HEADERS: Final[Mapping[RequestError, Mapping[str, str]]] = {
    NO_KEY: {"www-authenticate": "Bearer"},
    FULL: {"retry-after": "1"},
}


def refuse(error: RequestError, path: str) -> Response:
    """Return the response to a refused request.

    Args:
        error: why it is refused.
        path: of the request; empty where it is not known.
    """
    status, body = describe_error(error, in_short=path.startswith("/v2"))
    headers = {**_HEADERS.get(error, {}), "content-type": CONTENT_TYPE}
    return Response(status=status, headers=headers, body=body)


def refuse_method(methods: Collection[str], path: str) -> Response:
    """Return the response to a request with a method that the path does not answer."""
    listed = ", ".join(methods)
    response = refuse(MethodNotAllowedError(f"This path accepts only {listed}."), path)
    return Response(
        status=response.status, headers={**response.headers, "Allow": listed}, body=response.body
    )


def find_size_error(maximum_bytes: int) -> TooLargeError:
    """Return the error of a body over the limit."""
    return TooLargeError(f"The body must be at most {maximum_bytes} bytes.")
