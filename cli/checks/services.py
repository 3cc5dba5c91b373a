"""Checks of the server, its monitor, its ports and Redis."""

from __future__ import annotations

import http.client
import json
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from henaw.cli.checks.results import CheckResult, fail, note, warn
from henaw.cli.server.inference import Inference
from henaw.cli.server.record import ServerError

_TIMEOUT_S = 5.0


def check_redis(url: str) -> CheckResult:
    """Ask Redis whether it answers."""
    import redis

    parts = urlsplit(url)
    # The URL without its secrets.
    where = f"{parts.scheme}://{parts.hostname or ''}{f':{parts.port}' if parts.port else ''}"
    where += parts.path
    try:
        with redis.Redis.from_url(
            url, socket_timeout=_TIMEOUT_S, socket_connect_timeout=_TIMEOUT_S
        ) as client:
            client.ping()
    except (redis.RedisError, OSError, ValueError) as error:
        return warn(
            "redis",
            f"{where}: {type(error).__name__}",
            "start Redis, or correct throttle.redis; until then each host applies its own limit",
        )
    return note("redis", f"{where} answers")


def check_ports(taken: list[str], run: Path) -> Iterator[CheckResult]:
    """Report that no server runs, and which of its ports another program uses."""
    if taken:
        advice = "if it is a henaw server, give its folder with --run; otherwise stop that program"
        yield warn("ports", "; ".join(taken), advice)
    else:
        yield note("ports", "free")
    yield note("server", f"no server runs in {run}")


def ping(run: Path) -> CheckResult:
    """Ask the server itself whether it answers."""
    try:
        inference = Inference(run)
        where = f"{inference.host}:{inference.port}/ping"
        answer = inference.ask("GET", "/ping", timeout_s=_TIMEOUT_S)
    except ssl.SSLCertVerificationError as error:
        return fail(
            "ping", f"{where}: {error.verify_message}", "start the server with this certificate"
        )
    except (OSError, http.client.HTTPException, ServerError) as error:
        return fail(
            "ping", str(error), "the front end does not respond: henaw stop, then henaw serve"
        )
    if answer.status == http.HTTPStatus.OK:
        return note("ping", f"{where} answers")
    return fail("ping", f"{where}: status {answer.status}", "read ts_log.log and check the tokens")


def ask_monitor(url: str, advice: str) -> CheckResult:
    """Ask the monitor whether the server is ready; ``advice`` says what to do if it is not."""
    try:
        with urllib.request.urlopen(url, timeout=_TIMEOUT_S):  # noqa: S310 -- always http
            return note("ready", f"{url} answers")
    except urllib.error.HTTPError as error:
        said = error.read().decode(errors="replace")
        try:
            said = "; ".join(json.loads(said)["problems"])
        except (ValueError, LookupError, TypeError):
            said = f"status {error.code}"
        return fail("ready", f"{url}: {said}", advice)
    except OSError as error:
        return fail("ready", f"{url}: {error}", advice)
