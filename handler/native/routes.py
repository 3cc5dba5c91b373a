"""Every path of the server: what it asks the service, or the page that it answers by itself.

Knows no framework: an engine reads a request off the wire, asks here what it is, and puts the
service's requests into batches. :meth:`Routes.answer` does all of it for one request.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from henaw.handler.contract.dialects import JSON_TYPE, Dialect
from henaw.handler.contract.types import DATATYPES, SERVED_NAME
from henaw.handler.errors import MethodNotAllowedError, NotFoundError, RequestError
from henaw.handler.problems import CONTENT_TYPE as PROBLEM_TYPE
from henaw.handler.problems import describe_error
from henaw.handler.response.cards import describe_services
from henaw.handler.service import Request, Response, Service
from henaw.model.biomarkers import NAMES
from henaw.model.runtime import INPUT_NAMES, OUTPUT_NAMES

_encode = msgspec.json.Encoder().encode
_READ: Final = ("GET", "HEAD")
_VERSION: Final = "(?:/versions/(?P<version>[^/]+))?"
_OWN_VERSION: Final = "(?:/(?P<version>[^/]+))?"
_MODEL_V2: Final = f"/v2/models/{SERVED_NAME}{_VERSION}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What a path asks the service.

    Attributes:
        method: the one that asks it.
        version: of the model; None is the default one.
        dialect: what its body is written in, unless that says otherwise.
        explain: whether explanations are asked for.
        describe: whether the description is asked for.
    """

    method: str = "POST"
    version: str | None = None
    dialect: Dialect = Dialect.HENAW
    explain: bool = False
    describe: bool = False

    @property
    def methods(self) -> tuple[str, ...]:
        """Methods that ask it."""
        return _READ if self.method in _READ else (self.method,)

    def ask(self, body: bytes, headers: Mapping[str, str], request_id: str) -> Request:
        """Return the service's request."""
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
    """Return what a path asks the service; None where it asks nothing of it.

    Example:
        >>> find_question("/v2/models/henaw/versions/1.2.0/infer").version
        '1.2.0'
        >>> find_question("/v2/health/live") is None
        True
    """
    # What most ask for, in the words that most use.
    if path == f"/predictions/{SERVED_NAME}":
        return _PREDICTION
    for pattern, options in _COMPILED:
        match = pattern.fullmatch(path)
        if match is not None:
            return Question(version=match.groupdict().get("version"), **options)
    return None


_PREDICTION: Final = Question()


class Routes:
    """Answers requests by one service.

    Args:
        service: answers questions.
        is_ready: whether the server is ready for them.
    """

    def __init__(self, service: Service, is_ready: Callable[[], bool] = lambda: True) -> None:
        self._service = service
        self._is_ready = is_ready
        self._version = service.metadata.version
        model = _encode(_describe_model(service.metadata.name, self._version))
        # Made once: anybody may ask for them.
        self._pages: tuple[tuple[re.Pattern[str], Callable[[], Response]], ...] = tuple(
            (re.compile(path), make)
            for path, make in (
                ("/", lambda: _write({"status": "alive"})),
                ("/v2", lambda: _write(_describe_server())),
                ("/v2/health/live", lambda: _write({"live": True})),
                ("/v2/health/ready", lambda: self._tell_ready({})),
                (_MODEL_V2, lambda: _respond(200, model)),
                (f"{_MODEL_V2}/ready", lambda: self._tell_ready({"name": SERVED_NAME})),
                ("/v1/models", lambda: _write({"models": [SERVED_NAME]})),
                (
                    f"/v1/models/{SERVED_NAME}",
                    lambda: self._tell_ready({"name": SERVED_NAME}),
                ),
                ("/cds-services", lambda: _write(describe_services())),
            )
        )

    def find(self, method: str, path: str) -> Question | Response:
        """Return what a request asks the service, or the answer of whatever asks nothing of it.

        Args:
            method: of the request.
            path: without a query.
        """
        question = find_question(path)
        if question is not None:
            if method not in question.methods:
                return _refuse_method(path, question.methods)
            if question.version not in (None, self._version):
                return self._refuse_version(path, str(question.version))
            return question
        for pattern, make in self._pages:
            match = pattern.fullmatch(path)
            if match is None:
                continue
            if method not in _READ:
                return _refuse_method(path, _READ)
            version = match.groupdict().get("version")
            if version not in (None, self._version):
                return self._refuse_version(path, str(version))
            return make()
        return _refuse(
            path,
            NotFoundError(
                f"There is nothing at this path. Predictions are at /predictions/{SERVED_NAME}, "
                f"the Open Inference Protocol at /v2/models/{SERVED_NAME}."
            ),
        )

    def answer(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Response:
        """Answer one request; never raises.

        Args:
            method: of the request.
            path: without a query.
            headers: names in lower case.
            body: as sent.
        """
        found = self.find(method, path)
        if isinstance(found, Response):
            return found
        (response,) = self._service.answer([found.ask(body, headers, uuid.uuid4().hex)])
        return response

    def _tell_ready(self, document: dict[str, Any]) -> Response:
        is_ready = self._is_ready()
        return _respond(200 if is_ready else 503, _encode({**document, "ready": is_ready}))

    def _refuse_version(self, path: str, version: str) -> Response:
        return _refuse(
            path, NotFoundError(f"The version must be {self._version}; got {version[:40]}")
        )


def _describe_server() -> dict[str, Any]:
    return {
        "name": SERVED_NAME,
        "version": "2",
        "extensions": ["binary_tensor_data"],
    }


def _describe_model(name: str, version: str) -> dict[str, Any]:
    """Return the metadata of the Open Inference Protocol."""
    shapes = {"biomarkers": [-1, len(NAMES)]}
    return {
        "name": SERVED_NAME,
        "versions": [version],
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
        "parameters": {"model": name},
    }


_FLAGS: Final = ("imputed", "out_of_range", "age_out_of_range", "critical", "reliable")
_WIDTHS: Final = {
    "interval": [2],
    "imputed": [len(NAMES)],
    "out_of_range": [len(NAMES)],
    "critical": [len(NAMES)],
    # As wide as the model has them.
    "cause_risk_10y": [-1],
    "contributions": [-1],
    "system_contributions": [-1],
}


def _refuse_method(path: str, allowed: tuple[str, ...]) -> Response:
    listed = ", ".join(allowed)
    error = MethodNotAllowedError(f"This path answers {listed}.")
    return _refuse(path, error, {"Allow": listed})


def _refuse(path: str, error: RequestError, headers: Mapping[str, str] | None = None) -> Response:
    status, body = describe_error(error, in_short=path.startswith("/v2"))
    return Response(
        status=status, headers={**(headers or {}), "content-type": PROBLEM_TYPE}, body=body
    )


def _write(document: object) -> Response:
    return _respond(200, _encode(document))


def _respond(status: int, body: bytes) -> Response:
    return Response(status=status, headers={"content-type": JSON_TYPE}, body=body)
