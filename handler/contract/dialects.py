"""The languages that requests come in: which one a request speaks, and what it may hold."""

from __future__ import annotations

import enum
from collections.abc import Mapping

from henaw.handler.errors import UnsupportedMediaError

JSON_TYPE = "application/json"
FHIR_TYPE = "application/fhir+json"
BINARY_TYPE = "application/octet-stream"
BINARY_HEADER = "inference-header-content-length"
"""Says how much of a body is JSON; values in binary follow it (Open Inference Protocol)."""

_UTF8 = ";charset=utf-8"


class Dialect(enum.Enum):
    """How a request and its answer are written."""

    HENAW = "henaw"
    OPEN_INFERENCE = "open inference"
    FHIR = "fhir"
    CDS_HOOKS = "cds hooks"


def find_dialect(headers: Mapping[str, str], dialect: Dialect) -> Dialect:
    """Return what a body is written in, or refuse what it says that it is.

    Args:
        headers: the request's, names in lower case.
        dialect: the one of the path.

    Raises:
        UnsupportedMediaError: another type, character set or coding; or none, from a page in
            a browser, which can send that to any server without being asked first.
    """
    coding = headers.get("content-encoding", "identity")
    if coding.casefold() != "identity":
        raise UnsupportedMediaError(f"expected no Content-Encoding, however: {coding[:80]}")
    declared = headers.get("content-type")
    if declared == JSON_TYPE or (
        declared is None and "origin" not in headers and "sec-fetch-site" not in headers
    ):
        return dialect
    media = "".join((declared or "").split()).replace('"', "").casefold().removesuffix(_UTF8)
    if media == JSON_TYPE or (media == BINARY_TYPE and BINARY_HEADER in headers):
        return dialect
    if media == FHIR_TYPE and dialect is Dialect.HENAW:
        return Dialect.FHIR
    raise UnsupportedMediaError(
        f"expected Content-Type: application/json, however: {(declared or 'none')[:80]}"
    )
