"""Nothing that a client sends is in a file of the server or in its output."""

import contextlib
import json
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

MARK = "MARKED"
VALUES = ("31.4159", "66.7788", "271828")
"""As numbers, which need no letters around them."""

PERSON: dict[str, Any] = {
    "age": 54,
    "sex": "female",
    "participant_id": f"{MARK}-ID",
    "biomarkers": {"crp": 31.4159, "albumin": 45},
}
BODIES: list[bytes] = [
    json.dumps(body).encode()
    for body in (
        PERSON,
        {"instances": [PERSON, PERSON]},
        {**PERSON, f"{MARK}-FIELD": f"{MARK}-VALUE"},
        {**PERSON, "age": f"{MARK}-AGE"},
        {**PERSON, "biomarkers": {"crp": 271828, f"{MARK}-NAME": 66.7788}},
        {**PERSON, "biomarkers": {"crp": {"value": 66.7788, "unit": f"{MARK}-UNIT"}}},
        {"inputs": [{"name": f"{MARK}-TENSOR", "datatype": "FP32", "data": [66.7788]}]},
        {"id": f"{MARK}-ID", "inputs": f"{MARK}-INPUTS"},
    )
]  # fmt: skip
BODIES += [
    f'{{"participant_id": "{MARK}-BROKEN", "crp": 31.4159'.encode(),
    f'{{"{MARK}-TWICE": 66.7788, "{MARK}-TWICE": 66.7788}}'.encode(),
    f"{MARK}-NO-JSON 31.4159".encode(),
    b'{"a": "\xff' + f'{MARK}-BYTES"}}'.encode(),
    b"[" * 4000 + f'"{MARK}-DEEP"'.encode(),
    b'{"instances": [' + f'"{MARK}",'.encode() * 11_000 + b"7]}",
]
HEADERS: list[dict[str, str]] = [
    {},
    {"X-API-Key": f"{MARK}-KEY"},
    {"User-Agent": f"{MARK}-AGENT", "Referer": f"http://{MARK}.example", "Cookie": f"a={MARK}"},
    {"X-Request-Id": f"{MARK}-REQUEST", "X-Forwarded-For": f"{MARK}-FOR"},
    {"Content-Type": f"text/{MARK}"},
    {"Content-Type": f"multipart/form-data; boundary={MARK}"},
    {"Content-Encoding": f"{MARK}"},
]
PATHS = (
    "predictions/henaw",
    "explanations/henaw",
    f"predictions/henaw?patient={MARK}-QUERY",
    f"predictions/{MARK}-MODEL",
    f"predictions/henaw/{MARK}-VERSION",
    f"{MARK}-PATH",
)


@pytest.fixture(params=["local", "production"])
def run(
    request: pytest.FixtureRequest,
    start: Callable[..., Any],
    stop_engine: Callable[[Path], None],
    tmp_path: Path,
) -> Iterator[Path]:
    """A server in a shipped configuration, with a certificate where it wants one."""
    properties, native = {}, {}
    if request.param == "production":
        if shutil.which("openssl") is None:
            pytest.skip("no openssl to make a certificate with")
        key, certificate = tmp_path / "tls.key", tmp_path / "tls.crt"
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost",
             "-keyout", str(key), "-out", str(certificate)],
            check=True, capture_output=True,
        )  # fmt: skip
        properties = {"private_key_file": str(key), "certificate_file": str(certificate)}
        native = {"key": str(key), "certificate": str(certificate)}
    # A rate that lets the requests pass the throttle.
    generous = {"rate": 1000, "period_s": 1, "burst": 2000}
    # The operator's key has the rate of keys.
    throttle = {"anonymous": generous, "keyed": generous}
    server = start(request.param, properties=properties, native=native, throttle=throttle)
    url = server.record.url.replace("0.0.0.0", "127.0.0.1")  # Every interface.
    (server.run / "url").write_text(url)
    yield server.run
    stop_engine(server.run)


def ask(session: requests.Session, run: Path, path: str, **options: Any) -> int | None:
    """Return the status; None where the connection was closed instead."""
    with contextlib.suppress(requests.ConnectionError, requests.ReadTimeout):
        url = (run / "url").read_text()
        return session.post(f"{url}/{path}", timeout=10, verify=False, **options).status_code
    return None


@pytest.mark.filterwarnings("ignore:Unverified HTTPS request")
def test_nothing_that_is_sent_is_in_any_file(
    run: Path, engine: str, stop_engine: Callable[[Path], None]
) -> None:
    session = requests.Session()
    json_type = {"Content-Type": "application/json"}
    keys, operator = run / "key_file.json", run / "operator.key"
    if operator.is_file():
        session.headers["Authorization"] = f"Bearer {operator.read_text()}"
    deadline_s = time.monotonic() + 120
    while ask(session, run, PATHS[0], data=BODIES[0], headers=json_type) != 200:
        # TorchServe creates the file before it writes it.
        if keys.is_file() and (written := keys.read_text()).endswith("}"):
            token = json.loads(written)["inference"]["key"]
            session.headers["Authorization"] = f"Bearer {token}"
        assert time.monotonic() < deadline_s
        time.sleep(0.2)
    statuses = {
        ask(session, run, PATHS[0], data=body, headers={**json_type, **headers})
        for body in BODIES
        for headers in HEADERS
    }
    assert {200, 400, 413, 415, 422} <= statuses
    for path in PATHS:
        ask(session, run, path, data=BODIES[0], headers=json_type)
    session.headers["Authorization"] = f"Bearer {MARK}-TOKEN"
    ask(session, run, PATHS[0], data=BODIES[0], headers=json_type)
    stop_engine(run)

    logs = run / "logs"
    assert b'"event":"request"' in (logs / "requests.0.log").read_bytes()
    searched = {path for path in run.rglob("*") if path.is_file()}
    # These two files have the whole output.
    printed = {"console.log", "monitor.log"} if engine == "torchserve" else {"console.log"}
    assert {logs / name for name in printed} <= searched
    for path in searched:
        content = path.read_bytes()
        for sent in (MARK, *VALUES):
            assert sent.encode() not in content, f"{sent} in {path.relative_to(run)}"
