"""Inputs that are first unpacked to a file: standard input, Excel, compressed tables."""

from __future__ import annotations

import csv
import gzip
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import Any

from henaw.intake.json_stream import UNPACKING
from henaw.model.errors import ScoringError

STANDARD = "-"
"""Standard input, or standard output."""

_EXCEL = (".xlsx", ".xlsm", ".xlsb", ".xls", ".ods")
_PACKED = tuple(
    f"{suffix}.gz" for suffix in (".parquet", ".pq", ".arrow", ".feather", ".ipc", *_EXCEL)
)


@contextmanager
def unpack_input(path: Path, *, sheet: str | None = None) -> Iterator[Path]:
    """Yield a file that can be read: the input itself, or a temporary copy.

    Args:
        path: the input; "-" is standard input.
        sheet: name of a sheet, if a workbook has several.

    Raises:
        ScoringError: the input cannot be read, or the sheet is missing or not named.
    """
    name = path.name.lower()
    is_book = name.removesuffix(".gz").endswith(_EXCEL)
    if sheet is not None and not is_book:
        raise ScoringError(str(path), ["--sheet is for an Excel workbook"])
    if str(path) != STANDARD and not is_book and not name.endswith(_PACKED):
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="henaw-input-") as folder:
        try:
            if str(path) == STANDARD:
                path = _store(Path(folder))
            if path.name.lower().endswith(_PACKED):
                packed, path = path, Path(folder) / path.name[: -len(".gz")]
                with gzip.open(packed) as source, path.open("wb") as target:
                    shutil.copyfileobj(source, target)
        except (OSError, *UNPACKING) as error:
            raise ScoringError(str(path), [f"the file cannot be read: {error}"]) from error
        if path.name.lower().endswith(_EXCEL):
            path = _write_sheet(path, Path(folder), sheet)
        yield path


@contextmanager
def deliver_output(out: Path, suffix: str) -> Iterator[Path]:
    """Yield a file to write to; if ``out`` is "-", its content goes to standard output.

    Args:
        out: the file for the answers.
        suffix: suffix of the temporary file for standard output.
    """
    if str(out) != STANDARD:
        yield out
        return
    with tempfile.TemporaryDirectory(prefix="henaw-output-") as folder:
        written = Path(folder) / f"answers{suffix}"
        try:
            yield written
        finally:
            # The file exists only when it is complete.
            if written.exists():
                stream = sys.stdout.buffer
                stream.write(written.read_bytes())
                stream.flush()


def _store(folder: Path) -> Path:
    """Store standard input as a file with the suffix of its content."""
    stored = folder / "stdin"
    with stored.open("wb") as file:
        shutil.copyfileobj(sys.stdin.buffer, file)
    packed = ""
    with stored.open("rb") as file:
        head = file.read(4096)
        if head.startswith(b"\x1f\x8b"):
            packed = ".gz"
            head = gzip.GzipFile(fileobj=_rewind(file)).read(4096)
    named = stored.with_name(f"stdin{_find_suffix(head)}{packed}")
    return stored.rename(named)


def _rewind(file: Any) -> Any:
    file.seek(0)
    return file


def _find_suffix(head: bytes) -> str:
    for mark, suffix in ((b"PAR1", ".parquet"), (b"ARROW1", ".arrow"), (b"PK\x03\x04", ".xlsx")):
        if head.startswith(mark):
            return suffix
    # In any Unicode encoding.
    text = head.replace(b"\x00", b"").lstrip(b"\xef\xbb\xbf\xff\xfe \t\r\n")
    return ".json" if text.startswith((b"{", b"[")) else ".csv"


def _write_sheet(path: Path, folder: Path, sheet: str | None) -> Path:
    """Write a sheet as CSV."""
    from python_calamine import CalamineError, CalamineWorkbook

    try:
        book = CalamineWorkbook.from_path(str(path))
        name = _choose_sheet(path, book, sheet)
        rows = book.get_sheet_by_name(name).to_python(skip_empty_area=True)
    except (CalamineError, OSError) as error:
        raise ScoringError(str(path), [f"the workbook cannot be read: {error}"]) from error
    written = folder / f"{path.stem}.csv"
    with written.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([_write_cell(cell) for cell in row] for row in rows)
    return written


def _choose_sheet(path: Path, book: Any, sheet: str | None) -> str:
    names = [str(name) for name in book.sheet_names]
    if sheet is not None:
        if sheet not in names:
            raise ScoringError(
                str(path), [f"--sheet must be one of {', '.join(map(repr, names))}; got {sheet!r}"]
            )
        return sheet
    filled = [name for name in names if book.get_sheet_by_name(name).height]
    if len(filled) != 1:
        named = ", ".join(map(repr, filled)) or "none"
        raise ScoringError(
            str(path),
            [f"the workbook must have one sheet with cells, or name one by --sheet; got {named}"],
        )
    return filled[0]


def _write_cell(cell: object) -> str:
    if isinstance(cell, bool):
        return "true" if cell else "false"
    if isinstance(cell, float) and cell.is_integer():
        return str(int(cell))
    if isinstance(cell, (datetime, date, time)):
        return cell.isoformat()
    if isinstance(cell, timedelta):
        return str(cell)
    return str(cell)
