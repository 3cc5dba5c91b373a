"""What docs/security.md says is defended, against a real server."""

import contextlib
import datetime
import http.client
import json
import re
import socket
import ssl
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
import trustme
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from henaw.cli.checks.deployment import Deployment, examine
from henaw.cli.server.record import ServerError
from henaw.cli.versions import Management

PERSON: dict[str, Any] = {"age": 54, "sex": "female", "biomarkers": {"crp": 1.2}}
BODY = json.dumps(PERSON).encode()
PREDICT = "/predictions/henaw"


def send_raw(url: str, text: bytes, *, seconds: float = 10) -> bytes:
    """Send bytes as they are and read until the server closes or says no more."""
    address = urlsplit(url)
    with socket.create_connection((address.hostname, address.port), timeout=seconds) as connection:
        connection.sendall(text)
        received = b""
        # No answer and a closed connection are results too.
        with contextlib.suppress(OSError):
            while chunk := connection.recv(65536):
                received += chunk
    return received


def send(
    server: Any, body: bytes, *, method: str = "POST", path: str = PREDICT, **headers: str
) -> Any:
    """Send a request that no library has changed."""
    address = urlsplit(server.record.url)
    connection = http.client.HTTPConnection(address.hostname, address.port, timeout=30)
    headers = {"Content-Type": "application/json", **headers}
    connection.request(method, path, body, headers)
    response = connection.getresponse()
    answer = response.status, response.read()
    connection.close()
    return answer


def check_alive(server: Any) -> None:
    assert server.post(PERSON).status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        "/../../../../etc/passwd",
        "/predictions/../../../etc/passwd",
        "/predictions/%2e%2e%2f%2e%2e%2fetc%2fpasswd",
        "/predictions/henaw/../../models",
        "/predictions/henaw%00.mar",
        "/predictions/..%5c..%5cwindows",
        "/models",
        "/models/henaw",
        "/metrics",
        "/predictions/other",
        "//etc/passwd",
    ],
)
def test_no_path_leads_to_files_or_to_the_operators_addresses(swift: Any, path: str) -> None:
    status, body = send(swift, BODY, path=path)
    assert status in (400, 404, 405)
    assert b"root:" not in body
    assert str(swift.run).encode() not in body
    check_alive(swift)


HOSTILE = {
    "deep nesting": (b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}", 400),
    "deeper than any stack": (b"[" * 4_000_000, 400),
    "deep objects": (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, 400),
    "duplicate keys": (b'{"age": 54, "age": 90, "sex": 0, "biomarkers": {}}', 400),
    "NaN": (b'{"age": NaN, "sex": 0, "biomarkers": {}}', 400),
    "Infinity": (b'{"age": 54, "sex": 0, "biomarkers": {"crp": Infinity}}', 400),
    "minus Infinity": (b'{"age": -Infinity, "sex": 0, "biomarkers": {}}', 400),
    "a lone surrogate": (b'{"age": 54, "sex": "\\ud800", "biomarkers": {}}', 400),
    "a surrogate in UTF-8": (b'{"age": 54, "sex": "\xed\xa0\x80", "biomarkers": {}}', 400),
    "not UTF-8": (b'{"age": 54, "sex": "\xff", "biomarkers": {}}', 400),
    "8 MB of digits": (b'{"age": ' + b"9" * 8_000_000 + b"}", 400),
    "10 MB of digits": (b'{"age": ' + b"9" * 10_000_000 + b"}", 413),
    "8 MB of one string": (b'{"sex": "' + b"x" * 8_000_000 + b'"}', 422),
    "a million unknown fields": (
        b"{" + b",".join(b'"%d":1' % n for n in range(600_000)) + b"}",
        413,
    ),
    "a million empty people": (b'{"instances": [' + b"{}," * 1_000_000 + b"{}]}", 413),
    "an overflowing exponent": (b'{"age": 1e400, "sex": 0, "biomarkers": {}}', 400),
    "a null byte": (b'{"age": 54, "sex": "\x00", "biomarkers": {}}', 400),
    "nothing": (b"", 400),
}


