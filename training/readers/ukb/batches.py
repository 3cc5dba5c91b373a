"""Reading single columns of the files of a UK Biobank extract, in bounded memory.

Arrow streams a file block by block and converts the wanted columns only, so that memory
depends on what is kept and not on how wide or long the file is.
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
"""Where the tab separates, a quote is a part of the text, as in 5'10": ukbconv quotes nothing.
Other programs put every cell in quotes, which are taken off one by one."""
_BLOCK_BYTES = 1 << 20
"""Arrow reads some thirty blocks ahead, so that this bounds memory. A row of 30 000 fields
fits; larger is hardly faster."""

MISSING = ("", "na", "nan", "n/a", "#n/a", "null", "none", ".")
"""What exporters write for nothing, in lower case."""


def read_batches(source: Source) -> Iterator[pl.DataFrame]:
    """Read the wanted columns of a file, some rows at a time, as text.

    Returns:
        Frames whose columns are ``eid`` and the places and record columns as
        ``str(number)``; missing values, however written, are null.

    Raises:
        CohortError: the file is damaged or cut short; says what and how many rows.
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
            # Where the semicolon separates, the comma is often the decimal sign.
            frame = frame.with_columns(pl.all().str.replace(r"^(-?\d+),(\d+)$", "$1.$2"))
        yield frame.rename({str(source.participant): "eid"})


def _stream_parquet(source: Source) -> Iterator[pa.RecordBatch]:
    try:
        # Opened by hand: a name may be there twice, a place may not.
        with pyarrow.parquet.ParquetFile(source.path) as file:
            names = file.schema_arrow.names
            columns = {names[number]: str(number) for number in source.wanted}
            for batch in file.iter_batches(batch_size=1 << 16, columns=list(columns)):
                yield batch.rename_columns([columns[name] for name in batch.schema.names])
    except (OSError, pa.ArrowException) as error:
        raise CohortError(str(source.path), [f"cannot be read: {describe_error(error)}"]) from None


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
                    # Columns go by number: names may be there twice, or hold a BOM.
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
        raise CohortError(str(source.path), [f"cannot be read: {describe_error(error)}"]) from None
    if short:
        raise CohortError(str(source.path), [_explain_rows(source, short)])
    # The header is a line too.
    if lines.count != rows + 1:
        raise CohortError(str(source.path), [_explain_lines(lines, rows)])


def _explain_lines(lines: LineCounter, rows: int) -> str:
    where = f", the first of them in line {lines.unpaired}" if lines.unpaired else ""
    return (
        f"expected a row for each of the {lines.count - 1:,} lines below the header, however "
        f"{rows:,} rows were read: quotes that open in one line and close in another"
        f"{where} take what is between them for one value. Export it again as text separated "
        "by tabs, without line breaks inside of values"
    )


def _explain_rows(source: Source, short: dict[int, int]) -> str:
    seen = ", ".join(
        f"{count} row{'' if count == 1 else 's'} with {columns}"
        for columns, count in sorted(short.items())[:5]
    )
    if set(short) == {source.columns + 1}:
        fix = "were row names written without a title? Write it again without them"
    elif sum(short.values()) == 1:
        fix = "the file was probably cut short: copy or decompress it again"
    else:
        fix = "is a value holding the delimiter not quoted? Export it again"
    return f"expected {source.columns} values in every row, however: {seen}; {fix}"
