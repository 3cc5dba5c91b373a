"""The state of one worker, in a file that only this worker writes, again and again.

The file has its full size from the start, so that a worker can still write it when the disk is
full. A checksum shows a reader that the worker was writing while it read.
"""

from __future__ import annotations

import contextlib
import os
import struct
import zlib
from bisect import bisect_left
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt
from henaw.handler.observe.process_identity import identify_process
from henaw.model.files import make_private_folder

_SUFFIX = ".state"
_SIZE = 64 * 1024
_HEADER = struct.Struct("<II")
_ATTEMPTS = 5


class Histogram(msgspec.Struct, kw_only=True):
    """Observations by bucket.

    Attributes:
        bounds: upper ends of the buckets, inclusive, ascending.
        counts: by bucket; the last bucket is for values above all bounds.
        sum: of all observed values.

    Example:
        >>> histogram = Histogram.over(1.0, 10.0)
        >>> histogram.observe(0.5)
        >>> histogram.observe(20.0, times=2)
        >>> histogram.counts, histogram.sum
        ([1, 0, 2], 40.5)
    """

    bounds: tuple[float, ...]
    counts: list[int]
    sum: float = 0.0

    @classmethod
    def over(cls, *bounds: float) -> Histogram:
        """Return an empty histogram with these bounds."""
        return cls(bounds=bounds, counts=[0] * (len(bounds) + 1))

    def observe(self, value: float, times: int = 1) -> None:
        """Add one value, ``times`` times."""
        self.counts[bisect_left(self.bounds, value)] += times
        self.sum += value * times

    def observe_all(self, values: npt.NDArray[np.float64]) -> None:
        """Add values, (n,)."""
        places = np.searchsorted(self.bounds, values)
        counts = np.bincount(places, minlength=len(self.counts))
        self.counts = [a + b for a, b in zip(self.counts, counts.tolist(), strict=True)]
        self.sum += float(values.sum())

    def add(self, other: Histogram) -> None:
        """Add the counts of another histogram with the same bounds."""
        self.counts = [a + b for a, b in zip(self.counts, other.counts, strict=True)]
        self.sum += other.sum


class Compared(msgspec.Struct, kw_only=True):
    """Comparisons with the answers of one other version to the same requests.

    Attributes:
        same_status: requests that both versions answered with the same status.
        other_status: requests that they answered with different statuses.
        difference: absolute differences of people's biological ages, years.
    """

    same_status: int = 0
    other_status: int = 0
    difference: Histogram


class Totals(msgspec.Struct, kw_only=True):
    """The counts of a worker since it started; durations are seconds.

    Attributes:
        requests: by status.
        throttled: by reason.
        people: number of people whose answers were computed.
        request_seconds: in the worker, from the start of a batch to its answers.
        validation_seconds: of one request.
        inference_seconds: of one evaluation of the graph, by runtime.
        batch_requests: number of requests in a batch.
        biological_age: of the people, years.
        imputed: by biomarker, in the panel's order.
        out_of_range: by biomarker, in the panel's order.
        withheld: people whose numbers were withheld, by reason; a person with several reasons
            counts for each of them.
        drift: people by slice of time, input (``drift.INPUTS``) and bin.
        compared: comparisons, by the other version.
    """

    requests: dict[str, int] = {}
    throttled: dict[str, int] = {}
    people: int = 0
    request_seconds: Histogram
    validation_seconds: Histogram
    inference_seconds: dict[str, Histogram] = {}
    batch_requests: Histogram
    biological_age: Histogram
    imputed: list[int]
    out_of_range: list[int]
    withheld: dict[str, int] = {}
    drift: dict[int, list[list[int]]] = {}
    compared: dict[str, Compared] = {}


class WorkerState(msgspec.Struct, kw_only=True):
    """The state of one worker, or of one version in it.

    Attributes:
        pid: its process.
        created: tells that process from a later one with the same pid.
        version: of the model.
        runtime: the runtime that evaluates large batches at present.
        crossovers: people from which on a GPU evaluates a batch, by GPU; infinite if never.
        fallbacks: failures of the preferred runtime.
        throttle_fallbacks: failures of one of the throttle's stores.
        checked_at: monotonic seconds of the last check of the model.
        differences: the wrong answers that this check found.
        busy_since: monotonic seconds at which the oldest batch in progress began.
        drift_slot: the number of the current slice of time.
        drift_slots: the number of slices of the sliding window.
        drift_expected: shares of the bins in the reference, by input.
        totals: the worker's counts.
        ended: whether the worker has ended; its process may still serve other versions.
    """

    pid: int
    created: str
    version: str
    runtime: str
    crossovers: dict[str, float] = {}
    fallbacks: int
    throttle_fallbacks: int
    checked_at: float
    differences: list[str]
    busy_since: float | None
    drift_slot: int
    drift_slots: int
    drift_expected: dict[str, tuple[float, ...]]
    totals: Totals
    ended: bool = False

    def is_alive(self) -> bool:
        """Return whether the worker still answers."""
        return not self.ended and identify_process(self.pid) == self.created


class StateFile:
    """The file of this process and one version of the model.

    Args:
        folder: shared by all workers of a server; created when needed.
        version: of the model; a process may serve several versions.
    """

    def __init__(self, folder: Path, version: str = "") -> None:
        name = f"{os.getpid()}-{identify_process(os.getpid())}-{version}{_SUFFIX}"
        self._path = folder / name
        self._descriptor: int | None = None

    def write(self, state: WorkerState) -> None:
        """Write the current state.

        Raises:
            OSError: the file cannot be created, or the state is too large for it.
        """
        payload = msgspec.msgpack.encode(state)
        if len(payload) + _HEADER.size > _SIZE:
            raise OSError(f"a worker's state must be at most {_SIZE} bytes; got {len(payload)}")
        header = _HEADER.pack(len(payload), zlib.crc32(payload))
        os.pwrite(self._open(), header + payload, 0)

    def close(self) -> None:
        """Close the file; readers still find the last state in it."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _open(self) -> int:
        if self._descriptor is not None:
            with contextlib.suppress(OSError):
                if self._path.stat().st_ino == os.fstat(self._descriptor).st_ino:
                    return self._descriptor
            # The file was removed: no reader would see what is written to the open one.
            self.close()
        make_private_folder(self._path.parent)
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
        try:
            os.posix_fallocate(descriptor, 0, _SIZE)
        except OSError:
            os.close(descriptor)
            raise
        self._descriptor = descriptor
        return descriptor


def read_states(folder: Path) -> list[WorkerState]:
    """Return the state of every worker that has written one here, including dead ones."""
    states = [_read_state(path) for path in sorted(folder.glob(f"*{_SUFFIX}"))]
    return [state for state in states if state is not None]


def remove_dead_states(folder: Path) -> None:
    """Remove the files of dead workers, and those that cannot be read."""
    for path in folder.glob(f"*{_SUFFIX}"):
        state = _read_state(path)
        if state is None or not state.is_alive():
            path.unlink(missing_ok=True)


def _read_state(path: Path) -> WorkerState | None:
    try:
        for _ in range(_ATTEMPTS):
            content = path.read_bytes()
            length, checksum = _HEADER.unpack_from(content)
            payload = content[_HEADER.size : _HEADER.size + length]
            if length and zlib.crc32(payload) == checksum:
                return msgspec.msgpack.decode(payload, type=WorkerState)
    except (OSError, struct.error, msgspec.MsgspecError):
        pass  # The file is from another version of HENAW, or not from a worker.
    return None
