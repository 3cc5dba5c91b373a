"""The ASGI application: it collects requests into batches, and asks the service."""

from __future__ import annotations

import asyncio
import itertools
import re
import secrets
from collections.abc import Awaitable, Callable, Generator, Mapping, MutableMapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property, partial
from typing import Any, Final

import msgspec
from henaw.handler.configuration import NativeConfiguration
from henaw.handler.contract.dialects import Dialect
from henaw.handler.errors import RequestError, locate_error
from henaw.handler.exchange import Request, Response, fail
from henaw.handler.inference.graph_call import GraphCall
from henaw.handler.native import refusals
from henaw.handler.native.cors import Cors
from henaw.handler.native.protocol import Arrivals
from henaw.handler.native.refusals import find_size_error, refuse, refuse_method
from henaw.handler.native.routes import Routes, find_question
from henaw.handler.native.versions import Versions
from henaw.handler.observe.readiness import Readiness
from henaw.handler.observe.request_log import RequestLog
from henaw.handler.throttle.client_keys import ClientKeys

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
_Batch = list[tuple[Request, "asyncio.Future[Response]"]]

_JSON: Final = {"content-type": "application/json", "cache-control": "no-store"}
_SMALL_BYTES: Final = 64 * 1024
"""A body this small is read even when larger ones have filled the memory for bodies."""

_MANY_PEOPLE: Final = 256
"""Calls of the graph for so many people or more run in the second thread; they take at least
about a millisecond."""

_MOST_IN_THREAD: Final = 2
"""While so many batches are there, no other is read: one is evaluated, and one is the next."""

_WARM_UP_PEOPLE: Final = 2_000

_LOG_DELAY_S: Final = 0.25
_VERSION: Final = re.compile(r"/versions/([^/]+)")
_HEALTHY: Final = Response(
    status=200, headers=_JSON, body=msgspec.json.encode({"status": "Healthy"})
)


