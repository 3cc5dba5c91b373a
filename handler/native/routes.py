"""The paths of the server: questions to the service, and pages that need no service."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from henaw.handler.contract.dialects import JSON_TYPE, Dialect
from henaw.handler.contract.types import DATATYPES, SERVED_NAME
from henaw.handler.errors import NotFoundError
from henaw.handler.exchange import Request, Response
from henaw.handler.metadata import Metadata
from henaw.handler.native.refusals import NOT_FOUND, refuse, refuse_method
from henaw.handler.request.cds_hooks import describe_services
from henaw.model.biomarkers import NAMES
from henaw.model.runtime import INPUT_NAMES, OUTPUT_NAMES

_encode = msgspec.json.Encoder().encode
_READ: Final = ("GET", "HEAD")
_VERSION: Final = "(?:/versions/(?P<version>[^/]+))?"
_OWN_VERSION: Final = "(?:/(?P<version>[^/]+))?"
_MODEL_V2: Final = f"/v2/models/{SERVED_NAME}{_VERSION}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A question that a path asks the service.

    Attributes:
        method: the HTTP method that asks it.
        version: of the model; None is the default one.
        dialect: the format of the body, unless its headers declare another.
        explain: whether it asks for explanations.
        describe: whether it asks for the description of the model.
    """

    method: str = "POST"
    version: str | None = None
    dialect: Dialect = Dialect.HENAW
    explain: bool = False
    describe: bool = False

    @property
    def methods(self) -> tuple[str, ...]:
        """The methods that the path answers."""
        return _READ if self.method in _READ else (self.method,)

    def ask(self, body: bytes, headers: Mapping[str, str], request_id: str) -> Request:
        """Return the request to the service."""
        return Request(
            body=body,
            headers=headers,
            request_id=request_id,
            dialect=self.dialect,
            explain=self.explain,
            describe=self.describe,
        )


_QUESTIONS: Final[tuple[tuple[str, dict[str, Any]], ...]] = (
    (f"/predictions/{SERVED_NAME}{_OWN_VERSION}", {}),
    (f"/explanations/{SERVED_NAME}{_OWN_VERSION}", {"explain": True}),
    (f"/models/{SERVED_NAME}{_OWN_VERSION}", {"method": "GET", "describe": True}),
    (f"/v1/models/{SERVED_NAME}:predict", {}),
    (f"/v1/models/{SERVED_NAME}:explain", {"explain": True}),
    (f"{_MODEL_V2}/infer", {"dialect": Dialect.OPEN_INFERENCE}),
    (f"/cds-services/{SERVED_NAME}", {"dialect": Dialect.CDS_HOOKS}),
)
_COMPILED: Final = tuple((re.compile(path), options) for path, options in _QUESTIONS)


def find_question(path: str) -> Question | None:
    """Return the question that a path asks the service; None for any other path.

    Example:
        >>> find_question("/v2/models/henaw/versions/1.2.0/infer").version
        '1.2.0'
        >>> find_question("/v2/health/live") is None
        True
    """
    # The usual path, without a search.
    if path == f"/predictions/{SERVED_NAME}":
        return _PREDICTION
    for pattern, options in _COMPILED:
        match = pattern.fullmatch(path)
        if match is not None:
            return Question(version=match.groupdict().get("version"), **options)
    return None


_PREDICTION: Final = Question()


class Routes:
    """Finds what a path asks, of the service of one version.

    Args:
        metadata: of the model.
        is_ready: returns whether the server is ready.
    """

    def __init__(self, metadata: Metadata, is_ready: Callable[[], bool] = lambda: True) -> None:
        self.metadata = metadata
        self._is_ready = is_ready

    def find(self, method: str, path: str) -> Question | Response:
        """Return the question that a request asks the service, or the response to any other.

        Args:
            method: of the request.
            path: without a query.
        """
        question = find_question(path)
        if question is not None:
            if method not in question.methods:
                return refuse_method(question.methods, path)
            return self._refuse_version(path, question.version) or question
        for pattern, write in _PAGES:
            match = pattern.fullmatch(path)
            if match is None:
                continue
            if method not in _READ:
                return refuse_method(_READ, path)
            return self._refuse_version(path, match.groupdict().get("version")) or write(self)
        return refuse(NOT_FOUND, path)

    def write_readiness(self, **document: str) -> Response:
        """Return the response that says whether the server is ready."""
        is_ready = self._is_ready()
        return _respond({**document, "ready": is_ready}, status=200 if is_ready else 503)

    def _refuse_version(self, path: str, version: str | None) -> Response | None:
        served = self.metadata.version
        if version in (None, served):
            return None
        return refuse(NotFoundError(f"The version must be {served}; got {str(version)[:40]}"), path)


_SERVER: Final = {"name": SERVED_NAME, "version": "2", "extensions": ["binary_tensor_data"]}


def _describe_model(metadata: Metadata) -> dict[str, Any]:
    """Return the metadata of the Open Inference Protocol."""
    shapes = {"biomarkers": [-1, len(NAMES)]}
    return {
        "name": SERVED_NAME,
        "versions": [metadata.version],
        "platform": "onnx",
        "inputs": [
            {
                "name": input_name,
                "datatype": DATATYPES[input_name][0],
                "shape": shapes.get(input_name, [-1]),
            }
            for input_name in INPUT_NAMES
        ],
        "outputs": [
            {
                "name": output,
                "datatype": "BOOL" if output in _FLAGS else "FP32",
                "shape": [-1, *_WIDTHS.get(output, [])],
            }
            for output in OUTPUT_NAMES
        ],
        "parameters": {"model": metadata.name},
    }


_FLAGS: Final = ("imputed", "out_of_range", "age_out_of_range", "critical", "reliable")
_WIDTHS: Final = {
    "interval": [2],
    "imputed": [len(NAMES)],
    "out_of_range": [len(NAMES)],
    "critical": [len(NAMES)],
    # The model decides how many there are.
    "cause_risk_10y": [-1],
    "contributions": [-1],
    "system_contributions": [-1],
}


def _respond(document: object, *, status: int = 200) -> Response:
    return Response(status=status, headers={"content-type": JSON_TYPE}, body=_encode(document))


_PAGES: Final[tuple[tuple[re.Pattern[str], Callable[[Routes], Response]], ...]] = tuple(
    (re.compile(path), write)
    for path, write in (
        ("/", lambda _: _respond({"status": "alive"})),
        ("/v2", lambda _: _respond(_SERVER)),
        ("/v2/health/live", lambda _: _respond({"live": True})),
        ("/v2/health/ready", lambda routes: routes.write_readiness()),
        (_MODEL_V2, lambda routes: _respond(_describe_model(routes.metadata))),
        (f"{_MODEL_V2}/ready", lambda routes: routes.write_readiness(name=SERVED_NAME)),
        ("/v1/models", lambda _: _respond({"models": [SERVED_NAME]})),
        (f"/v1/models/{SERVED_NAME}", lambda routes: routes.write_readiness(name=SERVED_NAME)),
        ("/cds-services", lambda _: _respond(describe_services())),
    )
)
