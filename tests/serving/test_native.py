"""Connections to the native engine: slow, large, broken and silent clients, origins, pipelines."""

import contextlib
import json
import re
import resource
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest
import requests

pytestmark = pytest.mark.only("native", "TorchServe's own are in test_security.py")

PERSON: dict[str, Any] = {"age": 54, "sex": "female", "biomarkers": {"crp": 1.2}}
BODY = json.dumps(PERSON).encode()
PREDICT = "/predictions/henaw"
HEAD = f"POST {PREDICT} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n".encode()
PAGE = "https://clinic.example"
PROBLEM = "application/problem+json"


@pytest.fixture(scope="module")
def strict(start: Callable[..., Any]) -> Any:
    """A local server with short timeouts and little memory."""
    limits = {"header_s": 1.0, "body_s": 2.0, "idle_s": 5.0, "body_memory": 16_000_000}
    plenty = {"rate": 1_000_000, "period_s": 1, "burst": 1_000_000}
    return start(
        "local",
        throttle={"anonymous": plenty},
        native={**limits, "cors": [PAGE], "connections": 100},
    )


@contextlib.contextmanager
def connect(server: Any) -> Iterator[socket.socket]:
    address = urlsplit(server.record.url)
    with socket.create_connection((address.hostname, address.port), timeout=20) as connection:
        yield connection


def read_all(connection: socket.socket) -> bytes:
    received = b""
    with contextlib.suppress(ConnectionError):
        while chunk := connection.recv(65536):
            received += chunk
    return received


def test_a_worker_is_small_and_has_no_torch_in_it(strict: Any) -> None:
    (worker,) = strict.list_workers()
    assert worker.memory_info().rss < 150_000_000
    assert not [m.path for m in worker.memory_maps() if "torch" in m.path]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Host": "localhost:1"}, 200),
        ({"Host": "rebound.example"}, 403),
        ({"Host": "127.0.0.1.rebound.example:8081"}, 403),
        ({"Host": ""}, 403),
        ({"Origin": "http://127.0.0.1:8081"}, 403),
        ({"Origin": "null"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
    ],
)
@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_a_page_in_a_browser_does_not_manage(
    strict: Any, headers: dict[str, str], status: int, method: str
) -> None:
    path = "/models/henaw" if method == "GET" else "/models/henaw/0.0.0/set-default"
    answered = requests.request(method, strict.management + path, headers=headers, timeout=10)
    assert answered.status_code == (404 if method == "PUT" and status == 200 else status)


def test_pages_may_ask_only_where_it_is_configured(strict: Any, swift: Any) -> None:
    asked = {"Origin": PAGE, "Access-Control-Request-Method": "POST"}
    url = strict.record.url + PREDICT
    allowed = requests.options(url, headers=asked, timeout=10)
    assert allowed.status_code == 200
    assert allowed.headers["Access-Control-Allow-Origin"] == PAGE
    assert "content-type" in allowed.headers["Access-Control-Allow-Headers"]
    answered = strict.post(PERSON, headers={"Origin": PAGE})
    assert answered.headers["Access-Control-Allow-Origin"] == PAGE
    assert answered.headers["Vary"] == "origin"
    other = {**asked, "Origin": "https://other.example"}
    for server, headers in ((strict, other), (swift, asked)):
        refused = requests.options(server.record.url + PREDICT, headers=headers, timeout=10)
        assert refused.status_code == 405
        answered = server.post(PERSON, headers={"Origin": headers["Origin"]})
        assert answered.status_code == 200
        for seen in (refused, answered):
            assert "Access-Control-Allow-Origin" not in seen.headers


@pytest.mark.parametrize(
    "sent", [b"", b"POST", HEAD, HEAD + b"X-Slow: ", HEAD + b"Content-Length: 100000\r\n\r\n{"]
)
def test_a_slow_client_is_disconnected(strict: Any, sent: bytes) -> None:
    begin_s = time.monotonic()
    with connect(strict) as connection:
        connection.sendall(sent)
        assert b"HTTP/1.1 408 " in read_all(connection)[:13]
    assert time.monotonic() - begin_s < 8


def test_a_client_that_sends_a_byte_at_a_time_is_disconnected(strict: Any) -> None:
    with connect(strict) as connection:
        connection.sendall(HEAD + b"Content-Length: 100000\r\n\r\n")
        begin_s = time.monotonic()
        with contextlib.suppress(ConnectionError):
            while time.monotonic() < begin_s + 10:
                connection.sendall(b" ")
                time.sleep(0.1)
        assert time.monotonic() - begin_s < 8


