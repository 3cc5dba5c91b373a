"""The application of the native engine while the graph is evaluated in its second thread."""

import asyncio
import io
import json
import threading
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import pytest
from henaw.handler.configuration import NativeConfiguration
from henaw.handler.native.app import ServiceApp
from henaw.handler.native.models import ModelVersion
from henaw.handler.native.protocol import Arrivals
from henaw.handler.native.versions import Versions
from henaw.handler.observe.readiness import Readiness
from henaw.handler.observe.request_log import RequestLog
from henaw.model.runtime import OnnxRuntime, Outputs

PERSON: dict[str, Any] = {"age": 54, "sex": "female", "biomarkers": {"crp": 1.2}}
MANY = {"instances": [PERSON] * 300, "outputs": ["biological_age"]}


class HeldRuntime:
    """The graph, which for many people waits until it may go on."""

    name = "onnxruntime-cpu"

    def __init__(self, onnx: OnnxRuntime) -> None:
        self.go_on = threading.Event()
        self.begun = 0
        self.fails = False
        self._onnx = onnx

    def predict(self, *inputs: Any) -> Outputs:
        if len(inputs[1]) > 1:
            self.begun += 1
            assert self.go_on.wait(timeout=30)
            if self.fails:
                raise RuntimeError("out of memory")
        return self._onnx.predict(*inputs)


class Held:
    """An application whose graph can be held up."""

    def __init__(self, onnx: OnnxRuntime, make_client: Callable[..., Any]) -> None:
        self.runtime = HeldRuntime(onnx)
        self.client = make_client(runtime=self.runtime)
        self.versions = Versions(lambda _model, _threads: self.client.service)
        self.versions.add(ModelVersion(version="1", folder="", source=""))
        self.versions.set_default("1")
        self.flushed = io.BytesIO()
        log = RequestLog(self.flushed)
        self.client.service._log = log.write
        self._arrivals = Arrivals()
        self._app = ServiceApp(
            self.versions,
            log=log,
            keys=None,
            limits=NativeConfiguration(),
            arrivals=self._arrivals,
            body_bytes=8_000_000,
            judge=self._judge,
        )

    def _judge(self) -> Readiness:
        raise OSError("too many open files")

    def ask_ready(self) -> "asyncio.Task[tuple[int, Any]]":
        """Ask for the readiness, which cannot be judged."""
        self._arrivals.count += 1
        return asyncio.get_running_loop().create_task(self._call(b"", "GET", "/ready"))

    def ask(self, body: dict[str, Any]) -> "asyncio.Task[tuple[int, Any]]":
        """Send a request; its task gives the status and the answer."""
        self._arrivals.count += 1
        return asyncio.get_running_loop().create_task(self._call(json.dumps(body).encode()))

    async def _call(
        self, body: bytes, method: str = "POST", path: str = "/predictions/henaw"
    ) -> tuple[int, Any]:
        sent: list[Any] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": body}

        async def send(message: Any) -> None:
            sent.append(message)

        headers = [(b"content-type", b"application/json")]
        scope = {
            "type": "http",
            "method": method,
            "path": path,
            "headers": headers,
        }
        await self._app(scope, receive, send)
        return sent[0]["status"], json.loads(sent[1]["body"])


@pytest.fixture
def held(onnx: OnnxRuntime, make_client: Callable[..., Any]) -> Held:
    return Held(onnx, make_client)


def within(seconds: float, work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(work, seconds))


async def wait_until(look: Callable[[], bool]) -> None:
    while not look():
        await asyncio.sleep(0.001)


async def let_it_read() -> None:
    """Let the application read what was sent: some turns of the loop."""
    for _ in range(5):
        await asyncio.sleep(0)


def check_ages(answers: Sequence[tuple[int, Any]], expected: float) -> None:
    for status, answer in answers:
        assert status == 200
        assert {one["biological_age"] for one in answer["predictions"]} == {expected}


