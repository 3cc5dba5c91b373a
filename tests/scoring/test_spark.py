"""Scoring on Spark, in a real session with two workers."""

import dataclasses
import os
import re
import subprocess
import sys
import venv
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result
from henaw.cli.main import commands
from henaw.cli.server.java import find_java_home
from henaw.export.graphs import export_onnx
from henaw.export.metadata import describe_model, format_properties
from henaw.intake.tables.layout import find_layout
from henaw.model.checkpoint import Checkpoint
from henaw.model.errors import ScoringError
from henaw.scoring import Henaw

pytest.importorskip("pyspark", reason="needs pyspark: pip install 'henaw[spark]'")

from henaw.scoring.spark import read_frame, score_frame

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = pytest.mark.filterwarnings("ignore::henaw.intake.preflight.InputWarning")

MAP = (
    "age: years\nsex: {column: gender, female: [w], male: [m]}\n"
    "biomarkers: [{name: hba1c, column: a1c, unit: '%'}]\nmissing: [n/a]\n"
)


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator["SparkSession"]:
    from pyspark.sql import SparkSession

    work = tmp_path_factory.mktemp("spark")
    submit = (
        "--master local[2] --conf spark.ui.enabled=false --conf spark.sql.shuffle.partitions=2 "
        f"--conf spark.local.dir={work} pyspark-shell"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYSPARK_SUBMIT_ARGS", submit)
        patch.setenv("PYSPARK_PYTHON", sys.executable)
        patch.setenv("SPARK_LOCAL_IP", "127.0.0.1")
        patch.setenv("JAVA_HOME", str(find_java_home()))
        session = SparkSession.builder.getOrCreate()
    session.sparkContext.setLogLevel("OFF")
    yield session
    session.stop()


def score(*arguments: object) -> Result:
    return CliRunner().invoke(commands, ["score", *map(str, arguments), "--engine", "spark"])


def read(folder: Path) -> pd.DataFrame:
    return pq.read_table(folder).to_pandas()


@pytest.mark.usefixtures("session")
def test_rows_that_cannot_be_scored_say_why(
    model: Henaw, model_path: Path, unscorable: pd.DataFrame, tmp_path: Path
) -> None:
    unscorable.insert(0, "participant_id", np.arange(6))
    unscorable.to_parquet(tmp_path / "in.parquet")
    result = score(tmp_path / "in.parquet", tmp_path / "out", "--model", model_path)
    assert result.exit_code == 3, result.output
    assert "6 rows, 1 scored" in result.stderr
    seen = read(tmp_path / "out").sort_values("participant_id")
    expected = model.predict(unscorable)
    assert seen["reason"].fillna("").tolist() == expected["reason"].fillna("").tolist()
    np.testing.assert_array_equal(seen["biological_age"], expected["biological_age"])


@pytest.mark.usefixtures("session")
def test_numbers_that_are_not_reliable_are_withheld(
    model: Henaw, model_path: Path, doubtful: pd.DataFrame, tmp_path: Path
) -> None:
    doubtful.to_parquet(tmp_path / "in.parquet")
    for choice, said in (("withhold", "numbers withheld"), ("keep", "not reliable")):
        out = tmp_path / choice
        options = ("--model", model_path, "--unreliable", choice)
        result = score(tmp_path / "in.parquet", out, *options)
        assert result.exit_code == 0, result.output
        assert f"{said}: 2 rows, a value is beyond its critical limit" in result.stderr
        assert f"{said}: 2 rows, the age is outside the fitted ages" in result.stderr
        seen = read(out).sort_values("participant_id")
        expected = model.predict(doubtful, unreliable=choice)
        assert seen["withheld"].fillna("").tolist() == expected["withheld"].fillna("").tolist()
        np.testing.assert_allclose(
            seen["biological_age"], expected["biological_age"].to_numpy(float), atol=1e-4
        )


@pytest.mark.usefixtures("session")
@pytest.mark.parametrize(
    ("names", "separator", "said"),
    [
        (("in.csv",), ",", ""),
        (("people/a.csv", "people/b.csv"), ";", ""),
        (("in.tsv",), "\t", ""),
        (("in.CSV",), "|", "separator: '|'\n"),
    ],
)
def test_text_is_read_by_the_map_of_columns(
    model_path: Path, tmp_path: Path, names: tuple[str, ...], separator: str, said: str
) -> None:
    rows = [("years", "gender", "a1c", '"says ""a"", b"'), ("54", "w", "5.4", "x")]
    rows += [("54", "m", "n/a", '"a ""b"" c"')]
    (tmp_path / "people").mkdir()
    for name in names:
        text = "".join(separator.join(row) + "\n" for row in rows)
        (tmp_path / name).write_text(text, encoding="utf-8-sig")
    (tmp_path / "map.yaml").write_text(MAP + said)
    source = tmp_path / names[0] if len(names) == 1 else tmp_path / "people" / "*.csv"
    options = ("--model", model_path, "--columns", tmp_path / "map.yaml")
    result = score(source, tmp_path / "out", *options, "--outputs", "imputed")
    assert result.exit_code == 0, result.output
    seen = read(tmp_path / "out")
    assert sorted(seen["imputed_hba1c"]) == sorted([False, True] * len(names))


def test_uris_are_left_as_they_are(
    session: "SparkSession", model_path: Path, people: pd.DataFrame, tmp_path: Path
) -> None:
    people.to_parquet(tmp_path / "people")
    hadoop: Any = session.sparkContext
    hadoop = hadoop._jsc.hadoopConfiguration()
    # A file system with a host in its addresses, as HDFS.
    hadoop.set("fs.viewfs.mounttable.hospital.link./data", tmp_path.as_uri())
    result = score(
        *("viewfs://hospital/data/people", "viewfs://hospital/data/out"), "--model", model_path
    )
    assert result.exit_code == 0, result.output
    assert len(read(tmp_path / "out")) == 1000


@pytest.mark.usefixtures("session")
@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("none.parquet", "out"), r"none.parquet: 1 problem\n.* Parquet, .*Path does not exist"),
        (
            ("none.csv", "out"),
            r"none.csv: 1 problem\n.* must be CSV\. Spark says: .*Path does not exist",
        ),
        (("text", "out"), r"its name ends in none of \.csv, .*Could not read footer"),
        (("empty.csv", "out"), "columns must be age, sex and some of"),
        (("in.parquet", "there"), r"there: 1 problem\n.* a new folder .*already exists"),
    ],
)
def test_what_spark_refuses_is_a_message(
    model_path: Path, people: pd.DataFrame, tmp_path: Path, names: tuple[str, str], message: str
) -> None:
    people.to_parquet(tmp_path / "in.parquet")
    people.to_csv(tmp_path / "text", index=False)
    (tmp_path / "empty.csv").touch()
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "kept").touch()
    result = score(*(tmp_path / name for name in names), "--model", model_path)
    assert isinstance(result.exception, ScoringError), result.output
    assert re.search(message, str(result.exception))
    assert "Traceback" not in str(result.exception)
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "there").exists() or (tmp_path / "there" / "kept").exists()


