"""The response to one request, in the form of that request."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec
from henaw.handler.contract.dialects import BINARY_HEADER, BINARY_TYPE, FHIR_TYPE, JSON_TYPE
from henaw.handler.metadata import Metadata
from henaw.handler.request.instances import Form, Instances
from henaw.handler.response.answers import AnswerWriter
from henaw.handler.response.cards import write_cards
from henaw.handler.response.explanations import write_explanations
from henaw.handler.response.fhir import write_bundle
from henaw.handler.response.tensors import write_tensors
from henaw.model.runtime import Outputs

_encode = msgspec.json.Encoder().encode
_JSON: Final = {"content-type": JSON_TYPE}


class ResponseWriter:
    """Writes the responses of one model.

    Args:
        metadata: the model's metadata.
        sha256: the digest of its file.
        lab: the laboratory whose profile is set; None without one.
    """

    def __init__(self, metadata: Metadata, *, sha256: str, lab: str | None) -> None:
        self._metadata = metadata
        self._sha256 = sha256
        self._lab = lab

    def write(
        self,
        instances: Instances,
        rows: slice,
        outputs: Outputs,
        answers: AnswerWriter,
        *,
        explain: bool,
    ) -> tuple[Mapping[str, str], bytes]:
        """Return the headers and the body of a response.

        Args:
            instances: the request's instances.
            rows: their rows in the batch.
            outputs: the graph's outputs, for these instances only.
            answers: the writer of the whole batch's answers.
            explain: whether the client asks for explanations.
        """
        if instances.form is Form.TENSORS:
            return _write_tensors(instances, outputs, answers)
        if instances.form is Form.BUNDLE:
            body = write_bundle(
                instances, outputs, self._metadata, sha256=self._sha256, lab=self._lab
            )
            return {"content-type": FHIR_TYPE}, body
        if instances.form is Form.HOOK:
            return _JSON, _encode(write_cards(instances, outputs, self._metadata))
        is_many = instances.form is Form.MANY
        if explain:
            written = list(write_explanations(outputs, instances, self._metadata, answers.model))
            return _JSON, _encode({"explanations": written} if is_many else written[0])
        body = answers.write(instances, rows)
        return _JSON, b'{"predictions":[%b]}' % body if is_many else body


def _write_tensors(
    instances: Instances, outputs: Outputs, answers: AnswerWriter
) -> tuple[Mapping[str, str], bytes]:
    document, binary = write_tensors(
        outputs,
        instances.outputs,
        binary=instances.binary_outputs,
        request_id=instances.request_id,
        model=answers.model,
    )
    text = _encode(document)
    if not instances.binary_outputs:
        return _JSON, text
    return {"content-type": BINARY_TYPE, BINARY_HEADER: str(len(text))}, text + binary
