"""Bodies to people, in two steps: how many there are, and then what is right about them.

What a request costs its client depends on the first, and is paid before the second.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from henaw.handler.configuration import Limits
from henaw.handler.contract.dialects import BINARY_HEADER, Dialect
from henaw.handler.errors import MalformedBodyError, TooLargeError, UnsupportedMediaError
from henaw.handler.metadata import Metadata
from henaw.handler.request.decode import (
    check_size,
    check_tree,
    decode_body,
    load_json,
    without_collection,
)
from henaw.handler.request.fast_path import read_valid
from henaw.handler.request.fhir import make_people, read_bundle
from henaw.handler.request.instances import Form, People, count_people, read_people
from henaw.handler.response.cards import read_call

if TYPE_CHECKING:
    from henaw.intake.fhir import FhirPeople


_PATIENT_WEIGHT: Final = 10
"""Instances for each of which a Bundle may have one Patient: the answer is longer."""


class Draft(NamedTuple):
    """A decoded request.

    Attributes:
        people: how many it asks about.
        read: validates and returns them; raises a RequestError of all that is wrong.
    """

    people: int
    read: Callable[[], People]


@without_collection()
def open_request(
    body: bytes,
    headers: Mapping[str, str],
    dialect: Dialect,
    limits: Limits,
    metadata: Metadata,
    *,
    explain: bool = False,
) -> Draft:
    """Decode a body.

    Args:
        body: as sent.
        headers: the request's, names in lower case.
        dialect: what the body is written in.
        limits: of it.
        metadata: of the model.
        explain: whether explanations are asked for.

    Raises:
        TooLargeError: the body is over a limit.
        MalformedBodyError: it is not the JSON that this server reads.
        InvalidInputError: it is not FHIR, where FHIR is asked for.
        PreconditionError: a call of a hook comes without the data that it needs.
    """
    text, binary = _split(body, headers)
    check_size(
        text,
        maximum_bytes=limits.body_bytes - len(binary),
        maximum_values=limits.values,
    )
    if dialect in _READERS:
        read, form = _READERS[dialect]
        if explain:
            raise UnsupportedMediaError("Explanations are not given in FHIR")
        found = read(decode_body(text))
        count, most = len(found.patients), max(1, limits.instances // _PATIENT_WEIGHT)
        if count > most:
            raise TooLargeError(f"A Bundle must have at most {most} Patients; got {count}")
        return Draft(count, lambda: make_people(found, metadata, form))
    loaded = load_json(text)
    if not explain and not binary:
        people = read_valid(text, loaded)
        if people is not None and len(people) <= limits.instances:
            return Draft(len(people), lambda: people)
    tree = check_tree(loaded, text)
    return Draft(
        count_people(tree),
        partial(
            read_people,
            tree,
            maximum_instances=limits.instances,
            explain=explain,
            binary=binary,
        ),
    )


_READERS: Final[Mapping[Dialect, tuple[Callable[[dict[str, Any]], FhirPeople], Form]]] = {
    Dialect.FHIR: (read_bundle, Form.BUNDLE),
    Dialect.CDS_HOOKS: (read_call, Form.HOOK),
}


def _split(body: bytes, headers: Mapping[str, str]) -> tuple[bytes, bytes]:
    """Return the JSON and the binary values after it."""
    declared = headers.get(BINARY_HEADER)
    if declared is None:
        return body, b""
    if not (declared.isascii() and declared.isdigit() and len(declared) < 10):
        raise MalformedBodyError("Inference-Header-Content-Length must be a number of bytes")
    length = int(declared)
    if length > len(body):
        raise MalformedBodyError(
            f"Inference-Header-Content-Length must be at most {len(body)}, the body's bytes; "
            f"got {length}"
        )
    return body[:length], body[length:]
