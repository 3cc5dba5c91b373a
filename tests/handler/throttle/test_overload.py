import time
from collections.abc import Callable
from typing import Any

import pytest
from henaw.handler.configuration import Limits
from henaw.handler.request.fast_path import read_valid
from henaw.handler.throttle.overload import WorkBound

LARGE = 1_000_000
"""Bytes of requests that were read before."""


@pytest.fixture
def bound() -> WorkBound:
    """One for which three batches took long."""
    made = WorkBound(0.02)
    for _ in range(3):
        made.learn(reading_s=0.1, total_s=1.0)
    return made


def test_nothing_is_refused_before_three_batches_took_long() -> None:
    bound = WorkBound(0.02)
    assert not bound.refuses(9, LARGE, 10.0)
    for total_s in (1.0, 0.009, 1.0):
        bound.learn(reading_s=0.001, total_s=total_s)
        assert not bound.refuses(9, LARGE, 10.0)
    for _ in range(8):
        bound.learn(reading_s=0.001, total_s=0.009)
    bound.learn(reading_s=0.001, total_s=1.0)
    assert not bound.refuses(9, LARGE, 10.0)


def test_the_share_of_reading_is_learned_and_bounds_the_whole() -> None:
    bound = WorkBound(0.02)
    for _ in range(100):
        bound.learn(reading_s=0.1, total_s=1.0)
    assert not bound.refuses(9, LARGE, 0.0019)
    assert bound.refuses(9, LARGE, 0.0021)
    # Small batches are mostly the graph's fixed cost: nothing is learned from them.
    bound.learn(reading_s=0.001, total_s=0.001)
    bound.learn(reading_s=0.1, total_s=1.0)
    assert bound.refuses(9, LARGE, 0.0021)


def test_a_short_batch_between_long_ones_changes_nothing(bound: WorkBound) -> None:
    bound.learn(reading_s=0.0001, total_s=0.001)
    assert bound.refuses(9, LARGE, 1.0)


def test_it_recovers_after_a_few_short_batches(bound: WorkBound) -> None:
    for _ in range(8):
        assert bound.refuses(9, LARGE, 1.0)
        bound.learn(reading_s=0.0001, total_s=0.001)
    assert not bound.refuses(9, LARGE, 1.0)


def test_a_few_large_requests_at_a_time_are_always_answered(bound: WorkBound) -> None:
    assert [bound.refuses(position, LARGE, 1.0) for position in range(6)] == [False] * 4 + [
        True
    ] * 2


def test_a_hundred_people_who_come_one_by_one_are_always_answered(bound: WorkBound) -> None:
    assert not bound.refuses(100, 30_000, 1.0)
    assert bound.refuses(100, 40_000, 1.0)


@pytest.mark.parametrize(("waits_s", "statuses"), [(0.01, {200}), (0.04, {200, 503})])
def test_waiting_counts_less_than_working(
    make_client: Callable[..., Any],
    person: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    waits_s: float,
    statuses: set[int],
) -> None:
    def read_late(body: bytes, tree: object) -> Any:
        time.sleep(waits_s)
        return read_valid(body, tree)

    monkeypatch.setattr("henaw.handler.request.reading.read_valid", read_late)
    client = make_client(limits=Limits(batch_s=0.4))
    seen = set()
    for _ in range(4):
        seen |= {response.status for response in client.send(*[{"instances": [person] * 10}] * 40)}
    assert seen == statuses


def test_an_unexpected_error_of_the_throttle_fails_only_the_requests(
    make_client: Callable[..., Any], person: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: object, __: object) -> None:
        raise RuntimeError("unforeseen")

    client = make_client()
    with monkeypatch.context() as patched:
        patched.setattr("henaw.handler.throttle.throttle.Throttle.admit_all", fail)
        assert [response.status for response in client.send(person, person)] == [500, 500]
    assert [record["error"].split()[0] for record in client.read_log()] == ["RuntimeError"] * 2
    assert client.send(person).status == 200


def test_under_overload_a_batch_answers_a_part_and_refuses_the_rest(
    make_client: Callable[..., Any], person: dict[str, Any], read: Callable[[Any], Any]
) -> None:
    client = make_client(limits=Limits(batch_s=0.001))
    # One small request behind a hundred large ones.
    crowd = [{"instances": [person] * 100}] * 100 + [person]
    for _ in range(3):
        assert {response.status for response in client.send(*crowd)} == {200}
    responses = client.send(*crowd)
    refused = [response for response in responses if response.status == 503]
    assert refused
    for response in refused:
        assert response.headers["Retry-After"] == "1"
        assert response.headers["content-type"] == "application/problem+json"
        assert read(response)["title"] == "Overloaded"
    # The cheapest is answered, though it came last.
    assert responses[-1].status == 200
    assert client.metrics.sum_up().throttled == {"overloaded": len(refused)}
