"""The certificate that clients are shown, looked at as a client does, without a network."""

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
"""The object identifier of RSA, as it stands near the begin of a PKCS#8 key."""
_RSA_WITHIN_BYTES = 40


@dataclass(frozen=True, kw_only=True)
class Certificate:
    """What a certificate says.

    Attributes:
        names: the hosts it is for, DNS names first; may be none.
        expires: when it ends.
    """

    names: tuple[str, ...]
    expires: datetime


def trust(certificate: Path) -> ssl.SSLContext:
    """Return what takes this certificate for a server's, and no other.

    Whom it names is not looked at: a server of our own is asked on loopback, whatever
    name its clients know it by.

    Raises:
        OSError: the file cannot be read, or holds no certificate.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    # It is enough by itself: who signed it is the clients' to know.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.load_verify_locations(certificate)
    return context


def read_certificate(certificate: Path, key: Path) -> Certificate:
    """Have a server with this certificate and key shake hands with a client that trusts it.

    Raises:
        ssl.SSLCertVerificationError: it has expired, is not valid yet, or not for servers.
        OSError: a file cannot be read, or they do not fit each other.
    """
    here = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    # Without a password, one that needs one is an error and no question at the terminal.
    here.load_cert_chain(certificate, key, password=b"")
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = here.wrap_bio(to_server, to_client, server_side=True)
    client = trust(certificate).wrap_bio(to_client, to_server)
    for side in (client, server, client, server):
        # Where it wants more, it is the other's turn.
        with contextlib.suppress(ssl.SSLWantReadError):
            side.do_handshake()
    # Empty only of one that was not verified.
    seen: dict[str, Any] = client.getpeercert() or {}
    names = [value for kind, value in seen.get("subjectAltName", ()) if kind == "DNS"]
    names += [value for kind, value in seen.get("subjectAltName", ()) if kind == "IP Address"]
    common = [value for part in seen["subject"] for kind, value in part if kind == "commonName"]
    return Certificate(
        names=tuple(names or common),
        expires=datetime.fromtimestamp(ssl.cert_time_to_seconds(seen["notAfter"]), timezone.utc),
    )


def find_key_problem(key: Path) -> str | None:
    """Return why TorchServe could not read a private key; None where it can.

    Raises:
        OSError: the file cannot be read.
    """
    content = key.read_bytes().strip()
    first, _, rest = content.partition(b"\n")
    wanted = f"{key} must be an RSA key in PEM, unencrypted"
    if first == _PKCS1 and not rest.startswith(b"Proc-Type:"):
        return None  # TorchServe makes PKCS#8 of it.
    if first != _PKCS8:
        # Only a PEM header is shown: anything else may be the key itself.
        seen = first[:40].decode("ascii", errors="replace")
        return f"{wanted}; got {seen if seen.startswith('-----BEGIN ') else 'another format'}"
    try:
        head = base64.b64decode(b"".join(rest.splitlines()[:-1]))[:_RSA_WITHIN_BYTES]
    except ValueError:
        return f"{wanted}; the file is incomplete"
    return None if _RSA in head else f"{wanted}; got a key of another algorithm"
