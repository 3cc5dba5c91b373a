import socket
import struct
import threading

import pytest
from henaw.handler.torchserve_socket import buffer_reads, read_exactly


def write_text(text: bytes) -> bytes:
    return struct.pack("!i", len(text)) + text


# TorchServe leaves a file open when it is imported.
@pytest.mark.filterwarnings("ignore:Exception ignored in:pytest.PytestUnraisableExceptionWarning")
def test_torchserves_messages_are_read_whole_from_any_pieces(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from ts.protocol import otf_message_handler

    upstream = otf_message_handler._retrieve_buffer
    monkeypatch.setattr(otf_message_handler, "_retrieve_buffer", upstream)
    monkeypatch.setenv("TS_DECODE_INPUT_REQUEST", "false")
    end = struct.pack("!i", -1)
    body = b"\x00\xff" * 300_000
    request = (
        write_text(b"an-id")
        + write_text(b"Host")
        + write_text(b"here")
        + end
        + b"".join(map(write_text, (b"body", b"application/json", body)))
        + end
    )
    message = b"I" + request * 3 + end

    def receive() -> object:
        ours, theirs = socket.socketpair()
        with ours, theirs:

            def send() -> None:
                for begin in range(0, 2 * len(message), 70_001):
                    theirs.sendall((message * 2)[begin : begin + 70_001])

            sender = threading.Thread(target=send)
            sender.start()
            received = [otf_message_handler.retrieve_msg(ours) for _ in range(2)]
            sender.join()
        return received

    expected = receive()
    buffer_reads()
    assert otf_message_handler._retrieve_buffer is read_exactly
    assert receive() == expected


def test_a_worker_leaves_when_the_front_end_is_gone() -> None:
    ours, theirs = socket.socketpair()
    with ours:
        theirs.sendall(b"abc")
        theirs.close()
        with pytest.raises(SystemExit) as left:
            read_exactly(ours, 4)
    assert left.value.code == 0
