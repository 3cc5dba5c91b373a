"""Tables of answers, written batch by batch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
from henaw.model.errors import ScoringError
from henaw.scoring.answers import REASON, WITHHELD

SUFFIXES: tuple[str, ...] = (".parquet", ".csv", ".arrow")


def check_sink(path: Path) -> None:
    """Refuse a name that says no kind of table, before work is spent on it.

    Raises:
        ScoringError: the suffix is another, the folder is not there, or it is one itself.
    """
    problems = []
    if path.suffix.lower() not in SUFFIXES:
        problems.append(
            f"expected a name that ends in {', '.join(SUFFIXES)}, however: {path.name!r}"
        )
    if path.is_dir():
        problems.append("expected a file or a name that is free, however: a folder")
    if not path.parent.is_dir():
        problems.append(f"expected the folder {path.parent}, found none")
    if problems:
        raise ScoringError(str(path), problems)


def open_sink(file: pa.NativeFile, suffix: str, schema: pa.Schema) -> Any:
    """A writer with ``write_batch`` and ``close``.

    Answers hardly repeat, so that dictionaries of them cost time and save nothing.
    """
    suffix = suffix.lower()
    if suffix == ".csv":
        return pa_csv.CSVWriter(file, schema)
    if suffix == ".arrow":
        return pa.ipc.new_file(file, schema)
    return pq.ParquetWriter(file, schema, compression="zstd", use_dictionary=[WITHHELD, REASON])
