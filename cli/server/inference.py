"""Requests to our own server from its own machine, with or without TLS and tokens."""

from __future__ import annotations

import http.client
import ssl
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from henaw.cli.server.certificate import read_certificate, trust
from henaw.cli.server.properties import are_tokens_asked_for, read_effective_properties
from henaw.cli.server.record import Record, ServerError, read_record
from henaw.cli.server.tokens import read_token
from henaw.handler.native.engine import OPERATOR_KEY_NAME


def find_own_address(host: str) -> str:
    """Return the address at which this machine reaches a server that listens on ``host``.

    Example:
        >>> find_own_address("0.0.0.0"), find_own_address("192.0.2.7")
        ('127.0.0.1', '192.0.2.7')
    """
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 -- nothing is bound


@dataclass(frozen=True, kw_only=True)
class Response:
    """An answer over HTTP.

    Attributes:
        status: the HTTP status.
        body: the bytes that the server sent.
    """

    status: int
    body: bytes


class Inference:
    """The inference address of the server that was started with a folder.

    Args:
        run: that folder.

    Raises:
        ServerError: its configuration or its certificate cannot be read.
    """

    def __init__(self, run: Path) -> None:
        self._run = run
        record = read_record(run)
        self.engine = "torchserve" if record is None else record.engine
        self._key: Path | None = None
        if record is not None and record.engine == "native":
            self._read_record(record)
        else:
            self._read_properties(run)

    def _read_record(self, record: Record) -> None:
        address = urlsplit(record.url)
        self.is_encrypted = record.certificate is not None
        self.certificate = None if record.certificate is None else Path(record.certificate)
        self._key = None if record.private_key is None else Path(record.private_key)
        self._context = _make_context(self.certificate) if self.is_encrypted else None
        host = address.hostname or ""
        self.host, self.port = find_own_address(host), address.port
        self.needs_token = record.needs_key

    def _read_properties(self, run: Path) -> None:
        try:
            properties = read_effective_properties(run)
            address = urlsplit(properties["inference_address"])
            named = properties.get("certificate_file")
            self.is_encrypted = address.scheme == "https"
            self.certificate = Path(named) if named and self.is_encrypted else None
            key = properties.get("private_key_file")
            self._key = Path(key) if key else None
            self._context = _make_context(self.certificate) if self.is_encrypted else None
        except (OSError, KeyError) as error:
            raise ServerError(
                f"the configuration of the server in {run} cannot be read: {error}"
            ) from error
        host = address.hostname or ""
        self.host, self.port = find_own_address(host), address.port
        self.needs_token = are_tokens_asked_for(properties)

    def find_name(self) -> str:
        """Return a host name to ask by: this machine's address, or a name of the certificate.

        The address is taken if the certificate lists it or has no names.

        Raises:
            OSError: there is no certificate, or it does not match its key.
        """
        if self.certificate is None or self._key is None:
            raise FileNotFoundError("certificate_file and private_key_file must both be set")
        names = read_certificate(self.certificate, self._key).names
        if self.host in names or not names:
            return self.host
        return names[0].replace("*", "henaw")

    def _read_token(self) -> dict[str, str]:
        if self.engine == "torchserve":
            return read_token(self._run, "inference").write_header()
        try:
            key = (self._run / OPERATOR_KEY_NAME).read_text(encoding="ascii")
        except OSError as error:
            raise ServerError(f"the operator's key cannot be read: {error}") from error
        return {"X-API-Key": key}

    def ask(self, method: str, path: str, body: str | None = None, *, timeout_s: float) -> Response:
        """Send one request, with the token if one is needed.

        Raises:
            ServerError: there is no token.
            ssl.SSLCertVerificationError: the server's certificate is another one, or has expired.
            OSError: the server does not answer.
            http.client.HTTPException: its answer is not HTTP.
        """
        headers = {} if body is None else {"Content-Type": "application/json"}
        if self.needs_token:
            headers |= self._read_token()
        connection = (
            http.client.HTTPConnection(self.host, self.port, timeout=timeout_s)
            if self._context is None
            else http.client.HTTPSConnection(
                self.host, self.port, timeout=timeout_s, context=self._context
            )
        )
        try:
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            return Response(status=response.status, body=response.read())
        finally:
            connection.close()


def _make_context(certificate: Path | None) -> ssl.SSLContext:
    if certificate is not None:
        return trust(certificate)
    # TorchServe has a key store or a self-made certificate, which cannot be checked.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
