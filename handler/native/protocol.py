"""Uvicorn's HTTP/1.1 with further limits: headers, times, and connections."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from henaw.handler.configuration import NativeConfiguration
from henaw.handler.errors import RequestError
from henaw.handler.native import refusals
from henaw.handler.native.refusals import refuse
from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)

if TYPE_CHECKING:
    from uvicorn._types import ASGI3Application

_HEADER_BYTES = 32 * 1024
_HEADER_COUNT = 100
_URL_BYTES = 8 * 1024


class _RefusedError(Exception):
    """Ends the parser; the connection has the reason."""


class _JoinedTransport:
    """Sends the head of an answer together with its body.

    Sent separately they are two system calls, and two packets that wake the client twice.
    """

    __slots__ = ("_cycle", "_head", "_transport")

    def __init__(self, transport: asyncio.Transport, cycle: RequestResponseCycle) -> None:
        self._transport = transport
        self._cycle = cycle
        self._head: bytes | None = None

    def write(self, data: bytes) -> None:
        if self._head is None and self._cycle.response_started:
            self._head = data
        elif self._head:
            self._transport.writelines([self._head, data])
            self._head = b""
        else:
            self._transport.write(data)

    def flush(self) -> None:
        """Send a head without a body."""
        if self._head:
            self._transport.write(self._head)
            self._head = b""

    def close(self) -> None:
        self.flush()
        self._transport.close()

    def is_closing(self) -> bool:
        return self._transport.is_closing()


class Arrivals:
    """The number of requests that were read from their sockets, but not yet by the application."""

    __slots__ = ("count",)

    def __init__(self) -> None:
        self.count = 0


class BoundedProtocol(HttpToolsProtocol):
    """One connection.

    :meth:`check_time` is called about once a second, which costs a request nothing.

    Attributes:
        limits: set on a subclass, since uvicorn creates the connections.
        arrivals: set on it too; the application counts it down.
    """

    limits: NativeConfiguration
    arrivals: Arrivals

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.url = b""
        self._head_bytes = 0
        self._head_count = 0
        self._fed_bytes = 0
        self._in_head = True
        self._refusal: RequestError = refusals.MALFORMED
        self._deadline_s: float | None = None

    # uvicorn narrows the argument of asyncio's own method in the same way.
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._deadline_s = self.loop.time() + self.limits.header_s
        if len(self.connections) > self.limits.connections:
            self.refuse(refusals.FULL)

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        if self._deadline_s is None and (self.cycle is None or self.cycle.response_complete):
            self._deadline_s = self.loop.time() + self.limits.header_s
        # The parser buffers a header that does not end, and reports nothing.
        self._fed_bytes = self._fed_bytes + len(data) if self._in_head else 0
        super().data_received(data)
        if self._in_head and self._fed_bytes > _HEADER_BYTES + _URL_BYTES:
            self.refuse(refusals.LARGE_HEADERS)

    def on_message_begin(self) -> None:
        self._head_bytes = self._head_count = 0
        self._in_head = True
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        super().on_url(url)
        if len(self.url) > _URL_BYTES:
            self._refusal = refusals.LONG_PATH
            raise _RefusedError

    def on_header(self, name: bytes, value: bytes) -> None:
        self._head_bytes += len(name) + len(value)
        self._head_count += 1
        if self._head_bytes > _HEADER_BYTES or self._head_count > _HEADER_COUNT:
            self._refusal = refusals.LARGE_HEADERS
            raise _RefusedError
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._deadline_s = self.loop.time() + self.limits.body_s
        super().on_headers_complete()
        # The task that uses the transport runs later. It calls write, close and is_closing alone,
        # which is all that the joined transport has.
        joined = _JoinedTransport(self.transport, self.cycle)
        self.cycle.transport = joined  # type: ignore[assignment]
        self.cycle.on_response = lambda: self._complete(joined)

    def on_message_complete(self) -> None:
        is_answered = self.cycle is not None and self.cycle.response_complete
        # The rest of a refused request may come after its answer; then uvicorn has no timer.
        self._deadline_s = self.loop.time() + self.limits.idle_s if is_answered else None
        super().on_message_complete()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self.arrivals.count += 1
        super()._start_asgi_task(cycle, app)

    def _complete(self, joined: _JoinedTransport) -> None:
        joined.flush()
        self.on_response_complete()

    def pause_writing(self) -> None:
        # An answer that the client does not read stays in memory.
        self._deadline_s = self.loop.time() + self.limits.body_s
        super().pause_writing()

    def resume_writing(self) -> None:
        self._deadline_s = None
        super().resume_writing()

    def send_400_response(self, msg: str) -> None:
        self.refuse(self._refusal)

    def refuse(self, error: RequestError) -> None:
        """Answer a request that cannot be read any further, and close the connection."""
        response = refuse(error, self.url.decode("latin-1"))
        headers = {
            **response.headers,
            "content-length": str(len(response.body)),
            "connection": "close",
        }
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        self.transport.write(STATUS_LINE[response.status] + head.encode() + b"\r\n" + response.body)
        self.transport.close()

    def abort_if_idle(self) -> None:
        """Close a connection without a request that is being answered."""
        is_answered = self.cycle is None or self.cycle.response_complete
        if is_answered and not self.transport.get_write_buffer_size():
            self.transport.abort()

    def check_time(self, now_s: float) -> None:
        """Refuse or close a client that is slower than the limits."""
        if self._deadline_s is None or now_s < self._deadline_s or self.transport.is_closing():
            return
        if self.flow.write_paused or (self.cycle is not None and self.cycle.response_started):
            self.transport.abort()
        else:
            self.refuse(refusals.SLOW)
