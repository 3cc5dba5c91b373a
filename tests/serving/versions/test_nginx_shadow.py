"""A shadow behind the shipped nginx: it gets the same requests, and no client waits for it."""

import concurrent.futures
import shutil
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import requests
from henaw.cli.server.monitor import read_monitor_port
from prometheus_client.parser import text_string_to_metric_families

ALL = ("* stable;", "* candidate;")
SHADOW = ('# 100% yes;\n    * "";', "* yes;")
PERSON = {"age": 54, "sex": 0, "biomarkers": {"crp": 30.0}}
JSON = "application/json"

pytestmark = pytest.mark.skipif(
    shutil.which("nginx") is None, reason="no nginx: it is a Debian package of that name"
)


def count_records(server: Any) -> int:
    logs = (server.run / "logs").glob("requests.*.log")
    return sum(len(log.read_text().splitlines()) for log in logs)


def await_still_records(server: Any) -> int:
    """Return the number once it has not changed for two seconds: logs are written late."""
    seen, since_s = count_records(server), time.monotonic()
    while time.monotonic() - since_s < 2.0:
        time.sleep(0.1)
        if (now := count_records(server)) != seen:
            seen, since_s = now, time.monotonic()
    return seen


def test_a_shadow_gets_the_same_requests_and_its_answers_are_dropped(
    serve: Callable[..., Any], stable: Any, candidate: Any
) -> None:
    proxy = serve(SHADOW)
    before = await_still_records(candidate)
    seen = proxy.ask_all("X_Participant_Id", [f"key-{n}" for n in range(40)])
    assert set(seen.values()) == {stable.version}
    assert proxy.post(b"{").status_code == 400
    for _ in range(100):
        if count_records(candidate) - before == 41:
            return
        time.sleep(0.1)
    pytest.fail(f"the shadow was asked {count_records(candidate) - before} of 41")


@dataclass(frozen=True)
class Compared:
    """The sums of the counts in both servers' monitors."""

    same_status: float
    other_status: float
    people: float
    years: float


def read_compared(stable: Any, candidate: Any) -> Compared:
    seen: Counter[str] = Counter()
    for server in (stable, candidate):
        port = server.record.monitor_port or read_monitor_port(server.run)
        text = requests.get(f"http://127.0.0.1:{port}/metrics", timeout=60).text
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                if sample.name.startswith("henaw_shadow_"):
                    versions = {sample.labels["version"], sample.labels["other"]}
                    assert versions == {stable.version, candidate.version}
                    seen[sample.labels.get("outcome", sample.name)] += sample.value
    difference = "henaw_shadow_difference_years"
    return Compared(
        same_status=seen["same_status"],
        other_status=seen["other_status"],
        people=seen[f"{difference}_count"],
        years=seen[f"{difference}_sum"],
    )


def await_stillness(stable: Any, candidate: Any, least: float = 0.0) -> Compared:
    """Return the counts once so many are compared, and no more for three seconds."""
    compared, still = read_compared(stable, candidate), 0
    for _ in range(120):
        time.sleep(0.5)
        before, compared = compared, read_compared(stable, candidate)
        still = still + 1 if compared == before else 0
        if still >= 6 and compared.same_status + compared.other_status >= least:
            break
    return compared


def test_each_shadowed_request_is_compared_once_and_its_difference_is_right(
    serve: Callable[..., Any], stable: Any, candidate: Any
) -> None:
    def find_ages(server: Any, body: Any) -> list[float]:
        url = f"{server.record.url}/predictions/henaw"
        answer = requests.post(url, json=body, timeout=60).json()
        return [one["biological_age"] for one in answer.get("predictions", [answer])]

    proxy = serve(SHADOW)
    one = [{**PERSON, "age": 30 + n} for n in range(40)]
    bodies = [*one, {"instances": one[:25]}]
    differences = [
        abs(ours - theirs)
        for body in bodies
        for ours, theirs in zip(find_ages(stable, body), find_ages(candidate, body), strict=True)
    ]
    assert sum(differences) > 1
    before = await_stillness(stable, candidate)
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert {answer.status_code for answer in pool.map(proxy.post, bodies)} == {200}
    assert proxy.post(b"{").status_code == 400
    assert proxy.post(one[0], path="/explanations/henaw").status_code == 200
    total = before.same_status + before.other_status + len(bodies) + 2
    after = await_stillness(stable, candidate, total)
    assert after.same_status - before.same_status == len(bodies) + 2
    assert after.other_status == before.other_status
    assert after.people - before.people == 40 + 25 + 1
    # Answers are rounded to 1e-5 years, the ages compared are not.
    expected = sum(differences) + differences[0]
    assert after.years - before.years == pytest.approx(expected, abs=0.002)


def test_a_clients_own_shadow_id_is_removed(
    serve: Callable[..., Any], stable: Any, candidate: Any, upstream: Any
) -> None:
    upstream.answers += [(200, {"Content-Type": JSON}, b"{}")]
    forged = {"X-Henaw-Pair": "0" * 32}
    assert serve(stable_port=upstream.port).post(headers=forged).status_code == 200
    assert "x-henaw-pair" not in upstream.seen.pop()
    proxy = serve(SHADOW, stable_port=upstream.port, candidate_port=upstream.port)
    for asked in (2, 4, 6):
        assert proxy.post(headers=forged).status_code == 200
        for _ in range(100):
            if len(upstream.seen) == asked:
                break
            time.sleep(0.05)
    pairs = Counter(headers["x-henaw-pair"] for headers in upstream.seen)
    assert sorted(pairs.values()) == [2, 2, 2]
    assert forged["X-Henaw-Pair"] not in pairs
    # One client sends a request with the same id to both versions.
    before = await_stillness(stable, candidate)
    for changes in ((), (ALL,)):
        assert serve(*changes).post(headers=forged).status_code == 200
    assert await_stillness(stable, candidate) == before


def test_a_shadow_that_hangs_or_is_dead_delays_no_client(
    serve: Callable[..., Any], stable: Any, closed_port: int, stopped: None
) -> None:
    # To wait for the shadow would take longer than the client's timeout.
    forever = [(f"proxy_{which}_timeout {n}s", f"proxy_{which}_timeout 600s")
               for which, n in (("read", 1), ("read", 10), ("connect", 1))]  # fmt: skip
    for proxy in (serve(SHADOW, *forever), serve(SHADOW, candidate_port=closed_port)):
        with requests.Session() as session:
            for _ in range(200):
                answer = session.post(
                    f"{proxy.url}/predictions/henaw",
                    json=PERSON,
                    timeout=10,
                    verify=proxy.authority,
                )
                assert answer.json()["model"]["version"] == stable.version
