"""Read JSON of any size value by value: a whole list or Bundle is never in memory."""

from __future__ import annotations

import gzip
import io
import json
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from henaw.model.errors import ScoringError

_BLOCK = 1 << 22
"""Characters that are read in one step; a larger document is read part by part."""

_LARGEST_ITEM = 1 << 28
_CUT = 16
"""Characters. An error so near to the end of the text may be due to the missing rest."""

_SPACE = " \t\r\n"

SUFFIXES: tuple[str, ...] = (".json", ".ndjson", ".jsonl", ".json.gz", ".ndjson.gz", ".jsonl.gz")
UNPACKING = (gzip.BadGzipFile, EOFError, zlib.error)
"""Errors of a damaged compressed file."""


@contextmanager
def open_text(path: Path) -> Iterator[IO[str]]:
    """Open JSON in any Unicode encoding, with or without gzip, whatever its name is.

    Raises:
        ScoringError: the compressed file is damaged.
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        is_packed = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        plain: Any = gzip.GzipFile(fileobj=file) if is_packed else file
        with io.BufferedReader(plain, _BLOCK) as buffered:
            try:
                encoding = json.detect_encoding(buffered.peek(4)[:4])
            except UNPACKING as error:
                raise ScoringError(str(path), [f"the file cannot be read: {error}"]) from error
            yield io.TextIOWrapper(buffered, encoding=encoding)


class JsonStream:
    """Read JSON documents one after the other: a single one, or one per line (NDJSON).

    Args:
        file: text.

    Attributes:
        count: number of values read so far.
    """

    def __init__(self, file: IO[str]) -> None:
        self._file = file
        self._text = ""
        self._at = 0
        self._is_whole = False
        self._decode = json.JSONDecoder().raw_decode
        self.count = 0

    def read(self, part: str) -> Iterator[tuple[Any, bool]]:
        """Yield values: documents, the items of a list, or the parts of a large object.

        Args:
            part: the key of the list in a large object whose items are yielded one by one.

        Yields:
            A value, and whether it is an item of that list.

        Raises:
            ValueError: the text is not JSON.
            RecursionError: it is nested too deeply.
        """
        while self._peek():
            if self._peek() == "[":
                for value in self._read_list():
                    yield value, False
                continue
            value = self._read_value(_BLOCK if self._peek() == "{" else _LARGEST_ITEM)
            if value is _TOO_LARGE:
                yield from self._take_apart(part)
            else:
                self.count += 1
                yield value, False

    def _take_apart(self, part: str) -> Iterator[tuple[Any, bool]]:
        """Yield the items of a large object's part, and then the object without it."""
        self._at += 1
        rest = {}
        while self._peek() != "}":
            key = self._read_value()
            self._expect(":")
            if key == part and self._peek() == "[":
                for item in self._read_list():
                    yield item, True
            elif isinstance(key, str):
                rest[key] = self._read_value()
            else:
                self._fail("Expecting property name enclosed in double quotes")
            if self._peek() != "}":
                self._expect(",")
        self._at += 1
        self.count += 1
        yield rest, False

    def _read_list(self) -> Iterator[Any]:
        self._at += 1
        while self._peek() != "]":
            self.count += 1
            yield self._read_value()
            if self._peek() != "]":
                self._expect(",")
        self._at += 1

    def _read_value(self, most: int = _LARGEST_ITEM) -> Any:
        self._peek()
        while True:
            try:
                value, end = self._decode(self._text, self._at)
            except json.JSONDecodeError as error:
                is_cut = error.pos >= len(self._text) - _CUT or "Unterminated" in error.msg
                if self._is_whole or not is_cut:
                    raise
                if len(self._text) - self._at > most:
                    if most < _LARGEST_ITEM:
                        return _TOO_LARGE
                    self._fail("a value is too large")
                self._fill()
                continue
            if end + _CUT < len(self._text) or self._is_whole:
                self._at = end
                return value
            # The rest of a number may follow, such as .5e3 after 1.
            self._fill()

    def _peek(self) -> str:
        """Return the next character that is not a space; "" at the end."""
        while True:
            text, at = self._text, self._at
            while at < len(text) and text[at] in _SPACE:
                at += 1
            self._at = at
            if at < len(text):
                return text[at]
            if self._is_whole:
                return ""
            self._fill()

    def _expect(self, sign: str) -> None:
        if self._peek() != sign:
            self._fail(f"Expecting {sign!r}")
        self._at += 1

    def _fill(self) -> None:
        """Read as much again as is in memory, so that each character is decoded a few times."""
        block = self._file.read(max(_BLOCK, len(self._text) - self._at))
        self._text = self._text[self._at :] + block
        self._at = 0
        self._is_whole = not block

    def _fail(self, message: str) -> None:
        raise json.JSONDecodeError(message, self._text, min(self._at, len(self._text)))


_TOO_LARGE = object()
