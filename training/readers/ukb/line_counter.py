"""Counting a file's lines while somebody else reads it."""

from __future__ import annotations

import codecs
import io
from typing import Any

import pyarrow as pa


class LineCounter(io.RawIOBase):
    """A file that counts the lines that are read through it, whatever is quoted in them.

    Args:
        file: opened for reading.
        encoding: of its text.

    Attributes:
        count: lines with something in them.
        unpaired: number of the first line with an odd number of quotes, from 1; 0 for none.
    """

    def __init__(self, file: pa.NativeFile, encoding: str) -> None:
        super().__init__()
        self.count = 0
        self.unpaired = 0
        self._file = file
        # A byte of UTF-16 may look like a line's end and be none.
        wide = encoding.casefold().startswith("utf-16")
        self._decoder = codecs.getincrementaldecoder(encoding)() if wide else None
        self._rest = b""
        self._lines = 0
        self._ended = False

    def readable(self) -> bool:
        """Say that it can be read, as Arrow asks."""
        return True

    def read(self, size: int | None = -1) -> bytes:
        """Read up to so many bytes."""
        content: bytes = self._file.read(size)
        if content:
            self._take(content)
        elif not self._ended:
            self._ended = True
            self._count(self._rest.splitlines())
        return content

    def readinto(self, buffer: Any) -> int:
        """Read into a buffer; how many bytes."""
        content = self.read(len(buffer))
        buffer[: len(content)] = content
        return len(content)

    def _take(self, content: bytes) -> None:
        if self._decoder is not None:
            content = self._decoder.decode(content).encode()
        lines = (self._rest + content).splitlines(keepends=True)
        # What the last line goes on with, be it the second half of its end, is still to come.
        self._rest = lines.pop() if lines else b""
        self._count(lines)

    def _count(self, lines: list[bytes]) -> None:
        for number, line in enumerate(lines, self._lines + 1):
            if line.strip(b"\r\n"):
                self.count += 1
                if not self.unpaired and line.count(b'"') % 2:
                    self.unpaired = number
        self._lines += len(lines)
