import dataclasses
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from henaw.handler.configuration import Bucket, ThrottleConfiguration
from henaw.handler.observe.drift import DriftReference, load_drift_reference
from henaw.handler.observe.metrics import DRIFT_SLOTS, Batch, Evaluation, Metrics
from henaw.model.biomarkers import INDEX, NAMES
from henaw.model.reliability import CODES


@pytest.fixture
def reference(weights: Path) -> DriftReference:
    return load_drift_reference(weights / "henaw.json")


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def evaluate(people: int, runtime: str = "onnx", **flags: Any) -> Evaluation:
    none = np.zeros((people, len(NAMES)), np.bool_)
    return Evaluation(
        runtime=runtime,
        seconds=0.0015,
        biomarkers=np.full((people, len(NAMES)), 20, np.float32),
        age=np.full(people, 54, np.float32),
        sex=np.zeros(people, np.int64),
        biological_age=np.full(people, 52.5, np.float32),
        **{
            "imputed": none,
            "out_of_range": none,
            "withheld": np.zeros(people, np.uint8),
            **flags,
        },
    )


def test_batches_are_counted_by_status_reason_and_duration(reference: DriftReference) -> None:
    metrics = Metrics(reference)
    metrics.count(Batch(statuses=[200, 429], validating=[(0.0001, 1), (0.0099, 1)], total_s=0.02,
                        throttled=["keyed"]))  # fmt: skip
    metrics.count(Batch(statuses=[200], validating=[(0.0001, 1)], total_s=20.0))
    totals = metrics.sum_up()
    assert totals.requests == {"200": 2, "429": 1}
    assert totals.throttled == {"keyed": 1}
    assert sum(totals.batch_requests.counts) == 2
    assert totals.batch_requests.counts[totals.batch_requests.bounds.index(2)] == 1
    # Each request of a batch waits for the whole batch.
    seconds = totals.request_seconds
    assert seconds.sum == pytest.approx(2 * 0.02 + 20.0)
    assert seconds.counts[seconds.bounds.index(0.025)] == 2
    assert seconds.counts[-1] == 1
    assert totals.validation_seconds.sum == pytest.approx(0.0101)


def test_evaluations_are_counted_by_runtime_and_biomarker(reference: DriftReference) -> None:
    metrics = Metrics(reference)
    imputed = np.zeros((3, len(NAMES)), np.bool_)
    imputed[:2, INDEX["crp"]] = True
    metrics.count(evaluate(3, imputed=imputed))
    metrics.count(evaluate(2, "torchscript", out_of_range=np.eye(2, len(NAMES), dtype=np.bool_)))
    metrics.sum_up()
    metrics.count(evaluate(3, imputed=imputed))
    totals = metrics.sum_up()
    assert totals.people == 8
    assert {name: sum(h.counts) for name, h in totals.inference_seconds.items()} == {
        "onnx": 2,
        "torchscript": 1,
    }
    assert totals.imputed == [4 * (name == "crp") for name in NAMES]
    assert totals.out_of_range == [int(name in ("crp", "hba1c")) for name in NAMES]
    assert sum(totals.biological_age.counts) == 8
    assert totals.biological_age.counts[totals.biological_age.bounds.index(55)] == 8
    assert totals.biological_age.sum == pytest.approx(8 * 52.5)


def test_withheld_people_are_counted_by_reason(reference: DriftReference) -> None:
    metrics = Metrics(reference)
    assert metrics.sum_up().withheld == dict.fromkeys(CODES, 0)
    metrics.count(evaluate(4, withheld=np.array([0, 1, 3, 8], np.uint8)))
    metrics.count(evaluate(1, withheld=np.array([4], np.uint8)))
    # A person with two reasons counts at each.
    assert metrics.sum_up().withheld == {
        "critical_value": 2,
        "age_outside_fitted": 1,
        "nothing_known": 1,
        "unlike_fitted": 1,
    }
    # Their ages were not answered.
    assert sum(metrics.sum_up().biological_age.counts) == 1


