"""One JSON line a request, and one for what an operator should know."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any, BinaryIO

import msgspec


class RequestLog:
    """Collects records and writes them together.

    Args:
        stream: where the lines go.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._lines: list[bytes] = []
        self._now = ""

    def write(self, record: Mapping[str, Any]) -> None:
        """Add one record; it is written by the next :meth:`flush`, all with the first's time."""
        if not self._lines:
            self._now = _tell_time()
        self._lines.append(msgspec.json.encode({"time": self._now, **record}))

    def report(self, sentence: str) -> None:
        """Write a sentence for the operator at once; from any thread."""
        record = {"time": _tell_time(), "event": "notice", "message": sentence}
        self._write(msgspec.json.encode(record) + b"\n")

    def flush(self) -> None:
        """Write what was collected."""
        if not self._lines:
            return
        lines, self._lines = b"\n".join(self._lines) + b"\n", []
        self._write(lines)

    def _write(self, lines: bytes) -> None:
        # A full disk or a closed pipe loses log lines; it must not lose answers.
        with contextlib.suppress(OSError):
            self._stream.write(lines)
            self._stream.flush()


def _tell_time() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds")