def test_one_person_is_answered_while_the_graph_is_evaluated_for_many(held: Held) -> None:
    async def run() -> None:
        many = held.ask(MANY)
        await wait_until(lambda: held.runtime.begun == 1)
        busy_since = held.client.metrics.busy_since
        status, answer = await held.ask(PERSON)
        assert status == 200
        assert not many.done()
        # A worker whose graph hangs is found by this, whatever else it answers.
        assert held.client.metrics.busy_since == busy_since is not None
        held.runtime.go_on.set()
        check_ages([await many], answer["biological_age"])
        assert held.client.metrics.busy_since is None

    within(30, run())


def test_two_batches_wait_for_the_graph_and_the_rest_is_the_next_one(held: Held) -> None:
    async def run() -> None:
        asked = []
        for _ in range(5):
            asked.append(held.ask(MANY))
            await let_it_read()
        assert held.runtime.begun == 1
        held.runtime.go_on.set()
        answers = [await task for task in asked]
        check_ages(answers, answers[0][1]["predictions"][0]["biological_age"])
        assert held.runtime.begun == 3

    within(30, run())


def test_a_graph_that_fails_for_many_ends_their_request_alone(held: Held) -> None:
    async def run() -> None:
        held.runtime.fails = True
        many = held.ask(MANY)
        await wait_until(lambda: held.runtime.begun == 1)
        held.runtime.go_on.set()
        status, answer = await many
        assert (status, answer["title"]) == (500, "Internal error")
        assert "memory" not in json.dumps(answer)
        assert (await held.ask(PERSON))[0] == 200
        held.runtime.fails = False
        assert (await held.ask(MANY))[0] == 200

    within(30, run())


def test_the_log_is_flushed_after_a_batch_that_took_long(held: Held) -> None:
    async def run() -> None:
        many = held.ask(MANY)
        # Longer than the log waits.
        await asyncio.sleep(0.5)
        assert held.flushed.getvalue() == b""
        held.runtime.go_on.set()
        await many
        await wait_until(lambda: held.flushed.getvalue() != b"")

    within(30, run())


def test_a_version_is_removed_after_its_last_batch(held: Held) -> None:
    async def run() -> None:
        many = held.ask(MANY)
        await wait_until(lambda: held.runtime.begun == 1)
        removing = asyncio.create_task(asyncio.to_thread(held.versions.remove, "1"))
        await wait_until(lambda: not held.versions.has("1"))
        assert (await held.ask(PERSON))[0] == 404
        assert not removing.done()
        held.runtime.go_on.set()
        assert (await many)[0] == 200
        await removing

    within(30, run())


def test_answers_leave_before_the_next_batch_is_read(
    held: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run() -> None:
        first, second, third = [], [], []
        for asked in (first, second, third):
            asked.append(held.ask(MANY))
            await let_it_read()
        was_sent = []
        answer = held.client.service.answer_in_steps

        def note(requests: Any) -> Any:
            was_sent.append(first[0].done())
            return answer(requests)

        monkeypatch.setattr(held.client.service, "answer_in_steps", note)
        held.runtime.go_on.set()
        await third[0]
        assert was_sent == [True]

    within(30, run())


def test_an_error_outside_the_service_is_a_problem_too(held: Held) -> None:
    async def ask() -> None:
        status, answer = await held.ask_ready()
        assert (status, answer["status"]) == (500, 500)
        assert "too many open files" not in str(answer)

    within(10, ask())
    assert b"OSError" in held.flushed.getvalue()


def test_small_batches_beside_a_large_one_do_not_end_an_overload(held: Held) -> None:
    async def run() -> None:
        bound = held.client.service._bound
        for _ in range(3):
            bound.learn(reading_s=50.0, total_s=100.0)
        many = held.ask(MANY)
        await wait_until(lambda: held.runtime.begun == 1)
        for _ in range(20):
            await held.ask(PERSON)
        assert bound.refuses(position=10, size=50_000, reading_s=100.0)
        held.runtime.go_on.set()
        await many
        for _ in range(20):
            await held.ask(PERSON)
        assert not bound.refuses(position=10, size=50_000, reading_s=100.0)

    within(30, run())
