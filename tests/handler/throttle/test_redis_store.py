import contextlib
import hashlib
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import redis
from henaw.handler.configuration import Bucket, ThrottleConfiguration
from henaw.handler.throttle.throttle import Admission, Throttle
from henaw.model.errors import ConfigurationError


class RedisServer:
    """A real Redis on a socket of its own."""

    def __init__(self, folder: Path) -> None:
        self.socket = folder / "redis.sock"
        self.url = f"unix://{self.socket}"
        self.start()

    def start(self) -> None:
        options = {"port": "0", "unixsocket": str(self.socket), "save": "", "appendonly": "no"}
        command = ["redis-server", *(word for k, v in options.items() for word in (f"--{k}", v))]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        deadline_s = time.monotonic() + 10
        while time.monotonic() < deadline_s:
            with contextlib.suppress(redis.RedisError), redis.Redis.from_url(self.url) as client:
                client.ping()
                return
            time.sleep(0.02)
        pytest.fail("redis-server did not start")

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    if shutil.which("redis-server") is None:
        pytest.skip("needs redis-server")
    server = RedisServer(tmp_path)
    yield server
    server.kill()


def configure(server: RedisServer, burst: int = 10, rate: int = 10) -> ThrottleConfiguration:
    bucket = Bucket(rate=rate, period_s=3600, burst=burst)
    return ThrottleConfiguration(anonymous=bucket, accepted_keys=None, redis=server.url)


def spend(throttle: Throttle, *costs: float) -> list[Admission]:
    client = throttle.identify({})
    return [throttle.admit(client, cost) for cost in costs]


def test_redis_decides_as_the_file_does(server: RedisServer, tmp_path: Path) -> None:
    costs = (1.0, 3.5, 1.0, 5.0, 4.5, 1.0, 11.0, 0.25)
    here = spend(Throttle(configure(server), None), *costs)
    there = spend(Throttle(configure(server), tmp_path / "throttle.sqlite3"), *costs)
    assert [a.allowed for a in here] == [True, True, True, False, True, False, False, False]
    # Another throttle on the same Redis finds the same buckets.
    assert not any(a.allowed for a in there)
    plain = ThrottleConfiguration(anonymous=here[0].bucket)
    by_file = spend(Throttle(plain, tmp_path / "throttle.sqlite3"), *costs)
    assert [a.allowed for a in by_file] == [a.allowed for a in here]
    assert [a.remaining for a in by_file] == [a.remaining for a in here]
    for ours, theirs in zip(here, by_file, strict=True):
        assert abs(ours.retry_after_s - theirs.retry_after_s) <= 1


def test_the_announced_wait_is_long_enough(server: RedisServer) -> None:
    bucket = Bucket(rate=2, period_s=1, burst=2)
    throttle = Throttle(ThrottleConfiguration(anonymous=bucket, redis=server.url), None)
    *_, refused = spend(throttle, 1.0, 1.0, 1.0)
    assert (refused.allowed, refused.retry_after_s) == (False, 1)
    time.sleep(refused.retry_after_s)
    assert spend(throttle, 1.0)[0].allowed


def test_a_refusal_changes_nothing_and_no_key_is_stored(server: RedisServer) -> None:
    throttle = Throttle(configure(server), None)
    keyed = throttle.identify({"x-api-key": "MARKED-KEY"})
    throttle.admit(keyed, 600.0)
    with redis.Redis.from_url(server.url) as client:
        (name,) = client.keys("*")
        assert hashlib.sha256(b"MARKED-KEY").digest() in name
        before = client.hgetall(name)
        assert not any(throttle.admit(keyed).allowed for _ in range(50))
        assert client.hgetall(name) == before
        assert 0 < client.pttl(name) <= 62_000


def test_a_refused_bulk_request_spends_nothing(server: RedisServer) -> None:
    throttle = Throttle(configure(server), None)
    spend(throttle, 5.0)
    for _ in range(50):
        assert spend(throttle, 1.0)[0].allowed
        refused = throttle.admit(throttle.identify({}), 6.0, spent=1.0)
        # Two of seven tokens are missing, at six minutes each.
        assert (refused.allowed, refused.remaining) == (False, 5)
        assert 700 < refused.retry_after_s <= 720
    assert [a.allowed for a in spend(throttle, 5.0, 1.0)] == [True, False]


def test_returned_tokens_fill_no_bucket_beyond_its_burst(server: RedisServer) -> None:
    bucket = Bucket(rate=10, period_s=1, burst=2)
    throttle = Throttle(ThrottleConfiguration(anonymous=bucket, redis=server.url), None)
    spend(throttle, 1.0)
    time.sleep(0.3)
    assert not throttle.admit(throttle.identify({}), 3.0, spent=1.0).allowed
    assert sum(a.allowed for a in spend(throttle, *[1.0] * 4)) == 2


def test_a_client_that_repeats_bulk_requests_waits_no_longer(
    server: RedisServer, make_client: Callable[..., Any], person: dict[str, Any]
) -> None:
    client = make_client(throttle=replace(configure(server), cost_per_instance=0.5))
    assert client.send({"instances": [person] * 12}).status == 200
    for _ in range(20):
        refused = client.send({"instances": [person] * 12})
        assert (refused.status, refused.headers["RateLimit-Remaining"]) == (429, "4")
        assert 700 < int(refused.headers["Retry-After"]) <= 720
    assert client.send({"instances": [person] * 8}).status == 200


