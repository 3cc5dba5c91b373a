"""The shipped production configuration on the native engine: TLS, keys and management."""

import contextlib
import functools
import hashlib
import json
import socket
import ssl
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
import trustme

pytestmark = pytest.mark.only("native", "TorchServe's own are in test_security.py")

PERSON: dict[str, Any] = {"age": 54, "sex": "female", "biomarkers": {"crp": 1.2}}
BODY = json.dumps(PERSON).encode()
PREDICT = "/predictions/henaw"
PROBLEM = "application/problem+json"


def write_keys(path: Path, *keys: str) -> None:
    """Replace a file as Kubernetes does: the path leads to another file."""
    digests = [f"{hashlib.sha256(key.encode()).hexdigest()} a name\n" for key in keys]
    new = path.with_name("new")
    new.write_text("# clients\n\n" + "".join(digests))
    new.replace(path)


class Production:
    """The shipped production configuration, with a certificate and a file of keys."""

    def __init__(self, start: Callable[..., Any], folder: Path) -> None:
        self.folder = folder
        self.authority = trustme.CA()
        self.authority.cert_pem.write_to_path(folder / "ca.crt")
        self.issue()
        self.keys = folder / "keys"
        write_keys(self.keys, "first")
        generous = {"rate": 1000, "period_s": 1, "burst": 1000}
        self.server = start(
            "production",
            native={
                "certificate": str(folder / "tls.crt"),
                "key": str(folder / "tls.key"),
                "header_s": 3.0,
                "body_s": 3.0,
            },
            throttle={"accepted_keys_file": str(self.keys), "keyed": generous},
        )
        self.port = urlsplit(self.server.record.url).port
        self.url = f"https://127.0.0.1:{self.port}"

    def issue(self, key_type: trustme.KeyType = trustme.KeyType.ECDSA) -> bytes:
        """Put a new certificate where the server's is; return it."""
        certificate = self.authority.issue_cert("127.0.0.1", "localhost", key_type=key_type)
        certificate.private_key_pem.write_to_path(self.folder / "tls.key")
        certificate.cert_chain_pems[0].write_to_path(self.folder / "tls.crt")
        return ssl.PEM_cert_to_DER_cert(certificate.cert_chain_pems[0].bytes().decode())

    def ask(self, path: str = PREDICT, **headers: str) -> requests.Response:
        return requests.post(
            f"{self.url}{path}",
            data=BODY,
            headers={"Content-Type": "application/json", **headers},
            verify=str(self.folder / "ca.crt"),
            timeout=30,
        )

    def shake_hands(self, context: ssl.SSLContext) -> tuple[str | None, str, bytes | None]:
        """Return the protocol, the cipher and the certificate of a new connection."""
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        with (
            socket.create_connection(("127.0.0.1", self.port), timeout=10) as connection,
            context.wrap_socket(connection) as wrapped,
        ):
            cipher = wrapped.cipher()
            assert cipher is not None
            return wrapped.version(), cipher[0], wrapped.getpeercert(binary_form=True)


@pytest.fixture(scope="module")
def production(start: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Production:
    return Production(start, tmp_path_factory.mktemp("tls"))


def test_tls_is_1_3_or_1_2_with_authenticated_ciphers(production: Production) -> None:
    assert production.shake_hands(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))[0] == "TLSv1.3"
    older = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    older.maximum_version = ssl.TLSVersion.TLSv1_2
    version, cipher, _ = production.shake_hands(older)
    assert version == "TLSv1.2"
    assert "GCM" in cipher or "CHACHA20" in cipher
    for weak in ("ECDHE+AES:!AESGCM:!AESCCM", "RSA+AESGCM", "ALL:!AESGCM:!CHACHA20:!AESCCM"):
        older.set_ciphers(f"{weak}:@SECLEVEL=0")
        with pytest.raises((ssl.SSLError, ConnectionError)):
            production.shake_hands(older)
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        older.minimum_version = older.maximum_version = ssl.TLSVersion.TLSv1_1
    older.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.raises((ssl.SSLError, ConnectionError)):
        production.shake_hands(older)


def test_a_client_that_does_not_finish_its_handshake_is_disconnected(
    production: Production,
) -> None:
    begin_s = time.monotonic()
    with socket.create_connection(("127.0.0.1", production.port), timeout=20) as connection:
        assert connection.recv(100) == b""
    assert time.monotonic() - begin_s < 8


