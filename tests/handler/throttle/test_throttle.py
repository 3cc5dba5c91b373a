import errno
import hashlib
import itertools
import math
import os
import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from henaw.handler.configuration import Bucket, ThrottleConfiguration
from henaw.handler.throttle import store as throttle_store
from henaw.handler.throttle.throttle import Client, Throttle

SECOND_NS = 1_000_000_000
START_NS = 1_800_000_000 * SECOND_NS


class Clock:
    """The wall clock, set by hand."""

    def __init__(self) -> None:
        self.now_ns = START_NS

    def __call__(self) -> int:
        return self.now_ns

    def advance(self, seconds: float) -> None:
        self.now_ns += round(seconds * SECOND_NS)


def configure(rate: int = 10, period_s: float = 60, burst: int = 10) -> ThrottleConfiguration:
    bucket = Bucket(rate=rate, period_s=period_s, burst=burst)
    return ThrottleConfiguration(anonymous=bucket, accepted_keys=None)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.mark.parametrize(
    ("rate", "period_s", "burst"), [(10, 60, 10), (600, 60, 600), (1000, 1, 2000), (7, 3, 5)]
)
def test_a_rested_client_may_spend_exactly_its_burst(
    tmp_path: Path, rate: int, period_s: float, burst: int
) -> None:
    store, clock = tmp_path / "throttle.sqlite3", Clock()
    throttle = Throttle(configure(rate, period_s, burst), store, clock_ns=clock)
    client = throttle.identify({})
    decisions = [throttle.admit(client) for _ in range(burst + 3)]
    assert [d.allowed for d in decisions] == [True] * burst + [False] * 3
    assert [d.remaining for d in decisions[:burst]] == list(range(burst - 1, -1, -1))
    clock.advance(period_s)
    assert sum(throttle.admit(client).allowed for _ in range(2 * burst + rate)) == min(rate, burst)


def test_hammering_does_not_lengthen_the_wait(clock: Clock) -> None:
    throttle = Throttle(configure(), None, clock_ns=clock)
    client = throttle.identify({})
    for _ in range(10):
        throttle.admit(client)
    for _ in range(59):
        assert throttle.admit(client).retry_after_s <= 6
        clock.advance(0.1)
    clock.advance(0.1)
    assert throttle.admit(client).allowed


@pytest.mark.parametrize("name", [None, "throttle.sqlite3"])
def test_hammering_with_bulk_requests_does_not_lengthen_the_wait(
    tmp_path: Path, clock: Clock, name: str | None
) -> None:
    """A bulk request takes one token before its body is read, and the rest after."""
    store = None if name is None else tmp_path / name
    throttle = Throttle(configure(rate=600, burst=600), store, clock_ns=clock)
    client = throttle.identify({})
    assert throttle.admit(client, 500.0).allowed
    for tenth in range(100):
        assert throttle.admit_all([client])[0].allowed
        refused = throttle.admit(client, 199.0, spent=1.0)
        # A hundred tokens are missing, and ten come in each second.
        assert (refused.allowed, refused.remaining) == (False, 100 + tenth)
        assert refused.retry_after_s == math.ceil(10 - tenth / 10)
        clock.advance(0.1)
    assert throttle.admit_all([client])[0].allowed
    passed = throttle.admit(client, 199.0, spent=1.0)
    assert (passed.allowed, passed.remaining) == (True, 0)


def test_returned_tokens_fill_no_bucket_beyond_its_burst(clock: Clock) -> None:
    throttle = Throttle(configure(), None, clock_ns=clock)
    client = throttle.identify({})
    throttle.admit(client)
    clock.advance(7)  # It is full again.
    assert not throttle.admit(client, 11.0, spent=1.0).allowed
    assert sum(throttle.admit(client).allowed for _ in range(20)) == 10


