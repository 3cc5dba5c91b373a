"""The published contract: OpenAPI 3.1 and JSON Schema, made from the handler's types."""

from __future__ import annotations

from typing import Any, Final

import msgspec
from henaw.handler import contract
from henaw.handler.problems import CONTENT_TYPE as PROBLEM_TYPE
from henaw.handler.problems import STATUSES, ProblemDocument
from henaw.model.distribution import read_version

_JSON_TYPE: Final = "application/json"
_OPERATIONS: Final[dict[str, tuple[str, tuple[type, ...], tuple[type, ...]]]] = {
    "predictions": (
        "Biological age with an interval, risks and each biomarker's part",
        (contract.OnePerson, contract.ManyPeople, contract.TensorsRequest),
        (contract.Answer, contract.Predictions, contract.TensorsAnswer),
    ),
    "explanations": (
        "Every contribution, beside what is usual at that age and sex",
        (contract.OnePersonToExplain, contract.ManyPeopleToExplain),
        (contract.Explanation, contract.Explanations),
    ),
}


class ServerError(msgspec.Struct, forbid_unknown_fields=True):
    """What TorchServe says by itself of a request that does not reach the handler."""

    code: int
    type: str
    message: str


_TORCHSERVES_OWN: Final = {
    400: "no token where one is asked for, or a wrong one",
    404: "the model is not there",
    405: "another method",
    500: "the worker died with the request, or did not answer in time",
    503: "as many requests as fit wait already, or the model has no worker",
    507: "the worker ran out of memory",
}
_WITHOUT_BODY: Final = {413: "without a body, where it is beyond what TorchServe reads at all"}
"""Of these, too, TorchServe has its own; behind nginx all but 400 are problem documents."""


def _describe_header(text: str, **schema: object) -> dict[str, Any]:
    return {"description": text, "schema": schema}


_HEADERS: Final = {
    "x-request-id": _describe_header("names the request in the server's logs", type="string"),
    "RateLimit-Limit": _describe_header("tokens of a full bucket", type="integer", minimum=1),
    "RateLimit-Remaining": _describe_header("whole tokens left", type="integer", minimum=0),
    "RateLimit-Reset": _describe_header("seconds until it is full", type="integer", minimum=0),
    "RateLimit-Policy": _describe_header("tokens;w=seconds", type="string"),
}
_RETRY_AFTER: Final = _describe_header("seconds to wait", type="integer", minimum=1)


def write_openapi() -> dict[str, Any]:
    """Return the OpenAPI 3.1 document of the two paths."""
    types = [t for _, asked, answered in _OPERATIONS.values() for t in (*asked, *answered)]
    _, components = msgspec.json.schema_components(
        [*types, ProblemDocument, ServerError], ref_template="#/components/schemas/{name}"
    )
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "HENAW",
            "version": read_version(),
            "description": "Biological age from routine blood values, age and sex.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": {
            f"/{kind}/henaw": {
                "post": {
                    "operationId": kind,
                    "summary": summary,
                    "security": [{}, {"token": []}],
                    "parameters": [
                        {
                            "name": "X-API-Key",
                            "in": "header",
                            "description": "a client with an issued key has a rate of its own",
                            "schema": {"type": "string"},
                        }
                    ],
                    "requestBody": {"required": True, "content": {_JSON_TYPE: _any_of(*asked)}},
                    "responses": {
                        "200": {
                            "description": "Answered",
                            "headers": _HEADERS,
                            "content": {_JSON_TYPE: _any_of(*answered)},
                        },
                        **_describe_refusals(),
                    },
                }
            }
            for kind, (summary, asked, answered) in _OPERATIONS.items()
        },
        "components": {
            "schemas": components,
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "TorchServe's inference token, where tokens are on",
                }
            },
        },
    }


def write_request_schema() -> dict[str, Any]:
    """Return the JSON Schema of a request's body."""
    _, asked, _ = _OPERATIONS["predictions"]
    references, definitions = msgspec.json.schema_components(asked, ref_template="#/$defs/{name}")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A request to HENAW",
        "anyOf": list(references),
        "$defs": definitions,
    }


def _any_of(*types: type) -> dict[str, Any]:
    return {"schema": {"anyOf": [{"$ref": f"#/components/schemas/{t.__name__}"} for t in types]}}


def _describe_refusals() -> dict[str, Any]:
    responses: dict[str, Any] = {}
    for status in sorted(STATUSES.keys() | _TORCHSERVES_OWN):
        content = {}
        texts = []
        if status in STATUSES:
            content[PROBLEM_TYPE] = _any_of(ProblemDocument)
            texts.append(STATUSES[status])
        if status in _TORCHSERVES_OWN:
            content[_JSON_TYPE] = _any_of(ServerError)
            texts.append(_TORCHSERVES_OWN[status])
        if status in _WITHOUT_BODY:
            texts.append(_WITHOUT_BODY[status])
        headers = dict(_HEADERS)
        if status in (429, 503):
            headers["Retry-After"] = {**_RETRY_AFTER, "required": status == 429}
        responses[str(status)] = {
            "description": "; or ".join(texts),
            "headers": headers,
            "content": content,
        }
    return responses
