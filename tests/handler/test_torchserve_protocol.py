"""The worker's side of TorchServe's messages, beside TorchServe's own code."""

import socket
import struct
import threading
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from henaw.handler.service import Request, Response
from henaw.handler.torchserve_entry import HenawHandler
from henaw.handler.torchserve_protocol import install, read_exactly

END = struct.pack("!i", -1)
PROBLEM = {
    "Retry-After": "3",
    "RateLimit-Remaining": "0",
    "content-type": "application/problem+json",
}

# TorchServe leaves a file open when it is imported.
pytestmark = pytest.mark.filterwarnings(
    "ignore:Exception ignored in:pytest.PytestUnraisableExceptionWarning"
)


def write_text(text: bytes) -> bytes:
    return struct.pack("!i", len(text)) + text


def write_request(number: int, body: bytes, **headers: str) -> bytes:
    written = b"".join(write_text(t.encode()) for item in headers.items() for t in item)
    parts = b"".join(map(write_text, (b"body", b"application/json", body))) if body else b""
    return write_text(b"id-%d" % number) + written + END + parts + END


MESSAGE = (
    b"I"
    + write_request(0, b"\x00\xff" * 300_000, Host="here", Explain="True")
    + write_request(1, b"{}", Accept="\u00e4\u00f6", host="there")
    + write_request(2, b"")
    + END
)


def answer(requests: Sequence[Request]) -> list[Response]:
    """A response in which all that a request holds shows."""
    return [
        Response(
            status=(200, 422, 503)[number % 3],
            headers=PROBLEM if number % 3 else {"content-type": "application/json"},
            body=repr(request).encode(),
        )
        for number, request in enumerate(requests)
    ]


@pytest.fixture
def torchserve(monkeypatch: pytest.MonkeyPatch) -> Any:
    """TorchServe's modules, put back after the test as they were."""
    import ts.service
    from ts.protocol import otf_message_handler

    for name in ("_retrieve_buffer", "_retrieve_inference_msg"):
        monkeypatch.setattr(otf_message_handler, name, getattr(otf_message_handler, name))
    monkeypatch.setattr(ts.service.Service, "predict", ts.service.Service.predict)
    monkeypatch.setenv("TS_DECODE_INPUT_REQUEST", "false")
    return ts


@pytest.fixture
def exchange(torchserve: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[bytes]]:
    """Send the message twice, in pieces, to a worker, and return what it writes."""
    from ts.protocol.otf_message_handler import retrieve_msg

    handler = HenawHandler()
    monkeypatch.setattr(handler, "answer", answer)
    service = torchserve.service.Service("henaw", ".", {}, handler.handle, None, 8)
    service.context.metrics = _Uncounted()

    def run() -> list[bytes]:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            service.set_cl_socket(ours)

            def send() -> None:
                for begin in range(0, 2 * len(MESSAGE), 70_001):
                    theirs.sendall((MESSAGE * 2)[begin : begin + 70_001])

            sender = threading.Thread(target=send)
            sender.start()
            written = [bytes(service.predict(retrieve_msg(ours)[1])) for _ in range(2)]
            sender.join()
        return written

    return run


class _Uncounted:
    """TorchServe's metrics, of which a worker keeps none."""

    request_ids: object = None

    def add_time(self, *_: object) -> None:
        """Count nothing."""


def test_a_batch_is_read_and_answered_as_torchserve_would(
    exchange: Callable[[], list[bytes]], torchserve: Any
) -> None:
    expected = exchange()
    assert expected[0].count(b"Request(") == 3
    own = torchserve.service.Service.predict
    install(answer)
    assert torchserve.service.Service.predict is not own
    assert exchange() == expected


def test_another_torchserve_keeps_its_own_code(
    torchserve: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = torchserve.service.Service.predict
    monkeypatch.setattr(torchserve, "__version__", "0.13.0")
    install(answer)
    assert torchserve.service.Service.predict is own


@pytest.mark.parametrize("sent", [b"", b"abc", MESSAGE[1:-2], MESSAGE[1:40]])
def test_a_worker_leaves_when_the_front_end_is_gone(torchserve: Any, sent: bytes) -> None:
    from ts.protocol import otf_message_handler

    install(answer)
    ours, theirs = socket.socketpair()
    with ours:
        sender = threading.Thread(target=lambda: (theirs.sendall(sent), theirs.close()))
        sender.start()
        with pytest.raises(SystemExit) as left:
            otf_message_handler._retrieve_inference_msg(ours)
        sender.join()
    assert left.value.code == 0


def test_a_command_cut_off_is_the_end_too() -> None:
    ours, theirs = socket.socketpair()
    with ours:
        theirs.close()
        with pytest.raises(SystemExit):
            read_exactly(ours, 1)