def test_a_renewed_certificate_is_shown_without_a_restart(production: Production) -> None:
    def show() -> bytes | None:
        return production.shake_hands(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))[2]

    before = show()
    # A certificate without its key is not used yet; the earlier one stays.
    (production.folder / "tls.key").write_text("no key")
    time.sleep(1.5)
    assert show() == before
    for key_type in (trustme.KeyType.RSA, trustme.KeyType.ECDSA):
        renewed = production.issue(key_type)
        production.server.wait_until(functools.partial(lambda wanted: show() == wanted, renewed))
    assert production.ask(**{"X-API-Key": "first"}).status_code == 200


def test_only_clients_with_a_key_are_answered(production: Production) -> None:
    for headers in ({}, {"X-API-Key": "made up"}, {"Authorization": "Bearer made up"}):
        refused = production.ask(**headers)
        assert refused.status_code == 401
        assert refused.headers["Content-Type"] == PROBLEM
        assert refused.headers["WWW-Authenticate"] == "Bearer"
    for headers in ({"X-API-Key": "first"}, {"Authorization": "Bearer first"}):
        answered = production.ask(**headers)
        assert answered.status_code == 200
        assert answered.headers["RateLimit-Limit"] == "1000"
    probed = requests.get(
        f"{production.url}/ready", verify=str(production.folder / "ca.crt"), timeout=10
    )
    assert probed.json() == {"ready": True, "workers": 1, "problems": []}


def test_keys_are_added_and_removed_without_a_restart(production: Production) -> None:
    def accepts(key: str) -> bool:
        return production.ask(**{"X-API-Key": key}).status_code == 200

    write_keys(production.keys, "first", "second")
    production.server.wait_until(lambda: accepts("second"))
    assert accepts("first")
    production.keys.write_text("a key itself, put here by mistake\n")
    time.sleep(1.5)
    assert accepts("second")
    write_keys(production.keys, "second")
    production.server.wait_until(lambda: not accepts("first"))
    assert accepts("second")
    console = (production.server.run / "logs" / "console.log").read_text()
    assert "line 1 must begin with a SHA-256 digest" in console
    assert "by mistake" not in console
    write_keys(production.keys, "first")
    production.server.wait_until(lambda: accepts("first"))


def test_a_worker_that_is_replaced_has_the_keys_and_the_configuration_of_the_others(
    production: Production,
) -> None:
    (worker,) = production.server.list_workers()
    edited = production.server.run / "config" / "handler.yaml"
    before = edited.read_text()
    edited.write_text(before.replace("require_key: true", "require_key: false"))
    assert edited.read_text() != before
    production.keys.write_text("a key itself, put here by mistake\n")
    worker.kill()
    worker.wait()
    production.server.wait_until(production.server.list_workers)

    def ask(key: str) -> int | None:
        with contextlib.suppress(requests.ConnectionError):
            return production.ask(**{"X-API-Key": key}).status_code
        return None

    production.server.wait_until(lambda: ask("first") == 200)
    assert ask("made up") == 401
    edited.write_text(before)
    write_keys(production.keys, "first")


def test_production_is_managed_only_with_the_operators_key(production: Production) -> None:
    url = f"http://127.0.0.1:{production.port + 1}/models/henaw"
    assert requests.get(url, timeout=10).status_code == 401
    assert requests.get(url, headers={"X-API-Key": "first"}, timeout=10).status_code == 401
    key = (production.server.run / "operator.key").read_text()
    assert (production.server.run / "operator.key").stat().st_mode & 0o077 == 0
    assert requests.get(url, headers={"X-API-Key": key}, timeout=10).status_code == 200


@pytest.mark.parametrize("fields", [b"Connection: close\r\n", b""])
def test_a_client_that_does_not_read_is_disconnected(production: Production, fields: bytes) -> None:
    context = ssl.create_default_context(cafile=production.folder / "ca.crt")
    with socket.socket() as plain:
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        plain.connect(("127.0.0.1", production.port))
        with context.wrap_socket(plain, server_hostname="localhost") as connection:
            body = json.dumps({"instances": [PERSON] * 10_000}).encode()
            connection.sendall(
                f"POST {PREDICT} HTTP/1.1\r\nHost: x\r\nX-API-Key: first\r\n".encode()
                + fields
                + b"Content-Length: %d\r\n\r\n" % len(body)
                + body
            )
            connection.recv(1)
            connection.sendall(b"GET /ping HTTP/1.1\r\nHost: x\r\n\r\n")
            port = connection.getsockname()[1]
            assert production.server.is_connected(port)
            production.server.wait_until(lambda: not production.server.is_connected(port))