def test_the_announced_wait_is_long_enough(clock: Clock) -> None:
    throttle = Throttle(configure(), None, clock_ns=clock)
    client = throttle.identify({})
    assert throttle.admit(client, 9.0).allowed
    refused = throttle.admit(client, 4.0)
    assert (refused.allowed, refused.remaining, refused.retry_after_s) == (False, 1, 18)
    clock.advance(refused.retry_after_s - 1)
    assert not throttle.admit(client, 4.0).allowed
    clock.advance(1)
    assert throttle.admit(client, 4.0).allowed


def test_what_is_not_given_back_is_in_the_announced_wait(clock: Clock) -> None:
    throttle = Throttle(configure(), None, clock_ns=clock)
    client = throttle.identify({})
    assert throttle.admit(client, 4.0).allowed
    assert throttle.admit(client, 3.0).allowed
    refused = throttle.admit(client, 5.0, spent=3.0, gives_back=False)
    assert (refused.allowed, refused.remaining, refused.retry_after_s) == (False, 3, 30)
    clock.advance(refused.retry_after_s - 1)
    assert not throttle.admit(client, 8.0).allowed
    clock.advance(1)
    assert throttle.admit(client, 8.0).allowed


@pytest.mark.parametrize("cost", [0.05, 0.1, 0.3])
def test_as_many_people_may_be_asked_about_as_the_burst_pays_for(cost: float) -> None:
    throttle = Throttle(ThrottleConfiguration(cost_per_instance=cost), None)
    most = throttle.find_most_people(throttle.identify({}))
    assert most == {0.05: 200, 0.1: 100, 0.3: 33}[cost]
    assert throttle.admit(throttle.identify({}), throttle.find_cost(int(most))).allowed


def test_a_cost_beyond_the_bucket_is_never_admitted(clock: Clock) -> None:
    throttle = Throttle(configure(), None, clock_ns=clock)
    assert not throttle.admit(throttle.identify({}), 11.0).allowed
    assert throttle.admit(throttle.identify({}), 10.0).allowed


def test_each_client_has_its_own_bucket(clock: Clock) -> None:
    known = hashlib.sha256(b"issued").hexdigest()
    throttle = Throttle(
        ThrottleConfiguration(proxy_header="x-real-ip", accepted_keys=frozenset({known})),
        None,
        clock_ns=clock,
    )
    clients = [
        throttle.identify({}),
        throttle.identify({"x-api-key": "issued"}),
        throttle.identify({"x-real-ip": "10.0.0.1"}),
        throttle.identify({"x-real-ip": "10.0.0.2"}),
    ]
    assert len({client.digest for client in clients}) == 4
    assert [client.bucket.rate for client in clients] == [10, 600, 10, 10]
    # A key that was not issued counts as none.
    assert throttle.identify({"x-api-key": "made up"}) == clients[0]
    assert throttle.identify({"x-api-key": "made up", "x-real-ip": "10.0.0.1"}) == clients[2]


def test_keys_are_not_stored(tmp_path: Path) -> None:
    throttle = Throttle(configure(), tmp_path / "throttle.sqlite3")
    throttle.admit(throttle.identify({"x-api-key": "MARKED-KEY"}))
    content = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert b"MARKED-KEY" not in content
    assert hashlib.sha256(b"MARKED-KEY").digest() in content


def test_a_restarted_worker_finds_the_earlier_buckets(tmp_path: Path, clock: Clock) -> None:
    store = tmp_path / "throttle.sqlite3"
    for worker in range(4):
        throttle = Throttle(configure(), store, clock_ns=clock)
        allowed = [throttle.admit(throttle.identify({})).allowed for _ in range(4)]
        assert sum(allowed) == (4, 4, 2, 0)[worker]


SPEND = """
import sys
from pathlib import Path
from henaw.handler.configuration import Bucket, ThrottleConfiguration
from henaw.handler.throttle.throttle import Throttle

store, times, together = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
bucket = Bucket(rate=1, period_s=3600, burst=500)
throttle = Throttle(ThrottleConfiguration(anonymous=bucket), store)
client = throttle.identify({})
sys.stdin.readline()
batches = [throttle.admit_all([client] * together) for _ in range(times)]
print(sum(admission.allowed for batch in batches for admission in batch))
"""