@pytest.mark.parametrize(("body", "status"), HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_bodies_are_refused_and_delay_no_other_client(
    swift: Any, body: bytes, status: int
) -> None:
    seen, answer = send(swift, body)
    assert seen == status
    assert json.loads(answer)["status"] == status
    # The answer repeats at most the start of a name.
    assert len(answer) < 40_000
    check_alive(swift)


def test_a_compressed_bomb_is_not_unpacked(swift: Any) -> None:
    bomb = zlib.compress(b'{"age": ' + b"9" * 50_000_000 + b"}", wbits=31)
    for coding in ("gzip", "deflate", "br", "GZIP", "gzip, gzip"):
        status, body = send(swift, bomb, **{"Content-Encoding": coding})
        assert (status, json.loads(body)["title"]) == (415, "Unsupported media type")
    check_alive(swift)


@pytest.mark.parametrize(
    "media",
    ["text/plain", "application/xml", "application/x-python-pickle", "multipart/form-data", "*/*"],
)
def test_only_json_is_read(swift: Any, media: str) -> None:
    status, _ = send(swift, BODY, **{"Content-Type": media})
    assert status == 415


def test_huge_headers_are_refused(swift: Any) -> None:
    for header in (b"X-API-Key: " + b"k" * 100_000, b"X-" + b"a" * 100_000 + b": 1"):
        request = b"POST " + PREDICT.encode() + b" HTTP/1.1\r\nHost: x\r\n" + header + b"\r\n\r\n"
        assert b" 200 " not in send_raw(swift.record.url, request, seconds=3)[:20]
    many = b"".join(b"X-%d: 1\r\n" % n for n in range(20_000))
    request = b"POST " + PREDICT.encode() + b" HTTP/1.1\r\nHost: x\r\n" + many + b"\r\n"
    assert b" 200 " not in send_raw(swift.record.url, request, seconds=3)[:20]
    check_alive(swift)


def test_slow_requests_delay_no_other_client(swift: Any) -> None:
    address = urlsplit(swift.record.url)
    head = f"POST {PREDICT} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    slow = [
        socket.create_connection((address.hostname, address.port), timeout=10) for _ in range(200)
    ]
    try:
        for number, connection in enumerate(slow):
            # Half never end their headers, half never end their body.
            end = "X-Slow: " if number % 2 else "Content-Length: 100000\r\n\r\n{"
            connection.sendall((head + end).encode())
        for _ in range(20):
            check_alive(swift)
    finally:
        for connection in slow:
            connection.close()
    check_alive(swift)


@pytest.mark.parametrize("method", ["DELETE", "PUT", "OPTIONS", "HEAD", "TRACE", "PATCH", "BREW"])
def test_no_method_does_anything_but_predict(swift: Any, method: str) -> None:
    """TorchServe hands every method to the model: none has another effect."""
    send(swift, BODY, method=method)
    check_alive(swift)
    assert len(swift.list_processes()) >= 4


