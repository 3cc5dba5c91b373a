"""Refuses at once what would have to wait for long."""

from __future__ import annotations

_LEARNING = 0.1


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
        self._is_behind = False

    def refuses(self, reading_s: float) -> bool:
        """Tell whether the next request is too much.

        Only where the batch before was long already: what came at the same moment as one
        large request is not overload.

        Args:
            reading_s: seconds spent on reading this batch so far.
        """
        return self._is_behind and reading_s > self._batch_s * self._share

    def learn(self, reading_s: float, total_s: float) -> None:
        """Take note of how long a batch took, seconds."""
        self._is_behind = total_s > self._batch_s / 2
        if self._is_behind:
            self._share += _LEARNING * (reading_s / total_s - self._share)
