"""Files of answers, written batch by batch."""

from __future__ import annotations

import json
from pathlib import Path
from types import TracebackType
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
from henaw.model.errors import ScoringError
from henaw.scoring.answering.columns import REASON, WITHHELD

SUFFIXES: tuple[str, ...] = (".parquet", ".csv", ".arrow", ".ndjson")


def check_sink(path: Path, suffixes: tuple[str, ...] = SUFFIXES) -> None:
    """Check the name of an output before any work is done.

    Raises:
        ScoringError: it has another suffix, its folder is missing, or it is a folder itself.
    """
    problems = []
    if not path.name.lower().endswith(suffixes):
        problems.append(f"the name must end in {', '.join(suffixes)}; got {path.name!r}")
    if path.is_dir():
        problems.append("it must be a file; got a folder")
    if not path.parent.is_dir():
        problems.append(f"there is no folder {path.parent}")
    if problems:
        raise ScoringError(str(path), problems)


def check_other(out: Path, path: Path) -> None:
    """Check that the output does not replace the input.

    Raises:
        ScoringError: both are the same file.
    """
    if out.exists() and path.exists() and out.samefile(path):
        raise ScoringError(str(out), ["OUT must not be the same file as IN"])


def open_sink(file: pa.NativeFile, suffix: str, schema: pa.Schema) -> Any:
    """Open a writer with ``write_batch`` and ``close``.

    Numbers hardly repeat, so Parquet dictionaries of them would cost time and save nothing.
    """
    suffix = suffix.lower()
    if suffix == ".csv":
        return pa_csv.CSVWriter(file, schema)
    if suffix == ".ndjson":
        return _JsonLines(file)
    if suffix == ".arrow":
        return pa.ipc.new_file(file, schema)
    return pq.ParquetWriter(file, schema, compression="zstd", use_dictionary=[WITHHELD, REASON])


class _JsonLines:
    """A writer of one JSON object a line."""

    def __init__(self, file: pa.NativeFile) -> None:
        self._file = file

    def __enter__(self) -> _JsonLines:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def write_batch(self, batch: pa.RecordBatch) -> None:
        """Write the rows of a batch."""
        names = batch.schema.names
        columns = [
            [None if cell is None else float(cell) for cell in _spell(column)]
            if pa.types.is_floating(column.type)
            else column.to_pylist()
            for column in batch.columns
        ]
        for cells in zip(*columns, strict=True):
            line = json.dumps(dict(zip(names, cells, strict=True)), default=str) + "\n"
            self._file.write(line.encode())

    def close(self) -> None:
        """Do nothing: every row is written already."""


def _spell(numbers: pa.Array) -> list[str | None]:
    """Write numbers with as many digits as identify them in their type."""
    spelled: list[str | None] = pc.cast(numbers, pa.string()).to_pylist()
    return spelled
