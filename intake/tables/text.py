"""The shape of a file of delimited text: encoding, separator, and place of the header."""

from __future__ import annotations

import codecs
import csv
import io
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
from henaw.intake.tables.layout import find_separator
from henaw.intake.words.cells import find_decimal
from henaw.intake.words.columns import is_known
from henaw.model.errors import ScoringError

_HEAD_BYTES = 1 << 18
_BLOCK_BYTES = 1 << 20
_MOST_TITLE_ROWS = 50
_SEPARATORS = ",;\t|^~"
_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


@dataclass(frozen=True, kw_only=True)
class TextShape:
    """How to read a file of delimited text.

    Attributes:
        encoding: by Python's name.
        separator: between the columns.
        skip: lines before the header.
        names: of the columns; "" for a column without a name, whose cells are all empty.
        decimal: the decimal mark.
        is_empty: whether the file has no text.
        notes: sentences about what is unusual.
    """

    encoding: str
    separator: str
    skip: int
    names: tuple[str, ...]
    decimal: str
    is_empty: bool
    notes: tuple[str, ...]


def find_shape(path: Path, separator: str | None = None) -> TextShape:
    """Find the shape of a file: UTF-8 or UTF-16, with or without a mark, else Windows-1252.

    The header is the first line, unless a later line has more known columns: titles and a line
    "sep=;" may come before it.

    Args:
        path: of the file, compressed or not.
        separator: None where it is not known.

    Raises:
        ScoringError: the separator is not one character.
        OSError: the file cannot be read.
    """
    if separator is not None and len(separator) != 1:
        raise ScoringError(str(path), [f"separator must be one character; got {separator!r}"])
    with pa.input_stream(str(path), compression="detect") as stream:
        head = stream.read(_HEAD_BYTES)
    encoding = _find_encoding(path, head)
    text = head.decode(encoding, errors="ignore")
    lines = text.lstrip("\ufeff").replace("\r\n", "\n").replace("\r", "\n").split("\n")
    notes = []
    if encoding not in ("utf-8", "utf-8-sig"):
        notes.append(f"the text is {encoding}")
    skip = 0
    if lines and lines[0].casefold().strip().strip('"').startswith("sep=") and len(lines) > 1:
        stated = lines[0].strip().strip('"')[4:5]
        separator = separator or stated or None
        skip = 1
    skip, separator = _find_header(lines, skip, separator)
    titles = [
        line for line in lines[:skip] if line.strip() and not line.startswith(("sep=", '"sep='))
    ]
    if titles:
        notes.append(f"lines before the header that are not used: {len(titles)}")
    rows = _read_rows("\n".join(lines[skip:]), separator, is_whole=len(head) < _HEAD_BYTES)
    names = [name.strip() for name in rows[0]] if rows else []
    body = [row for row in rows[1:] if row]
    # A separator at the end of every line except the header makes a column of empty cells.
    widths = {len(row) for row in body}
    extra = [cell for row in body for cell in row[len(names) :]]
    if len(widths) == 1 and max(widths) > len(names) and not any(map(str.strip, extra)):
        names += [""] * (max(widths) - len(names))
    decimal = find_decimal([cell for row in body for cell in row])
    if decimal == ",":
        notes.append("numbers have a decimal comma")
    return TextShape(
        encoding=encoding,
        separator=separator,
        skip=skip,
        names=tuple(names),
        decimal=decimal,
        is_empty=not text.strip(),
        notes=tuple(notes),
    )


def _find_encoding(path: Path, head: bytes) -> str:
    for mark, encoding in _BYTE_ORDER_MARKS:
        if head.startswith(mark):
            return encoding
    if len(head) > 1:
        even, odd = head[0::2].count(0), head[1::2].count(0)
        if max(even, odd) > len(head) // 4:
            return "utf-16-le" if odd > even else "utf-16-be"
    # A letter of another code page may be anywhere in the file.
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        with pa.input_stream(str(path), compression="detect") as stream:
            while block := stream.read(_BLOCK_BYTES):
                decoder.decode(block)
            decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return "cp1252"
    return "utf-8"


def _find_header(lines: list[str], first: int, separator: str | None) -> tuple[int, str]:
    """Find the line of the header, and the separator."""
    best: tuple[int, int, str] | None = None
    for place, line in enumerate(lines[first : first + _MOST_TITLE_ROWS], start=first):
        for candidate in [separator] if separator else _SEPARATORS:
            cells = next(csv.reader([line], delimiter=candidate), [])
            known = sum(map(is_known, cells))
            if known >= 2 and (best is None or known > best[0]):
                best = (known, place, candidate)
    if best is not None:
        return best[1], best[2]
    while first < len(lines) and not lines[first].strip():
        first += 1
    line = lines[first] if first < len(lines) else ""
    return first, separator or find_separator(line)


def _read_rows(text: str, separator: str, *, is_whole: bool) -> list[list[str]]:
    try:
        rows = list(csv.reader(io.StringIO(text), delimiter=separator))
    except csv.Error:
        return [next(csv.reader([text.partition("\n")[0]], delimiter=separator), [])]
    # The last row of a part may be cut.
    return rows if is_whole else rows[:-1]
