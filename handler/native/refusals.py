"""What the engine refuses by itself, in the same form as the service's refusals."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus

import msgspec
from henaw.handler.problems import CONTENT_TYPE, STATUSES, ProblemDocument
from henaw.handler.service import Response


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why the engine does not hand a request to the service.

    Attributes:
        status: of HTTP.
        slug: the end of the problem's type.
        detail: one or two sentences for the client.
        headers: beside the content type.
    """

    status: HTTPStatus
    slug: str
    detail: str
    headers: Mapping[str, str] = field(default_factory=dict)

    def write(self) -> Response:
        """Return it as ``application/problem+json``."""
        document = ProblemDocument(
            type=f"urn:henaw:problem:{self.slug}",
            title=STATUSES.get(self.status, self.status.phrase),
            status=self.status,
            detail=self.detail,
        )
        return Response(
            status=self.status,
            headers={**self.headers, "content-type": CONTENT_TYPE},
            body=msgspec.json.encode(document),
        )


NOT_FOUND = Refusal(
    status=HTTPStatus.NOT_FOUND,
    slug="not-found",
    detail="There is nothing at this path. Predictions are at /predictions/henaw.",
)
NO_KEY = Refusal(
    status=HTTPStatus.UNAUTHORIZED,
    slug="unauthorized",
    detail="This server answers clients with a key. Send yours in the header X-API-Key.",
    headers={"www-authenticate": "Bearer"},
)
MALFORMED = Refusal(
    status=HTTPStatus.BAD_REQUEST,
    slug="malformed-request",
    detail="This is not a valid HTTP/1.1 request.",
)
LARGE_HEADERS = Refusal(
    status=HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
    slug="malformed-request",
    detail="The headers are larger than 32 KiB, or more than 100.",
)
LONG_PATH = Refusal(
    status=HTTPStatus.REQUEST_URI_TOO_LONG,
    slug="too-long",
    detail="The path and query are longer than 8 KiB.",
)
SLOW = Refusal(
    status=HTTPStatus.REQUEST_TIMEOUT,
    slug="too-slow",
    detail="The request did not arrive in time. Send it again, faster or in parts.",
)
FULL = Refusal(
    status=HTTPStatus.SERVICE_UNAVAILABLE,
    slug="overloaded",
    detail="The server is overloaded. Retry after 1 s.",
    headers={"retry-after": "1"},
)


def refuse_size(maximum_bytes: int) -> Refusal:
    """Return the refusal of a body over the limit."""
    return Refusal(
        status=HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        slug="too-large",
        detail=f"The body must be at most {maximum_bytes} bytes.",
    )


def refuse_method(allowed: str) -> Refusal:
    """Return the refusal of a method that the path does not have."""
    return Refusal(
        status=HTTPStatus.METHOD_NOT_ALLOWED,
        slug="method-not-allowed",
        detail=f"This path answers {allowed}.",
        headers={"allow": allowed},
    )