@pytest.mark.usefixtures("session")
def test_an_empty_folder_is_filled(model_path: Path, people: pd.DataFrame, tmp_path: Path) -> None:
    """As a run leaves one that is killed before it writes."""
    people.to_parquet(tmp_path / "in.parquet")
    (tmp_path / "out").mkdir()
    result = score(tmp_path / "in.parquet", tmp_path / "out", "--model", model_path)
    assert result.exit_code == 0, result.output
    assert len(read(tmp_path / "out")) == 1000
    assert (tmp_path / "out" / "_SUCCESS").exists()


def test_people_who_look_like_something_else_stop_it(
    model_path: Path, people: pd.DataFrame, tmp_path: Path
) -> None:
    people.assign(crp=9000.0).to_parquet(tmp_path / "units.parquet")
    result = score(tmp_path / "units.parquet", tmp_path / "out", "--model", model_path)
    assert result.exit_code == 2
    assert "stopped: crp must be in" in result.stderr
    assert not (tmp_path / "out").exists()


def test_a_missing_model_or_column(
    session: "SparkSession", model_path: Path, people: pd.DataFrame, tmp_path: Path
) -> None:
    people.to_parquet(tmp_path / "in.parquet")
    frame = read_frame(str(tmp_path / "in.parquet"))
    assert frame.sparkSession is session
    with pytest.raises(ScoringError, match=r"none\.onnx: 1 problem\n.*No such file"):
        score_frame(frame, tmp_path / "none.onnx")
    layout = dataclasses.replace(find_layout(frame.columns), age="years")
    with pytest.raises(ScoringError, match=r"columns: 1 problem\n.*`years` cannot be resolved"):
        score_frame(frame, model_path, layout=layout)


@pytest.fixture
def other(checkpoint: Checkpoint) -> bytes:
    """Another model."""
    changed = dataclasses.replace(
        checkpoint,
        version="99.0.0",
        tensors={**checkpoint.tensors, "weight": checkpoint.tensors["weight"] * 1.1},
    )
    model = export_onnx(changed.build_network(), format_properties(describe_model(changed)))
    return bytes(model.SerializeToString())


