"""One request's part of an evaluation as a response, in the form that it was asked in."""

from __future__ import annotations

from typing import Final

import msgspec
from henaw.handler.answers import Answers
from henaw.handler.dialects import BINARY_HEADER, BINARY_TYPE, JSON_TYPE
from henaw.handler.explanations import write_explanations
from henaw.handler.metadata import Metadata
from henaw.handler.schema import Form, People
from henaw.handler.tensors import write_tensors
from henaw.model.runtime import Outputs

_encode = msgspec.json.Encoder().encode
_JSON: Final = {"content-type": JSON_TYPE}


def write_answer(
    people: People,
    rows: slice,
    outputs: Outputs,
    answers: Answers,
    metadata: Metadata,
    *,
    explain: bool,
) -> tuple[dict[str, str], bytes]:
    """Return the headers and the body that answer a request.

    Args:
        people: the request.
        rows: where its people are in the evaluation.
        outputs: the graph's, for these people alone.
        answers: of the whole evaluation.
        metadata: of the model.
        explain: whether explanations are asked for.
    """
    if people.form is Form.TENSORS:
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
        headers = {"content-type": BINARY_TYPE, BINARY_HEADER: str(len(text))}
        return headers, text + binary
    if explain:
        written = list(write_explanations(outputs, people, metadata, answers.model))
        return _JSON, _encode({"explanations": written} if people.form is Form.MANY else written[0])
    body = answers.write(people, rows)
    return _JSON, b'{"predictions":[%b]}' % body if people.form is Form.MANY else body
