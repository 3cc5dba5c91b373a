"""One JSON line a request, and one for what an operator should know."""

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
    """Collects requests' records and writes them together; writes notices at once.

    TorchServe reads what a worker prints line by line, through several patterns: records
    have a file of their own, rotated by who writes it.

    Args:
        notices: where notices go, and requests where they have no folder.
        folder: where requests are logged: in ``requests.0.log``, or the first that no other
            worker has; it is rotated at 100 MB, and five old ones are kept.
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
                self.report(f"requests are logged here, not in {folder}: {error.strerror}")

    def write(self, record: Mapping[str, Any]) -> None:
        """Add one record; it is written by the next :meth:`flush`, all with the first's time."""
        if not self._records:
            self._now_s = time.time()
        self._records.append(record)

    def report(self, sentence: str) -> None:
        """Write a sentence for the operator at once; from any thread."""
        record = {"time": _write_time(time.time()), "event": "notice", "message": sentence}
        self._print(msgspec.json.encode(record))

    def flush(self) -> None:
        """Write what was collected."""
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
        """Let another worker have the file."""
        if self._requests is not None:
            self._requests.close()

    def _print(self, lines: bytes) -> None:
        # A full disk or a closed pipe loses log lines; it must not lose answers.
        with contextlib.suppress(OSError):
            self._notices.write(lines + b"\n")
            self._notices.flush()


class _Lines(RotatingFileHandler):
    """A file of lines, held by an open lock for as long as it is written."""

    def __init__(self, path: Path, held: BinaryIO) -> None:
        super().__init__(path, maxBytes=_LARGEST_BYTES, backupCount=_KEPT, encoding="utf-8")
        self._held = held

    def close(self) -> None:
        """Close the file and let it go."""
        with self._held, contextlib.suppress(OSError):
            super().close()

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 -- logging's name
        """Lose the lines, as above."""


def _open_own(folder: Path) -> _Lines:
    """Open the first file that no living worker writes; each is held by a lock beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in itertools.count():
        held = (folder / f"requests.{number}.lock").open("ab")
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            held.close()
            continue
        return _Lines(folder / f"requests.{number}.log", held)
    raise AssertionError("expected no end of numbers")


def _write_time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, timezone.utc).isoformat(timespec="milliseconds")
