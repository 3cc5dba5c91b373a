"""Delimited text in every shape that people reported; each line a shape.

The sources are public reports of the same trait, the contents our own.
"""

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from henaw.intake.tables.text import find_shape
from henaw.model.errors import ScoringError
from henaw.scoring.reading.sources import open_source

Read = Callable[..., tuple[list[dict[str, Any]], list[str]]]

HEAD = "participant_id,age,sex,crp,albumin"
ROW = "a,54,female,1.2,45"
PLAIN = f"{HEAD}\n{ROW}\n"
SEMICOLONS = PLAIN.replace(",", ";")

SHAPES: dict[str, str | bytes] = {
    "plain": PLAIN,
    # https://github.com/shancarter/mr-data-converter/issues/52
    "a line sep=": f"sep=;\n{SEMICOLONS}",
    # https://github.com/close2/csv/issues/68
    "a quoted line sep=": f'"sep=;"\n{SEMICOLONS}',
    # https://github.com/mechatroner/vscode_rainbow_csv/issues/108
    "sep=|": f"sep=|\n{PLAIN.replace(',', '|')}",
    # https://github.com/alexcaza/export-to-csv/issues/43
    "sep=~": f"sep=~\n{PLAIN.replace(',', '~')}",
    "tabs": PLAIN.replace(",", "\t"),
    "carets": PLAIN.replace(",", "^"),
    # https://github.com/HKUDS/Vibe-Trading/pull/865
    "UTF-16 as Excel's Unicode text": PLAIN.replace(",", "\t").encode("utf-16"),
    "UTF-16 big-endian": b"\xfe\xff" + PLAIN.encode("utf-16-be"),
    "UTF-16 without a mark": PLAIN.encode("utf-16-le"),
    # https://github.com/OpenCTI-Platform/connectors/pull/7365
    "UTF-8 with a mark": b"\xef\xbb\xbf" + PLAIN.encode(),
    "Windows-1252": f"{HEAD},site\n{ROW},M\u00fcnchen\n".encode("cp1252"),
    "CRLF": PLAIN.replace("\n", "\r\n"),
    # https://github.com/adaltas/node-csv-parse/issues/81
    "title rows": f"Laboratory report\nPeriod: 2024-01-01 to 2024-01-31\n\n{PLAIN}",
    # https://github.com/jcustenborder/kafka-connect-spooldir/issues/164
    "one title row": f"Patient details\n{PLAIN}",
    # https://github.com/madskristensen/CSVEditor/issues/9
    "title rows with separators": f"Report;;;;\nUnit;Ward 3;;;\n{SEMICOLONS}",
    "blank lines before": f"\n\n{PLAIN}",
    # https://github.com/deephaven/deephaven-core/issues/1800
    "trailing separators": PLAIN.replace("\n", ",\n"),
    # https://github.com/im-anishraj/arnio/pull/851
    "trailing separators of rows alone": f"{HEAD}\n{ROW},,\n",
    # https://github.com/pandas-dev/pandas/issues/59009
    "quoted line breaks": f'{HEAD},note\n{ROW},"two\nlines"\n',
    "quoted line breaks in the header": f'{HEAD},"note\n(free text)"\n{ROW},x\n',
    "quoted cells": '"participant_id","age","sex","crp","albumin"\n"a","54","female","1.2","45"\n',
    # https://github.com/JuliaData/CSV.jl/issues/83
    "decimal commas": SEMICOLONS.replace("1.2", "1,2"),
    "decimal commas, quoted": PLAIN.replace("1.2", '"1,2"'),
    # https://github.com/harelba/q/issues/337
    "decimal commas between tabs": PLAIN.replace(",", "\t").replace("1.2", "1,2"),
    "names in capitals": PLAIN.upper().replace("FEMALE", "F").replace("A,54", "a,54"),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_a_shape_gives_the_same_row(read: Read, shape: str) -> None:
    ((row, *more), _) = read(SHAPES[shape])
    assert not more
    values = list(row.values())
    assert values[0] == "a"
    assert [float(value) for value in (values[1], *values[3:])] == [54, 1.2, 45]
    assert values[2].casefold() in ("female", "f")


@pytest.mark.parametrize(
    ("cell", "value"),
    [
        ("79,6", "79.6"),
        # https://github.com/JuliaData/CSV.jl/issues/1150
        ("1.079,6", "1079.6"),
        # https://github.com/jasp-stats/jasp-desktop/issues/403
        ("1.079", "1079"),
        ("<5,5", "<5.5"),
    ],
)
def test_in_a_file_of_decimal_commas_points_are_of_thousands(
    read: Read, cell: str, value: str
) -> None:
    rows, notes = read(f"participant_id;age;sex;crp;creatinine\n1,5;54;f;1,2;{cell}\n")
    assert rows[0]["creatinine"] == value
    # An identifier is no number.
    assert rows[0]["participant_id"] == "1,5"
    assert "numbers have a decimal comma" in notes


def test_line_breaks_in_cells_are_read_at_any_size(tmp_path: Path) -> None:
    rows = 120_000
    text = "age,sex,crp,note\n" + f'54,f,1.2,"{"x" * 60}\n{"y" * 60}"\n' * rows
    with gzip.open(tmp_path / "in.csv.gz", "wt", compresslevel=1) as file:
        file.write(text)
    source = open_source(tmp_path / "in.csv.gz")
    chunks = [batch for _, batch in source.read_columns(["crp"], ())]  # type: ignore[attr-defined]
    assert sum(batch.num_rows for batch in chunks) == rows


def test_a_letter_of_another_code_page_is_found_anywhere(tmp_path: Path) -> None:
    path = tmp_path / "in.csv"
    path.write_bytes(PLAIN.encode() + b"b,61,male,2,44\n" * 50_000 + b"M\xfcller,61,male,2,44\n")
    assert find_shape(path).encoding == "cp1252"


def test_a_truncated_row_is_an_error_and_not_a_missing_value(read: Read) -> None:
    with pytest.raises(ScoringError, match="cannot be read"):
        read(f"{HEAD}\n{ROW}\nb,61\n")


def test_extra_cells_with_content_are_an_error(read: Read) -> None:
    with pytest.raises(ScoringError, match="cannot be read"):
        read(f"{HEAD}\n{ROW},7\n")
