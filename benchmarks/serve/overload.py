"""Overload: ten times as many clients as keep the server busy.

    python benchmarks/serve/overload.py [--seconds 10]

Each client asks about 100 people, waits for the answer and asks again, refused or not. wrk runs
most of the clients, since forty clients in Python would delay each other; two clients in Python
beside it measure what every client sees.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import http.client
import json
import tempfile
import time
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
from henaw.cli.server.example_request import EXAMPLE_PERSON
from load import Load
from load import press as press_with_wrk
from servers import export_shipped, serve_henaw

_BUSY = 4
"""So many clients keep one worker busy."""

_PROBES = 2

_BODY = json.dumps({"instances": [EXAMPLE_PERSON] * 100})


def ask(url: str, until_s: float) -> list[tuple[int, float, bool]]:
    """Ask until a time; return each status, its milliseconds, and if it has ``Retry-After``."""
    address = urlsplit(url)
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=30)
    seen = []
    while time.monotonic() < until_s:
        begin_s = time.perf_counter()
        connection.request("POST", address.path, _BODY, {"Content-Type": "application/json"})
        response = connection.getresponse()
        response.read()
        retry = response.getheader("Retry-After") is not None
        seen.append((response.status, (time.perf_counter() - begin_s) * 1e3, retry))
    connection.close()
    return seen


def press(url: str, clients: int, seconds: float) -> dict[str, float]:
    """Run so many clients, and summarise their answers."""
    until_s = time.monotonic() + seconds
    with concurrent.futures.ThreadPoolExecutor(clients) as pool:
        parts = pool.map(ask, [url] * clients, [until_s] * clients)
        seen = [one for part in parts for one in part]
    accepted = np.array([ms for status, ms, _ in seen if status == http.HTTPStatus.OK])
    refused = np.array([ms for status, ms, _ in seen if status != http.HTTPStatus.OK])
    return {
        "clients": clients,
        "accepted_s": len(accepted) / seconds,
        "accepted_p50_ms": float(np.percentile(accepted, 50)),
        "accepted_p99_ms": float(np.percentile(accepted, 99)),
        "refused_s": len(refused) / seconds,
        "refused_p99_ms": float(np.percentile(refused, 99)) if len(refused) else 0.0,
        "refused_without_retry_after": sum(
            status != 200 and not retry for status, _, retry in seen
        ),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=10)
    seconds = parser.parse_args().seconds
    with tempfile.TemporaryDirectory(prefix="henaw-overload-") as name:
        folder = Path(name)
        _, archive = export_shipped(folder)
        with serve_henaw(archive, folder) as running:
            press(running.url, _BUSY, seconds)
            report = {"alone": press(running.url, 1, seconds)}
            body = folder / "body.json"
            body.write_text(_BODY, encoding="utf-8")
            crowd = Load(name="crowd", body=body, connections=10 * _BUSY - _PROBES)
            with concurrent.futures.ThreadPoolExecutor(1) as pool:
                pressed = pool.submit(press_with_wrk, running.url, crowd, seconds + 2)
                time.sleep(1)
                report["in a crowd"] = press(running.url, _PROBES, seconds)
                report["the crowd"] = pressed.result()
            report["the second after"] = press(running.url, 1, 1.0)
            print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
