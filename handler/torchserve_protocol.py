"""TorchServe's messages to and from a worker, straight to requests and from responses.

TorchServe's own code asks the kernel for every length and every name by itself, some forty
calls a request, makes dictionaries of what it read, from them a context, and from that,
name by name, an answer: a third of what a worker did under load.
"""

from __future__ import annotations

import functools
import socket
import struct
import sys
from collections.abc import Callable, Sequence
from http import HTTPStatus
from io import BufferedReader
from typing import NoReturn

from henaw.handler.service import Request, Response

VERSION = "0.12.0"
"""Of TorchServe, whose messages these are; any other keeps its own code."""

_BUFFER_BYTES = 256 * 1024
_INTEGER = struct.Struct("!i")
_LIST_END = -1

Answer = Callable[[Sequence[Request]], Sequence[Response]]


def install(answer: Answer) -> None:
    """Have this worker's messages read and written here.

    Args:
        answer: takes a batch of requests; never raises.
    """
    import ts
    from ts.protocol import otf_message_handler
    from ts.service import Service

    if ts.__version__ != VERSION:
        return

    def predict(_: Service, requests: Sequence[Request]) -> bytes:
        return write_responses(requests, answer(requests))

    otf_message_handler._retrieve_buffer = read_exactly
    otf_message_handler._retrieve_inference_msg = read_requests
    Service.predict = predict


def read_exactly(connection: socket.socket, length: int) -> bytes:
    """Return the next ``length`` bytes; leave, as TorchServe does, when there are no more."""
    data = _open_reader(connection).read(length)
    if len(data) < length:
        _leave()
    return data


def read_requests(connection: socket.socket) -> list[Request]:
    """Read a batch, after its command.

    Of each request: id, headers (name, value), parts (name, type, value), each list up to
    an end, each text after its length.
    """
    read = _open_reader(connection).read
    unpack = _INTEGER.unpack

    def take() -> bytes | None:
        (length,) = unpack(read(4))
        return None if length == _LIST_END else read(length)

    requests = []
    try:
        while (request_id := take()) is not None:
            headers = {}
            while (name := take()) is not None:
                headers[_decode(name).lower()] = _decode(take() or b"")
            body = b""
            while (part := take()) is not None:
                take()
                value = take() or b""
                # A multipart form has no such part: the service refuses it by its type.
                if part == b"body":
                    body = value
            requests.append(
                Request(
                    body=body,
                    headers=headers,
                    request_id=_decode(request_id),
                    # Set by TorchServe from the path.
                    explain=headers.get("explain") == "True",
                    describe=headers.get("describe") == "True",
                )
            )
    except struct.error:
        _leave()
    return requests


def _decode(text: bytes) -> str:
    return text.decode(errors="replace")


def write_responses(requests: Sequence[Request], responses: Sequence[Response]) -> bytes:
    """Write a batch's answer: what is of all, then each request's, up to an end."""
    pieces = [_INTEGER.pack(HTTPStatus.OK), _pack("Prediction success")]
    for request, response in zip(requests, responses, strict=True):
        headers, body = response.headers, response.body
        pieces += (
            _pack_text(request.request_id),
            _pack(headers["content-type"]),
            _INTEGER.pack(response.status),
            _pack(HTTPStatus(response.status).phrase),
            _INTEGER.pack(len(headers)),
        )
        for name, value in headers.items():
            pieces += (_pack(name), _pack(value))
        pieces += (_INTEGER.pack(len(body)), body)
    pieces.append(_INTEGER.pack(_LIST_END))
    return b"".join(pieces)


def _pack_text(text: str) -> bytes:
    encoded = text.encode()
    return _INTEGER.pack(len(encoded)) + encoded


_pack = functools.lru_cache(maxsize=4096)(_pack_text)
"""For what comes again and again."""


@functools.cache
def _open_reader(connection: socket.socket) -> BufferedReader:
    return BufferedReader(socket.SocketIO(connection, "r"), _BUFFER_BYTES)


def _leave() -> NoReturn:
    sys.exit(0)
