"""Workbooks, packed tables, standard input and output, and JSON by rows."""

import gzip
import io
import json
from datetime import datetime
from pathlib import Path
from typing import Any

import openpyxl
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result
from henaw.cli.score import score
from pyarrow import feather

WIDE = "participant_id,age,sex,crp,hba1c,albumin\na,54,female,1.2,35.5,45\nb,61,male,<0.3,,43\n"


def run(*arguments: object, given: bytes | None = None) -> Result:
    return CliRunner().invoke(score, [*map(str, arguments)], input=given)


def read(result: Result, out: Path) -> list[dict[str, Any]]:
    assert result.exit_code == 0, result.output
    rows: list[dict[str, Any]] = pa_csv.read_csv(out).to_pylist()
    return rows


@pytest.fixture
def wanted(tmp_path: Path) -> list[dict[str, Any]]:
    (tmp_path / "wanted.csv").write_text(WIDE)
    out = tmp_path / "wanted_out.csv"
    return read(run(tmp_path / "wanted.csv", out), out)


def list_cells() -> list[list[Any]]:
    rows: list[list[Any]] = [line.split(",") for line in WIDE.splitlines()]
    for row in rows[1:]:
        row[1] = int(row[1])
        row[3:] = [float(cell) if cell[:1].isdigit() else cell or None for cell in row[3:]]
    return rows


def save(path: Path, sheets: dict[str, list[list[Any]]]) -> Path:
    book = openpyxl.Workbook()
    book.remove(book.active)
    for name, rows in sheets.items():
        sheet = book.create_sheet(name)
        for row in rows:
            sheet.append(row)
    book.save(path)
    return path


def test_a_workbook_gives_what_its_table_gives(
    tmp_path: Path, wanted: list[dict[str, Any]]
) -> None:
    out = tmp_path / "out.csv"
    titled = [["Laboratory report", None], [], *list_cells()]
    path = save(tmp_path / "in.xlsx", {"empty": [], "people": titled})
    assert read(run(path, out), out) == wanted
    packed = tmp_path / "in.xlsx.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    assert read(run(packed, out), out) == wanted
    several = save(tmp_path / "two.xlsx", {"notes": [["read me"]], "people": list_cells()})
    assert "or name one by --sheet; got 'notes', 'people'" in str(run(several, out).exception)
    assert read(run(several, out, "--sheet", "people"), out) == wanted
    assert "must be one of 'notes', 'people'" in str(run(several, out, "--sheet", "x").exception)
    (tmp_path / "broken.xlsx").write_bytes(b"PK\x03\x04 no")
    assert "the workbook cannot be read" in str(run(tmp_path / "broken.xlsx", out).exception)
    assert "--sheet is for an Excel workbook" in str(
        run(tmp_path / "wanted.csv", out, "--sheet", "x").exception
    )


def test_a_workbook_may_have_a_result_a_row_and_dates(tmp_path: Path) -> None:
    day = datetime(2024, 3, 1, 8, 30)
    head = ["patient", "test", "value", "unit", "date", "sex", "birth_date"]
    born = datetime(1970, 3, 1)
    rows = [head, [7, "crp", 1.2, "mg/L", day, "F", born], [7, "alt", 20, "U/L", day, "F", born]]
    out = tmp_path / "out.csv"
    (row,) = read(run(save(tmp_path / "in.xlsx", {"s": rows}), out), out)
    assert (row["participant_id"], str(row["drawn"]), row["age"]) == (7, "2024-03-01", 54)
    assert (row["crp"], row["alt"]) == (pytest.approx(1.2), 20)


@pytest.mark.parametrize("name", ["in.parquet.gz", "in.arrow.gz", "in.csv.gz", "in.tsv.gz"])
def test_anything_may_be_packed(tmp_path: Path, wanted: list[dict[str, Any]], name: str) -> None:
    table = pa_csv.read_csv(tmp_path / "wanted.csv")
    plain = io.BytesIO()
    if "parquet" in name:
        pq.write_table(table, plain)
    elif "arrow" in name:
        feather.write_feather(table, plain)
    else:
        plain.write((WIDE.replace(",", "\t") if "tsv" in name else WIDE).encode())
    (tmp_path / name).write_bytes(gzip.compress(plain.getvalue()))
    out = tmp_path / "out.csv"
    assert read(run(tmp_path / name, out), out) == wanted
    (tmp_path / name).write_bytes(gzip.compress(plain.getvalue())[:-20])
    assert "cannot be read" in str(run(tmp_path / name, out).exception)


def write_rows() -> list[dict[str, Any]]:
    head, *rows = list_cells()
    return [dict(zip(head, row, strict=True)) for row in rows]


@pytest.mark.parametrize("kind", ["csv", "csv.gz", "parquet", "xlsx", "ndjson", "json"])
def test_standard_input_is_what_its_content_says(
    tmp_path: Path, wanted: list[dict[str, Any]], kind: str
) -> None:
    given = WIDE.encode()
    if kind == "csv.gz":
        given = gzip.compress(given)
    elif kind == "parquet":
        file = io.BytesIO()
        pq.write_table(pa_csv.read_csv(tmp_path / "wanted.csv"), file)
        given = file.getvalue()
    elif kind == "xlsx":
        given = save(tmp_path / "in.xlsx", {"people": list_cells()}).read_bytes()
    elif kind == "ndjson":
        given = "\n".join(map(json.dumps, write_rows())).encode()
    elif kind == "json":
        given = json.dumps(write_rows()).encode("utf-8-sig")
    result = run("-", "-", given=given)
    assert result.exit_code == 0, result.output
    assert pa_csv.read_csv(io.BytesIO(result.stdout_bytes)).to_pylist() == wanted
    assert "-: 2 rows, 2 scored" in result.stderr


def test_standard_output_can_be_of_any_form(tmp_path: Path, wanted: list[dict[str, Any]]) -> None:
    parquet = run(tmp_path / "wanted.csv", "-", "--to", "parquet")
    assert pq.read_table(io.BytesIO(parquet.stdout_bytes)).num_rows == 2
    arrow = run(tmp_path / "wanted.csv", "-", "--to", "arrow")
    assert pa.ipc.open_file(arrow.stdout_bytes).read_all().num_rows == 2
    lines = run(tmp_path / "wanted.csv", "-", "--to", "ndjson").stdout.splitlines()
    rows = [json.loads(line) for line in lines]
    assert [row["biological_age"] for row in rows] == [row["biological_age"] for row in wanted]
    assert list(rows[0]) == list(wanted[0])
    run(tmp_path / "wanted.csv", tmp_path / "out.ndjson")
    assert (tmp_path / "out.ndjson").read_text().splitlines() == lines


def test_what_cannot_be_scored_leaves_standard_output_empty(tmp_path: Path) -> None:
    for given in (b"", b"a,b\n1,2\n", b"[1, 2]", b'{"age": 54, "sex"', b"\x1f\x8bno"):
        result = run("-", "-", given=given)
        assert result.exit_code == 1, given
        assert result.stdout_bytes == b""


def test_a_run_in_which_some_are_not_scored_is_delivered_all_the_same() -> None:
    result = run("-", "-", given=WIDE.replace("54", "").encode())
    assert result.exit_code == 3
    assert b"age is missing" in result.stdout_bytes
