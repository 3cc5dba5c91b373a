"""The throttle of a real server with three workers."""

import concurrent.futures
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
import requests

PERSON = {"age": 54, "sex": "female", "biomarkers": {"crp": 1.2}}
ALLOWED = 100


def hammer(server: Any, key: str, times: int, *, threads: int = 4) -> list[requests.Response]:
    """Send requests as one client, over several connections at the same time."""

    def ask(_: int) -> requests.Response:
        response: requests.Response = server.post(PERSON, headers={"X-API-Key": key})
        return response

    with concurrent.futures.ThreadPoolExecutor(threads) as pool:
        return list(pool.map(ask, range(times)))


def count(responses: list[requests.Response]) -> tuple[int, int]:
    statuses = [response.status_code for response in responses]
    assert set(statuses) <= {200, 429}
    return statuses.count(200), statuses.count(429)


def test_four_clients_have_exactly_their_rate_each(swift: Any) -> None:
    with concurrent.futures.ThreadPoolExecutor(4) as clients:
        asked = [clients.submit(hammer, swift, f"client-{n}", 150) for n in range(4)]
    assert [count(future.result()) for future in asked] == [(ALLOWED, 50)] * 4
    assert len(swift.list_workers()) == 3


def test_a_client_that_keeps_asking_waits_no_longer_and_slows_no_other(swift: Any) -> None:
    first = hammer(swift, "hammerer", ALLOWED + 1, threads=1)[-1]
    done = threading.Event()

    def go_on() -> None:
        while not done.is_set():
            swift.post(PERSON, headers={"X-API-Key": "hammerer"})

    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        pool.submit(go_on)
        others = hammer(swift, "calm", ALLOWED)
        done.set()
    assert count(others) == (ALLOWED, 0)
    last = swift.post(PERSON, headers={"X-API-Key": "hammerer"})
    assert int(last.headers["Retry-After"]) <= int(first.headers["Retry-After"])


def harm(swift: Any, how: Callable[[Any], object]) -> list[int]:
    """Damage the store's file while the server runs."""
    store = swift.run / "throttle.sqlite3"
    statuses = [r.status_code for r in hammer(swift, f"{how}", 20)]
    how(store)
    return statuses + [r.status_code for r in hammer(swift, f"{how}", 60)]


def test_removing_or_damaging_the_store_fails_no_request(swift: Any) -> None:
    for how in (
        lambda store: store.unlink(),
        lambda store: store.write_bytes(b"no database" * 4000),
        lambda store: store.write_bytes(b""),
    ):
        assert set(harm(swift, how)) == {200}
    # Each worker uses its own buckets for a second; then all share one file again.
    shared = []
    for attempt in range(20):
        shared.append(count(hammer(swift, f"after-{attempt}", 150)))
        if shared[-1] == (ALLOWED, 50):
            return
        time.sleep(0.2)
    pytest.fail(f"the workers do not share a bucket again: {shared}")
