"""Uvicorn's HTTP/1.1 with further limits: headers, times, and connections."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import httptools
from henaw.handler.configuration import NativeConfiguration
from henaw.handler.errors import RequestError
from henaw.handler.native import refusals
from henaw.handler.native.cors import Cors
from henaw.handler.native.refusals import refuse
from uvicorn.protocols.http.flow_control import FlowControl
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
_PART_BYTES = 4 * 1024
"""The parser gets so much at a time: it cannot be stopped within what it has been given."""

_LEAVE_S = 2.0
"""Seconds in which a client may close a connection that the server ends."""

_TLS_PART_BYTES = 64 * 1024
"""uvloop does not count what it has encrypted by one call, so an unread answer would be unseen."""


class _RefusedError(Exception):
    """Ends the parser; the connection has the reason."""


class _JoinedTransport:
    """Sends the head of an answer together with its body.

    Sent separately they are two system calls, and two packets that wake the client twice.
    """

    __slots__ = ("_cycle", "_head", "_protocol", "_transport")

    def __init__(self, protocol: BoundedProtocol) -> None:
        self._protocol = protocol
        self._transport = protocol.transport
        self._cycle = protocol.cycle
        self._head: bytes | None = None

    def write(self, data: bytes) -> None:
        # The client may have gone a moment before the application hears of it.
        if self.is_closing():
            return
        if self._head is None and self._cycle.response_started:
            self._head = data
        elif len(data) > _TLS_PART_BYTES and self._protocol.scheme == "https":
            self.flush()
            parts = memoryview(data)
            for begin in range(0, len(data), _TLS_PART_BYTES):
                self._transport.write(parts[begin : begin + _TLS_PART_BYTES])
        elif self._head:
            self._transport.writelines([self._head, data])
            self._head = b""
        else:
            self._transport.write(data)

    def flush(self) -> None:
        """Send a head without a body."""
        if self._head and not self.is_closing():
            self._transport.write(self._head)
            self._head = b""

    def close(self) -> None:
        self.flush()
        self._protocol.leave()

    def is_closing(self) -> bool:
        return self._protocol.is_leaving or self._transport.is_closing()


class Arrivals:
    """The number of requests that were read from their sockets, but not yet by the application."""

    __slots__ = ("count",)

    def __init__(self) -> None:
        self.count = 0


class _Flow(FlowControl):
    """Reads nothing more while bytes that were read wait to be parsed."""

    is_held = False

    def resume_reading(self) -> None:
        if not self.is_held:
            super().resume_reading()


class BoundedProtocol(HttpToolsProtocol):
    """One connection.

    The next request is parsed when the one before is answered, so a client that sends many without
    waiting fills no memory. :meth:`check_time` is called about once a second, which costs a request
    nothing.

    Attributes:
        limits: set on a subclass, since uvicorn creates the connections.
        cors: set on it too; pages may read refusals.
        arrivals: set on it too; the application counts it down.
    """

    limits: NativeConfiguration
    cors: Cors
    arrivals: Arrivals
    flow: _Flow

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.url = b""
        self._unparsed = b""
        self._current: RequestResponseCycle | None = None
        self._replayed: bytes | None = None
        self._head_bytes = 0
        self._head_count = 0
        self._idle_bytes = 0
        self._in_head = True
        self._has_ended = False
        self.is_leaving = False
        self._leave_at_s = 0.0
        self._refusal: RequestError = refusals.MALFORMED
        self._last_refusal: RequestError | None = None
        self._deadline_s: float | None = None
        self._unread_until_s: float | None = None

    # uvicorn narrows the argument of asyncio's own method in the same way.
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.flow = _Flow(transport)
        self._deadline_s = self.loop.time() + self.limits.header_s
        if len(self.connections) > 2 * self.limits.connections:
            transport.abort()
        elif len(self.connections) > self.limits.connections:
            self.refuse(refusals.FULL)

    def data_received(self, data: bytes) -> None:
        if self.is_leaving:
            return
        # Reading pauses while something waits, but may deliver once more.
        self._unparsed = self._unparsed + data
        self._parse()

    # uvicorn's always returns None, which closes the connection and drops the answer.
    def eof_received(self) -> bool:  # type: ignore[override]
        """Answer the complete requests of a client that sends no more, then close."""
        self._has_ended = True
        if self.is_leaving:
            return False
        # Over TLS the transport closes in any case.
        return self._must_wait and self.scheme == "http"

    @property
    def _is_over(self) -> bool:
        """Whether no further request is read."""
        return self._last_refusal is not None or self.is_leaving or self.transport.is_closing()

    @property
    def _must_wait(self) -> bool:
        """Whether a request that was read completely is not answered yet."""
        if self.pipeline:
            return True
        current = self._current
        return current is not None and not (current.response_complete or current.more_body)

    def _parse(self) -> None:
        """Parse what was read, as far as the next complete request."""
        self._unset_keepalive_if_required()
        rest = memoryview(self._unparsed)
        while rest and not (self._must_wait or self._is_over):
            rest = rest[self._feed(rest[:_PART_BYTES]) :]
        if self._is_over:
            rest = rest[:0]
        self._unparsed = bytes(rest) if rest else b""
        if rest:
            self.flow.is_held = True
            self.flow.pause_reading()
        elif self.flow.is_held:
            self.flow.is_held = False
            self.flow.resume_reading()

    def _feed(self, part: memoryview) -> int:
        """Parse a part, and return how much of it was read."""
        read = len(part)
        if self._deadline_s is None:
            self._deadline_s = self.loop.time() + self.limits.header_s
        # The parser collects a header that does not end, also after a body, and reports nothing.
        self._idle_bytes += read
        try:
            try:
                self.parser.feed_data(part)
            except httptools.HttpParserUpgrade as upgrade:
                read = upgrade.args[0]
                self._replay()
        except httptools.HttpParserError:
            self.refuse(self._refusal)
        else:
            if self._idle_bytes > _HEADER_BYTES + _URL_BYTES + _PART_BYTES:
                self.refuse(refusals.LARGE_HEADERS)
            if self._in_head and self._deadline_s is None:
                # The next request has begun within the part that ended the last one.
                self._deadline_s = self.loop.time() + self.limits.header_s
        return read

    def _replay(self) -> None:
        """Parse the head of a request again, without its offer of another protocol.

        httptools takes what follows such an offer for that protocol. Java's HttpClient makes one
        with every request, and expects an answer in HTTP/1.1.
        """
        head, self._replayed = self._replayed, None
        if head is not None:
            self.parser = httptools.HttpRequestParser(self)
            self.parser.feed_data(head)

    def on_message_begin(self) -> None:
        self._head_bytes = self._head_count = self._idle_bytes = 0
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
        # A field after the body must not pass for one of the headers.
        if not self._in_head:
            return
        # The parser removes the last coding only, and reports a body that is compressed.
        if name.lower() == b"transfer-encoding" and value.strip().lower() != b"chunked":
            self._refusal = refusals.UNKNOWN_CODING
            raise _RefusedError
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        if self.parser.should_upgrade() and self.parser.get_method() != b"CONNECT":
            self._replayed = _write_head_without_upgrade(self)
            return
        self._in_head = False
        self._deadline_s = self.loop.time() + self.limits.body_s
        super().on_headers_complete()
        # The task that uses the transport runs later. It calls write, close and is_closing alone,
        # which is all that the joined transport has.
        joined = _JoinedTransport(self)
        self.cycle.transport = joined  # type: ignore[assignment]
        self.cycle.on_response = lambda: self._complete(joined)

    def on_body(self, body: bytes) -> None:
        self._idle_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        if self._replayed is not None:
            return
        self._idle_bytes = 0
        is_answered = self.cycle is not None and self.cycle.response_complete
        # A field after the body may say so too.
        if not self.parser.should_keep_alive():
            self.cycle.keep_alive = False
        # The rest of a refused request may come after its answer; then uvicorn has no timer.
        self._deadline_s = self.loop.time() + self.limits.idle_s if is_answered else None
        super().on_message_complete()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self.arrivals.count += 1
        self._current = cycle
        super()._start_asgi_task(cycle, app)

    def _complete(self, joined: _JoinedTransport) -> None:
        joined.flush()
        self._unread_until_s = None
        if self.is_leaving:
            return
        self.on_response_complete()
        if self.transport.is_closing():
            return
        # The next request, if it has begun, waited for this answer.
        if self._in_head:
            self._deadline_s = self.loop.time() + self.limits.header_s
            self._unset_keepalive_if_required()
        elif self.cycle.more_body and not self.cycle.response_complete:
            self._deadline_s = self.loop.time() + self.limits.body_s
        if self._last_refusal is not None:
            self.refuse(self._last_refusal)
        elif self._unparsed:
            self._parse()
        if self._has_ended and not self._must_wait:
            self.transport.close()

    def refuse(self, error: RequestError) -> None:
        """Answer a request that cannot be read any further, and close the connection.

        Requests before it are answered first.
        """
        broken = self.cycle if self.cycle is not None and self.cycle.more_body else None
        if self.pipeline and self.pipeline[0][0] is broken:
            self.pipeline.popleft()
        current = self._current
        if self.pipeline or not (current is None or current is broken or current.response_complete):
            self._last_refusal = error
            return
        if broken is None or not broken.response_started:
            self.transport.write(self._write_refusal(error))
        self.leave()

    def _write_refusal(self, error: RequestError) -> bytes:
        response = refuse(error, self.url.decode("latin-1"))
        sent = {n.decode("latin-1"): v.decode("latin-1") for n, v in self.headers or ()}
        fields = [
            *((name.encode(), value.encode()) for name, value in response.headers.items()),
            *self.cors.write_headers(sent),
            (b"content-length", b"%d" % len(response.body)),
            (b"connection", b"close"),
        ]
        head = b"".join(b"%b: %b\r\n" % field for field in fields)
        return STATUS_LINE[response.status] + head + b"\r\n" + response.body

    def leave(self) -> None:
        """Close the connection, once the client has read what was sent.

        One that is closed while input is unread is reset, and the client may lose what was sent
        (RFC 9112, section 9.6). So what it still sends is read, for a moment, and dropped.
        """
        self._unset_keepalive_if_required()
        if self.scheme == "https" or self._has_ended or self.transport.is_closing():
            self.transport.close()
            return
        self.is_leaving = True
        self._leave_at_s = self.loop.time() + _LEAVE_S
        self._unparsed = b""
        self.transport.write_eof()
        self.flow.is_held = False
        self.flow.resume_reading()

    def abort_if_idle(self) -> None:
        """Close a connection without a request that is being answered."""
        is_answered = self.cycle is None or self.cycle.response_complete
        if is_answered and not self.is_leaving and not self.transport.get_write_buffer_size():
            self.transport.abort()

    def check_time(self, now_s: float) -> None:
        """Refuse or close a client that is slower than the limits."""
        # An answer that the client does not read stays in memory, also while the connection closes.
        if not (self.transport.is_closing() or self.transport.get_write_buffer_size()):
            self._unread_until_s = None
        elif self._unread_until_s is None:
            self._unread_until_s = now_s + self.limits.body_s
        elif now_s >= self._unread_until_s:
            self.transport.abort()
        if self.is_leaving:
            if self.transport.get_write_buffer_size():
                self._leave_at_s = now_s + _LEAVE_S
            elif now_s >= self._leave_at_s:
                self.transport.abort()
            return
        if self._deadline_s is None or now_s < self._deadline_s:
            return
        if self._must_wait or self.transport.is_closing():
            return
        if self.cycle is not None and self.cycle.response_started and self.cycle.more_body:
            self.transport.abort()
        else:
            self.refuse(refusals.SLOW)


def _write_head_without_upgrade(protocol: BoundedProtocol) -> bytes:
    """Return the head of a request, as it was parsed, without the offer of another protocol."""
    parser, dropped = protocol.parser, (b"upgrade", b"http2-settings", b"connection")
    version = parser.get_http_version().encode()
    lines = [b"%s %s HTTP/%s" % (parser.get_method(), protocol.url, version)]
    lines += [b"%s: %s" % field for field in protocol.headers if field[0] not in dropped]
    if not parser.should_keep_alive():
        lines.append(b"connection: close")
    return b"\r\n".join(lines) + b"\r\n\r\n"