class ServiceApp:
    """Answers requests with the service of the version that they ask for.

    Everything runs in the thread of the event loop, except that the graph is evaluated for many
    people in a second one, which does not need the interpreter meanwhile: the loop then reads the
    next batch, and writes the last one. For few people, to change the thread would take longer
    than the graph. Requests that arrive while the loop is busy wait in the sockets, and are the
    next batch.

    Args:
        versions: the models.
        log: flushed a moment after the answers are sent.
        keys: of clients; a request without one is refused. None requires no key.
        limits: of bodies.
        arrivals: requests in the same turn of the loop.
        body_bytes: the largest body.
        judge: returns whether the server is ready.

    Attributes:
        is_ending: whether each connection is closed after its next answer.
    """

    def __init__(
        self,
        versions: Versions,
        *,
        log: RequestLog,
        keys: ClientKeys | None,
        limits: NativeConfiguration,
        arrivals: Arrivals,
        body_bytes: int,
        judge: Callable[[], Readiness],
    ) -> None:
        self.is_ending = False
        self._versions = versions
        self._log = log
        self._keys = keys
        self._limits = limits
        self._arrivals = arrivals
        self._body_bytes = body_bytes
        self._judge = judge
        self._cors = Cors(limits.cors)
        self._held_bytes = 0
        # One random part for the process, and a number for each request.
        self._ids = map((secrets.token_hex(8) + "{:016x}").format, itertools.count())
        self._waiting: list[tuple[str | None, Request, asyncio.Future[Response]]] = []
        self._is_flushing = False
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="henaw-graph")
        self._in_thread = 0

    def warm_up(self) -> None:
        """Start the second thread with a large call of the graph.

        So a lack of threads is found before the first request, and the memory of later calls is
        there already.
        """
        service = self._versions.find(None)
        if service is not None:
            self._thread.submit(service.warm_up, _WARM_UP_PEOPLE).result()

    @cached_property
    def _loop(self) -> asyncio.AbstractEventLoop:
        # Kept, because on Python 3.11 each question for it is a system call.
        return asyncio.get_running_loop()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, as ASGI 3 says."""
        if scope["type"] != "http":
            return
        self._arrivals.count -= 1
        # The parser leaves blanks at the end of a value, which are no part of it.
        headers = {n.decode("latin-1"): v.decode("latin-1").strip() for n, v in scope["headers"]}
        response = self._cors.answer_preflight(scope["method"], headers)
        if response is None:
            try:
                response = await self._answer(scope["method"], scope["path"], headers, receive)
            # The server would answer with plain text, and log what the client sent.
            except Exception as error:
                request_id = next(self._ids)
                self._log.report(f"request {request_id} failed: {locate_error(error)}")
                response = fail(request_id, {})
        sent = [
            *((n.lower().encode(), v.encode("latin-1")) for n, v in response.headers.items()),
            *self._cors.write_headers(headers),
            (b"content-length", b"%d" % len(response.body)),
        ]
        if self.is_ending:
            sent.append((b"connection", b"close"))
        await send({"type": "http.response.start", "status": response.status, "headers": sent})
        # uvicorn reads and drops what a refused client still sends.
        await send({"type": "http.response.body", "body": response.body})

    async def _answer(
        self, method: str, path: str, headers: dict[str, str], receive: Receive
    ) -> Response:
        question = find_question(path)
        if question is None or not self._versions.has(question.version):
            return self._answer_page(method, path)
        if method not in question.methods:
            return refuse_method(question.methods, path)
        key = _find_key(headers)
        if self._keys is not None and not self._keys.knows(key):
            return refuse(refusals.NO_KEY, path)
        body = await self._read(headers, receive)
        if isinstance(body, RequestError):
            return refuse(body, path)
        request = question.ask(body, headers, next(self._ids))
        answered: asyncio.Future[Response] = self._loop.create_future()
        self._waiting.append((question.version, request, answered))
        if not self._arrivals.count:
            # No other request comes in this turn of the loop.
            self._answer_waiting()
        elif len(self._waiting) == 1:
            # In the next turn, every request that this turn has read waits here too.
            self._loop.call_soon(self._answer_waiting)
        try:
            return await answered
        finally:
            self._held_bytes -= len(body)

    def _answer_page(self, method: str, path: str) -> Response:
        """Answer a request that needs no service: a probe, or a page of a protocol."""
        if path in ("/ping", "/live", "/ready"):
            return self._answer_probe(method, path)
        named = _VERSION.search(path)
        service = self._versions.find(named and named[1]) or self._versions.find(None)
        if service is None:
            return refuse(refusals.NOT_FOUND, path)
        found = Routes(service.metadata, self._is_ready).find(method, path)
        return found if isinstance(found, Response) else refuse(refusals.NOT_FOUND, path)

    def _is_ready(self) -> bool:
        return not self._judge().problems and not self.is_ending

    def _answer_probe(self, method: str, path: str) -> Response:
        if method not in ("GET", "HEAD"):
            return refuse_method(("GET", "HEAD"), path)
        if path != "/ready":
            return _HEALTHY
        readiness = self._judge()
        ending = ("the server is shutting down",) if self.is_ending else ()
        problems = (*readiness.problems, *ending)
        document = {"ready": not problems, "workers": readiness.workers, "problems": problems}
        return Response(
            status=503 if problems else 200, headers=_JSON, body=msgspec.json.encode(document)
        )

    async def _read(self, headers: Mapping[str, str], receive: Receive) -> bytes | RequestError:
        """Read a body; its bytes count as held until its request is answered."""
        declared = headers.get("content-length", "")
        if declared.isdecimal() and int(declared) > self._body_bytes:
            return find_size_error(self._body_bytes)
        message = await receive()
        body: bytes = message.get("body", b"")
        self._held_bytes += len(body)
        if not message.get("more_body"):
            return body
        chunks, size = [body], len(body)
        refusal: RequestError | None = None
        while message.get("more_body") and refusal is None:
            message = await receive()
            if message["type"] != "http.request":
                refusal = refusals.SLOW  # The client has gone and will not read this.
                break
            chunk = message.get("body", b"")
            chunks.append(chunk)
            size += len(chunk)
            self._held_bytes += len(chunk)
            if size > self._body_bytes:
                refusal = find_size_error(self._body_bytes)
            elif self._held_bytes > self._limits.body_memory and size > _SMALL_BYTES:
                refusal = refusals.FULL
        if refusal is None:
            return b"".join(chunks)
        self._held_bytes -= size
        return refusal

    def _answer_waiting(self) -> None:
        """Begin to answer all requests that wait, those of each version as one batch."""
        if self._in_thread >= _MOST_IN_THREAD:
            return
        waiting, self._waiting = self._waiting, []
        by_version: dict[str | None, _Batch] = {}
        for version, request, answered in waiting:
            by_version.setdefault(version, []).append((request, answered))
        for version, batch in by_version.items():
            service = self._versions.find(version)
            if service is None:
                # The version was removed after the request came in.
                self._send(batch, [refuse(refusals.NOT_FOUND, _find_prefix(r)) for r, _ in batch])
            else:
                self._advance(batch, service.answer_in_steps([request for request, _ in batch]))

    def _advance(self, batch: _Batch, steps: Generator[GraphCall, None, list[Response]]) -> None:
        """Answer a batch as far as this thread can."""
        try:
            while (call := next(steps)).people < _MANY_PEOPLE:
                call.run()
        except StopIteration as end:
            self._send(batch, end.value)
        # The service turns errors into responses itself; this is a bug in it.
        except Exception as error:
            self._log.report(f"a batch of {len(batch)} failed: {locate_error(error)}")
            self._send(batch, [fail(request.request_id, {}) for request, _ in batch])
        else:
            self._in_thread += 1
            running = self._loop.run_in_executor(self._thread, call.run)
            running.add_done_callback(partial(self._resume, batch, steps))

    def _resume(
        self,
        batch: _Batch,
        steps: Generator[GraphCall, None, list[Response]],
        _: asyncio.Future[None],
    ) -> None:
        self._in_thread -= 1
        self._advance(batch, steps)
        # Later, so that the answers leave before the next batch is read.
        self._loop.call_soon(self._answer_waiting)

    def _send(self, batch: _Batch, responses: Sequence[Response]) -> None:
        """Hand the responses of a batch to the connections that wait for them."""
        for (request, answered), response in zip(batch, responses, strict=True):
            if not answered.done():
                headers = {**response.headers, "x-request-id": request.request_id}
                answered.set_result(
                    Response(status=response.status, headers=headers, body=response.body)
                )
        if not self._is_flushing:
            self._is_flushing = True
            self._loop.call_later(_LOG_DELAY_S, self._flush)

    def _flush(self) -> None:
        self._is_flushing = False
        self._log.flush()


def _find_key(headers: dict[str, str]) -> str:
    """Return the client's key, from ``X-API-Key`` or ``Authorization: Bearer``."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        headers.setdefault("x-api-key", token.strip())
    return headers.get("x-api-key", "")


def _find_prefix(request: Request) -> str:
    return "/v2" if request.dialect is Dialect.OPEN_INFERENCE else ""