def test_an_age_that_is_no_number_is_counted_nowhere(reference: DriftReference) -> None:
    metrics = Metrics(reference)
    # 55 is in the bucket that ends at 55.
    ages = np.array([np.nan, np.inf, 55.0, 101.0], np.float32)
    metrics.count(dataclasses.replace(evaluate(4), biological_age=ages))
    counted = metrics.sum_up().biological_age
    assert counted.counts[counted.bounds.index(55)] == 1
    assert (counted.counts[-1], sum(counted.counts)) == (1, 2)
    assert counted.sum == pytest.approx(156.0)


def test_drift_looks_at_a_sliding_window(reference: DriftReference) -> None:
    clock = Clock()
    metrics = Metrics(reference, window_s=120.0, clock=clock)

    def count_people() -> int:
        return sum(sum(table[0]) for table in metrics.sum_up().drift.values())

    metrics.count(evaluate(5))
    assert count_people() == 5
    clock.now += 60
    metrics.count(evaluate(2))
    assert count_people() == 7
    clock.now += 61
    assert count_people() == 2
    clock.now += 120
    assert count_people() == 0
    assert len(metrics.sum_up().drift) <= DRIFT_SLOTS


def test_records_that_wait_are_bounded(reference: DriftReference) -> None:
    metrics = Metrics(reference)
    for _ in range(25_000):
        metrics.count(Batch(statuses=[200], validating=[(0.0, 1)], total_s=0.0))
    assert len(metrics._waiting) <= 10_000
    assert metrics.sum_up().requests == {"200": 25_000}
    for _ in range(50):
        metrics.count(evaluate(10_000))
    assert len(metrics._waiting) <= 20
    assert metrics.sum_up().people == 500_000


def test_the_oldest_batch_is_visible_until_it_is_answered(reference: DriftReference) -> None:
    clock = Clock()
    metrics = Metrics(reference, clock=clock)
    assert metrics.busy_since is None
    first = metrics.begin()
    metrics.count(evaluate(1))
    clock.now += 1
    second = metrics.begin()
    assert metrics.busy_since == first
    metrics.end(first)
    assert metrics.busy_since == second == first + 1
    metrics.end(second)
    assert metrics.busy_since is None


class TestService:
    """Counts of a service that gets good and bad requests."""

    def test_outcomes(self, make_client: Callable[..., Any], person: dict[str, Any]) -> None:
        client = make_client()
        odd = {**person, "biomarkers": {"ggt": 4000}}
        client.send(person, b"{", {"age": 7}, odd)
        client.send({"instances": [person] * 3})
        totals = client.metrics.sum_up()
        assert totals.requests == {"200": 3, "400": 1, "422": 1}
        assert totals.people == 5
        assert sum(totals.batch_requests.counts) == 2
        assert sum(totals.validation_seconds.counts) == 5
        assert totals.imputed == [int(name != "ggt") for name in NAMES]
        assert totals.out_of_range == [int(name == "ggt") for name in NAMES]

    def test_the_time_to_validate_is_shared_by_the_requests(
        self,
        make_client: Callable[..., Any],
        person: dict[str, Any],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """Requests are taken on 32 at a time."""
        client = make_client()
        throttle = client.service._cashier._throttle
        admit_all = throttle.admit_all
        sizes = []

        def admit_slowly(clients: Any) -> Any:
            sizes.append(len(clients))
            time.sleep(0.0016 * len(clients))
            return admit_all(clients)

        monkeypatch.setattr(throttle, "admit_all", admit_slowly)
        client.send(*[person] * 40)
        assert sizes == [32, 8]
        seconds = client.metrics.sum_up().validation_seconds
        assert seconds.sum > 40 * 0.0016
        assert sum(seconds.counts[: seconds.bounds.index(0.001) + 1]) == 0
        assert sum(seconds.counts) == 40

    def test_throttled(self, make_client: Callable[..., Any], person: dict[str, Any]) -> None:
        once = Bucket(rate=1, period_s=3600, burst=1)
        client = make_client(
            throttle=ThrottleConfiguration(
                anonymous=once, keyed=once, proxy_header="x-real-ip", accepted_keys=None
            )
        )
        for headers in ({}, {"x-api-key": "k"}, {"x-real-ip": "1.2.3.4"}, {}):
            client.send(person, person, headers=headers)
        totals = client.metrics.sum_up()
        assert totals.throttled == {"anonymous": 3, "keyed": 1, "proxied": 1}
        assert totals.requests == {"200": 3, "429": 5}