@pytest.mark.parametrize("body", [b"", BODY])
def test_a_request_with_two_lengths_smuggles_nothing_past_a_proxy(swift: Any, body: bytes) -> None:
    """RFC 9112, 6.3. Against its 6.1 TorchServe keeps the connection; what follows is a request."""
    chunks = (b"%x\r\n%b\r\n" % (len(body), body) if body else b"") + b"0\r\n\r\n"
    head = (
        b"POST " + PREDICT.encode() + b" HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    )
    inner = head + b"Content-Length: 0\r\n\r\n"
    lengths = b"Content-Length: %d\r\nTransfer-Encoding: chunked\r\n\r\n"
    request = head + lengths % (len(chunks) + len(inner)) + chunks + inner
    received = send_raw(swift.record.url, request, seconds=2)
    statuses = [int(status) for status in re.findall(rb"HTTP/1.1 (\d+)", received)]
    if swift.record.engine == "native":
        # Refused, and the connection is closed: nothing after it is a request.
        assert statuses == [400]
    else:
        # In either order, as docs/security.md says of pipelined requests.
        # If two are refused, it may close before it answers the second.
        expected = [200, 400] if body else [400, 400][: len(statuses)]
        assert statuses
        assert sorted(statuses) == expected
    check_alive(swift)


TOKENS = "its tokens and its management; tests/serving/test_production.py has the native engine's"


class Production:
    """The production configuration with a certificate made for the test."""

    def __init__(self, server: Any, ca: Path) -> None:
        self.run, self.ca = server.run, str(ca)
        self.port = urlsplit(server.record.url).port
        self.url = f"https://127.0.0.1:{self.port}"

    def examine(self, *checks: str) -> list[tuple[str, str]]:
        """Return the status and the finding of these checks of the doctor."""
        deployment = Deployment(
            configuration=self.run / "config", archive=self.run / "henaw.mar", run=self.run
        )
        return [(f.status, f.seen) for f in examine(deployment) if f.check in checks]

    def read_tokens(self) -> dict[str, str]:
        document = json.loads((self.run / "key_file.json").read_text())
        return {kind: value["key"] for kind, value in document.items()}

    def ask(self, token: str | None = None, **headers: str) -> requests.Response:
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        return requests.post(
            f"{self.url}{PREDICT}",
            data=BODY,
            headers={"Content-Type": "application/json", **headers},
            verify=self.ca,
            timeout=30,
        )

    def manage(self, method: str, path: str, token: str | None = None) -> requests.Response:
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        url = f"http://127.0.0.1:{self.port + 1}{path}"
        return requests.request(method, url, headers=headers, timeout=30)


@pytest.fixture(scope="module")
def serve_production(
    start: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Production]:
    """Start it with other properties; it may not answer yet."""
    folder = tmp_path_factory.mktemp("tls")
    authority = trustme.CA()
    # TorchServe takes RSA keys only.
    certificate = authority.issue_cert("127.0.0.1", "localhost", key_type=trustme.KeyType.RSA)
    authority.cert_pem.write_to_path(folder / "ca.crt")
    certificate.cert_chain_pems[0].write_to_path(folder / "tls.crt")
    key = load_pem_private_key(certificate.private_key_pem.bytes(), None)
    (folder / "tls.key").write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    )
    (folder / "tls.key").chmod(0o600)

    def serve(**properties: str) -> Production:
        server = start(
            "production",
            properties={
                "private_key_file": str(folder / "tls.key"),
                "certificate_file": str(folder / "tls.crt"),
                **properties,
            },
            throttle={"anonymous": {"rate": 1000, "period_s": 1, "burst": 1000}},
        )
        return Production(server, folder / "ca.crt")

    return serve


@pytest.fixture(scope="module")
def production(serve_production: Callable[..., Production]) -> Production:
    production = serve_production()
    deadline_s, last = time.monotonic() + 120, ""
    while time.monotonic() < deadline_s:
        try:
            response = production.ask(production.read_tokens()["inference"])
            if response.status_code == 200:
                return production
            last = response.text
        except (OSError, ValueError) as error:
            last = str(error)  # No token yet, or nothing listens.
        time.sleep(0.5)
    pytest.fail(f"the model does not answer: {last}")


@pytest.mark.only("torchserve", TOKENS)
def test_production_answers_only_with_the_inference_token(production: Production) -> None:
    tokens = production.read_tokens()
    assert production.ask(tokens["inference"]).status_code == 200
    for token in (None, "", "x", tokens["management"], tokens["inference"][:-1]):
        response = production.ask(token)
        assert response.status_code in (400, 401, 403)
        assert "biological_age" not in response.text
        assert not any(key in response.text for key in tokens.values())
    assert (production.run / "key_file.json").stat().st_mode & 0o077 == 0


@pytest.mark.only("torchserve", TOKENS)
@pytest.mark.parametrize("content", ["", '{"management": {', '{"inference": {"key": "k"}}', "[]"])
def test_an_incomplete_file_of_tokens_is_an_error_that_says_so(
    production: Production, content: str
) -> None:
    keys = production.run / "key_file.json"
    before = keys.read_text()
    keys.write_text(content)
    try:
        with pytest.raises(
            ServerError, match=r"TorchServe's tokens cannot be read from .*key_file\.json"
        ):
            Management(production.run)
    finally:
        keys.write_text(before)


def read_expiry(production: Production, door: str) -> datetime.datetime:
    document = json.loads((production.run / "key_file.json").read_text())
    text = document[door]["expiration time"][:19]
    return datetime.datetime.fromisoformat(text).replace(tzinfo=datetime.timezone.utc)


