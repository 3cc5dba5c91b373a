"""The log: one JSON line for each request, and one for each notice to the operator."""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import logging
import time
from collections.abc import Mapping
from datetime import datetime, timezone
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

_LARGEST_BYTES = 100_000_000
_KEPT = 5


class RequestLog:
    """Collects records of requests and writes them together; writes notices immediately.

    TorchServe matches each line that a worker prints with several patterns. So records go to a
    file of their own, which the worker rotates.

    Args:
        notices: takes notices, and records too if there is no folder.
        folder: has the file of records, ``requests.0.log`` or the first one that no other
            worker uses. It is rotated at 100 MB, and five old files are kept.
    """

    def __init__(self, notices: BinaryIO, folder: Path | None = None) -> None:
        self._notices = notices
        self._records: list[Mapping[str, Any]] = []
        self._now_s = 0.0
        self._requests: _Lines | None = None
        if folder is not None:
            try:
                self._requests = _open_own(folder)
            except OSError as error:
                self.report(f"requests are logged here and not in {folder}: {error.strerror}")

    def write(self, record: Mapping[str, Any]) -> None:
        """Add a record; the next :meth:`flush` writes all, with the time of the first one."""
        if not self._records:
            self._now_s = time.time()
        self._records.append(record)

    def report(self, sentence: str) -> None:
        """Write a sentence for the operator immediately; any thread may call this."""
        record = {"time": _write_time(time.time()), "event": "notice", "message": sentence}
        self._print(msgspec.json.encode(record))

    def flush(self) -> None:
        """Write the records that were collected."""
        if not self._records:
            return
        records, self._records = self._records, []
        now = _write_time(self._now_s)
        lines = b"\n".join(msgspec.json.encode({"time": now, **record}) for record in records)
        if self._requests is None:
            self._print(lines)
        else:
            self._requests.handle(logging.makeLogRecord({"msg": lines.decode()}))

    def close(self) -> None:
        """Close the file, so that another worker may use it."""
        if self._requests is not None:
            self._requests.close()

    def _print(self, lines: bytes) -> None:
        # A full disk or a closed pipe may lose log lines, but no answers.
        with contextlib.suppress(OSError):
            self._notices.write(lines + b"\n")
            self._notices.flush()


class _Lines(RotatingFileHandler):
    """A log file, locked while this worker writes it."""

    def __init__(self, path: Path, held: BinaryIO) -> None:
        super().__init__(path, maxBytes=_LARGEST_BYTES, backupCount=_KEPT, encoding="utf-8")
        self._held = held

    def close(self) -> None:
        """Close the file and release its lock."""
        with self._held, contextlib.suppress(OSError):
            super().close()

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 -- logging's name
        """Drop the lines, as above."""


def _open_own(folder: Path) -> _Lines:
    """Open the first file that no living worker writes; each has a lock file beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in itertools.count():
        held = (folder / f"requests.{number}.lock").open("ab")
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            held.close()
            continue
        return _Lines(folder / f"requests.{number}.log", held)
    raise AssertionError("itertools.count does not end")


def _write_time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, timezone.utc).isoformat(timespec="milliseconds")
