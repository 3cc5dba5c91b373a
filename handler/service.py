"""Headers and bytes in; a status, headers and bytes out; for a batch of requests.

It knows nothing of the server around it. The requests of a batch share one evaluation of the graph
and nothing else. Each one goes through these steps:

1. :class:`~henaw.handler.throttle.overload.WorkBound` refuses it if the batch has too much work;
2. :class:`~henaw.handler.admission.Cashier` identifies the client and takes a token;
3. :func:`~henaw.handler.request.reading.open_request` decodes the body and counts the people;
4. the cashier charges for them;
5. :func:`~henaw.handler.request.instances.read_instances` validates them;
6. a :class:`~henaw.handler.inference.graph_call.GraphCall` evaluates the graph, once a batch;
7. the cashier charges for an answer that is larger than usual;
8. :class:`~henaw.handler.response.writing.ResponseWriter` writes it.

A step that fails ends its request alone: :meth:`Exchange.attempt` turns the error into a response.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from henaw.handler.admission import Cashier
from henaw.handler.configuration import HandlerConfiguration
from henaw.handler.contract.dialects import JSON_TYPE, find_dialect
from henaw.handler.errors import OverloadedError, locate_error
from henaw.handler.exchange import Exchange, Request, Response, fail
from henaw.handler.inference.failover import FailoverRuntime
from henaw.handler.inference.gpu import Gpu
from henaw.handler.inference.graph_call import GraphCall
from henaw.handler.metadata import Metadata
from henaw.handler.observe.metrics import Batch, Evaluation, Metrics
from henaw.handler.observe.shadow import SHADOW_HEADER, ShadowComparison
from henaw.handler.request.instances import Instances
from henaw.handler.request.reading import open_request
from henaw.handler.response.answer_size import Room, bound_size
from henaw.handler.response.answers import AnswerTemplates, AnswerWriter
from henaw.handler.response.description import write_description
from henaw.handler.response.writing import ResponseWriter
from henaw.handler.throttle.overload import WorkBound, start_no_clock, start_work_clock
from henaw.handler.throttle.throttle import Throttle
from henaw.model.biomarkers import NAMES
from henaw.model.profile import LabProfile
from henaw.model.reliability import find_codes
from henaw.model.runtime import Outputs

_MODEL_FILE = "henaw.onnx"
_MOST_PEOPLE_TOGETHER = 20_000
"""People in one evaluation of the graph: it bounds the memory for a batch of bulk requests."""

_MOST_REQUESTS_BETWEEN = 32
_MOST_BYTES_BETWEEN = 16_384
"""Work between two looks at the time that the batch has taken so far."""


class Service:
    """Answers batches of requests.

    Args:
        runtime: evaluates the graph.
        metadata: names of the graph's outputs.
        throttle: decides which clients may ask.
        configuration: limits.
        log: takes one record a request, without anything that the client sent.
        metrics: counts requests and answers.
        shadow: takes answers to requests that a shadow answers too; None compares nothing.
        digests: SHA-256 of the files in use, for the description.
        lab: the profile of the laboratory that is set; None without one.
        gpu: the worker's, for the description; None without one.

    Attributes:
        metadata: of the model that answers.
    """

    def __init__(
        self,
        *,
        runtime: FailoverRuntime,
        metadata: Metadata,
        throttle: Throttle,
        configuration: HandlerConfiguration,
        log: Callable[[Mapping[str, Any]], None],
        metrics: Metrics,
        shadow: ShadowComparison | None = None,
        digests: Mapping[str, str] | None = None,
        lab: LabProfile | None = None,
        gpu: Gpu | None = None,
    ) -> None:
        digests = digests or {}
        lab_name = None if lab is None else lab.name
        self.metadata = metadata
        self._runtime = runtime
        self._templates = AnswerTemplates(metadata, lab_name)
        self._writer = ResponseWriter(metadata, sha256=digests.get(_MODEL_FILE, ""), lab=lab_name)
        self._cashier = Cashier(throttle)
        self._limits = configuration.limits
        self._log = log
        self._metrics = metrics
        self._shadow = shadow
        self._bound = WorkBound(configuration.limits.batch_s)
        # Written once, because any client may ask for it.
        self._description = write_description(
            metadata,
            runtime=runtime.runtime_name,
            digests=digests,
            lab=None if lab is None else lab.describe(),
            gpu=None if gpu is None else gpu.describe(),
        )

    @property
    def is_busy(self) -> bool:
        """Whether a batch is in progress."""
        return self._metrics.in_progress > 0

    def warm_up(self, people: int) -> None:
        """Evaluate the graph for this many people without any known value; drop the answers."""
        nothing = np.full((people, len(NAMES)), np.nan, np.float32)
        self._runtime.predict(nothing, np.full(people, 50, np.float32), np.zeros(people, np.int64))

    def answer(self, requests: Sequence[Request], *, is_ending: bool = False) -> list[Response]:
        """Answer every request of a batch; never raises.

        Args:
            requests: from any number of clients.
            is_ending: whether the server is shutting down and refuses all of them.

        Returns:
            One response for each request, in order.
        """
        steps = self.answer_in_steps(requests, is_ending=is_ending)
        while True:
            try:
                call = next(steps)
            except StopIteration as end:
                responses: list[Response] = end.value
                return responses
            call.run()

    def answer_in_steps(
        self, requests: Sequence[Request], *, is_ending: bool = False
    ) -> Generator[GraphCall, None, list[Response]]:
        """Answer a batch, and leave each evaluation of the graph to the caller; never raises.

        Other batches may be answered between two steps.

        Args:
            requests: from any number of clients.
            is_ending: whether the server is shutting down and refuses all of them.

        Yields:
            Each call of the graph, to be run before the next step.

        Returns:
            One response for each request, in order.
        """
        begun_s = self._metrics.begin()
        try:
            return (yield from self._answer(requests, is_ending=is_ending))
        finally:
            self._metrics.end(begun_s)

    def _answer(
        self, requests: Sequence[Request], *, is_ending: bool
    ) -> Generator[GraphCall, None, list[Response]]:
        started_s = time.perf_counter()
        size = sum(len(request.body) for request in requests)
        # To read the CPU's clock takes a third of the time of a single request.
        is_small = self._bound.is_never_too_much(len(requests), size)
        start_clock = start_no_clock if is_small else start_work_clock
        find_work_s = start_clock()
        exchanges = [Exchange(request=request) for request in requests]
        validating: list[tuple[float, int]] = []
        if is_ending:
            for exchange in exchanges:
                exchange.attempt(_refuse_at_end)
        else:
            validating = self._receive_all(exchanges, find_work_s, started_s)
        work_s = reading_s = find_work_s()
        room = Room(each=self._limits.answer_bytes, together=self._limits.answers_bytes)
        for group in _group_by_people(exchanges):
            work_s += yield from self._evaluate(group, room, start_clock)
        # Small batches between the steps of a large one do not say that there is less work.
        if not is_small or self._metrics.in_progress == 1:
            self._bound.learn(reading_s, work_s)
        responses = []
        for exchange in exchanges:
            response = exchange.response or fail(exchange.request.request_id, exchange.headers)
            self._log_request(exchange, response, len(requests), time.perf_counter() - started_s)
            responses.append(response)
        self._compare_with_shadow(exchanges, responses)
        self._metrics.count(
            Batch(
                statuses=[response.status for response in responses],
                validating=validating,
                total_s=time.perf_counter() - started_s,
                throttled=[exchange.throttled for exchange in exchanges if exchange.throttled],
            )
        )
        return responses

    def _receive_all(
        self, exchanges: Sequence[Exchange], find_work_s: Callable[[], float], started_s: float
    ) -> list[tuple[float, int]]:
        """Read requests, a few at a time; refuse those for which there is no time left.

        Returns:
            The mean seconds that a request took, and the number of requests, of each few.
        """
        position = size = 0
        validating: list[tuple[float, int]] = []
        validated_s = 0.0
        for some in _split_by_size(exchanges):
            is_refused = self._bound.refuses(position, size, find_work_s())
            self._receive(some, is_refused=is_refused)
            position += len(some)
            size += sum(len(exchange.request.body) for exchange in some)
            before_s, validated_s = validated_s, time.perf_counter() - started_s
            validating.append(((validated_s - before_s) / len(some), len(some)))
            for exchange in some:
                exchange.validated_s = validated_s
        return validating

    def _receive(self, exchanges: Sequence[Exchange], *, is_refused: bool) -> None:
        """Identify, admit and read requests: the cheapest step first."""
        step = _refuse_overload if is_refused else self._cashier.identify
        for exchange in exchanges:
            exchange.attempt(step)
        for exchange in self._cashier.admit([e for e in exchanges if e.is_open]):
            exchange.attempt(self._read)

    def _read(self, exchange: Exchange) -> None:
        """Decode a request, charge its client, and validate it."""
        request = exchange.request
        if request.describe:
            exchange.respond(200, {"content-type": JSON_TYPE}, self._description)
            return
        dialect = find_dialect(request.headers, request.dialect)
        self._cashier.charge_bytes(exchange)
        draft = open_request(
            request.body,
            request.headers,
            dialect,
            self._limits,
            self.metadata,
            explain=request.explain,
        )
        # A request with more people is refused in any case.
        if draft.people <= self._limits.instances:
            self._cashier.charge_people(exchange, draft.people, dialect)
        exchange.instances = draft.read()

    def _evaluate(
        self, group: list[Exchange], room: Room, start_clock: Callable[[], Callable[[], float]]
    ) -> Generator[GraphCall, None, float]:
        """Evaluate the graph once for all requests, or, if that fails, once for each.

        Returns:
            Seconds of work.
        """
        parts = [exchange.instances for exchange in group if exchange.instances is not None]
        call = GraphCall(runtime=self._runtime, parts=parts, start_clock=start_clock)
        yield call
        find_work_s = start_clock()
        try:
            self._write_all(group, parts, call, room)
        # Whatever the graph or a writer raises must end one request, not the batch.
        except Exception as error:
            if len(group) > 1:
                work_s = call.work_s + find_work_s()
                for exchange in group:
                    work_s += yield from self._evaluate([exchange], room, start_clock)
                return work_s
            group[0].error = locate_error(error)
        return call.work_s + find_work_s()

    def _write_all(
        self, group: list[Exchange], parts: list[Instances], call: GraphCall, room: Room
    ) -> None:
        outputs, (biomarkers, age, sex) = call.result(), call.inputs
        answers = AnswerWriter(outputs, biomarkers, age, self._templates, runtime=call.ran_on)
        unusable = answers.find_unusable_rows()
        self._metrics.count(
            Evaluation(
                runtime=call.ran_on,
                seconds=call.seconds,
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
        for exchange, part in zip(group, parts, strict=True):
            rows = slice(begin, begin + len(part))
            begin = rows.stop
            exchange.runtime, exchange.inferred_s = call.ran_on, call.seconds
            if self._shadow is not None and SHADOW_HEADER in exchange.request.headers:
                exchange.biological_age = outputs["biological_age"][rows]
            if unusable is not None and unusable[rows].any():
                exchange.error = "the graph computed a number that is not finite"
            else:
                exchange.attempt(partial(self._write, rows, outputs, answers, room))

    def _write(
        self,
        rows: slice,
        outputs: Outputs,
        answers: AnswerWriter,
        room: Room,
        exchange: Exchange,
    ) -> None:
        instances, explain = exchange.instances, exchange.request.explain
        if instances is None:
            return
        own = {name: values[rows] for name, values in outputs.items()}
        size = bound_size(instances, own, explain=explain)
        self._cashier.charge_answer(exchange, size)
        room.take(size, len(instances))
        headers, body = self._writer.write(instances, rows, own, answers, explain=explain)
        exchange.respond(200, headers, body)

    def _log_request(
        self, exchange: Exchange, response: Response, batch: int, total_s: float
    ) -> None:
        record: dict[str, Any] = {
            "event": "request",
            "id": exchange.request.request_id,
            "status": response.status,
            "people": 0 if exchange.instances is None else len(exchange.instances),
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

    def _compare_with_shadow(
        self, exchanges: Sequence[Exchange], responses: Sequence[Response]
    ) -> None:
        if self._shadow is None:
            return
        for exchange, response in zip(exchanges, responses, strict=True):
            shared_id = exchange.request.headers.get(SHADOW_HEADER)
            if shared_id is not None:
                ages = exchange.biological_age if response.status == 200 else None
                self._shadow.take(shared_id, response.status, ages)


def _split_by_size(exchanges: Sequence[Exchange]) -> Iterator[list[Exchange]]:
    """Yield a few requests at a time, smallest first: small ones do not wait for large ones."""
    some: list[Exchange] = []
    size = 0
    for exchange in sorted(exchanges, key=lambda exchange: len(exchange.request.body)):
        size += len(exchange.request.body)
        if some and (len(some) == _MOST_REQUESTS_BETWEEN or size > _MOST_BYTES_BETWEEN):
            yield some
            some, size = [], len(exchange.request.body)
        some.append(exchange)
    if some:
        yield some


def _group_by_people(exchanges: Sequence[Exchange]) -> Iterator[list[Exchange]]:
    """Yield requests to evaluate together, those with the fewest people first."""
    group: list[Exchange] = []
    people = 0
    valid = [exchange for exchange in exchanges if exchange.instances is not None]
    for exchange in sorted(valid, key=lambda exchange: len(exchange.instances or ())):
        count = len(exchange.instances or ())
        if group and people + count > _MOST_PEOPLE_TOGETHER:
            yield group
            group, people = [], 0
        group.append(exchange)
        people += count
    if group:
        yield group


def _refuse_overload(_: Exchange) -> None:
    raise OverloadedError("The server is overloaded. Retry after 1 s.")


def _refuse_at_end(_: Exchange) -> None:
    raise OverloadedError("The server is shutting down. Retry after 1 s.")
