"""The bound on the work of a batch: what would wait for too long is refused immediately."""

from __future__ import annotations

import time
from collections.abc import Callable

_LEARNING = 0.1
_ALWAYS, _ALWAYS_BYTES = 4, 32 * 1024
"""Requests and bytes that are never too much: a few large requests together, or a hundred people
in requests of one person, are no overload."""
_MOST_BYTES = 16 * 1024 * 1024
"""Bytes of bodies after the first one in a batch: while they are read, other clients wait."""

_LONG = 0.75
"""Part of the time that a batch may take, from which on it counts as long."""
_CROWD = 3
"""So many long batches are an overload, unless ``_MEMORY`` short ones in a row come between them.
At 70 % of what a server can do, one long batch in ten follows another so soon, by chance."""
_MEMORY = 8
"""Short batches in a row that end an overload."""
_WAITING_WEIGHT = 0.25


class WorkBound:
    """Bounds how long a batch takes, and so how long the requests of the next one wait.

    A batch is all that waits (its size is that of the server's queue). So an accepted
    request waits for one batch, or two where the graph has a thread of its own, and is answered
    with the next. While a batch is read, the
    time to answer it is not yet known: the bound learns from earlier batches which part of the
    time is reading.

    Args:
        batch_s: seconds that a batch may take. A single request may take longer.

    Example:
        >>> bound = WorkBound(0.004)
        >>> bound.refuses(position=10, size=50_000, reading_s=0.003)
        False
        >>> for _ in range(3):
        ...     bound.learn(reading_s=0.003, total_s=0.006)
        >>> bound.refuses(position=10, size=50_000, reading_s=0.003)
        True
    """

    def __init__(self, batch_s: float) -> None:
        self._batch_s = batch_s
        self._reading_share = 0.5
        self._long_batches = self._short_batches = 0

    @staticmethod
    def is_never_too_much(requests: int, size: int) -> bool:
        """Return whether a batch is so small that none of it is refused.

        Args:
            requests: how many.
            size: bytes of their bodies.
        """
        return requests <= _ALWAYS and size <= _ALWAYS_BYTES

    def refuses(self, position: int, size: int, reading_s: float) -> bool:
        """Return whether the next request of a batch is too much.

        It is if the bodies before it were large together, or if several batches were long, too:
        many requests that come at the same moment by chance are no overload.

        Args:
            position: the number of requests that were read before it.
            size: bytes of their bodies.
            reading_s: seconds that it took to read them.
        """
        return (position > 0 and size > _MOST_BYTES) or (
            position >= _ALWAYS
            and size > _ALWAYS_BYTES
            and self._long_batches >= _CROWD
            and reading_s > self._batch_s * self._reading_share
        )

    def learn(self, reading_s: float, total_s: float) -> None:
        """Learn from a batch, by the seconds that reading it and all of it took."""
        if total_s > self._batch_s * _LONG:
            self._reading_share += _LEARNING * (reading_s / total_s - self._reading_share)
            self._long_batches += 1
            self._short_batches = 0
        else:
            self._short_batches += 1
            if self._short_batches >= _MEMORY:
                self._long_batches = 0


def start_work_clock() -> Callable[[], float]:
    """Return a clock of this thread's work from now on, seconds, for :class:`WorkBound`.

    It is CPU time: when other processes had the processor, the batch was no larger. The time
    spent waiting for a slow Redis counts with less weight, since it looks the same.
    """
    started_s, cpu_s = time.perf_counter(), time.thread_time()
    return lambda: max(
        time.thread_time() - cpu_s, (time.perf_counter() - started_s) * _WAITING_WEIGHT
    )


def start_no_clock() -> Callable[[], float]:
    """Return a clock that stands still, for batches that are too small to measure."""
    return _find_no_work


def _find_no_work() -> float:
    return 0.0
