"""The formats of requests: what a request declares, and which formats a path accepts."""

from __future__ import annotations

import enum
from collections.abc import Mapping

from henaw.handler.errors import UnsupportedMediaError

JSON_TYPE = "application/json"
FHIR_TYPE = "application/fhir+json"
BINARY_TYPE = "application/octet-stream"
BINARY_HEADER = "inference-header-content-length"
"""Declares the length of the JSON, in bytes; binary values follow it (Open Inference Protocol)."""

_UTF8 = ";charset=utf-8"
_R4 = ";fhirversion=4.0"


class Dialect(enum.Enum):
    """The format of a request and of its answer."""

    HENAW = "henaw"
    OPEN_INFERENCE = "open inference"
    FHIR = "fhir"
    CDS_HOOKS = "cds hooks"


def find_dialect(headers: Mapping[str, str], dialect: Dialect) -> Dialect:
    """Return the format of a body by its headers.

    Args:
        headers: the request's, names in lower case.
        dialect: the format that the path expects.

    Raises:
        UnsupportedMediaError: the headers declare another type, character set or coding; or a
            page in a browser declares none, which it may send to any server without a preflight.
    """
    coding = headers.get("content-encoding", "identity")
    if coding.casefold() != "identity":
        raise UnsupportedMediaError(f"Content-Encoding must be identity; got {coding[:80]}")
    declared = headers.get("content-type")
    if declared == JSON_TYPE or (
        declared is None and "origin" not in headers and "sec-fetch-site" not in headers
    ):
        return dialect
    media = "".join((declared or "").split()).replace('"', "").casefold().replace(_UTF8, "")
    if media == JSON_TYPE or (media == BINARY_TYPE and BINARY_HEADER in headers):
        return dialect
    if media in (FHIR_TYPE, f"{FHIR_TYPE}{_R4}") and dialect is Dialect.HENAW:
        return Dialect.FHIR
    raise UnsupportedMediaError(
        "Content-Type must be application/json, or application/fhir+json for a Bundle; got "
        f"{(declared or 'none')[:80]}"
    )
