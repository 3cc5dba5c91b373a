"""The counts of all workers as Prometheus metrics, summed by version of the model.

Dead workers are included, so that no count is lost when a worker restarts.
"""

from __future__ import annotations

import itertools
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

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

DRIFT_LEAST_VALUES: Final = 200
"""With fewer values, chance alone changes the index by more than 0.02."""

_HELP: Final = {
    "henaw_ready": "1 if every living worker answers correctly, else 0.",
    "henaw_check_age_seconds": "Seconds since the last check of the model, in the worker where it "
    "is longest.",
    "henaw_workers": "Living workers, by the runtime that evaluates large batches.",
    "henaw_gpu_crossover_people": "People in a batch from which on the GPU is used; +Inf if it is "
    "never used.",
    "henaw_requests": "Requests that reached the model, by the status of the answer.",
    "henaw_throttled": "Requests refused for their rate or for overload, by reason.",
    "henaw_imputed": "Missing values that were imputed.",
    "henaw_out_of_range": "Values outside the range of 99.8 % of the fitted people.",
    "henaw_withheld": "People whose numbers were withheld, by reason; several reasons count at "
    "each.",
    "henaw_people": "People whose answers were computed.",
    "henaw_fallbacks": "Failures of the preferred runtime, after which the other one was used.",
    "henaw_throttle_fallbacks": "Throttle decisions that the next store made because one failed.",
    "henaw_worker_starts": "Workers that started to serve.",
    "henaw_request_seconds": "Seconds in a worker, from the start of a batch to its answers.",
    "henaw_validation_seconds": "Seconds to throttle, decode and validate one request, as the "
    "mean of up to 32 that are read together.",
    "henaw_batch_requests": "Requests that shared a batch.",
    "henaw_biological_age_years": "Biological ages in answers.",
    "henaw_inference_seconds": "Seconds that one evaluation of the graph took.",
    "henaw_drift_index": "Population stability index of an input against the fitted people, from "
    f"{DRIFT_LEAST_VALUES} values in the window on.",
    "henaw_drift_values": "Values of an input in the sliding window for drift.",
    "henaw_shadow_compared": "Requests that this version and another one both answered, by "
    "whether the statuses are the same. The version that answered later counts the request.",
    "henaw_shadow_difference_years": "Absolute difference of a person's biological age between "
    "the two answers.",
}
"""Every metric, and its help text."""

Group = list[WorkerState]
"""The states of the workers of one version."""


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
        ready = _make(GaugeMetricFamily, "henaw_ready")
        ready.add_metric((), judge_workers(alive, now_s=now_s, patience_s=self._patience_s).ready)
        yield ready
        yield from _describe_living(_group(alive), now_s)
        groups = _group(states)
        yield from _count(groups)
        yield from _measure(groups)
        yield from _measure_drift(groups)
        yield from _compare_versions(groups)


def _make(family: Callable[..., Any], name: str, *labels: str) -> Any:
    return family(name, _HELP[name], labels=labels)


def _group(states: Iterable[WorkerState]) -> list[tuple[str, Group]]:
    by_version = itertools.groupby(states, key=lambda state: state.version)
    return [(version, list(group)) for version, group in by_version]


def _describe_living(groups: Sequence[tuple[str, Group]], now_s: float) -> Iterator[Metric]:
    checked = _make(GaugeMetricFamily, "henaw_check_age_seconds", "version")
    workers = _make(GaugeMetricFamily, "henaw_workers", "version", "runtime")
    crossovers = _make(GaugeMetricFamily, "henaw_gpu_crossover_people", "version", "device")
    for version, group in groups:
        checked.add_metric((version,), max(now_s - state.checked_at for state in group))
        for runtime, count in sorted(Counter(state.runtime for state in group).items()):
            workers.add_metric((version, runtime), count)
        for device in sorted({device for state in group for device in state.crossovers}):
            people = [state.crossovers[device] for state in group if device in state.crossovers]
            crossovers.add_metric((version, device), max(people))
    yield checked
    yield workers
    yield crossovers


