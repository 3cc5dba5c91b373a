"""Headers and bytes in, a status, headers and bytes out, for a batch of requests.

Knows nothing of the server around it. Requests of one batch share one evaluation of the
graph and nothing else: each is decoded, throttled, validated and answered on its own.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
from henaw.handler.configuration import HandlerConfiguration
from henaw.handler.contract.dialects import JSON_TYPE, Dialect, find_dialect
from henaw.handler.errors import (
    OverloadedError,
    RequestError,
    ThrottledError,
    TooLargeError,
    locate_error,
)
from henaw.handler.inference.failover import Engine
from henaw.handler.inference.gpu import Gpu
from henaw.handler.metadata import Metadata
from henaw.handler.observe.metrics import Batch, Evaluation, Metrics
from henaw.handler.observe.shadow import PAIR_HEADER, Pairing
from henaw.handler.problems import CONTENT_TYPE as PROBLEM_TYPE
from henaw.handler.problems import describe_error, describe_internal_error
from henaw.handler.request.instances import People
from henaw.handler.request.reading import open_request
from henaw.handler.response.answer_size import Room, bound_size
from henaw.handler.response.answers import AnswerForm, Answers
from henaw.handler.response.writing import Writer
from henaw.handler.throttle.overload import WorkBound
from henaw.handler.throttle.throttle import Admission, Client, Throttle
from henaw.model.biomarkers import PANEL
from henaw.model.profile import LabProfile
from henaw.model.reliability import find_codes
from henaw.model.runtime import INPUT_NAMES, Outputs

_MODEL_FILE = "henaw.onnx"
_PEOPLE_AT_ONCE = 20_000
"""Bounds the memory of one evaluation: a batch may hold many bulk requests."""

_ADMITTED_AT_ONCE = 32
_BYTES_AT_ONCE = 16_384
"""Bound what is taken on between two looks at how long it took so far."""
_WAITING_WEIGHT = 0.25

_BYTES_PER_PERSON = 1024
"""A body costs its client what as many people would who had so many bytes each."""

_EXPLANATION_WEIGHT = 3
_WEIGHTS = {Dialect.FHIR: 24, Dialect.CDS_HOOKS: 24}
"""People whose predictions cost as much as one explanation, or one Patient (measured)."""

_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One HTTP request.

    Attributes:
        body: as sent.
        headers: names in lower case.
        request_id: names the request in answers and logs.
        dialect: the one of the path that the request came to.
        explain: whether explanations are asked for instead of predictions.
        describe: whether the operator asks what is served.
    """

    body: bytes
    headers: Mapping[str, str]
    request_id: str
    dialect: Dialect = Dialect.HENAW
    explain: bool = False
    describe: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """One HTTP response; ``headers`` hold the content type."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(slots=True, kw_only=True)
class _Exchange:
    """One request on its way through the service."""

    request: Request
    headers: dict[str, str] = field(default_factory=dict)
    client: Client | None = None
    people: People | None = None
    response: Response | None = None
    error: str | None = None
    runtime: str | None = None
    throttled: str | None = None
    biological_age: npt.NDArray[np.float32] | None = None
    validated_s: float = 0.0
    inferred_s: float = 0.0


class Service:
    """Answers batches of requests.

    Args:
        engine: evaluates the graph.
        metadata: names of what its outputs hold.
        throttle: decides who may ask.
        configuration: limits.
        log: takes one record a request, which never holds what a client sent.
        metrics: counts what is answered.
        pairing: takes answers to requests that another version is asked too; None takes none.
        digests: of the files in use, for the description.
        lab: the profile of the laboratory that is set; None where none is.
        gpu: the worker's, for the description; None where there is none.

    Attributes:
        metadata: of the model that answers.
    """

    def __init__(
        self,
        *,
        engine: Engine,
        metadata: Metadata,
        throttle: Throttle,
        configuration: HandlerConfiguration,
        log: Callable[[Mapping[str, Any]], None],
        metrics: Metrics,
        pairing: Pairing | None = None,
        digests: Mapping[str, str] | None = None,
        lab: LabProfile | None = None,
        gpu: Gpu | None = None,
    ) -> None:
        self._engine = engine
        self.metadata = metadata
        self._form = AnswerForm(metadata, None if lab is None else lab.name)
        self._writer = Writer(
            metadata,
            sha256=(digests or {}).get(_MODEL_FILE, ""),
            lab=None if lab is None else lab.name,
        )
        self._throttle = throttle
        self._limits = configuration.limits
        self._log = log
        self._metrics = metrics
        self._pairing = pairing
        self._bound = WorkBound(configuration.limits.batch_s)
        # Made once: anybody may ask for it.
        self._description = self._describe(digests or {}, lab, gpu)

    def answer(self, requests: Sequence[Request], *, is_ending: bool = False) -> list[Response]:
        """Answer every request of a batch; never raises.

        Args:
            requests: from any number of clients.
            is_ending: whether the server is about to end, and sends all of them away.

        Returns:
            One response a request, in order.
        """
        self._metrics.begin()
        try:
            return self._answer(requests, is_ending=is_ending)
        finally:
            self._metrics.end()

    def _answer(self, requests: Sequence[Request], *, is_ending: bool) -> list[Response]:
        started_s = time.perf_counter()
        size = sum(len(request.body) for request in requests)
        # Reading the clock of the CPU takes as long as a third of a lone request.
        is_small = self._bound.is_never_too_much(len(requests), size)
        find_work_s = _count_no_work if is_small else _start_work_clock()
        exchanges = [_Exchange(request=request) for request in requests]
        for exchange in exchanges if is_ending else ():
            self._attempt(exchange, _send_away)
        position = size = 0
        validating: list[tuple[float, int]] = []
        validated_s = 0.0
        for some in _split([] if is_ending else exchanges):
            is_refused = self._bound.refuses(position, size, find_work_s())
            self._receive(some, is_refused=is_refused)
            position += len(some)
            size += sum(len(exchange.request.body) for exchange in some)
            before_s, validated_s = validated_s, time.perf_counter() - started_s
            validating.append(((validated_s - before_s) / len(some), len(some)))
            for exchange in some:
                exchange.validated_s = validated_s
        reading_s = find_work_s()
        room = Room(each=self._limits.answer_bytes, together=self._limits.answers_bytes)
        for group in _group(exchanges):
            self._evaluate(group, room)
        self._bound.learn(reading_s, find_work_s())
        responses = []
        for exchange in exchanges:
            response = exchange.response or refuse_internally(
                exchange.request.request_id, exchange.headers
            )
            self._log_request(exchange, response, len(requests), time.perf_counter() - started_s)
            responses.append(response)
        if self._pairing is not None:
            _pair(self._pairing, exchanges, responses)
        self._metrics.count(
            Batch(
                statuses=[response.status for response in responses],
                validating=validating,
                total_s=time.perf_counter() - started_s,
                throttled=[exchange.throttled for exchange in exchanges if exchange.throttled],
            )
        )
        return responses

    def _describe(
        self, digests: Mapping[str, str], lab: LabProfile | None, gpu: Gpu | None
    ) -> bytes:
        return _encode(
            {
                "name": self.metadata.name,
                "version": self.metadata.version,
                "runtime": self._engine.runtime_name,
                "panel": [
                    {
                        "name": b.name,
                        "label": b.label,
                        "unit": b.unit,
                        "units": b.units,
                        "minimum": b.minimum,
                        "maximum": b.maximum,
                    }
                    for b in PANEL
                ],
                "sha256": digests,
                "lab": None if lab is None else lab.describe(),
                "gpu": None if gpu is None else gpu.describe(),
            }
        )

    def _receive(self, exchanges: Sequence[_Exchange], *, is_refused: bool) -> None:
        """Throttle, decode and validate requests, in the order of what each costs."""
        for exchange in exchanges:
            self._attempt(exchange, partial(self._identify, is_refused))
        asking = [(e, e.client) for e in exchanges if e.client is not None]
        try:
            admissions = self._throttle.admit_all([client for _, client in asking])
        except Exception as error:
            for exchange, _ in asking:
                exchange.error = locate_error(error)
            return
        for (exchange, client), admission in zip(asking, admissions, strict=True):
            self._attempt(exchange, partial(self._validate, client, admission))

    def _identify(self, is_refused: bool, exchange: _Exchange) -> None:
        if is_refused:
            raise OverloadedError("The server is overloaded. Retry after 1 s.")
        exchange.client = self._throttle.identify(exchange.request.headers)

    def _validate(self, client: Client, admission: Admission, exchange: _Exchange) -> None:
        request = exchange.request
        self._admit(exchange, client, admission)
        if request.describe:
            exchange.response = Response(
                status=200,
                headers={**exchange.headers, "content-type": JSON_TYPE},
                body=self._description,
            )
            return
        dialect = find_dialect(request.headers, request.dialect)
        paid = self._pay(exchange, client, len(request.body) / _BYTES_PER_PERSON, 1.0)
        draft = open_request(
            request.body,
            request.headers,
            dialect,
            self._limits,
            self.metadata,
            explain=request.explain,
        )
        # More are refused in any case.
        if draft.people <= self._limits.instances:
            weight = _EXPLANATION_WEIGHT if request.explain else _WEIGHTS.get(dialect, 1)
            self._pay(exchange, client, draft.people * weight, paid)
        exchange.people = draft.read()

    def _pay(self, exchange: _Exchange, client: Client, people: float, paid: float) -> float:
        """Have the client pay what that many people cost, and return all that it has paid."""
        most = self._throttle.find_most_people(client)
        if people > most:
            raise TooLargeError(
                f"At this client's rate one request may cost what {most:.0f} people cost; this one "
                f"costs what {people:.0f} do. One explained counts as {_EXPLANATION_WEIGHT}, a "
                f"Patient of FHIR as {_WEIGHTS[Dialect.FHIR]}, and each {_BYTES_PER_PERSON} bytes "
                "of the body as one."
            )
        cost = self._throttle.find_cost(people)
        if cost <= paid:
            return paid
        self._admit(exchange, client, self._throttle.admit(client, cost - paid, spent=paid))
        return cost

    def _admit(self, exchange: _Exchange, client: Client, admission: Admission) -> None:
        exchange.headers = admission.write_headers()
        if not admission.allowed:
            exchange.throttled = client.kind
            raise ThrottledError(
                f"expected at most {admission.bucket.rate} requests each "
                f"{admission.bucket.period_s:g} s: try again in {admission.retry_after_s} s"
            )

    def _evaluate(self, group: list[_Exchange], room: Room) -> None:
        """Evaluate the graph once for all, or, if that fails, once for each."""
        try:
            self._evaluate_together(group, room)
        except Exception as error:
            if len(group) == 1:
                group[0].error = locate_error(error)
                return
            for exchange in group:
                self._evaluate([exchange], room)

    def _evaluate_together(self, group: list[_Exchange], room: Room) -> None:
        started_s = time.perf_counter()
        parts = [exchange.people for exchange in group if exchange.people is not None]
        biomarkers, age, sex = (
            getattr(parts[0], name)
            if len(parts) == 1
            else np.concatenate([getattr(people, name) for people in parts])
            for name in INPUT_NAMES
        )
        outputs, runtime = self._engine.predict(biomarkers, age, sex)
        inferred_s = time.perf_counter() - started_s
        answers = Answers(outputs, biomarkers, age, self._form, runtime=runtime)
        unusable = answers.find_unusable_rows()
        self._metrics.count(
            Evaluation(
                runtime=runtime,
                seconds=inferred_s,
                biomarkers=biomarkers,
                age=age,
                sex=sex,
                biological_age=outputs["biological_age"],
                imputed=outputs["imputed"],
                out_of_range=outputs["out_of_range"],
                withheld=find_codes(outputs) * answers.find_withheld_rows(parts),
            )
        )
        begin = 0
        for exchange, people in zip(group, parts, strict=True):
            end = begin + len(people)
            exchange.runtime, exchange.inferred_s = runtime, inferred_s
            if self._pairing is not None and PAIR_HEADER in exchange.request.headers:
                exchange.biological_age = outputs["biological_age"][begin:end]
            if unusable is not None and unusable[begin:end].any():
                exchange.error = "the graph answered a number that is not finite"
            else:
                write = partial(
                    self._write,
                    people,
                    slice(begin, end),
                    outputs=outputs,
                    answers=answers,
                    room=room,
                )
                self._attempt(exchange, write)
            begin = end

    def _write(
        self,
        people: People,
        rows: slice,
        exchange: _Exchange,
        *,
        outputs: Outputs,
        answers: Answers,
        room: Room,
    ) -> None:
        explain = exchange.request.explain
        own = {name: values[rows] for name, values in outputs.items()}
        room.take(bound_size(people, own, explain=explain), len(people))
        headers, body = self._writer.write(people, rows, own, answers, explain=explain)
        exchange.response = Response(status=200, headers={**exchange.headers, **headers}, body=body)

    def _attempt(self, exchange: _Exchange, step: Callable[[_Exchange], None]) -> None:
        """Run one step for one request, so that what goes wrong stays with it."""
        try:
            step(exchange)
        except RequestError as error:
            if isinstance(error, OverloadedError):
                exchange.headers = {**exchange.headers, "Retry-After": "1"}
                exchange.throttled = "overloaded"
            request = exchange.request
            is_inference = request.dialect is Dialect.OPEN_INFERENCE or b'"inputs"' in request.body
            status, body = describe_error(error, in_short=is_inference)
            exchange.response = Response(
                status=status,
                headers={**exchange.headers, "content-type": PROBLEM_TYPE},
                body=body,
            )
        except Exception as error:
            exchange.error = locate_error(error)

    def _log_request(
        self, exchange: _Exchange, response: Response, batch: int, total_s: float
    ) -> None:
        record: dict[str, Any] = {
            "event": "request",
            "id": exchange.request.request_id,
            "status": response.status,
            "people": 0 if exchange.people is None else len(exchange.people),
            "batch": batch,
            "validated_ms": round(exchange.validated_s * 1e3, 3),
            "inferred_ms": round(exchange.inferred_s * 1e3, 3),
            "total_ms": round(total_s * 1e3, 3),
        }
        if exchange.runtime is not None:
            record["runtime"] = exchange.runtime
        if exchange.error is not None:
            record["error"] = exchange.error
        self._log(record)


def _pair(pairing: Pairing, exchanges: Sequence[_Exchange], responses: Sequence[Response]) -> None:
    for exchange, response in zip(exchanges, responses, strict=True):
        pair = exchange.request.headers.get(PAIR_HEADER)
        if pair is not None:
            ages = exchange.biological_age if response.status == 200 else None
            pairing.take(pair, response.status, ages)


def _start_work_clock() -> Callable[[], float]:
    """Seconds of this thread's work from now on, as :class:`WorkBound` takes them.

    CPU time: where others held the processor, a batch was no larger for it. Waiting for a
    slow Redis counts too, but less, as it cannot be told from that.
    """
    started_s, cpu_s = time.perf_counter(), time.thread_time()
    return lambda: max(
        time.thread_time() - cpu_s, (time.perf_counter() - started_s) * _WAITING_WEIGHT
    )


def _count_no_work() -> float:
    return 0.0


def _split(exchanges: Sequence[_Exchange]) -> Iterator[list[_Exchange]]:
    """A few at a time, small ones first: what is cheap is not refused for what is dear."""
    some: list[_Exchange] = []
    size = 0
    for exchange in sorted(exchanges, key=lambda exchange: len(exchange.request.body)):
        size += len(exchange.request.body)
        if some and (len(some) == _ADMITTED_AT_ONCE or size > _BYTES_AT_ONCE):
            yield some
            some, size = [], len(exchange.request.body)
        some.append(exchange)
    if some:
        yield some


def _group(exchanges: Sequence[_Exchange]) -> Iterator[list[_Exchange]]:
    """Few people first: what is cheap is not refused for what is dear."""
    group: list[_Exchange] = []
    people = 0
    some = [exchange for exchange in exchanges if exchange.people is not None]
    for exchange in sorted(some, key=lambda exchange: len(exchange.people or ())):
        count = len(exchange.people or ())
        if group and people + count > _PEOPLE_AT_ONCE:
            yield group
            group, people = [], 0
        group.append(exchange)
        people += count
    if group:
        yield group


def _send_away(_: _Exchange) -> None:
    raise OverloadedError("The server is about to end. Retry after 1 s.")


def refuse_internally(request_id: str, headers: Mapping[str, str]) -> Response:
    """Answer for whatever is not the client's doing.

    Args:
        request_id: by which the client can ask about it.
        headers: sent besides the content type.
    """
    status, body = describe_internal_error(request_id)
    return Response(status=status, headers={**headers, "content-type": PROBLEM_TYPE}, body=body)
