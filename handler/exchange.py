"""One HTTP request on its way through the service, and its response."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from henaw.handler.contract.dialects import Dialect
from henaw.handler.errors import OverloadedError, RequestError, locate_error
from henaw.handler.problems import CONTENT_TYPE as PROBLEM_TYPE
from henaw.handler.problems import describe_error, describe_internal_error
from henaw.handler.request.instances import Instances
from henaw.handler.throttle.throttle import Client


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One HTTP request.

    Attributes:
        body: as sent.
        headers: names in lower case.
        request_id: names the request in answers and logs.
        dialect: the format that the path expects.
        explain: whether the client asks for explanations instead of predictions.
        describe: whether the operator asks which model is served.
    """

    body: bytes
    headers: Mapping[str, str]
    request_id: str
    dialect: Dialect = Dialect.HENAW
    explain: bool = False
    describe: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """One HTTP response; ``headers`` include the content type."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(slots=True, kw_only=True)
class Exchange:
    """A request, what the service has found out about it, and its response.

    Attributes:
        request: as it came in.
        headers: of the response, whatever its status.
        client: who sent the request; set once it is identified.
        paid: tokens that the request has cost so far.
        instances: the people of the request, once they are validated.
        response: None until the request is answered or refused.
        error: where an internal error arose; such a request is answered with 500.
        throttled: why the request was refused for its rate or for overload.
        runtime: the one that evaluated the graph.
        biological_age: (n,) float32, years, of a request that a shadow answers too.
        validated_s: seconds from the start of the batch until the request was validated.
        inferred_s: seconds that the graph took.
    """

    request: Request
    headers: dict[str, str] = field(default_factory=dict)
    client: Client = field(init=False)
    paid: float = 0.0
    instances: Instances | None = None
    response: Response | None = None
    error: str | None = None
    throttled: str | None = None
    runtime: str | None = None
    biological_age: npt.NDArray[np.float32] | None = None
    validated_s: float = 0.0
    inferred_s: float = 0.0

    @property
    def is_open(self) -> bool:
        """Whether the request is neither answered nor failed."""
        return self.response is None and self.error is None

    def attempt(self, step: Callable[[Exchange], None]) -> None:
        """Run one step; an error ends this request and no other."""
        try:
            step(self)
        except RequestError as error:
            self._refuse(error)
        # A bug. The log gets its place without its message, which may have values.
        except Exception as error:
            self.error = locate_error(error)

    def respond(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        """Set the response, with the headers that every response to this request has."""
        self.response = Response(status=status, headers={**self.headers, **headers}, body=body)

    def _refuse(self, error: RequestError) -> None:
        if isinstance(error, OverloadedError):
            self.headers = {**self.headers, "Retry-After": "1"}
            self.throttled = "overloaded"
        is_inference = (
            self.request.dialect is Dialect.OPEN_INFERENCE or b'"inputs"' in self.request.body
        )
        status, body = describe_error(error, in_short=is_inference)
        self.respond(status, {"content-type": PROBLEM_TYPE}, body)


def fail(request_id: str, headers: Mapping[str, str]) -> Response:
    """Return the response to a request that failed for an internal error.

    Args:
        request_id: by which the client can ask about it.
        headers: sent besides the content type.
    """
    status, body = describe_internal_error(request_id)
    return Response(status=status, headers={**headers, "content-type": PROBLEM_TYPE}, body=body)
