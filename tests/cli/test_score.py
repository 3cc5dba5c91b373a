"""``henaw score`` as a command, Spark included."""

import contextlib
import fcntl
import json
import os
import pty
import struct
import subprocess
import sys
import termios
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result
from henaw.cli.main import commands
from henaw.cli.server.java import find_java_home
from henaw.export.people import draw_synthetic_people
from henaw.model.biomarkers import NAMES
from henaw.model.checkpoint import Checkpoint
from henaw.model.errors import ScoringError


@pytest.fixture(scope="module")
def source(checkpoint: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Thirty people in the names of UK Biobank, in three row groups."""
    people = draw_synthetic_people(checkpoint, 30, seed=3)
    table = pa.table(
        {
            "eid": np.arange(30),
            "p31": ["Female" if sex == 0 else "Male" for sex in people.sex],
            "p21003_i0": people.age,
            "p30710_i0": people.biomarkers[:, 0].clip(0.01),
            "p30600_i0": people.biomarkers[:, 3],
        }
    )
    path = tmp_path_factory.mktemp("score") / "in.parquet"
    pq.write_table(table, path, row_group_size=10)
    return path


def run(*arguments: object) -> Result:
    return CliRunner().invoke(commands, ["score", *map(str, arguments)])


def test_the_summary_and_the_status_say_what_happened(
    source: Path, weights: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.parquet"
    result = run(source, out, "--model", weights / "henaw.onnx", "--outputs", "age_gap")
    assert result.exit_code == 0
    assert "30 rows, 30 scored by henaw-nhanes" in result.stderr
    assert "imputed for all: hba1c, creatinine" in result.stderr
    assert pq.read_schema(out).names == ["participant_id", "age_gap", "withheld", "reason"]
    table = pq.read_table(source)
    ages = table["p21003_i0"].to_numpy().copy()
    ages[4] = 150
    pq.write_table(table.set_column(2, "p21003_i0", pa.array(ages)), tmp_path / "b.parquet")
    result = run(tmp_path / "b.parquet", out, "--model", weights / "henaw.onnx")
    assert result.exit_code == 3
    assert "not scored: 1 rows, age is outside 18 to 120 years" in result.stderr


def test_without_a_model_the_shipped_one_scores(
    source: Path, weights: Path, tmp_path: Path
) -> None:
    assert run(source, tmp_path / "shipped.csv").exit_code == 0
    assert run(source, tmp_path / "named.csv", "--model", weights / "henaw.onnx").exit_code == 0
    shipped, named = (tmp_path / f"{name}.csv" for name in ("shipped", "named"))
    assert shipped.read_text() == named.read_text()


def test_the_summary_says_which_device_scored(
    source: Path,
    weights: Path,
    tmp_path: Path,
    pretend_cuda: Callable[..., Any],
    caplog: pytest.LogCaptureFixture,
) -> None:
    model = ("--model", weights / "henaw.onnx")
    out = tmp_path / "out.parquet"
    assert " on cpu\n" in run(source, out, *model).stderr
    # onnxruntime of the tests is built for the CPU: asked for by its name, that is told.
    assert " on cpu\n" in run(source, out, *model, "--device", "auto").stderr
    assert not caplog.records
    assert " on cpu\n" in run(source, out, *model, "--device", "cuda").stderr
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    pretend_cuda()
    assert " on cuda:2\n" in run(source, out, *model, "--device", "cuda:2").stderr
    assert " on cuda:0\n" in run(source, out, *model, "--device", "auto").stderr
    case = Path(__file__).parents[1] / "fhir" / "limits.json"
    bundle = tmp_path / "bundle.json"
    bundle.write_text(json.dumps(json.loads(case.read_text())["bundle"]))
    assert " on cuda:0\n" in run(bundle, out, *model, "--device", "cuda").stderr


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--device", "gpu"), "device must be auto, cpu, cuda or cuda:N; got 'gpu'"),
        (("--device", "cuda", "--engine", "spark"), "--device is for --engine local"),
    ],
)
def test_a_device_that_cannot_be_is_a_wrong_command_line(
    source: Path, weights: Path, tmp_path: Path, options: tuple[str, ...], said: str
) -> None:
    result = run(source, tmp_path / "out.csv", "--model", weights / "henaw.onnx", *options)
    assert result.exit_code == 2
    assert said in result.stderr


def test_withheld_answers_are_reported_and_are_no_failure(weights: Path, tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text("age,sex,crp\n50,female,1.2\n50,male,480\n90,male,490\n")
    options = ("--model", weights / "henaw.onnx", "--outputs", "biological_age,reliable")
    result = run(tmp_path / "in.csv", tmp_path / "out.csv", *options)
    assert result.exit_code == 0, result.output
    assert "numbers withheld: 2 rows, a value is beyond its critical limit" in result.stderr
    assert "numbers withheld: 1 rows, the age is outside the fitted ages" in result.stderr
    lines = (tmp_path / "out.csv").read_text().splitlines()
    assert lines[0] == '"biological_age","reliable","withheld","reason"'
    assert lines[2:] == [
        ',false,"critical_value",',
        ',false,"critical_value;age_outside_fitted",',
    ]
    result = run(tmp_path / "in.csv", tmp_path / "out.csv", *options, "--unreliable", "keep")
    assert "not reliable: 2 rows, a value is beyond its critical limit" in result.stderr
    kept = (tmp_path / "out.csv").read_text().splitlines()
    assert [line.partition(",")[2] for line in kept] == [line.partition(",")[2] for line in lines]
    assert all(float(line.partition(",")[0]) > 18 for line in kept[1:])
    assert run(tmp_path / "in.csv", "x.csv", *options, "--unreliable", "answer").exit_code == 2


LONG = (
    "patient_id,test,value,unit,date\n"
    "a,CRPH,1.2,mg/L,2024-03-01\n"
    "a,Creatinine,0.9,mg/dL,2024-03-01\n"
    "a,Sodium,140,mmol/L,2024-03-01\n"
    "b,CRPH,<0.3,mg/L,2024-03-01\n"
)


def test_a_result_a_row_becomes_a_row_a_person(weights: Path, tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text(LONG)
    people = tmp_path / "people.csv"
    people.write_text("patient_id,dob,gender\na,1970-03-01,F\nb,1960-03-01,M\n")
    (tmp_path / "tests.yaml").write_text("CRPH: crp\n")
    options = ("--people", people, "--tests", tmp_path / "tests.yaml", "--outputs", "age_gap")
    model = ("--model", weights / "henaw.onnx")
    out = tmp_path / "out.parquet"
    result = run(tmp_path / "in.csv", out, *model, *options)
    assert result.exit_code == 0, result.output
    for said in (
        "in.csv: one result per row; columns: person 'patient_id', test 'test'",
        "in.csv: tests outside the panel, by rows: 'Sodium' (1)",
        "2 rows, 2 scored by henaw-nhanes",
        "1 rows: crp is a limit, which is used as the value",
    ):
        assert said in result.stderr
    seen = pq.read_table(out)
    (tmp_path / "wide.csv").write_text(
        "id,age,sex,crp,creatinine (mg/dL)\na,54,F,1.2,0.9\nb,64,M,0.3,\n"
    )
    result = run(tmp_path / "wide.csv", out, *model, "--outputs", "age_gap")
    assert "wide.csv: creatinine: column 'creatinine (mg/dL)', in mg/dL" in result.stderr
    expected = pq.read_table(out)
    assert seen["participant_id"].to_pylist() == ["a", "b"]
    np.testing.assert_allclose(seen["age_gap"], expected["age_gap"], atol=1e-4)
    result = run(tmp_path / "in.csv", out, *model)
    assert isinstance(result.exception, ScoringError)
    assert "by --people" in str(result.exception)


def test_a_map_of_columns_has_units(weights: Path, tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text("id,years,gender,a1c\nx,54,w,5.4\ny,54,m,n/a\n")
    (tmp_path / "map.yaml").write_text(
        "participant_id: id\nage: years\nsex: {column: gender, female: [w], male: [m]}\n"
        "biomarkers: [{name: hba1c, column: a1c, unit: '%'}]\nmissing: [n/a]\n"
    )
    options = ("--model", weights / "henaw.onnx", "--columns", tmp_path / "map.yaml")
    result = run(tmp_path / "in.csv", tmp_path / "out.parquet", *options)
    assert result.exit_code == 0, result.stderr
    seen = pq.read_table(tmp_path / "out.parquet")
    assert seen["participant_id"].to_pylist() == ["x", "y"]
    assert seen["imputed_hba1c"].to_pylist() == [False, True]
    (tmp_path / "in.csv").write_text("id,years,gender,hba1c\nx,54,w,5.4\n")
    result = run(tmp_path / "in.csv", tmp_path / "out.parquet", *options)
    assert isinstance(result.exception, ScoringError)
    assert "there is no column 'a1c'" in str(result.exception)


@pytest.mark.parametrize(
    ("name", "separator", "said"),
    [
        ("in.csv", ";", ""),
        ("in.tsv", "\t", ""),
        ("in.csv", ",", ""),
        # The header shows more commas than what the map says.
        ("in.csv", "|", "separator: '|'\n"),
    ],
)
def test_a_map_of_columns_is_for_any_separator(
    weights: Path, tmp_path: Path, name: str, separator: str, said: str
) -> None:
    rows = [("years", "gender", "a1c", "of a, b, c, d"), ("54", "w", "5.4", "x")]
    quoted = [[f'"{cell}"' if "," in cell else cell for cell in row] for row in rows]
    (tmp_path / name).write_text("".join(separator.join(row) + "\n" for row in quoted))
    (tmp_path / "map.yaml").write_text(
        "age: years\nsex: {column: gender, female: [w], male: [m]}\n"
        "biomarkers: [{name: hba1c, column: a1c, unit: '%'}]\n" + said
    )
    options = ("--model", weights / "henaw.onnx", "--columns", tmp_path / "map.yaml")
    result = run(tmp_path / name, tmp_path / "out.csv", *options)
    assert result.exit_code == 0, result.output
    # Without identifiers, as the map names none.
    assert (tmp_path / "out.csv").read_text().startswith('"biological_age"')


def test_a_separator_of_two_characters_is_refused(weights: Path, tmp_path: Path) -> None:
    (tmp_path / "in.tsv").write_text("age\tsex\tcrp\n54\tf\t1\n")
    (tmp_path / "map.yaml").write_text(
        "age: age\nsex: {column: sex, female: [f], male: [m]}\n"
        "biomarkers: [{name: crp, column: crp, unit: mg/L}]\nseparator: '\\t'\n"
    )
    options = ("--model", weights / "henaw.onnx", "--columns", tmp_path / "map.yaml")
    result = run(tmp_path / "in.tsv", tmp_path / "out.csv", *options)
    assert isinstance(result.exception, ScoringError)
    assert "separator must be one character" in str(result.exception)


def test_names_of_outputs_and_files_need_not_be_exact(
    source: Path, weights: Path, tmp_path: Path
) -> None:
    model = ("--model", weights / "henaw.onnx")
    result = run(source, tmp_path / "out.CSV", *model, "--outputs", "age_gap, mortality_10y")
    assert result.exit_code == 0, result.output
    header = (tmp_path / "out.CSV").read_text().splitlines()[0]
    assert header == '"participant_id","age_gap","mortality_10y","withheld","reason"'
    case = Path(__file__).parents[1] / "fhir" / "limits.json"
    (tmp_path / "BUNDLE.JSON").write_text(json.dumps(json.loads(case.read_text())["bundle"]))
    assert run(tmp_path / "BUNDLE.JSON", tmp_path / "out.csv", *model).exit_code == 0


@pytest.mark.parametrize("terminal", [True, False])
def test_progress_is_for_a_terminal_only(
    source: Path, weights: Path, tmp_path: Path, terminal: bool
) -> None:
    ours, theirs = pty.openpty() if terminal else os.pipe()
    if terminal:
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    command = ["from henaw.cli.main import main; main()", "score", source, tmp_path / "out.csv"]
    process = subprocess.Popen(
        [sys.executable, "-c", *map(str, command), "--model", str(weights / "henaw.onnx")],
        stderr=theirs,
    )
    os.close(theirs)
    said = b""
    with contextlib.suppress(OSError):  # what a terminal answers once nobody holds it
        while block := os.read(ours, 4096):
            said += block
    os.close(ours)
    assert process.wait() == 0
    assert b"30 rows, 30 scored" in said
    assert (b"0/30.0 [" in said and b"people/s" in said) == terminal


def test_a_bundle_becomes_a_row_a_patient(weights: Path, tmp_path: Path) -> None:
    cases = Path(__file__).parents[1] / "fhir"
    bundle = json.loads((cases / "limits.json").read_text())["bundle"]
    bundle["entry"] += json.loads((cases / "not_scored.json").read_text())["bundle"]["entry"][1:4]
    (tmp_path / "bundle.json").write_text(json.dumps(bundle))
    out = tmp_path / "out.parquet"
    result = run(tmp_path / "bundle.json", out, "--model", weights / "henaw.onnx")
    assert result.exit_code == 3
    rows = pq.read_table(out).to_pylist()
    assert [row["participant_id"] for row in rows] == ["a", "b", "c", "d"]
    # The limit of an assay can be beyond a critical one, too.
    assert (rows[0]["withheld"], rows[0]["biological_age"]) == ("critical_value", None)
    said = "numbers withheld: a: Alanine aminotransferase 2000 U/L is above "
    assert said in result.stderr
    options = ("--model", weights / "henaw.onnx", "--unreliable", "keep")
    kept = run(tmp_path / "bundle.json", tmp_path / "kept.parquet", *options)
    assert "not reliable: a: Alanine aminotransferase 2000 U/L is above " in kept.stderr
    (row, *_) = pq.read_table(tmp_path / "kept.parquet").to_pylist()
    assert row["biological_age"] == pytest.approx(row["age"] + row["age_gap"], abs=1e-3)
    assert row["withheld"] == "critical_value"
    first = rows[0]
    assert (first["drawn"], first["imputed_ggt"]) == ("2024-03-01", True)
    assert (first["crp"], first["ggt"]) == (pytest.approx(0.3), None)
    assert first["limits"] == "crp;ast;alt"
    assert [row["reason"] for row in rows[1:]] == ["no result can be used"] * 3
    assert "1 rows: ggt is a limit that says too little, and is missing" in result.stderr
    assert "not used: 1 results, albumin: comparator '~' is not known" in result.stderr


def test_a_patient_with_a_reason_has_no_answers(weights: Path, tmp_path: Path) -> None:
    case = json.loads((Path(__file__).parents[1] / "fhir" / "limits_of_nobody.json").read_text())
    (tmp_path / "bundle.json").write_text(json.dumps(case["bundle"]))
    out = tmp_path / "out.parquet"
    result = run(tmp_path / "bundle.json", out, "--model", weights / "henaw.onnx")
    assert result.exit_code == 3
    assert "5 rows, 2 scored" in result.stderr
    table = pq.read_table(out)
    given = ["participant_id", "drawn", "age", "sex", *NAMES, "limits", "reason"]
    answers = table.drop_columns([*given, "withheld"])
    assert table["withheld"].to_pylist() == [None, None, None, "nothing_known", None]
    assert len(answers.column_names) > 20
    for row, answer in zip(table.to_pylist(), answers.to_pylist(), strict=True):
        if row["withheld"] is None:
            unscored = row["reason"] is not None
            assert all((value is None) == unscored for value in answer.values()), row


def test_a_bundle_that_is_none_leaves_no_output(weights: Path, tmp_path: Path) -> None:
    for content in (b"{", b"[]", b'{"resourceType": "Observation"}', b"[" * 100_000):
        (tmp_path / "bundle.json").write_bytes(content)
        result = run(
            tmp_path / "bundle.json", tmp_path / "out.csv", "--model", weights / "henaw.onnx"
        )
        assert isinstance(result.exception, ScoringError)
    assert [path.name for path in tmp_path.iterdir()] == ["bundle.json"]


def test_spark_gives_what_the_local_engine_gives(
    source: Path, weights: Path, tmp_path: Path
) -> None:
    pytest.importorskip("pyspark", reason="needs pyspark: pip install 'henaw[spark]'")
    model = ("--model", weights / "henaw.onnx")
    assert run(source, tmp_path / "local.parquet", *model).exit_code == 0
    # Three files of one row group each, so that Spark cuts the work up.
    folder = tmp_path / "in"
    folder.mkdir()
    for place in range(3):
        pq.write_table(pq.read_table(source).slice(place * 10, 10), folder / f"{place}.parquet")
    submit = "--master local[2] --conf spark.ui.enabled=false pyspark-shell"
    command = [sys.executable, "-c", "from henaw.cli.main import main; main()"]
    result = subprocess.run(
        [*command, "score", folder, tmp_path / "spark", *model, "--engine", "spark"],
        env={
            **os.environ,
            "PYSPARK_SUBMIT_ARGS": submit,
            "PYSPARK_PYTHON": sys.executable,
            "SPARK_LOCAL_IP": "127.0.0.1",
            "JAVA_HOME": str(find_java_home()),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert "30 rows, 30 scored" in result.stderr
    seen = pq.read_table(tmp_path / "spark").sort_by("participant_id")
    local = pq.read_table(tmp_path / "local.parquet")
    assert seen.cast(local.schema).schema.equals(local.schema)
    # Spark scores ten people at a time: the last bit of a sum may be another one.
    pd.testing.assert_frame_equal(seen.to_pandas(), local.to_pandas(), rtol=1e-5, atol=1e-5)