def test_models_with_the_same_file_name_are_distinguished(
    session: "SparkSession", model_path: Path, other: bytes, people: pd.DataFrame, tmp_path: Path
) -> None:
    (tmp_path / model_path.name).write_bytes(other)
    people.to_parquet(tmp_path / "in.parquet")
    frame = session.read.parquet(str(tmp_path / "in.parquet"))
    seen = [
        score_frame(frame, path, outputs=["age_gap"]).toArrow()["age_gap"].to_numpy()
        for path in (model_path, tmp_path / model_path.name, model_path)
    ]
    for place, path in enumerate((model_path, tmp_path / model_path.name)):
        expected = Henaw.load(path).predict(people)["age_gap"]
        np.testing.assert_array_equal(seen[place], expected)
    np.testing.assert_array_equal(seen[2], seen[0])
    assert np.nanmax(np.abs(seen[1] - seen[0])) > 0.1


def test_a_worker_opens_the_model_once(
    session: "SparkSession", model_path: Path, people: pd.DataFrame, tmp_path: Path
) -> None:
    people.to_parquet(tmp_path / "in.parquet")
    frame = session.read.parquet(str(tmp_path / "in.parquet")).repartition(12)
    everyone = session.range(16, numPartitions=16)
    everyone.mapInArrow(forget, "id long").count()
    assert score_frame(frame, model_path, outputs=["age_gap"]).toArrow().num_rows == 1000
    counts = everyone.mapInArrow(count_loads, "worker int, opened int, used int").distinct()
    seen = counts.toArrow().to_pylist()
    assert sum(worker["used"] for worker in seen) == 12
    assert all(worker["opened"] == 1 for worker in seen if worker["used"])


def forget(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    from henaw.scoring.spark import _load_once

    _load_once.cache_clear()
    yield from batches


def count_loads(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The worker, how often it opened a model, and for how many tasks it had one."""
    from henaw.scoring.spark import _load_once

    counted = _load_once.cache_info()
    for _ in batches:
        row = (os.getpid(), counted.misses, counted.hits + counted.misses)
        yield pa.RecordBatch.from_arrays(
            [pa.array([value], pa.int32()) for value in row], ["worker", "opened", "used"]
        )


def run_alone(folder: Path, **environment: str) -> "subprocess.CompletedProcess[str]":
    """``henaw score`` in a process of its own, as from an environment that is not activated."""
    own = Path(sys.executable).parent
    others = [part for part in os.environ["PATH"].split(os.pathsep) if Path(part) != own]
    variables = {k: v for k, v in os.environ.items() if k not in ("PYSPARK_PYTHON", "VIRTUAL_ENV")}
    command = [own / "henaw", "score", "in.parquet", "out", "--engine", "spark"]
    return subprocess.run(
        [str(part) for part in command],
        cwd=folder,
        env={**variables, "PATH": os.pathsep.join(others), "SPARK_LOCAL_IP": "127.0.0.1"}
        | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_an_environment_that_is_not_activated(people: pd.DataFrame, tmp_path: Path) -> None:
    """Its workers run on its own Python; another is named in one line if it has no henaw."""
    home = str(find_java_home())
    people.to_parquet(tmp_path / "in.parquet")
    bare = tmp_path / "bare"
    venv.create(bare, symlinks=True)
    failed = run_alone(tmp_path, JAVA_HOME=home, PYSPARK_PYTHON=str(bare / "bin" / "python"))
    assert failed.returncode == 1
    (said,) = [line for line in failed.stderr.splitlines() if "ModuleNotFoundError" in line]
    assert "The workers' Python needs henaw" in said
    assert "Traceback" not in failed.stderr
    assert "\tat " not in failed.stderr  # a line of Java's stack
    assert len(failed.stderr.splitlines()) < 20, failed.stderr  # Spark's progress among them
    assert not (tmp_path / "out").exists()
    scored = run_alone(tmp_path, JAVA_HOME=home)
    assert scored.returncode == 0, scored.stderr
    assert len(read(tmp_path / "out")) == 1000


def test_spark_without_java_is_an_error(tmp_path: Path) -> None:
    program = (
        "import sys; from henaw.scoring.spark import read_frame\n"
        "from henaw.model.errors import RuntimeUnavailableError\n"
        "try: read_frame('in.parquet')\n"
        "except RuntimeUnavailableError as error: print(error)"
    )
    result = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "JAVA_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout.startswith("Spark does not start: ")
    assert "It needs Java 17" in result.stdout
