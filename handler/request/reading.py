"""Bodies to instances, in two steps: decode the body and count its people, then validate them.

The count decides what a request costs its client, who pays before the second step.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from henaw.handler.configuration import Limits
from henaw.handler.contract.dialects import BINARY_HEADER, Dialect
from henaw.handler.errors import MalformedBodyError, TooLargeError, UnsupportedMediaError
from henaw.handler.metadata import Metadata
from henaw.handler.request.cds_hooks import read_call
from henaw.handler.request.decode import (
    check_size,
    check_tree,
    decode_body,
    load_json,
    without_collection,
)
from henaw.handler.request.fast_path import read_valid
from henaw.handler.request.fhir import make_instances, read_bundle
from henaw.handler.request.instances import Form, Instances, count_instances, read_instances

if TYPE_CHECKING:
    from henaw.intake.fhir.reader import FhirPeople


_PATIENT_WEIGHT: Final = 10
"""A Bundle's Patient counts as this many instances of other requests: its answer is longer. One
Patient is always allowed."""


_PATIENT: Final = re.compile(rb'"resourceType"\s*:\s*"Patient"')


class Draft(NamedTuple):
    """A decoded request.

    Attributes:
        people: the number of people that it asks about.
        read: validates and returns them; raises a RequestError that lists every problem.
    """

    people: int
    read: Callable[[], Instances]


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
        body: the body, as sent.
        headers: the request's headers, with names in lower case.
        dialect: the format of the body.
        limits: the limits of one request.
        metadata: the model's metadata.
        explain: whether the client asks for explanations.

    Raises:
        TooLargeError: the body is over a limit.
        MalformedBodyError: the body is not the JSON that this server reads.
        InvalidInputError: the body is declared to be FHIR but is not.
        PreconditionError: a call of a hook lacks the data that it needs.
    """
    text, binary = _split(body, headers)
    check_size(
        text,
        maximum_bytes=limits.body_bytes - len(binary),
        maximum_values=limits.values,
    )
    if dialect in _READERS:
        _refuse_binary(binary)
        read, form = _READERS[dialect]
        if explain:
            raise UnsupportedMediaError("Explanations are not available in FHIR")
        tree = decode_body(text)
        count, most = len(_PATIENT.findall(text)), max(1, limits.instances // _PATIENT_WEIGHT)
        if count > most:
            raise TooLargeError(f"A Bundle must have at most {most} Patients; got {count}")

        def read_patients() -> Instances:
            found = read(tree)
            if len(found.patients) > count:
                raise MalformedBodyError('Write "resourceType": "Patient" without escapes.')
            return make_instances(found, metadata, form)

        return Draft(count, read_patients)
    loaded = load_json(text)
    if not explain and not binary:
        instances = read_valid(text, loaded)
        if instances is not None and len(instances) <= limits.instances:
            return Draft(len(instances), lambda: instances)
    tree = check_tree(loaded, text)
    if "inputs" not in tree:
        _refuse_binary(binary)
    return Draft(
        count_instances(tree),
        partial(
            read_instances,
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


def _refuse_binary(binary: bytes) -> None:
    if binary:
        raise MalformedBodyError("Only arrays (inputs) may be followed by binary values.")


def _split(body: bytes, headers: Mapping[str, str]) -> tuple[bytes, bytes]:
    """Return the JSON, and the binary values after it."""
    declared = headers.get(BINARY_HEADER)
    if declared is None:
        return body, b""
    if not (declared.isascii() and declared.isdigit() and len(declared) < 10):
        raise MalformedBodyError("Inference-Header-Content-Length must be a number of bytes")
    length = int(declared)
    if length > len(body):
        raise MalformedBodyError(
            f"Inference-Header-Content-Length must be at most {len(body)}, the length of the "
            f"body; got {length}"
        )
    return body[:length], body[length:]
