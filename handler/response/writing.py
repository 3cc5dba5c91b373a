"""One request's part of an evaluation as a response, in the form that it was asked in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec
from henaw.handler.contract.dialects import BINARY_HEADER, BINARY_TYPE, FHIR_TYPE, JSON_TYPE
from henaw.handler.metadata import Metadata
from henaw.handler.request.fhir import write_bundle
from henaw.handler.request.instances import Form, People
from henaw.handler.request.tensors import write_tensors
from henaw.handler.response.answers import Answers
from henaw.handler.response.cards import write_cards
from henaw.handler.response.explanations import write_explanations
from henaw.model.runtime import Outputs

_encode = msgspec.json.Encoder().encode
_JSON: Final = {"content-type": JSON_TYPE}


class Writer:
    """Writes answers of one model.

    Args:
        metadata: of the model.
        sha256: of its file.
        lab: the laboratory whose profile is set; None where none is.
    """

    def __init__(self, metadata: Metadata, *, sha256: str, lab: str | None) -> None:
        self._metadata = metadata
        self._sha256 = sha256
        self._lab = lab

    def write(
        self, people: People, rows: slice, outputs: Outputs, answers: Answers, *, explain: bool
    ) -> tuple[Mapping[str, str], bytes]:
        """Return the headers and the body that answer a request.

        Args:
            people: the request.
            rows: where its people are in the evaluation.
            outputs: the graph's, for these people alone.
            answers: of the whole evaluation.
            explain: whether explanations are asked for.
        """
        if people.form is Form.TENSORS:
            return _write_tensors(people, outputs, answers)
        if people.form is Form.BUNDLE:
            body = write_bundle(people, outputs, self._metadata, sha256=self._sha256, lab=self._lab)
            return {"content-type": FHIR_TYPE}, body
        if people.form is Form.HOOK:
            return _JSON, _encode(write_cards(people, outputs, self._metadata))
        if explain:
            written = list(write_explanations(outputs, people, self._metadata, answers.model))
            many = people.form is Form.MANY
            return _JSON, _encode({"explanations": written} if many else written[0])
        body = answers.write(people, rows)
        return _JSON, b'{"predictions":[%b]}' % body if people.form is Form.MANY else body


def _write_tensors(
    people: People, outputs: Outputs, answers: Answers
) -> tuple[Mapping[str, str], bytes]:
    document, binary = write_tensors(
        outputs,
        people.outputs,
        binary=people.binary_outputs,
        request_id=people.request_id,
        model=answers.model,
    )
    text = _encode(document)
    if not people.binary_outputs:
        return _JSON, text
    return {"content-type": BINARY_TYPE, BINARY_HEADER: str(len(text))}, text + binary
