"""Random requests in random pieces on the native engine's connections: each gets its own answer."""

import json
import random
import re
import socket
import struct
import threading
import time
from typing import Any
from urllib.parse import urlsplit

import pytest

pytestmark = pytest.mark.only("native", "TorchServe's front end reads its requests itself")

SEED = 20261128
CONNECTIONS, CLIENTS = 60, 4
PREDICT, EXPLAIN, PING = "POST /predictions/henaw", "POST /explanations/henaw", "GET /ping"
UPGRADE = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n"
Sent = tuple[bytes, int, bytes]
"""A request, the status that it gets, and a text in its answer."""


def chunk(chance: random.Random, body: bytes) -> bytes:
    """Write a body in chunks, with extensions and a field after it."""
    sent = b""
    while body:
        size = chance.randint(1, len(body))
        sent += b"%x%s\r\n%s\r\n" % (size, chance.choice([b"", b";a=b"]), body[:size])
        body = body[size:]
    return sent + b"0\r\n" + chance.choice([b"", b"X-After: 1\r\n"]) + b"\r\n"


def make_request(chance: random.Random, name: str) -> Sent:
    person = {"age": chance.randint(20, 80), "sex": 0, "participant_id": name, "biomarkers": {}}
    body = json.dumps(person).encode()
    line, status, expected = PREDICT, 200, name.encode()
    match chance.randrange(9):
        case 0:
            return f"{PING} HTTP/1.1\r\nHost: x\r\n\r\n".encode(), 200, b"Healthy"
        case 1:
            body = json.dumps({"instances": [person] * chance.choice([2, 400])}).encode()
        case 2:
            line = EXPLAIN
        case 3:
            line, status, expected = "POST /none", 404, b"urn:henaw:problem:not-found"
        case 4:
            body, status, expected = b"{", 400, b"urn:henaw:problem:malformed-body"
        case 5:
            line, status, expected = "POST /ping", 405, b"urn:henaw:problem:method-not-allowed"
    head = f"{line} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    head += chance.choice(["", "", UPGRADE, "Expect: 100-continue\r\n"])
    if chance.random() < 0.5:
        return (
            f"{head}Transfer-Encoding: chunked\r\n\r\n".encode() + chunk(chance, body),
            status,
            (expected),
        )
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body, status, expected


def send_in_pieces(chance: random.Random, connection: socket.socket, sent: bytes) -> None:
    largest = chance.choice([len(sent), 8_000, 40 if len(sent) < 4_000 else 4_000])
    while sent:
        size = chance.randint(1, largest)
        connection.sendall(sent[:size])
        sent = sent[size:]
        if chance.random() < 0.1:
            time.sleep(chance.random() * 0.01)


def read_answers(connection: socket.socket) -> list[tuple[int, bytes]]:
    """Read until the server closes the connection; return statuses and bodies."""
    received = b""
    while more := connection.recv(65536):
        received += more
    answers = []
    while received:
        head, _, received = received.partition(b"\r\n\r\n")
        if head.startswith(b"HTTP/1.1 100"):
            continue
        length = re.search(rb"content-length: (\d+)", head)
        assert length is not None, head
        size = int(length[1])
        answers.append((int(head.split()[1]), received[:size]))
        received = received[size:]
    return answers


def use_connection(chance: random.Random, address: tuple[str, int], name: str) -> list[str]:
    """Send requests and return what is wrong with the answers."""
    requests = [make_request(chance, f"{name}-{n}") for n in range(chance.choice([1, 3, 12]))]
    sent = b"".join(request for request, _, _ in requests)
    with socket.create_connection(address, timeout=20) as connection:
        if chance.random() < 0.2:
            connection.sendall(sent[: chance.randint(1, len(sent))])
            time.sleep(chance.random() * 0.01)
            # The connection is reset.
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            return []
        sending = threading.Thread(target=send_in_pieces, args=(chance, connection, sent))
        sending.start()
        stop = threading.Thread(
            target=lambda: (sending.join(), connection.shutdown(socket.SHUT_WR))
        )
        stop.start()
        answers = read_answers(connection)
        stop.join()
    if [status for status, _ in answers] != [status for _, status, _ in requests]:
        return [f"{name}: {[s for _, s, _ in requests]} became {[s for s, _ in answers]}"]
    return [
        f"{name}: {request[:80]!r} got {body[:200]!r}"
        for (request, _, expected), (_, body) in zip(requests, answers, strict=True)
        if expected not in body
    ]


def test_each_request_gets_its_own_answer(swift: Any) -> None:
    parts = urlsplit(swift.record.url)
    wrong: list[str] = []

    def run(client: int) -> None:
        chance = random.Random(SEED + client)
        for number in range(CONNECTIONS):
            wrong.extend(
                use_connection(chance, (parts.hostname, parts.port), f"c{client}-{number}")
            )

    clients = [threading.Thread(target=run, args=(client,)) for client in range(CLIENTS)]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    assert not wrong
    assert "Traceback" not in (swift.run / "logs" / "console.log").read_text()
