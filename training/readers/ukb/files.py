"""Find the files of a UK Biobank extract, and the wanted columns in their headers.

Delimited text may be plain or compressed (gzip, zstd, bzip2), separated by commas,
tabs or semicolons, with or without a byte-order mark.

No message quotes a value, since an extract contains people's data.
"""

from __future__ import annotations

import csv
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
from henaw.intake.words.ukb_names import (
    Place,
    is_participant,
    parse_column,
    parse_record_column,
)
from henaw.model.errors import CohortError

_TEXT_SUFFIXES = (".csv", ".tsv", ".tab", ".txt")
_PARQUET_SUFFIXES = (".parquet", ".pq")
_COMPRESSIONS = {".gz": "gzip", ".zst": "zstd", ".bz2": "bz2"}
_MAGIC = {"gzip": b"\x1f\x8b", "zstd": b"\x28\xb5\x2f\xfd", "bz2": b"BZh"}
_FOREIGN = {
    ".enc": "encrypted (run ukbunpack, then ukbconv ... csv)",
    ".enc_ukb": "unpacked but not converted (run ukbconv ... csv)",
    ".dta": "Stata (export it as CSV)",
    ".sas7bdat": "SAS (export it as CSV)",
    ".rds": "R (export it as CSV)",
    ".xlsx": "Excel (export it as CSV)",
    ".zip": "an archive (unpack it)",
}

_HEADER_LIMIT_BYTES = 16 << 20
_BYTES_PER_PERSON = 160
"""More than a row of the output needs: 17 columns of at most 8 bytes, and their pages."""
_SPARE_BYTES = 16 << 20
_EXPANSION = 10
"""More than gzip and zstd compress such tables by; for the check of the disk."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """One file, and the numbers of its wanted columns.

    Attributes:
        path: the file.
        participant: number of the column with the identifier.
        places: column numbers by field, instance and array, of tables with one row per participant.
        records: column numbers by meaning, of tables with one row per death record.
        columns: number of all columns.
        delimiter: "" for Parquet.
        compression: "" for none.
        encoding: of text.
    """

    path: Path
    participant: int
    places: dict[Place, int]
    records: dict[str, int]
    columns: int
    delimiter: str = ""
    compression: str = ""
    encoding: str = "utf8"

    @property
    def wanted(self) -> list[int]:
        """Numbers of the columns to read, the identifier's first."""
        return [self.participant, *self.places.values(), *self.records.values()]


@dataclass(frozen=True, kw_only=True)
class Extract:
    """The files of an extract.

    Attributes:
        sources: files with wanted columns, sorted by path.
        unused: other tables, with the reason why they are not used.
        warnings: for the report.
    """

    sources: tuple[Source, ...]
    unused: dict[str, str]
    warnings: tuple[str, ...]


def find_sources(root: Path, out: Path) -> Extract:
    """Find the files of an extract and read every header.

    Args:
        root: a folder, searched with its subfolders, or one file.
        out: the table to write, which is not read even if it is below ``root``.

    Raises:
        CohortError: there is no table, a file cannot be read, a column occurs twice, or the disk
            has no room for the output; all problems are listed.
    """
    if not root.exists():
        raise CohortError(str(root), ["there is no such folder or file"])
    paths = _list_tables(root, out)
    if not paths:
        raise CohortError(str(root), [_explain_nothing(root)])
    sources, unused, problems, warnings = [], {}, [], []
    rows = 0
    for path in paths:
        name = str(path.relative_to(root)) if root.is_dir() else path.name
        try:
            source = _inspect(path)
            if isinstance(source, str):
                unused[name] = source
                continue
            sources.append(source)
            rows = max(rows, _bound_rows(source))
            if not source.compression and source.delimiter and not _ends_in_newline(path):
                warnings.append(
                    f"{name}: the last line has no line break, so the file may have been cut "
                    "short. Compare its size with the original"
                )
        except CohortError as error:
            problems += [f"{name}: {problem}" for problem in error.problems]
        except (OSError, UnicodeError, csv.Error, pa.ArrowException) as error:
            problems.append(f"{name}: the file cannot be read: {describe_error(error)}")
    if not sources and not problems:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in unused.items())
        problems.append(f"no file has UK Biobank fields and a participant column; got {reasons}")
    problems += _check_disk(out, rows)
    if problems:
        raise CohortError(str(root), problems)
    return Extract(sources=tuple(sources), unused=unused, warnings=tuple(warnings))


def _list_tables(root: Path, out: Path) -> list[Path]:
    if root.is_file():
        return [root]
    written = {out.resolve(), out.with_suffix(".report.json").resolve()}
    return sorted(
        path
        for path in root.rglob("*")
        if _plain_suffix(path) in (*_TEXT_SUFFIXES, *_PARQUET_SUFFIXES)
        and not path.is_dir()
        and not any(part.startswith(".") for part in path.relative_to(root).parts)
        and path.resolve() not in written
    )


def _plain_suffix(path: Path) -> str:
    suffix = path.suffix.casefold()
    return Path(path.stem).suffix.casefold() if suffix in _COMPRESSIONS else suffix


def _explain_nothing(root: Path) -> str:
    seen = sorted({path.suffix.casefold() for path in root.rglob("*") if path.is_file()})
    advice = "".join(f"; {suffix} is {_FOREIGN[suffix]}" for suffix in seen if suffix in _FOREIGN)
    return (
        "there is no .csv, .tsv, .tab, .txt (plain or as .gz, .zst, .bz2) or .parquet here or in a "
        f"subfolder; got {', '.join(filter(None, seen)) or 'no file'}{advice}"
    )


