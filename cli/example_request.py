"""The request by which a start is proved, and that a newcomer is shown."""

from __future__ import annotations

import http.client
import json
import shlex
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from henaw.cli.torchserve_process import (
    Record,
    ServerError,
    find_refusal,
    find_server,
    read_log_tail,
)

EXAMPLE_PERSON: dict[str, Any] = {
    "age": 54,
    "sex": "female",
    "biomarkers": {
        "crp": 1.2,
        "hba1c": {"value": 5.4, "unit": "%"},
        "creatinine": {"value": 0.9, "unit": "mg/dL"},
        "albumin": 45,
        "lymphocyte_pct": 29,
        "rdw": 13.1,
        "ggt": 22,
        "ast": 24,
        "alt": 20,
    },
}

_READY_TIMEOUT_S = 180.0
_POLL_S = 0.2
_ATTEMPT_TIMEOUT_S = 2.0
"""Short: TorchServe keeps a request waiting for as long as its worker fails to start."""


def wait_for_answer(record: Record, run: Path) -> dict[str, Any]:
    """Ask about the example person until the model answers.

    Raises:
        ServerError: the server ended, its worker refused to serve, or time ran out;
            with the logs' last lines.
    """
    address = urlsplit(record.url)
    deadline_s = time.monotonic() + _READY_TIMEOUT_S
    while time.monotonic() < deadline_s:
        connection = http.client.HTTPConnection(
            address.hostname or "", address.port, timeout=_ATTEMPT_TIMEOUT_S
        )
        try:
            connection.request(
                "POST",
                "/predictions/henaw",
                json.dumps(EXAMPLE_PERSON),
                {"Content-Type": "application/json"},
            )
            response = connection.getresponse()
            body = response.read()
            if response.status == http.HTTPStatus.OK:
                answer: dict[str, Any] = json.loads(body)
                return answer
        except (OSError, http.client.HTTPException):
            pass  # It does not listen yet.
        finally:
            connection.close()
        refusal = find_refusal(run)
        if refusal is not None:
            raise ServerError(f"the model refused to start: {refusal}")
        if find_server(run) is None:
            break
        time.sleep(_POLL_S)
    raise ServerError("the model does not answer:\n" + read_log_tail(run))


def write_curl(record: Record) -> str:
    """Return a line that asks the same in any shell."""
    body = json.dumps(EXAMPLE_PERSON)
    return (
        f"curl -s {record.url}/predictions/henaw"
        f" -H 'Content-Type: application/json' -d {shlex.quote(body)}"
    )
