"""Checks of the certificate, keys, tokens and secret files of a deployment."""

from __future__ import annotations

import ssl
import stat
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path

from henaw.cli.checks.results import CheckResult, fail, note, warn
from henaw.cli.server.certificate import find_key_problem, read_certificate
from henaw.cli.server.inference import Inference
from henaw.cli.server.record import ServerError
from henaw.cli.server.tokens import TOKEN_KINDS, read_token
from henaw.handler.configuration import HandlerConfiguration
from henaw.handler.throttle.client_keys import read_digests
from henaw.model.errors import ConfigurationError

_CERTIFICATE_WARNING = timedelta(days=30)
_TOKEN_WARNING = timedelta(days=7)
_RENEW = "renew it and give it to the clients, as docs/operations.md says"


def check_certificate(properties: dict[str, str]) -> Iterator[CheckResult]:
    """Check TorchServe's certificate and key, if they are configured."""
    certificate, key = (properties.get(n) for n in ("certificate_file", "private_key_file"))
    if not certificate or not key:
        return
    advice = f"put a certificate at {certificate} and its RSA key, PKCS#8, at {key}"
    try:
        problem = find_key_problem(Path(key))
    except OSError as error:
        problem = str(error)
    if problem is not None:
        yield fail("certificate", problem, advice)
        return
    yield from check_pair(Path(certificate), Path(key))


def check_pair(certificate: Path, key: Path) -> Iterator[CheckResult]:
    """Check that a certificate is valid and matches its key."""
    advice = f"put a certificate at {certificate} and its key at {key}"
    try:
        seen = read_certificate(certificate, key)
    except ssl.SSLCertVerificationError as error:
        yield fail("certificate", f"{certificate}: {error.verify_message}", advice)
    except OSError as error:
        yield fail("certificate", str(error), advice)
    else:
        left = seen.expires - datetime.now(timezone.utc)
        said = f"{certificate} for {', '.join(seen.names)} expires on {seen.expires:%Y-%m-%d}"
        if left < _CERTIFICATE_WARNING:
            yield warn("certificate", said, "replace it, and restart the server")
        else:
            yield note("certificate", f"{said}; its key matches")


def check_secrets(secrets: Iterable[Path], *, pod: bool) -> Iterator[CheckResult]:
    """Check who may read the secret files; in a pod their group may."""
    for path in secrets:
        if path.exists():
            mode = stat.S_IMODE(path.stat().st_mode)
            if mode & (0o007 if pod else 0o077):
                yield fail("permissions", f"{path} is {mode:o}", f"chmod 600 {path}")
            else:
                yield note("permissions", f"{path} is {mode:o}")


def check_client_keys(handler: HandlerConfiguration) -> Iterator[CheckResult]:
    """Count the issued client keys."""
    named = handler.throttle.accepted_keys_file
    count = len(handler.throttle.accepted_keys or ())
    try:
        count += 0 if named is None else len(read_digests(Path(named)))
    except ConfigurationError as error:
        yield fail("keys", str(error), "correct the file: one SHA-256 digest a line")
        return
    if handler.native.require_key and not count:
        yield warn(
            "keys",
            "clients need a key, but no key was issued",
            "list key digests in throttle.accepted_keys or throttle.accepted_keys_file",
        )
    else:
        yield note("keys", f"{count} issued")


def check_tokens(run: Path) -> Iterator[CheckResult]:
    try:
        if not Inference(run).needs_token:
            return
        tokens = {kind: read_token(run, kind) for kind in TOKEN_KINDS}
    except ServerError as error:
        yield fail("tokens", str(error), "henaw stop, then henaw serve")
        return
    for kind, token in tokens.items():
        seen = f"{kind}: valid until {token.expires:%Y-%m-%d %H:%M} UTC"
        # The command that needs a management token renews it.
        if kind == "management" or token.expires - datetime.now(timezone.utc) > _TOKEN_WARNING:
            yield note("tokens", seen)
        elif token.is_expired():
            yield fail("tokens", f"{seen}: every client is refused", _RENEW)
        else:
            yield warn("tokens", seen, _RENEW)