def test_a_smaller_bucket_locks_no_client_out_for_longer(server: RedisServer) -> None:
    spend(Throttle(configure(server, burst=1000, rate=1), None), 1000.0)
    refused = spend(Throttle(configure(server, burst=1, rate=3600), None), 1.0)[0]
    assert refused.retry_after_s == 1


SPEND = """
import sys
from henaw.handler.configuration import Bucket, ThrottleConfiguration
from henaw.handler.throttle.throttle import Throttle

bucket = Bucket(rate=1, period_s=3600, burst=500)
throttle = Throttle(ThrottleConfiguration(anonymous=bucket, redis=sys.argv[1]), None)
client = throttle.identify({})
sys.stdin.readline()
times, together = int(sys.argv[2]), int(sys.argv[3])
batches = [throttle.admit_all([client] * together) for _ in range(times)]
print(sum(admission.allowed for batch in batches for admission in batch))
"""


@pytest.mark.parametrize(("times", "together"), [(300, 1), (20, 15)])
def test_several_hosts_allow_exactly_the_number(
    server: RedisServer, times: int, together: int
) -> None:
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", SPEND, server.url, str(times), str(together)],
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
    assert sum(int(worker.communicate(timeout=60)[0]) for worker in workers) == 500


def kill(server: RedisServer) -> Callable[[], None]:
    server.kill()
    return server.start


def wedge(server: RedisServer) -> Callable[[], None]:
    server.process.send_signal(signal.SIGSTOP)
    return lambda: server.process.send_signal(signal.SIGCONT)


@pytest.mark.parametrize("lose", [kill, wedge])
def test_while_redis_is_gone_the_file_decides(
    server: RedisServer, tmp_path: Path, lose: Callable[[RedisServer], Callable[[], None]]
) -> None:
    reports: list[str] = []
    now_ns = [time.time_ns()]
    store = tmp_path / "throttle.sqlite3"
    throttle, other = (
        Throttle(configure(server), store, report=reports.append, clock_ns=lambda: now_ns[0])
        for _ in range(2)
    )
    spend(throttle, 10.0)
    recover = lose(server)
    # The file's buckets are full, and both workers draw from the same.
    assert [a.allowed for t in (throttle, other) for a in spend(t, 4.0, 4.0)] == [
        *(True, True),
        *(False, False),
    ]
    assert (throttle.fallbacks, other.fallbacks) == (1, 1)
    assert reports[0].startswith("throttle: Redis failed: ")
    assert reports[0].endswith("the next store is used")
    recover()
    now_ns[0] += 1_000_000_000
    allowed = spend(throttle, 1.0)[0].allowed
    assert reports[-1] == "throttle: Redis is used again"
    # Redis forgets the buckets if it is killed, but not if it hangs.
    assert allowed is (lose is kill)
    assert throttle.fallbacks == 1


def test_another_url_is_refused_and_not_shown() -> None:
    with pytest.raises(ConfigurationError, match="redis must begin with") as caught:
        ThrottleConfiguration(redis="http://:secret@host")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "rest", [":secret/part@host", ":secret#part@host", "host:port", "[::1", "host/0?foo=secret"]
)
def test_a_url_that_cannot_be_read_is_refused_and_not_shown(rest: str) -> None:
    with pytest.raises(ConfigurationError, match="write / as %2F") as caught:
        Throttle(ThrottleConfiguration(redis=f"redis://{rest}"), None)
    assert "secret" not in str(caught.value)


def test_a_host_that_is_not_a_name_leaves_the_decision_to_the_file(tmp_path: Path) -> None:
    configuration = ThrottleConfiguration(redis=f"redis://{'a' * 70}.example")
    throttle = Throttle(configuration, tmp_path / "throttle.sqlite3")
    assert spend(throttle, 1.0)[0].allowed
    assert throttle.fallbacks == 1


def test_a_name_that_is_resolved_slowly_delays_no_request(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_: time.sleep(3))
    now_ns = [time.time_ns()]
    configuration = ThrottleConfiguration(redis="redis://redis.example")
    throttle = Throttle(configuration, tmp_path / "db.sqlite3", clock_ns=lambda: now_ns[0])
    begin_s = time.monotonic()
    for _ in range(5):
        assert spend(throttle, 1.0)[0].allowed
        # Redis is tried again.
        now_ns[0] += 1_000_000_000
    assert time.monotonic() - begin_s < 1.0
    assert throttle.fallbacks == 5


def test_a_clock_of_redis_that_was_set_back_locks_nobody_out(server: RedisServer) -> None:
    throttle = Throttle(configure(server), None)
    spend(throttle, 10.0)
    with redis.Redis.from_url(server.url) as client:
        (name,) = client.keys("*")
        client.hset(name, "at_us", (time.time_ns() + 3600 * 10**9) // 1000)
    assert spend(throttle, 10.0)[0].allowed
