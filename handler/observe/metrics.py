"""The counts of a worker.

A request only appends a record, which costs it about a microsecond. Another thread adds the records
up, once a second and whenever many people wait to be counted.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from threading import Event, Lock

import numpy as np
import numpy.typing as npt
from henaw.handler.observe.drift import DriftReference, count_bins
from henaw.handler.observe.worker_state import Compared, Histogram, Totals
from henaw.model.biomarkers import NAMES
from henaw.model.reliability import CODES, count_codes

DRIFT_SLOTS = 12
"""Slices of the sliding window, which advances by one slice at a time."""

_REQUEST_BOUNDS_S = (
    *(0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.025, 0.05),
    *(0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0),
)
_VALIDATION_BOUNDS_S = (0.00002, 0.00005, 0.0001, 0.0002, 0.0005, 0.001, 0.005, 0.02, 0.1, 0.5)
_INFERENCE_BOUNDS_S = (0.0001, 0.0002, 0.0003, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.05, 0.2, 1.0)
_BATCH_BOUNDS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
_AGE_BOUNDS_YEARS = range(20, 105, 5)
_DIFFERENCE_BOUNDS_YEARS = (
    *(0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05),
    *(0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0),
)

_MANY_PEOPLE_WAITING = 16_384
"""People whose counting takes some 5 ms."""

_MOST_WAITING = 10_000
_MOST_PEOPLE_WAITING = 200_000
"""Records and people that may wait, if no other thread adds them up in time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """One batch that was answered.

    Attributes:
        statuses: of the responses.
        validating: for each few requests that were validated together, the mean seconds that a
            request took, and the number of requests.
        total_s: seconds from the start of the batch to its answers.
        throttled: why requests were refused for their rate, one entry each.
    """

    statuses: Sequence[int]
    validating: Sequence[tuple[float, int]]
    total_s: float
    throttled: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """One evaluation of the graph.

    Attributes:
        runtime: the one that evaluated it.
        seconds: how long it took.
        biomarkers: (n, 9) float32, the panel's units and order, NaN = missing.
        age: (n,) float32, years.
        sex: (n,) int64, 0 female, 1 male.
        biological_age: (n,) float32, years.
        imputed: (n, 9) bool, the graph's.
        out_of_range: (n, 9) bool, the graph's.
        withheld: (n,) uint8, bits of ``reliability.CODES``; 0 where no number was withheld.
    """

    runtime: str
    seconds: float
    biomarkers: npt.NDArray[np.float32]
    age: npt.NDArray[np.float32]
    sex: npt.NDArray[np.int64]
    biological_age: npt.NDArray[np.float32]
    imputed: npt.NDArray[np.bool_]
    out_of_range: npt.NDArray[np.bool_]
    withheld: npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """The answers of two versions to the same request.

    Attributes:
        other: the other version.
        same_status: whether both answers have the same status.
        differences: (n,) float64, absolute differences of biological age, years; empty unless
            both versions answered.
    """

    other: str
    same_status: bool
    differences: npt.NDArray[np.float64]