def _inspect(path: Path) -> Source | str:
    """Read a file's header; return a source, or the reason why there is nothing to read."""
    with path.open("rb") as file:
        magic = file.read(4)
    if not magic:
        raise CohortError(str(path), ["the file is empty"])
    if magic == b"PAR1" or _plain_suffix(path) in _PARQUET_SUFFIXES:
        header, delimiter, compression, encoding = _read_parquet_header(path), "", "", "utf8"
    else:
        compression = _find_compression(path, magic)
        line, encoding = _read_first_line(path, compression)
        header, delimiter = _split_header(line)
    participants = [i for i, name in enumerate(header) if is_participant(name)]
    if not participants:
        return "no participant column (eid)"
    if len(participants) > 1:
        raise CohortError(
            str(path), [f"there must be one participant column; got {len(participants)}"]
        )
    places, records = _map_columns(path, header)
    if not places and not records:
        return "none of the fields that are needed"
    return Source(
        path=path,
        participant=participants[0],
        places=places,
        records=records,
        columns=len(header),
        delimiter=delimiter,
        compression=compression,
        encoding=encoding,
    )


def _map_columns(path: Path, header: Sequence[str]) -> tuple[dict[Place, int], dict[str, int]]:
    records: dict[str, int] = {}
    for number, name in enumerate(header):
        meaning = parse_record_column(name)
        if meaning is not None:
            records[meaning] = number
    # An index or a cause shows that there is one row per death record, not per person.
    if {"record", "cause"} & set(records) and {"date", "cause"} & set(records):
        return {}, records
    places: dict[Place, int] = {}
    problems = []
    for number, name in enumerate(header):
        place = parse_column(name)
        if place is None:
            continue
        if place in places:
            problems.append(
                f"field {place.field}, instance {place.instance}, array {place.array} must have "
                f"one column; got {header[places[place]]!r} and {name!r}. Blood assays and "
                "metabolomics can have the same title: export with field names, or leave one out"
            )
        places[place] = number
    if problems:
        raise CohortError(str(path), problems)
    return places, {}


def _find_compression(path: Path, magic: bytes) -> str:
    for compression, start in _MAGIC.items():
        if magic.startswith(start):
            return compression
    promised = _COMPRESSIONS.get(path.suffix.casefold())
    if promised:
        raise CohortError(str(path), [f"its name says {promised}, but its content is not"])
    return ""


def open_text(path: Path, compression: str) -> pa.NativeFile:
    """Open a file; reading decompresses it."""
    raw = pa.OSFile(str(path), "rb")
    return pa.CompressedInputStream(raw, compression) if compression else raw


def _read_first_line(path: Path, compression: str) -> tuple[str, str]:
    content = b""
    with open_text(path, compression) as file:
        while b"\n" not in content and len(content) < _HEADER_LIMIT_BYTES:
            more = file.read(1 << 20)
            if not more:
                break
            content += more
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        content, encoding = content[: len(content) // 2 * 2], "utf-16"
    elif b"\x00" in content.split(b"\n", 1)[0]:
        raise CohortError(str(path), ["this is not a text file: it has NUL bytes"])
    else:
        encoding = "utf8"
        # Wanted columns have ASCII names; the title of another may be in Latin-1.
    first = content.decode("utf-8-sig" if encoding == "utf8" else encoding, errors="replace")
    return first.splitlines()[0] if first.strip() else "", encoding


def _split_header(line: str) -> tuple[list[str], str]:
    """Split by the delimiter that gives a participant column and the most columns."""
    found: list[tuple[bool, int, str, list[str]]] = []
    for delimiter in (",", "\t", ";", " "):
        names = next(csv.reader([line], delimiter=delimiter), [])
        found.append((any(map(is_participant, names)), len(names), delimiter, names))
    best = max(found, key=lambda candidate: candidate[:2])
    return best[3], best[2]


def _read_parquet_header(path: Path) -> list[str]:
    return [str(name) for name in pyarrow.parquet.read_schema(path).names]


def _bound_rows(source: Source) -> int:
    """An upper bound on the rows: each row has a delimiter between two columns."""
    if not source.delimiter:
        return int(pyarrow.parquet.read_metadata(source.path).num_rows)
    expansion = _EXPANSION if source.compression else 1
    return source.path.stat().st_size * expansion // max(source.columns, 2)


def _ends_in_newline(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-1, 2)
        return file.read(1) in b"\r\n\x00"


def _check_disk(out: Path, rows: int) -> list[str]:
    folder = next(parent for parent in out.resolve().parents if parent.is_dir())
    free = shutil.disk_usage(folder).free
    needed = rows * _BYTES_PER_PERSON + _SPARE_BYTES
    if free >= needed:
        return []
    return [
        f"{folder} must have {needed / 1e6:,.0f} MB free for up to {rows:,} participants; it has "
        f"{free / 1e6:,.0f} MB"
    ]


def describe_error(error: Exception) -> str:
    """Say what went wrong without quoting the file."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    # Arrow quotes the file after a colon or on the next lines.
    return str(error).splitlines()[0].split(": ")[0][:120] or type(error).__name__
