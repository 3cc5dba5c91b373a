"""The example request that proves a start and is printed for a first try."""

from __future__ import annotations

import http.client
import json
import shlex
import ssl
import time
from pathlib import Path
from typing import Any

from henaw.cli.server.inference import Inference
from henaw.cli.server.record import Record, ServerError, find_server
from henaw.cli.server.tokens import FILE_NAME
from henaw.cli.server.torchserve import find_refusal, read_log_tail
from henaw.handler.native.engine import OPERATOR_KEY_NAME

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

_PATH = "/predictions/henaw"
_BODY = json.dumps(EXAMPLE_PERSON)
_READY_TIMEOUT_S = 180.0
_POLL_S = 0.2
_ATTEMPT_TIMEOUT_S = 2.0
"""Short, because TorchServe keeps a request waiting while its worker fails to start."""


def wait_for_answer(record: Record, run: Path) -> dict[str, Any]:
    """Send the example request until the model answers.

    Raises:
        ServerError: the server ended, its worker refused to serve, its certificate is not the
            configured one, or time ran out; the message has the last lines of the logs.
    """
    inference = Inference(run)
    deadline_s = time.monotonic() + _READY_TIMEOUT_S
    last = "nothing listens on its address"
    while time.monotonic() < deadline_s:
        try:
            answer = inference.ask("POST", _PATH, _BODY, timeout_s=_ATTEMPT_TIMEOUT_S)
            if answer.status == http.HTTPStatus.OK:
                document: dict[str, Any] = json.loads(answer.body)
                return document
            last = f"status {answer.status}"
        except ssl.SSLCertVerificationError as error:
            raise ServerError(
                f"{record.url} does not present the certificate in {inference.certificate}: "
                f"{error.verify_message}"
            ) from error
        except (OSError, http.client.HTTPException, ServerError) as error:
            last = str(error)  # The server does not listen yet, or has no token yet.
        refusal = find_refusal(run) if record.engine == "torchserve" else None
        if refusal is not None:
            raise ServerError(f"the model refused to start: {refusal}")
        if find_server(run) is None:
            break
        time.sleep(_POLL_S)
    raise ServerError(f"the model does not answer: {last}\n" + read_log_tail(run))


def write_curl(record: Record, run: Path) -> str:
    """Return a curl command that sends the example request from the server's machine."""
    inference = Inference(run)
    url, before, options = record.url, "", []
    if inference.needs_token and inference.engine == "native":
        before = f"printf 'X-API-Key: %s' \"$(cat {shlex.quote(str(run / OPERATOR_KEY_NAME))})\" | "
        options.append("-H @-")
    elif inference.needs_token:
        # Read at each call, so that the key is in no log and in no list of processes.
        pick = r'/"inference"/,/}/s/.*"key": "\(.*\)".*/Authorization: Bearer \1/p'
        before = f"sed -n {shlex.quote(pick)} {shlex.quote(str(run / FILE_NAME))} | "
        options.append("-H @-")
    if inference.certificate is not None:
        name = inference.find_name()
        url = f"https://{name}:{inference.port}"
        options.append(f"--cacert {shlex.quote(str(inference.certificate))}")
        if name != inference.host:
            options.append(f"--connect-to ::{inference.host}:")
    elif inference.is_encrypted:
        options.append("--insecure")
    words = ["curl -s", *options, f"{url}{_PATH}", "-H 'Content-Type: application/json' -d"]
    return f"{before}{' '.join(words)} {shlex.quote(_BODY)}"