@pytest.mark.parametrize(("times", "together"), [(300, 1), (20, 15)])
def test_several_workers_allow_exactly_the_number(
    tmp_path: Path, times: int, together: int
) -> None:
    store = tmp_path / "throttle.sqlite3"
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", SPEND, str(store), str(times), str(together)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.write("go\n")
        worker.stdin.flush()
    allowed = [int(worker.communicate(timeout=60)[0]) for worker in workers]
    assert sum(allowed) == 500


def test_a_batch_is_decided_as_its_requests_one_by_one(tmp_path: Path, clock: Clock) -> None:
    names = [*"ccccccdd", "a", "b", "", "a", "a", "b", "a", "", "a", "a", "b", "d", "d", "d"]
    one_by_one, together = (
        Throttle(configure(burst=4), tmp_path / name, clock_ns=clock) for name in ("one", "all")
    )
    for _ in range(3):
        clients = [one_by_one.identify({"x-api-key": name}) for name in names]
        clients = [replace(c, bucket=one_by_one.identify({}).bucket) for c in clients]
        seen = together.admit_all(clients)
        assert seen == [one_by_one.admit(client) for client in clients]
        assert {admission.allowed for admission in seen} == {True, False}
        clock.advance(7)
    assert together.admit_all([]) == []


def test_if_a_store_fails_the_next_one_decides_on_the_whole_batch(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = tmp_path / "throttle.sqlite3"
    throttle = Throttle(configure(), store, clock_ns=clock)
    client = throttle.identify({})
    throttle.admit(client)
    decide, calls = throttle_store._decide, itertools.count()

    def fail_once(*demand: Any) -> throttle_store.Decision:
        if next(calls) == 8:
            raise sqlite3.OperationalError("database or disk is full")
        return decide(*demand)

    with monkeypatch.context() as patched:
        patched.setattr(throttle_store, "_decide", fail_once)
        admissions = throttle.admit_all([client] * 15)
    assert [a.allowed for a in admissions] == [True] * 10 + [False] * 5
    assert throttle.fallbacks == 15
    # Nothing of the batch was left in the store that failed.
    fresh = Throttle(configure(), store, clock_ns=clock)
    assert [a.allowed for a in fresh.admit_all([client] * 12)] == [True] * 9 + [False] * 3


def test_expired_clients_are_forgotten(tmp_path: Path, clock: Clock) -> None:
    store = tmp_path / "throttle.sqlite3"
    throttle = Throttle(configure(), store, clock_ns=clock)
    for number in range(50):
        throttle.admit(throttle.identify({"x-api-key": str(number)}))
    clock.advance(3600)
    throttle.admit(throttle.identify({}))
    with sqlite3.connect(store) as connection:
        assert connection.execute("SELECT COUNT(*) FROM bucket").fetchone() == (1,)
    connection.close()


def test_a_clock_set_back_locks_no_client_out(clock: Clock) -> None:
    throttle = Throttle(configure(), None, clock_ns=clock)
    client = throttle.identify({})
    assert throttle.admit(client).allowed
    clock.advance(-86_400)
    assert [throttle.admit(client).allowed for _ in range(11)] == [True] * 10 + [False]
    clock.advance(6)
    assert throttle.admit(client).allowed


def damage_content(store: Path) -> None:
    store.write_bytes(b"not a database at all, but long enough to look like one" * 200)


def remove(store: Path) -> None:
    store.unlink()


def make_a_folder(store: Path) -> None:
    store.unlink()
    store.mkdir()


@pytest.mark.parametrize("harm", [damage_content, remove])
def test_a_damaged_store_is_recreated(tmp_path: Path, clock: Clock, harm: object) -> None:
    store = tmp_path / "throttle.sqlite3"
    reports: list[str] = []
    throttle = Throttle(configure(), store, report=reports.append, clock_ns=clock)
    client = throttle.identify({})
    throttle.admit(client)
    for suffix in ("-wal", "-shm"):
        Path(f"{store}{suffix}").unlink()
    harm(store)  # type: ignore[operator]
    for _ in range(5):
        assert isinstance(throttle.admit(client).allowed, bool)
        clock.advance(2)
    other = Throttle(configure(), store, report=reports.append, clock_ns=clock)
    for _ in range(3):
        other.admit(client)
        clock.advance(2)
        throttle.admit(client)
    # Both draw from the same bucket again.
    clock.advance(60)
    spent = [t.admit(client).allowed for _ in range(10) for t in (throttle, other)]
    assert sum(spent) == 10
    assert reports
    with sqlite3.connect(store) as connection:
        assert connection.execute("SELECT COUNT(*) FROM bucket").fetchone() == (1,)
    connection.close()


def empty(store: Path) -> None:
    store.write_bytes(b"")


@pytest.mark.parametrize("harm", [damage_content, remove, empty])
def test_workers_share_a_bucket_again_after_the_file_was_damaged(
    tmp_path: Path, clock: Clock, harm: object
) -> None:
    store = tmp_path / "throttle.sqlite3"
    workers = [Throttle(configure(), store, clock_ns=clock) for _ in range(3)]

    def spend(key: str) -> int:
        asked = [w.admit(w.identify({"x-api-key": key})) for _ in range(400) for w in workers]
        return sum(a.allowed for a in asked)

    assert spend("before") == 600
    harm(store)  # type: ignore[operator]
    # A worker that opens it while others still have the old file.
    workers[0] = Throttle(configure(), store, clock_ns=clock)
    for second in range(5):
        clock.advance(1)
        spend(f"meanwhile-{second}")
    clock.advance(1)
    assert spend("after") == 600


def test_a_store_that_cannot_be_opened_for_a_while_keeps_its_buckets(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = tmp_path / "throttle.sqlite3"
    throttle = Throttle(configure(), store, clock_ns=clock)
    client = throttle.identify({})
    assert all(throttle.admit(client).allowed for _ in range(10))

    open_store = throttle_store._open

    def fail(name: str) -> sqlite3.Connection:
        if name == str(store):
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return open_store(name)

    inode = store.stat().st_ino
    other = Throttle(configure(), store, clock_ns=clock)
    with monkeypatch.context() as patched:
        patched.setattr(throttle_store, "_open", fail)
        assert other.admit(client).allowed  # By buckets of its own meanwhile.
    clock.advance(5)
    assert not other.admit(client).allowed
    assert store.stat().st_ino == inode


@pytest.mark.parametrize("harm", [damage_content, make_a_folder])
def test_a_store_damaged_before_the_start(tmp_path: Path, clock: Clock, harm: object) -> None:
    store = tmp_path / "throttle.sqlite3"
    store.touch()
    harm(store)  # type: ignore[operator]
    reports: list[str] = []
    throttle = Throttle(configure(), store, report=reports.append, clock_ns=clock)
    allowed = [throttle.admit(throttle.identify({})).allowed for _ in range(15)]
    assert sum(allowed) == 10
    assert reports


def test_headers_have_the_clients_limit_and_remaining_tokens(clock: Clock) -> None:
    throttle = Throttle(configure(), None, clock_ns=clock)
    client = Client(kind="keyed", digest=b"x", bucket=Bucket(rate=10, period_s=60, burst=10))
    assert throttle.admit(client, 10.0).write_headers() == {
        "RateLimit-Limit": "10",
        "RateLimit-Remaining": "0",
        "RateLimit-Reset": "60",
        "RateLimit-Policy": "10;w=60",
    }
    assert throttle.admit(client).write_headers()["Retry-After"] == "6"


def test_a_link_in_place_of_the_lock_is_neither_followed_nor_emptied(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_text("not ours")
    store = tmp_path / "throttle.sqlite3"
    Path(f"{store}.lock").symlink_to(other)
    said: list[str] = []
    throttle = Throttle(configure(), store, report=said.append)
    assert throttle.admit(throttle.identify({})).allowed
    assert other.read_text() == "not ours"
    assert len(said) == 1
    assert "symbolic link" in said[0]