@pytest.mark.only("torchserve", TOKENS)
def test_a_token_outlasts_the_hour_and_is_renewed_by_the_api_key(production: Production) -> None:
    now = datetime.datetime.now(datetime.timezone.utc)
    assert read_expiry(production, "inference") - now > datetime.timedelta(days=89)
    before = production.read_tokens()
    for token in (None, before["inference"], before["management"]):
        assert production.manage("GET", "/token?type=inference", token).status_code >= 400
    assert production.read_tokens() == before
    assert production.manage("GET", "/token?type=inference", before["API"]).status_code == 200
    after = production.read_tokens()
    assert after["inference"] != before["inference"]
    assert (after["management"], after["API"]) == (before["management"], before["API"])
    assert production.ask(before["inference"]).status_code == 400
    assert production.ask(after["inference"]).status_code == 200


@pytest.mark.only("torchserve", TOKENS)
def test_the_doctor_finds_a_healthy_server_healthy_and_an_ageing_token(
    production: Production,
) -> None:
    assert [status for status, _ in production.examine("ping", "tokens", "ready")] == ["ok"] * 4
    keys = production.run / "key_file.json"
    before = keys.read_text()
    now = datetime.datetime.now(datetime.timezone.utc)
    try:
        for left, expected in (
            (datetime.timedelta(days=8), "ok"),
            (datetime.timedelta(days=6), "warning"),
            (datetime.timedelta(hours=-1), "problem"),
        ):
            document = json.loads(before)
            document["inference"]["expiration time"] = (now + left).strftime("%Y-%m-%dT%H:%M:%SZ")
            keys.write_text(json.dumps(document))
            assert [status for status, _ in production.examine("tokens")] == [expected, "ok"]
        document["inference"]["key"] = "x"
        keys.write_text(json.dumps(document))
        assert production.examine("ping") == [
            ("problem", f"127.0.0.1:{production.port}/ping: status 400")
        ]
    finally:
        keys.write_text(before)


@pytest.mark.only("torchserve", TOKENS)
def test_versions_are_managed_after_the_token_has_expired(
    serve_production: Callable[..., Production],
) -> None:
    short = serve_production(token_expiration_min="0.05")
    deadline_s = time.monotonic() + 120
    while not short.examine("ready") or short.examine("ready")[0][0] != "ok":
        assert time.monotonic() < deadline_s
        time.sleep(0.5)
    # It is written with fractions of a second, which are not read.
    expires = read_expiry(short, "management") + datetime.timedelta(seconds=1)
    while expires > datetime.datetime.now(datetime.timezone.utc):
        time.sleep(0.1)
    expired = short.read_tokens()
    assert short.manage("GET", "/models/henaw", expired["management"]).status_code == 400
    assert len(Management(short.run).describe()) == 1
    assert short.read_tokens()["inference"] == expired["inference"]
    (_, inference), _ = short.examine("tokens")
    assert inference.endswith(": every client is refused")


@pytest.mark.only("torchserve", TOKENS)
def test_production_answers_only_tls(production: Production) -> None:
    with pytest.raises(requests.exceptions.SSLError):
        requests.get(production.url, timeout=10)  # Unknown authority: the certificate is used.
    plain = send_raw(production.url.replace("https", "http"), b"GET /ping HTTP/1.1\r\n\r\n")
    assert b"200" not in plain[:15]
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
    old.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
    with (
        socket.create_connection(("127.0.0.1", production.port), timeout=10) as connection,
        pytest.raises((ssl.SSLError, OSError)),
    ):
        old.wrap_socket(connection)


@pytest.mark.only("torchserve", TOKENS)
def test_production_is_not_managed_without_the_token(production: Production) -> None:
    tokens = production.read_tokens()
    for token in (None, "x", tokens["inference"]):
        assert production.manage("GET", "/models", token).status_code in (400, 401, 403)
    assert production.manage("GET", "/models", tokens["management"]).status_code == 200


@pytest.mark.only("torchserve", TOKENS)
def test_production_changes_no_models_even_with_the_token(production: Production) -> None:
    token = production.read_tokens()["management"]
    for method, path in (
        ("POST", "/models?url=https://example.org/evil.mar"),
        ("POST", "/models?url=file:///etc/passwd"),
        ("DELETE", "/models/henaw"),
    ):
        assert production.manage(method, path, token).status_code in (400, 403, 405)
    assert production.ask(production.read_tokens()["inference"]).status_code == 200


@pytest.mark.only("torchserve", TOKENS)
def test_a_key_that_was_not_issued_has_no_rate_of_its_own(production: Production) -> None:
    response = production.ask(production.read_tokens()["inference"], **{"X-API-Key": "made up"})
    assert response.headers["RateLimit-Limit"] == "1000"