class Metrics:
    """Counts batches, evaluations and comparisons.

    Args:
        reference: distribution of the fitted people's values.
        window_s: seconds of the sliding window for drift.
        clock: monotonic seconds, the same for all workers.

    Attributes:
        reference: distribution of the fitted people's values.
        is_due: set when another thread should add the records up.
    """

    def __init__(
        self,
        reference: DriftReference,
        *,
        window_s: float = 3600.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.reference = reference
        self.is_due = Event()
        self._slot_s = window_s / DRIFT_SLOTS
        self._clock = clock
        self._lock = Lock()
        self._waiting: deque[Batch | Evaluation | Comparison] = deque()
        self._people_waiting = 0
        self._begun: list[float] = []
        self._totals = Totals(
            request_seconds=Histogram.over(*_REQUEST_BOUNDS_S),
            validation_seconds=Histogram.over(*_VALIDATION_BOUNDS_S),
            batch_requests=Histogram.over(*_BATCH_BOUNDS),
            biological_age=Histogram.over(*_AGE_BOUNDS_YEARS),
            imputed=[0] * len(NAMES),
            out_of_range=[0] * len(NAMES),
            withheld=dict.fromkeys(CODES, 0),
        )

    @property
    def slot(self) -> int:
        """The number of the current slice of time."""
        return int(self._clock() // self._slot_s)

    @property
    def busy_since(self) -> float | None:
        """When the oldest batch in progress began; None between batches."""
        return next(iter(self._begun), None)

    @property
    def in_progress(self) -> int:
        """The number of batches in progress."""
        return len(self._begun)

    def begin(self) -> float:
        """Note that a batch begins, and return when."""
        begun = self._clock()
        self._begun.append(begun)
        return begun

    def end(self, begun: float) -> None:
        """Note that the batch that began then has ended, with or without an error."""
        self._begun.remove(begun)

    def count(self, record: Batch | Evaluation | Comparison) -> None:
        """Append a record, to be added up later."""
        self._waiting.append(record)
        if isinstance(record, Evaluation):
            self._people_waiting += len(record.age)
            if self._people_waiting > _MANY_PEOPLE_WAITING:
                self.is_due.set()
        if len(self._waiting) > _MOST_WAITING or self._people_waiting > _MOST_PEOPLE_WAITING:
            self.sum_up()

    def sum_up(self) -> Totals:
        """Add up the records that wait, and return all counts since the start."""
        with self._lock:
            self.is_due.clear()
            self._people_waiting = 0
            evaluations = []
            for _ in range(len(self._waiting)):
                record = self._waiting.popleft()
                if isinstance(record, Batch):
                    self._add_batch(record)
                elif isinstance(record, Evaluation):
                    evaluations.append(record)
                else:
                    self._add_comparison(record)
            if evaluations:
                self._add_evaluations(evaluations)
            oldest = self.slot - DRIFT_SLOTS
            for slot in [slot for slot in self._totals.drift if slot <= oldest]:
                del self._totals.drift[slot]
            return self._totals

    def _add_batch(self, batch: Batch) -> None:
        totals = self._totals
        totals.batch_requests.observe(len(batch.statuses))
        totals.request_seconds.observe(batch.total_s, len(batch.statuses))
        for seconds, requests in batch.validating:
            totals.validation_seconds.observe(seconds, requests)
        for counts, keys in (
            (totals.requests, map(str, batch.statuses)),
            (totals.throttled, batch.throttled),
        ):
            for key in keys:
                counts[key] = counts.get(key, 0) + 1

    def _add_comparison(self, comparison: Comparison) -> None:
        compared = self._totals.compared.get(comparison.other)
        if compared is None:
            compared = Compared(difference=Histogram.over(*_DIFFERENCE_BOUNDS_YEARS))
            self._totals.compared[comparison.other] = compared
        if comparison.same_status:
            compared.same_status += 1
        else:
            compared.other_status += 1
        compared.difference.observe_all(comparison.differences)

    def _add_evaluations(self, evaluations: Sequence[Evaluation]) -> None:
        totals = self._totals
        for one in evaluations:
            if one.runtime not in totals.inference_seconds:
                totals.inference_seconds[one.runtime] = Histogram.over(*_INFERENCE_BOUNDS_S)
            totals.inference_seconds[one.runtime].observe(one.seconds)
            totals.people += len(one.age)
        for counts, flags in (
            (totals.imputed, [one.imputed for one in evaluations]),
            (totals.out_of_range, [one.out_of_range for one in evaluations]),
        ):
            counts[:] = (np.array(counts) + np.concatenate(flags).sum(axis=0)).tolist()
        withheld = np.concatenate([one.withheld for one in evaluations])
        for code, count in count_codes(withheld).items():
            totals.withheld[code] += count
        ages = np.concatenate([one.biological_age for one in evaluations]).astype(np.float64)
        totals.biological_age.observe_all(ages[np.isfinite(ages) & (withheld == 0)])
        bins = count_bins(
            self.reference,
            np.concatenate([one.biomarkers for one in evaluations]),
            np.concatenate([one.age for one in evaluations]),
            np.concatenate([one.sex for one in evaluations]),
        )
        slot = self.slot
        held = np.array(totals.drift.get(slot, np.zeros_like(bins)))
        totals.drift[slot] = (held + bins).tolist()
