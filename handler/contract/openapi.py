"""The published contract: OpenAPI 3.1 and JSON Schema, generated from the handler's types."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final, NamedTuple

import msgspec
from henaw.handler.contract import interfaces
from henaw.handler.contract import types as contract
from henaw.handler.contract.dialects import BINARY_TYPE, FHIR_TYPE, JSON_TYPE
from henaw.handler.problems import CONTENT_TYPE as PROBLEM_TYPE
from henaw.handler.problems import STATUSES, ProblemDocument
from henaw.model.distribution import read_version

_BINARY: Final = {"schema": {"type": "string", "format": "binary"}}
_RESOURCE: Final = {
    "schema": {
        "type": "object",
        "required": ["resourceType"],
        "properties": {"resourceType": {"const": "Bundle"}},
    }
}
"""A Bundle of FHIR R4. FHIR publishes its schema: https://hl7.org/fhir/R4/bundle.html"""

_NONE: Final[Mapping[str, Any]] = MappingProxyType({})


class _Operation(NamedTuple):
    """One path: its request and its answer.

    Attributes:
        summary: one sentence.
        asked: types of the JSON body; empty without a body.
        answered: types of the JSON answer.
        also_asked: other bodies by content type.
        also_answered: other answers by content type.
    """

    summary: str
    asked: tuple[type, ...]
    answered: tuple[type, ...]
    also_asked: Mapping[str, Any] = _NONE
    also_answered: Mapping[str, Any] = _NONE


_PREDICT: Final = _Operation(
    "Biological age with an interval, risks and each biomarker's part",
    (contract.OnePerson, contract.ManyPeople, contract.TensorsRequest),
    (contract.Answer, contract.Predictions, contract.TensorsAnswer),
    {FHIR_TYPE: _RESOURCE, BINARY_TYPE: _BINARY},
    {FHIR_TYPE: _RESOURCE, BINARY_TYPE: _BINARY},
)
_EXPLAIN: Final = _Operation(
    "Every contribution, with what is usual at that age and sex",
    (contract.OnePersonToExplain, contract.ManyPeopleToExplain),
    (contract.Explanation, contract.Explanations),
)
_INFER: Final = _Operation(
    "The graph's outputs, by the Open Inference Protocol",
    (contract.TensorsRequest,),
    (contract.TensorsAnswer,),
    {BINARY_TYPE: _BINARY},
    {BINARY_TYPE: _BINARY},
)
_READY: Final = _Operation("Whether the model is ready", (), (interfaces.Ready,))
_MODEL: Final = _Operation("Inputs and outputs of the graph", (), (interfaces.ModelMetadata,))
_V2: Final = f"/v2/models/{contract.SERVED_NAME}"
_V2_VERSION: Final = f"{_V2}/versions/{{version}}"

TORCHSERVE_PATHS: Final = ("/predictions/henaw", "/explanations/henaw")
"""The paths that TorchServe passes to the handler; the native engine answers all paths."""

_OPERATIONS: Final[dict[str, tuple[str, str, _Operation]]] = {
    "/predictions/henaw": ("post", "predictions", _PREDICT),
    "/explanations/henaw": ("post", "explanations", _EXPLAIN),
    "/v1/models/henaw:predict": (
        "post",
        "predictV1",
        _PREDICT._replace(also_asked=_NONE, also_answered=_NONE),
    ),
    "/v1/models/henaw:explain": ("post", "explainV1", _EXPLAIN),
    "/v1/models": ("get", "listV1", _Operation("The models", (), (interfaces.Models,))),
    "/v1/models/henaw": ("get", "readyV1", _READY),
    "/v2": ("get", "serverV2", _Operation("The server", (), (interfaces.ServerMetadata,))),
    "/v2/health/live": (
        "get",
        "liveV2",
        _Operation("Whether the server is alive", (), (interfaces.Live,)),
    ),
    "/v2/health/ready": ("get", "serverReadyV2", _READY),
    _V2: ("get", "modelV2", _MODEL),
    f"{_V2}/ready": ("get", "readyV2", _READY),
    f"{_V2}/infer": ("post", "inferV2", _INFER),
    _V2_VERSION: ("get", "versionV2", _MODEL),
    f"{_V2_VERSION}/ready": ("get", "versionReadyV2", _READY),
    f"{_V2_VERSION}/infer": ("post", "versionInferV2", _INFER),
    "/cds-services": (
        "get",
        "hooks",
        _Operation("The service of CDS Hooks 2.0", (), (interfaces.HookServices,)),
    ),
    "/cds-services/henaw": (
        "post",
        "hook",
        _Operation(
            "A card with the patient's biological age, or why there is none",
            (interfaces.HookCall,),
            (interfaces.Cards,),
        ),
    ),
}


class ServerError(msgspec.Struct, forbid_unknown_fields=True):
    """TorchServe's own answer to a request that does not reach the handler."""

    code: int
    type: str
    message: str


_TORCHSERVES_OWN: Final = {
    400: "a missing or wrong token",
    404: "the model is not loaded",
    405: "the path has other methods",
    500: "the worker died with the request, or did not answer in time",
    503: "the queue is full, or the model has no worker",
    507: "the worker ran out of memory",
}
_WITHOUT_BODY: Final = {413: "without a response body if TorchServe itself refuses it"}
"""Statuses that TorchServe answers without a body; behind nginx they are problem documents."""


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
    """Return the OpenAPI 3.1 document of all paths."""
    types = [
        t
        for _, _, operation in _OPERATIONS.values()
        for t in (*operation.asked, *operation.answered)
    ]
    _, components = msgspec.json.schema_components(
        [*types, ProblemDocument, ServerError], ref_template="#/components/schemas/{name}"
    )
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "HENAW",
            "version": read_version(),
            "description": "Biological age from routine blood values, age and sex. TorchServe "
            f"answers {' and '.join(TORCHSERVE_PATHS)} alone.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": {
            path: {method: _describe_operation(path, name, operation)}
            for path, (method, name, operation) in _OPERATIONS.items()
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
    asked = _PREDICT.asked
    references, definitions = msgspec.json.schema_components(asked, ref_template="#/$defs/{name}")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A request to HENAW",
        "anyOf": list(references),
        "$defs": definitions,
    }


def _describe_operation(path: str, name: str, operation: _Operation) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": name,
        "summary": operation.summary,
        "security": [{}, {"token": []}],
        "parameters": [
            {
                "name": "X-API-Key",
                "in": "header",
                "description": "a client with an issued key has a rate of its own",
                "schema": {"type": "string"},
            }
        ],
        "responses": {
            "200": {
                "description": "Answered",
                "headers": _HEADERS if operation.asked else {},
                "content": {JSON_TYPE: _any_of(*operation.answered), **operation.also_answered},
            },
            **_describe_refusals(),
        },
    }
    if operation.answered == (interfaces.Ready,):
        described["responses"]["503"]["content"][JSON_TYPE] = _any_of(interfaces.Ready, ServerError)
    if "{version}" in path:
        described["parameters"].append(
            {"name": "version", "in": "path", "required": True, "schema": {"type": "string"}}
        )
    if operation.asked:
        content = {JSON_TYPE: _any_of(*operation.asked), **operation.also_asked}
        described["requestBody"] = {"required": True, "content": content}
    return described


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
            content[JSON_TYPE] = _any_of(ServerError)
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