def test_headers_without_an_end_are_refused(strict: Any) -> None:
    many = b"".join(b"X-%d: 1\r\n" % n for n in range(200))
    for sent in (b"X-Long: " + b"x" * 200_000, many):
        with connect(strict) as connection:
            with contextlib.suppress(ConnectionError):
                connection.sendall(HEAD + sent)
            assert b"HTTP/1.1 431 " in read_all(connection)
    with connect(strict) as connection:
        connection.sendall(b"GET /" + b"x" * 20_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n")
        answer = read_all(connection)
    assert answer.startswith(b"HTTP/1.1 414 ")
    assert PROBLEM.encode() in answer


def test_stalled_uploads_fill_no_memory_and_delay_no_other_client(strict: Any) -> None:
    (worker,) = strict.list_workers()
    strict.post(PERSON)
    before = worker.memory_info().rss
    upload = HEAD + b"Content-Length: 8000000\r\n\r\n" + b" " * 4_000_000
    with contextlib.ExitStack() as stack:
        stalled = [stack.enter_context(connect(strict)) for _ in range(45)]
        for connection in stalled:
            connection.setblocking(False)
            with contextlib.suppress(BlockingIOError, ConnectionError):
                connection.send(upload)
        assert strict.post(PERSON).status_code == 200
        assert worker.memory_info().rss - before < 80_000_000
        statuses = set()
        for connection in stalled:
            connection.setblocking(True)
            with contextlib.suppress(ConnectionError):
                connection.sendall(upload)
            statuses.add(read_all(connection)[9:12])
            # Bodies that found room are not JSON.
            assert statuses <= {b"503", b"408", b"400", b""}
        assert b"503" in statuses
    assert strict.post({"instances": [PERSON] * 10_000, "outputs": ["biological_age"]}).ok


def test_more_connections_than_configured_are_refused(strict: Any) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(100):
            stack.enter_context(connect(strict)).sendall(HEAD)
        time.sleep(0.5)
        seen = read_all(stack.enter_context(connect(strict)))
        assert seen.startswith(b"HTTP/1.1 503 ")
        assert b"retry-after: 1" in seen
    strict.wait_until(lambda: strict.post(PERSON).status_code == 200)


def test_unknown_paths_and_methods_are_problems(strict: Any) -> None:
    for method, path, status in (
        ("GET", PREDICT, 405),
        ("DELETE", PREDICT, 405),
        ("POST", "/models/henaw", 405),
        ("POST", "/ping", 405),
        ("GET", "/none", 404),
        ("POST", f"{PREDICT}/9.9.9", 404),
        ("POST", f"{PREDICT}/0.1.0/more", 404),
        ("POST", "/predictions/other", 404),
    ):
        answered = requests.request(method, strict.record.url + path, timeout=10)
        assert (answered.status_code, answered.headers["Content-Type"]) == (status, PROBLEM)
        assert answered.json()["status"] == status
    assert requests.head(f"{strict.record.url}/ping", timeout=10).status_code == 200


def test_requests_in_a_pipeline_are_answered_in_order(strict: Any) -> None:
    bodies = [BODY, b"{", BODY]
    sent = b"".join(HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body for body in bodies)
    with connect(strict) as connection:
        connection.sendall(sent)
        statuses = re.findall(rb"HTTP/1.1 (\d+)", read_all(connection))
    assert statuses == [b"200", b"400", b"200"]


def test_requests_before_a_broken_one_are_answered(strict: Any) -> None:
    request = HEAD + b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY
    many = json.dumps({"instances": [PERSON] * 5_000}).encode()
    slow = HEAD + b"Content-Length: %d\r\n\r\n" % len(many) + many
    for sent, statuses in (
        (request + b"\x00\r\n\r\n", [b"200", b"400"]),
        (slow + request + b"\x00\r\n\r\n", [b"200", b"200", b"400"]),
        (slow + HEAD + b"Transfer-Encoding: chunked\r\n\r\nx", [b"200", b"400"]),
        # More than a head may have, but they are whole requests.
        (request * 400 + HEAD[:60], [b"200"] * 400 + [b"408"]),
    ):
        with connect(strict) as connection:
            connection.sendall(sent)
            seen = read_all(connection)
        assert re.findall(rb"HTTP/1.1 (\d+)", seen) == statuses


def test_a_client_that_sends_no_more_is_answered(strict: Any) -> None:
    """As ``nc -N`` does, and programs that read the answer until the connection ends."""
    bodies = [json.dumps({"instances": [PERSON] * count}).encode() for count in (5_000, 1, 1)]
    sent = b"".join(HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body for body in bodies)
    for rest in (b"", HEAD, HEAD + b"Content-Length: 100\r\n\r\n{"):
        with connect(strict) as connection:
            connection.sendall(sent + rest)
            connection.shutdown(socket.SHUT_WR)
            begin_s = time.monotonic()
            statuses = re.findall(rb"HTTP/1.1 (\d+)", read_all(connection))
        assert statuses == [b"200"] * 3
        assert time.monotonic() - begin_s < 1.0


def test_clients_that_break_off_leave_nothing_in_the_console(strict: Any) -> None:
    body = json.dumps({"instances": [PERSON] * 300}).encode()
    sent = HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body
    for number in range(100):
        with connect(strict) as connection:
            connection.sendall(sent + b"GET /ping HTTP/1.1\r\nHost: x\r\n\r\n" * 10)
            time.sleep(number * 1e-4)
            # The connection is reset.
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    strict.post(PERSON)
    assert "Traceback" not in (strict.run / "logs" / "console.log").read_text()


def test_a_client_that_sends_ahead_fills_no_memory(strict: Any) -> None:
    (worker,) = strict.list_workers()
    before = worker.memory_info().rss
    request = b"GET /ping HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n" + b"x" * 1000
    with connect(strict) as connection:
        reader = threading.Thread(target=read_all, args=(connection,))
        reader.start()
        for _ in range(400):
            connection.sendall(request * 100)
        assert worker.memory_info().rss - before < 30_000_000
        connection.shutdown(socket.SHUT_RDWR)
        reader.join()


def test_a_field_after_the_body_that_does_not_end_is_refused(strict: Any) -> None:
    body = b"%x\r\n%s\r\n0\r\n" % (len(BODY), BODY)
    many = b"".join(b"X-%d: 1\r\n" % n for n in range(200))
    for fields in (b"X-Long: " + b"x" * 200_000, many):
        with connect(strict) as connection:
            with contextlib.suppress(ConnectionError):
                connection.sendall(HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + body + fields)
            assert b"HTTP/1.1 431 " in read_all(connection)


@pytest.mark.parametrize("coding", [b"gzip, chunked", b"gzip", b"x"])
def test_a_body_in_another_transfer_coding_is_refused(strict: Any, coding: bytes) -> None:
    body = b"%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY)
    with connect(strict) as connection:
        connection.sendall(HEAD + b"Transfer-Encoding: " + coding + b"\r\n\r\n" + body)
        assert b"HTTP/1.1 501 " in read_all(connection)[:13]


def test_a_field_after_the_body_is_no_header(strict: Any) -> None:
    body = b"%x\r\n%s\r\n0\r\n" % (len(BODY), BODY)
    with connect(strict) as connection:
        connection.sendall(
            HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + body + b"X-API-Key: mine\r\n\r\n"
        )
        assert b"ratelimit-limit: 1000000\r\n" in read_all(connection)


@pytest.mark.parametrize("header", ["X-API-Key", "Authorization"])
def test_a_key_has_a_bucket_of_its_own(strict: Any, header: str) -> None:
    value = "mine" if header == "X-API-Key" else "Bearer mine"
    assert strict.post(PERSON, headers={header: value}).headers["RateLimit-Limit"] == "2000"


def test_blanks_after_a_headers_value_are_no_part_of_it(strict: Any) -> None:
    with connect(strict) as connection:
        fields = b"Content-Encoding: identity \t\r\nContent-Length: %d\r\n\r\n" % len(BODY)
        connection.sendall(HEAD + fields + BODY)
        assert b"HTTP/1.1 200 " in read_all(connection)[:13]


def test_an_offer_of_http_2_is_ignored(strict: Any) -> None:
    """As Java's HttpClient and ``curl --http2`` send it."""
    head = HEAD + (
        b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n"
    )
    chunks = b"%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY)
    with connect(strict) as connection:
        for length, body in (
            (b"Content-Length: %d" % len(BODY), BODY),
            (b"Transfer-Encoding: chunked", chunks),
        ):
            for pause_s in (0.0, 0.2):
                connection.sendall(head + length + b"\r\n\r\n")
                time.sleep(pause_s)
                connection.sendall(body)
        statuses = re.findall(rb"HTTP/1.1 (\d+)", read_all(connection))
    assert statuses == [b"200"] * 4


@pytest.mark.parametrize("fields", [b"Connection: close\r\n", b""])
def test_a_client_that_does_not_read_is_disconnected(strict: Any, fields: bytes) -> None:
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        address = urlsplit(strict.record.url)
        connection.connect((address.hostname, address.port))
        body = json.dumps({"instances": [PERSON] * 10_000}).encode()
        connection.sendall(HEAD + fields + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        connection.recv(1)
        connection.sendall(b"GET /ping HTTP/1.1\r\nHost: x\r\n\r\n")
        port = connection.getsockname()[1]
        assert strict.is_connected(port)
        strict.wait_until(lambda: not strict.is_connected(port))


def test_answers_that_the_kernel_nearly_holds_are_not_forgotten(strict: Any) -> None:
    """What is left is less than 64 KiB, so the transport does not say that it waits."""
    (worker,) = strict.list_workers()
    address = urlsplit(strict.record.url)
    with contextlib.ExitStack() as stack:
        ports = set()
        person = {"age": 50, "sex": "male", "biomarkers": {"albumin": 40}}
        # The kernel's buffers take 2.2 MB.
        for people in range(2_690, 2_730):
            connection = stack.enter_context(socket.socket())
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            connection.connect((address.hostname, address.port))
            body = json.dumps({"instances": [person] * people}).encode()
            connection.sendall(HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body)
            ports.add(connection.getsockname()[1])

        def is_none_left() -> bool:
            return ports.isdisjoint(c.raddr[1] for c in worker.net_connections() if c.raddr)

        # idle_s, then body_s.
        strict.wait_until(is_none_left, seconds=20)


def test_a_refusal_may_be_read_by_the_pages_that_are_configured(strict: Any) -> None:
    for line in (b"X" * 40_000 + b": 1", b"Transfer-Encoding: gzip"):
        with connect(strict) as connection:
            with contextlib.suppress(ConnectionError):
                connection.sendall(
                    HEAD + b"Origin: " + PAGE.encode() + b"\r\n" + line + b"\r\n\r\n"
                )
            assert b"access-control-allow-origin: " + PAGE.encode() in read_all(connection)


def test_a_request_that_breaks_after_its_answer_gets_no_second_one(strict: Any) -> None:
    with connect(strict) as connection:
        connection.sendall(
            b"POST /none HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n"
        )
        seen = connection.recv(65536)
        connection.sendall(b"ZZ\r\n")
        assert re.findall(rb"HTTP/1.1 (\d+)", seen + read_all(connection)) == [b"404"]


def test_an_answer_arrives_whole_although_more_was_sent(strict: Any) -> None:
    """A connection that is closed while input is unread is reset."""
    body = json.dumps({"instances": [PERSON] * 5_000}).encode()
    head = HEAD + b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(body)
    with connect(strict) as connection:
        more = b"GET /ping HTTP/1.1\r\nHost: x\r\n\r\n" * 20_000
        sending = threading.Thread(target=connection.sendall, args=(head + body + more,))
        sending.start()
        time.sleep(0.5)
        seen = read_all(connection)
        sending.join()
    answered, _, body = seen.partition(b"\r\n\r\n")
    length = re.search(rb"content-length: (\d+)", answered)
    assert length is not None
    assert len(body) == int(length[1])


def test_a_field_after_the_body_may_close_the_connection(strict: Any) -> None:
    chunks = b"%x\r\n%s\r\n0\r\nConnection: close\r\n\r\n" % (len(BODY), BODY)
    with connect(strict) as connection:
        begin_s = time.monotonic()
        connection.sendall(HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + chunks)
        assert b"connection: close\r\n" in read_all(connection)
    assert time.monotonic() - begin_s < 1.0


def test_silent_clients_of_the_monitor_end_no_server(strict: Any) -> None:
    address = ("127.0.0.1", urlsplit(strict.record.url).port + 5)
    with contextlib.ExitStack() as stack:
        for _ in range(200):
            stack.enter_context(socket.create_connection(address, timeout=10))
        assert strict.post(PERSON).status_code == 200
        assert psutil.Process(strict.record.pid).num_threads() < 100
    strict.wait_until(
        lambda: requests.get(f"http://127.0.0.1:{address[1]}/ready", timeout=10).ok, 20
    )
    assert "Traceback" not in (strict.run / "logs" / "console.log").read_text()


def test_a_worker_may_open_a_file_for_each_connection(start: Callable[..., Any]) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (512, hard))
    try:
        (worker,) = start("local").list_workers()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert worker.rlimit(resource.RLIMIT_NOFILE)[0] > 1_000
