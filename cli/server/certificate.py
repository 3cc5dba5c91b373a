"""The server's certificate, checked as a client checks it, without a network."""

from __future__ import annotations

import base64
import contextlib
import ssl
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

_PKCS8 = b"-----BEGIN PRIVATE KEY-----"
_PKCS1 = b"-----BEGIN RSA PRIVATE KEY-----"
_RSA = bytes.fromhex("06092a864886f70d010101")
"""The object identifier of RSA, which is near the beginning of a PKCS#8 key."""
_RSA_WITHIN_BYTES = 40


@dataclass(frozen=True, kw_only=True)
class Certificate:
    """A certificate's content.

    Attributes:
        names: the hosts it is for, DNS names first; may be empty.
        expires: when it becomes invalid.
    """

    names: tuple[str, ...]
    expires: datetime


def trust(certificate: Path) -> ssl.SSLContext:
    """Return a TLS context of a client that accepts this certificate only.

    Host names are not checked: this machine calls our own server on loopback, whatever name its
    clients use.

    Raises:
        OSError: the file cannot be read or is no certificate.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    # The certificate itself is trusted, whichever authority signed it.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.load_verify_locations(certificate)
    return context


def read_certificate(certificate: Path, key: Path) -> Certificate:
    """Read a certificate in a TLS handshake between a server with it and a client.

    Raises:
        ssl.SSLCertVerificationError: it is expired, not yet valid, or not for servers.
        OSError: a file cannot be read, or key and certificate do not match.
    """
    here = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    # With an empty password, an encrypted key is an error, not a question at the terminal.
    here.load_cert_chain(certificate, key, password=b"")
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = here.wrap_bio(to_server, to_client, server_side=True)
    client = trust(certificate).wrap_bio(to_client, to_server)
    for side in (client, server, client, server):
        # A side that needs more data waits for the other side.
        with contextlib.suppress(ssl.SSLWantReadError):
            side.do_handshake()
    # Empty only if the certificate was not verified.
    seen: dict[str, Any] = client.getpeercert() or {}
    names = [value for kind, value in seen.get("subjectAltName", ()) if kind == "DNS"]
    names += [value for kind, value in seen.get("subjectAltName", ()) if kind == "IP Address"]
    common = [value for part in seen["subject"] for kind, value in part if kind == "commonName"]
    return Certificate(
        names=tuple(names or common),
        expires=datetime.fromtimestamp(ssl.cert_time_to_seconds(seen["notAfter"]), timezone.utc),
    )


def find_key_problem(key: Path) -> str | None:
    """Return why TorchServe cannot read a private key; None if it can.

    Raises:
        OSError: the file cannot be read.
    """
    content = key.read_bytes().strip()
    first, _, rest = content.partition(b"\n")
    wanted = f"{key} must be an RSA key in PEM, unencrypted"
    if first == _PKCS1 and not rest.startswith(b"Proc-Type:"):
        return None  # TorchServe converts it to PKCS#8.
    if first != _PKCS8:
        # Only a PEM header may be shown: anything else may be the key.
        seen = first[:40].decode("ascii", errors="replace")
        return f"{wanted}; got {seen if seen.startswith('-----BEGIN ') else 'another format'}"
    try:
        head = base64.b64decode(b"".join(rest.splitlines()[:-1]))[:_RSA_WITHIN_BYTES]
    except ValueError:
        return f"{wanted}; the file is incomplete"
    return None if _RSA in head else f"{wanted}; got a key of another algorithm"
