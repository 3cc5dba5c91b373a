"""Single requests that come faster than they are answered."""

import http.client
import json
import time
from collections import Counter
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from henaw.cli.server.example_request import wait_for_answer

PERSON = json.dumps({"age": 54, "sex": "female", "biomarkers": {"crp": 1.2}})
AT_ONCE = 600


def test_the_handler_refuses_requests_before_the_engine_does(start: Callable[..., Any]) -> None:
    server = start("local", limits={"batch_s": 0.004})
    wait_for_answer(server.record, server.run)
    (worker,) = server.list_workers()
    host = urlsplit(server.record.url).netloc
    connections = [http.client.HTTPConnection(host, timeout=60) for _ in range(AT_ONCE)]
    worker.suspend()
    try:
        for connection in connections:
            headers = {"Content-Type": "application/json"}
            connection.request("POST", "/predictions/henaw", PERSON, headers)
        time.sleep(1)
    finally:
        worker.resume()
    seen: Counter[tuple[int, str | None, str | None]] = Counter()
    for connection in connections:
        response = connection.getresponse()
        response.read()
        headers = response.headers
        seen[response.status, headers["Content-Type"], headers["Retry-After"]] += 1
        connection.close()
    assert seen[200, "application/json", None] > 0
    refused = (503, "application/problem+json", "1")
    assert set(seen) <= {(200, "application/json", None), refused}
