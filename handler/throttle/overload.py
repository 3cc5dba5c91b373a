"""Refuses at once what would have to wait for long."""

from __future__ import annotations

_LEARNING = 0.1
_ALWAYS, _ALWAYS_BYTES = 4, 32 * 1024
"""Never too much, by either measure: a few large requests at a time, or a hundred people
who come one by one, are not overload."""
_MOST_BYTES = 16 * 1024 * 1024
"""Of bodies in one batch beside the first: what is read for one client, others wait for."""

_LONG = 0.75
"""Of what a batch may take."""
_MEMORY = 8
"""Batches after a long one in which the next may be long again."""


class WorkBound:
    """Bounds how long a batch takes, and so how long the next one's requests wait.

    A batch is all that waits (its size is that of the server's queue), so an accepted
    request waits for one batch and is answered with the next. While a batch is read it
    is not yet known how long it will take to answer; the share that reading takes of
    the whole is learned from the batches before.

    Args:
        batch_s: how long a batch may take, seconds. A single request may take longer.
    """

    def __init__(self, batch_s: float) -> None:
        self._batch_s = batch_s
        self._share = 0.5
        self._short_batches = _MEMORY

    @staticmethod
    def is_never_too_much(requests: int, size: int) -> bool:
        """Tell whether a batch is so small that nothing of it is refused.

        Args:
            requests: how many.
            size: their bodies' bytes.
        """
        return requests <= _ALWAYS and size <= _ALWAYS_BYTES

    def refuses(self, position: int, size: int, reading_s: float) -> bool:
        """Tell whether the next request of a batch is too much.

        Where the bodies before it were large together, or where a batch shortly before was
        long: what came at the same moment by chance is not overload.

        Args:
            position: how many requests were read before it.
            size: their bodies' bytes.
            reading_s: seconds that took.
        """
        return (position > 0 and size > _MOST_BYTES) or (
            position >= _ALWAYS
            and size > _ALWAYS_BYTES
            and self._short_batches < _MEMORY
            and reading_s > self._batch_s * self._share
        )

    def learn(self, reading_s: float, total_s: float) -> None:
        """Take note of how long a batch took, seconds."""
        if total_s > self._batch_s * _LONG:
            self._share += _LEARNING * (reading_s / total_s - self._share)
            self._short_batches = 0
        else:
            self._short_batches += 1
