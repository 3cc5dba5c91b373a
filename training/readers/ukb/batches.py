"""Read the wanted columns of the files of a UK Biobank extract, in bounded memory.

Arrow streams a file block by block and converts only the wanted columns, so that memory
depends on what is kept and not on the width or length of the file.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
from henaw.model.errors import CohortError
from henaw.training.readers.ukb.files import Source, describe_error, open_text
from henaw.training.readers.ukb.line_counter import LineCounter

_UNQUOTED = "\t"
"""In tab-separated text a quote is part of a value, as in 5'10", since ukbconv quotes nothing.
Other programs quote every cell; those quotes are removed afterwards."""
_BLOCK_BYTES = 1 << 20
"""Arrow reads about thirty blocks ahead, so their size bounds memory. A row of 30 000 fields
fits in one; larger blocks are hardly faster."""

MISSING = ("", "na", "nan", "n/a", "#n/a", "null", "none", ".")
"""How exporters write a missing value, in lower case."""


def read_batches(source: Source) -> Iterator[pl.DataFrame]:
    """Read the wanted columns of a file as text, some rows at a time.

    Returns:
        Frames with the column ``eid`` and the others named by their number; missing values
        are null, in whatever way they were written.

    Raises:
        CohortError: the file is damaged or cut short.
    """
    names = [str(number) for number in source.wanted]
    missing = list(MISSING)
    batches = _stream_text(source) if source.delimiter else _stream_parquet(source)
    for batch in batches:
        frame = pl.DataFrame(batch).select(names).cast(pl.String)
        frame = frame.select(pl.all().str.strip_chars()).select(
            pl.when(~pl.col(name).str.to_lowercase().is_in(missing)).then(name).alias(name)
            for name in names
        )
        if source.delimiter == _UNQUOTED:
            frame = frame.with_columns(pl.all().str.replace(r'^"(.*)"$', "$1"))
        if source.delimiter == ";":
            # In semicolon-separated text the comma is often the decimal sign.
            frame = frame.with_columns(pl.all().str.replace(r"^(-?\d+),(\d+)$", "$1.$2"))
        yield frame.rename({str(source.participant): "eid"})


def _stream_parquet(source: Source) -> Iterator[pa.RecordBatch]:
    try:
        # Columns go by number, since two may have the same name.
        with pyarrow.parquet.ParquetFile(source.path) as file:
            names = file.schema_arrow.names
            columns = {names[number]: str(number) for number in source.wanted}
            for batch in file.iter_batches(batch_size=1 << 16, columns=list(columns)):
                yield batch.rename_columns([columns[name] for name in batch.schema.names])
    except (OSError, pa.ArrowException) as error:
        raise _refuse_file(source, error) from None


def _stream_text(source: Source) -> Iterator[pa.RecordBatch]:
    short: dict[int, int] = {}

    def count_row(row: Any) -> str:
        short[row.actual_columns] = short.get(row.actual_columns, 0) + 1
        return "skip"

    wanted = [str(number) for number in source.wanted]
    rows = 0
    try:
        with (
            open_text(source.path, source.compression) as file,
            LineCounter(file, source.encoding) as lines,
            pyarrow.csv.open_csv(
                lines,
                read_options=pyarrow.csv.ReadOptions(
                    block_size=_BLOCK_BYTES,
                    # Columns go by number: two may have one name, or a name a byte-order mark.
                    column_names=[str(number) for number in range(source.columns)],
                    skip_rows=1,
                    encoding=source.encoding,
                ),
                parse_options=pyarrow.csv.ParseOptions(
                    delimiter=source.delimiter,
                    quote_char=False if source.delimiter == _UNQUOTED else '"',
                    invalid_row_handler=count_row,
                ),
                convert_options=pyarrow.csv.ConvertOptions(
                    include_columns=wanted,
                    column_types=dict.fromkeys(wanted, pa.string()),
                ),
            ) as reader,
        ):
            for batch in reader:
                rows += batch.num_rows
                yield batch
    except (OSError, pa.ArrowException, UnicodeError) as error:
        raise _refuse_file(source, error) from None
    if short:
        raise CohortError(str(source.path), [_explain_rows(source, short)])
    # The header is one of the lines.
    if lines.count != rows + 1:
        raise CohortError(str(source.path), [_explain_lines(lines, rows)])


def _refuse_file(source: Source, error: Exception) -> CohortError:
    return CohortError(str(source.path), [f"the file cannot be read: {describe_error(error)}"])


def _explain_lines(lines: LineCounter, rows: int) -> str:
    where = f", first in line {lines.unpaired}" if lines.unpaired else ""
    return (
        f"there are {lines.count - 1:,} lines below the header, but {rows:,} rows were read: a "
        f"quote opens in one line and closes in another{where}, and all between became one value. "
        "Export the file again as tab-separated text, without line breaks inside values"
    )


def _explain_rows(source: Source, short: dict[int, int]) -> str:
    seen = ", ".join(
        f"{count} row{'' if count == 1 else 's'} with {columns}"
        for columns, count in sorted(short.items())[:5]
    )
    if set(short) == {source.columns + 1}:
        fix = "Row names may have been written without a title: export again without them"
    elif sum(short.values()) == 1:
        fix = "The file was probably cut short: copy or decompress it again"
    else:
        fix = "A value with a delimiter inside may not be quoted: export the file again"
    return f"every row must have {source.columns} values; got {seen}. {fix}"
