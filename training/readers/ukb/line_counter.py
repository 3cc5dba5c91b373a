"""Count a file's lines while Arrow reads it."""

from __future__ import annotations

import codecs
import io
from typing import Any

import pyarrow as pa


class LineCounter(io.RawIOBase):
    """A file object that counts the lines read through it, regardless of quotes.

    Args:
        file: opened for reading.
        encoding: of its text.

    Attributes:
        count: number of lines that are not empty.
        unpaired: number of the first line with an odd number of quotes, from 1; 0: none.
    """

    def __init__(self, file: pa.NativeFile, encoding: str) -> None:
        super().__init__()
        self.count = 0
        self.unpaired = 0
        self._file = file
        # In UTF-16 half of a character may look like a line break.
        wide = encoding.casefold().startswith("utf-16")
        self._decoder = codecs.getincrementaldecoder(encoding)() if wide else None
        self._rest = b""
        self._lines = 0
        self._ended = False

    def readable(self) -> bool:
        """True, which Arrow asks for."""
        return True

    def read(self, size: int | None = -1) -> bytes:
        """Read up to ``size`` bytes."""
        content: bytes = self._file.read(size)
        if content:
            self._take(content)
        elif not self._ended:
            self._ended = True
            self._count(self._rest.splitlines())
        return content

    def readinto(self, buffer: Any) -> int:
        """Read into a buffer, and return the number of bytes."""
        content = self.read(len(buffer))
        buffer[: len(content)] = content
        return len(content)

    def _take(self, content: bytes) -> None:
        if self._decoder is not None:
            content = self._decoder.decode(content).encode()
        lines = (self._rest + content).splitlines(keepends=True)
        # The rest of the last line, or the second half of its line break, is still to come.
        self._rest = lines.pop() if lines else b""
        self._count(lines)

    def _count(self, lines: list[bytes]) -> None:
        for number, line in enumerate(lines, self._lines + 1):
            if line.strip(b"\r\n"):
                self.count += 1
                if not self.unpaired and line.count(b'"') % 2:
                    self.unpaired = number
        self._lines += len(lines)
