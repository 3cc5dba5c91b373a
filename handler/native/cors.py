"""Cross-origin requests (the Fetch standard's CORS), for the origins that are configured."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from henaw.handler.exchange import Response

_ALLOWED = {
    "access-control-allow-methods": "GET, POST",
    "access-control-allow-headers": "content-type, x-api-key, authorization",
    "access-control-max-age": "600",
}
_EXPOSED = b"x-request-id, retry-after, ratelimit-limit, ratelimit-remaining, ratelimit-reset"


class Cors:
    """Tells browsers which pages may read answers.

    Args:
        origins: of those pages, such as ``https://clinic.example``.

    Example:
        >>> cors = Cors(["https://clinic.example"])
        >>> dict(cors.write_headers({"origin": "https://clinic.example"}))[
        ...     b"access-control-allow-origin"
        ... ]
        b'https://clinic.example'
    """

    def __init__(self, origins: Collection[str]) -> None:
        self._origins = frozenset(origins)

    def answer_preflight(self, method: str, headers: Mapping[str, str]) -> Response | None:
        """Return the answer to an allowed preflight request; None for any other request."""
        if method != "OPTIONS" or "access-control-request-method" not in headers:
            return None
        if headers.get("origin") not in self._origins:
            return None
        return Response(status=200, headers=_ALLOWED, body=b"")

    def write_headers(self, headers: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
        """Return the headers to add to the answer to a request with these headers."""
        if not self._origins:
            return []
        # A cache must not give one origin's answer to another.
        written = [(b"vary", b"origin")]
        origin = headers.get("origin")
        if origin in self._origins:
            written.append((b"access-control-allow-origin", origin.encode("latin-1")))
            written.append((b"access-control-expose-headers", _EXPOSED))
        return written