def _sum_keys(counts: Iterable[Mapping[str, int]]) -> Mapping[str, int]:
    total: Counter[str] = Counter()
    for one in counts:
        total.update(one)
    return total


def _sum_columns(rows: Iterable[list[int]]) -> Mapping[str, int]:
    return dict(zip(NAMES, map(sum, zip(*rows, strict=True)), strict=True))


_BY_LABEL: Final[Mapping[str, tuple[str, Callable[[Group], Mapping[str, int]]]]] = {
    "henaw_requests": ("status", lambda g: _sum_keys(s.totals.requests for s in g)),
    "henaw_throttled": ("reason", lambda g: _sum_keys(s.totals.throttled for s in g)),
    "henaw_imputed": ("biomarker", lambda g: _sum_columns(s.totals.imputed for s in g)),
    "henaw_out_of_range": ("biomarker", lambda g: _sum_columns(s.totals.out_of_range for s in g)),
    "henaw_withheld": ("code", lambda g: _sum_keys(s.totals.withheld for s in g)),
}
_COUNTS: Final[Mapping[str, Callable[[WorkerState], int]]] = {
    "henaw_people": lambda state: state.totals.people,
    "henaw_fallbacks": lambda state: state.fallbacks,
    "henaw_throttle_fallbacks": lambda state: state.throttle_fallbacks,
    "henaw_worker_starts": lambda _: 1,
}
_HISTOGRAMS: Final[Mapping[str, Callable[[WorkerState], Histogram]]] = {
    "henaw_request_seconds": lambda state: state.totals.request_seconds,
    "henaw_validation_seconds": lambda state: state.totals.validation_seconds,
    "henaw_batch_requests": lambda state: state.totals.batch_requests,
    "henaw_biological_age_years": lambda state: state.totals.biological_age,
}


def _count(groups: Sequence[tuple[str, Group]]) -> Iterator[Metric]:
    for name, (label, count) in _BY_LABEL.items():
        family = _make(CounterMetricFamily, name, "version", label)
        for version, group in groups:
            for value, total in count(group).items():
                family.add_metric((version, value), total)
        yield family
    for name, read in _COUNTS.items():
        family = _make(CounterMetricFamily, name, "version")
        for version, group in groups:
            family.add_metric((version,), sum(map(read, group)))
        yield family


def _measure(groups: Sequence[tuple[str, Group]]) -> Iterator[Metric]:
    for name, read in _HISTOGRAMS.items():
        family = _make(HistogramMetricFamily, name, "version")
        for version, group in groups:
            _add(family, (version,), map(read, group))
        yield family
    family = _make(HistogramMetricFamily, "henaw_inference_seconds", "version", "runtime")
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


def _measure_drift(groups: Sequence[tuple[str, Group]]) -> Iterator[Metric]:
    index = _make(GaugeMetricFamily, "henaw_drift_index", "version", "input")
    values = _make(GaugeMetricFamily, "henaw_drift_values", "version", "input")
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


def _compare_versions(groups: Sequence[tuple[str, Group]]) -> Iterator[Metric]:
    compared = _make(CounterMetricFamily, "henaw_shadow_compared", "version", "other", "outcome")
    difference = _make(HistogramMetricFamily, "henaw_shadow_difference_years", "version", "other")
    for version, group in groups:
        by_other: dict[str, list[Compared]] = {}
        for state in group:
            for other, one in state.totals.compared.items():
                by_other.setdefault(other, []).append(one)
        for other, parts in sorted(by_other.items()):
            for outcome in ("same_status", "other_status"):
                total = sum(getattr(one, outcome) for one in parts)
                compared.add_metric((version, other, outcome), total)
            _add(difference, (version, other), (one.difference for one in parts))
    yield compared
    yield difference
