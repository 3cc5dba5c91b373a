"""What one worker tells of itself, in a file of its own that it writes over and over.

The file has its full size from the start and is written in place: a disk that fills up
under way silences no worker. A checksum tells a reader that met a writer.
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
        counts: by bucket; the last one is of what lies above all bounds.
        sum: of everything observed.
    """

    bounds: tuple[float, ...]
    counts: list[int]
    sum: float = 0.0

    @classmethod
    def over(cls, *bounds: float) -> Histogram:
        """Return an empty one."""
        return cls(bounds=bounds, counts=[0] * (len(bounds) + 1))

    def observe(self, value: float, times: int = 1) -> None:
        """Add one value, as often as given."""
        self.counts[bisect_left(self.bounds, value)] += times
        self.sum += value * times

    def observe_all(self, values: npt.NDArray[np.float64]) -> None:
        """Add values, (n,)."""
        places = np.searchsorted(self.bounds, values)
        counts = np.bincount(places, minlength=len(self.counts))
        self.counts = [a + b for a, b in zip(self.counts, counts.tolist(), strict=True)]
        self.sum += float(values.sum())

    def add(self, other: Histogram) -> None:
        """Add what another one of the same bounds holds."""
        self.counts = [a + b for a, b in zip(self.counts, other.counts, strict=True)]
        self.sum += other.sum


class Compared(msgspec.Struct, kw_only=True):
    """Answers beside those that another version gave to the same requests.

    Attributes:
        same_status: requests that both answered with the same status.
        other_status: the other requests.
        difference: of people's biological ages, absolute, years.
    """

    same_status: int = 0
    other_status: int = 0
    difference: Histogram


class Totals(msgspec.Struct, kw_only=True):
    """What a worker counted since it started; durations are seconds.

    Attributes:
        requests: by status.
        throttled: by reason.
        people: whom answers were computed for.
        request_seconds: in the worker, from taking a batch to its answers.
        validation_seconds: of one request.
        inference_seconds: of one evaluation of the graph, by runtime.
        batch_requests: requests that shared a batch.
        biological_age: of the people, years.
        imputed: by biomarker, in the panel's order.
        out_of_range: by biomarker, in the panel's order.
        withheld: people whose numbers were withheld, by why; one with several reasons is at
            each.
        drift: by slice of time, people by input (``drift.INPUTS``) and bin.
        compared: by the other version.
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
    """One worker.

    Attributes:
        pid: its process.
        created: tells that process from its number's next owner.
        version: of the model.
        runtime: that answers large batches at present.
        crossovers: by GPU, people from which on it answers; infinite where it never does.
        fallbacks: failures of the preferred runtime.
        throttle_fallbacks: failures of one of the throttle's stores.
        checked_at: monotonic seconds at the last check of the model.
        differences: what that check found wrong.
        busy_since: monotonic seconds at which the batch under way began.
        drift_slot: the present slice of time.
        drift_slots: how many slices the sliding window has.
        drift_expected: the bins' shares in the reference, by input.
        totals: what it counted.
        ended: whether it answers no more, though its process may live on with others.
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
        """Return whether it still answers."""
        return not self.ended and identify_process(self.pid) == self.created


class StateFile:
    """The file of this process and one version of the model.

    Args:
        folder: that all workers of a server share; made where it is not there.
        version: of the model; a process may serve several.
    """

    def __init__(self, folder: Path, version: str = "") -> None:
        name = f"{os.getpid()}-{identify_process(os.getpid())}-{version}{_SUFFIX}"
        self._path = folder / name
        self._descriptor: int | None = None

    def write(self, state: WorkerState) -> None:
        """Tell the present state.

        Raises:
            OSError: the file cannot be made.
        """
        payload = msgspec.msgpack.encode(state)
        if len(payload) + _HEADER.size > _SIZE:
            raise OSError(f"expected at most {_SIZE} bytes of state, however: {len(payload)}")
        header = _HEADER.pack(len(payload), zlib.crc32(payload))
        os.pwrite(self._open(), header + payload, 0)

    def _open(self) -> int:
        if self._descriptor is not None:
            with contextlib.suppress(OSError):
                if self._path.stat().st_ino == os.fstat(self._descriptor).st_ino:
                    return self._descriptor
            # It was removed: nobody would see what is written.
            os.close(self._descriptor)
            self._descriptor = None
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
    """Return the state of every worker that ever told one here, dead ones too."""
    states = [_read_state(path) for path in sorted(folder.glob(f"*{_SUFFIX}"))]
    return [state for state in states if state is not None]


def remove_dead_states(folder: Path) -> None:
    """Remove the files of workers that are gone, and those that nobody can read."""
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
        pass  # Of another version, or not ours.
    return None
