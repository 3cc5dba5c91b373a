"""The counts of all workers as Prometheus metrics, summed by version of the model.

Dead workers are included, so that no count is lost when a worker restarts.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from henaw.handler.observe.drift import INPUTS, compute_stability_index
from henaw.handler.observe.readiness import judge_workers
from henaw.handler.observe.worker_state import Compared, Histogram, WorkerState, read_states
from henaw.model.biomarkers import NAMES
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

DRIFT_LEAST_VALUES = 200
"""With fewer values, chance alone changes the index by more than 0.02."""


class WorkersCollector(Collector):
    """Reads the states of the workers whenever Prometheus asks.

    Args:
        folder: with the states of the workers.
        patience_s: seconds after which a silent or busy worker counts as hung.
        clock: monotonic seconds, the same as the workers'.
    """

    def __init__(
        self, folder: Path, *, patience_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._folder = folder
        self._patience_s = patience_s
        self._clock = clock

    def collect(self) -> Iterator[Metric]:
        """Yield every metric, by version of the model."""
        states = sorted(read_states(self._folder), key=lambda state: state.version)
        alive = [state for state in states if state.is_alive()]
        now_s = self._clock()
        ready = judge_workers(alive, now_s=now_s, patience_s=self._patience_s).ready
        yield GaugeMetricFamily(
            "henaw_ready", "1 if every living worker answers correctly, else 0.", int(ready)
        )
        checked = GaugeMetricFamily(
            "henaw_check_age_seconds",
            "Seconds since the last check of the model, in the worker where it is longest.",
            labels=("version",),
        )
        workers = GaugeMetricFamily(
            "henaw_workers",
            "Living workers, by the runtime that evaluates large batches.",
            labels=("version", "runtime"),
        )
        crossovers = GaugeMetricFamily(
            "henaw_gpu_crossover_people",
            "People in a batch from which on the GPU is used; +Inf if it is never used.",
            labels=("version", "device"),
        )
        for version, group in _group(alive):
            checked.add_metric((version,), max(now_s - state.checked_at for state in group))
            for runtime in sorted({state.runtime for state in group}):
                count = sum(state.runtime == runtime for state in group)
                workers.add_metric((version, runtime), count)
            for device in sorted({device for state in group for device in state.crossovers}):
                people = [state.crossovers[device] for state in group if device in state.crossovers]
                crossovers.add_metric((version, device), max(people))
        yield checked
        yield workers
        yield crossovers
        groups = _group(states)
        yield from _count(groups)
        yield from _measure(groups)
        yield from _measure_drift(groups)
        yield from _compare_versions(groups)


def _group(states: Iterable[WorkerState]) -> list[tuple[str, list[WorkerState]]]:
    by_version = itertools.groupby(states, key=lambda state: state.version)
    return [(version, list(group)) for version, group in by_version]


def _count(groups: Sequence[tuple[str, list[WorkerState]]]) -> Iterator[Metric]:
    def sum_keys(counts: Iterable[dict[str, int]]) -> dict[str, int]:
        total: dict[str, int] = {}
        for key, count in itertools.chain.from_iterable(one.items() for one in counts):
            total[key] = total.get(key, 0) + count
        return total

    def sum_columns(rows: Iterable[list[int]]) -> dict[str, int]:
        return dict(zip(NAMES, map(sum, zip(*rows, strict=True)), strict=True))

    labelled: tuple[tuple[str, str, str, Callable[[list[WorkerState]], dict[str, int]]], ...] = (
        (
            "henaw_requests",
            "Requests that reached the model, by the status of the answer.",
            "status",
            lambda group: sum_keys(state.totals.requests for state in group),
        ),
        (
            "henaw_throttled",
            "Requests refused for their rate or for overload, by reason.",
            "reason",
            lambda group: sum_keys(state.totals.throttled for state in group),
        ),
        (
            "henaw_imputed",
            "Missing values that were imputed.",
            "biomarker",
            lambda group: sum_columns(state.totals.imputed for state in group),
        ),
        (
            "henaw_out_of_range",
            "Values outside the range of 99.8 % of the fitted people.",
            "biomarker",
            lambda group: sum_columns(state.totals.out_of_range for state in group),
        ),
        (
            "henaw_withheld",
            "People whose numbers were withheld, by reason; several reasons count at each.",
            "code",
            lambda group: sum_keys(state.totals.withheld for state in group),
        ),
    )
    for name, documentation, label, count in labelled:
        family = CounterMetricFamily(name, documentation, labels=("version", label))
        for version, group in groups:
            for value, total in count(group).items():
                family.add_metric((version, value), total)
        yield family
    plain: tuple[tuple[str, str, Callable[[WorkerState], int]], ...] = (
        ("henaw_people", "People whose answers were computed.", lambda state: state.totals.people),
        (
            "henaw_fallbacks",
            "Failures of the preferred runtime, after which the other one was used.",
            lambda state: state.fallbacks,
        ),
        (
            "henaw_throttle_fallbacks",
            "Throttle decisions that the next store made because one failed.",
            lambda state: state.throttle_fallbacks,
        ),
        ("henaw_worker_starts", "Workers that started to serve.", lambda _: 1),
    )
    for name, documentation, read in plain:
        family = CounterMetricFamily(name, documentation, labels=("version",))
        for version, group in groups:
            family.add_metric((version,), sum(map(read, group)))
        yield family


def _measure(groups: Sequence[tuple[str, list[WorkerState]]]) -> Iterator[Metric]:
    whole: tuple[tuple[str, str, Callable[[WorkerState], Histogram]], ...] = (
        (
            "henaw_request_seconds",
            "Seconds in a worker, from the start of a batch to its answers.",
            lambda state: state.totals.request_seconds,
        ),
        (
            "henaw_validation_seconds",
            "Seconds to throttle, decode and validate one request, as the mean of up to 32 that "
            "are read together.",
            lambda state: state.totals.validation_seconds,
        ),
        (
            "henaw_batch_requests",
            "Requests that shared a batch.",
            lambda state: state.totals.batch_requests,
        ),
        (
            "henaw_biological_age_years",
            "Biological ages in answers.",
            lambda state: state.totals.biological_age,
        ),
    )
    for name, documentation, read in whole:
        family = HistogramMetricFamily(name, documentation, labels=("version",))
        for version, group in groups:
            _add(family, (version,), map(read, group))
        yield family
    family = HistogramMetricFamily(
        "henaw_inference_seconds",
        "Seconds that one evaluation of the graph took.",
        labels=("version", "runtime"),
    )
    for version, group in groups:
        for runtime in sorted({name for state in group for name in state.totals.inference_seconds}):
            parts = [state.totals.inference_seconds.get(runtime) for state in group]
            _add(family, (version, runtime), (part for part in parts if part is not None))
    yield family


def _add(family: HistogramMetricFamily, labels: Sequence[str], parts: Iterable[Histogram]) -> None:
    first, *rest = parts
    total = Histogram.over(*first.bounds)
    for part in (first, *rest):
        total.add(part)
    bounds = [*map(str, map(float, total.bounds)), "+Inf"]
    cumulative = itertools.accumulate(total.counts)
    family.add_metric(labels, list(zip(bounds, cumulative, strict=True)), total.sum)


def _measure_drift(groups: Sequence[tuple[str, list[WorkerState]]]) -> Iterator[Metric]:
    index = GaugeMetricFamily(
        "henaw_drift_index",
        "Population stability index of an input against the fitted people, from "
        f"{DRIFT_LEAST_VALUES} values in the window on.",
        labels=("version", "input"),
    )
    values = GaugeMetricFamily(
        "henaw_drift_values",
        "Values of an input in the sliding window for drift.",
        labels=("version", "input"),
    )
    for version, group in groups:
        # A dead worker's slice is old; the slice of the living ones is the same for all.
        newest = max(state.drift_slot for state in group)
        tables = [
            table
            for state in group
            for slot, table in state.totals.drift.items()
            if slot > newest - state.drift_slots
        ]
        for i, name in enumerate(INPUTS):
            counts = [sum(column) for column in zip(*(table[i] for table in tables), strict=True)]
            values.add_metric((version, name), sum(counts))
            expected = group[0].drift_expected.get(name)
            if expected is not None and sum(counts) >= DRIFT_LEAST_VALUES:
                seen = counts[: len(expected)]
                index.add_metric((version, name), compute_stability_index(seen, expected))
    yield index
    yield values


def _compare_versions(groups: Sequence[tuple[str, list[WorkerState]]]) -> Iterator[Metric]:
    compared = CounterMetricFamily(
        "henaw_shadow_compared",
        "Requests that this version and another one both answered, by whether the statuses are "
        "the same. The version that answered later counts the request.",
        labels=("version", "other", "outcome"),
    )
    difference = HistogramMetricFamily(
        "henaw_shadow_difference_years",
        "Absolute difference of a person's biological age between the two answers.",
        labels=("version", "other"),
    )
    for version, group in groups:
        by_other: dict[str, list[Compared]] = {}
        for state in group:
            for other, one in state.totals.compared.items():
                by_other.setdefault(other, []).append(one)
        for other, parts in sorted(by_other.items()):
            same = sum(one.same_status for one in parts)
            unlike = sum(one.other_status for one in parts)
            compared.add_metric((version, other, "same_status"), same)
            compared.add_metric((version, other, "other_status"), unlike)
            _add(difference, (version, other), (one.difference for one in parts))
    yield compared
    yield difference
