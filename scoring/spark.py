"""Scoring on Spark: the graph runs in the executors, on Arrow batches.

Spark ships the model file once to each executor; each of its Python workers opens it once.
The executors need ``henaw``.
"""

from __future__ import annotations

import functools
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from henaw.intake.preflight import ALL, Report
from henaw.intake.tables.layout import Layout, find_layout, find_separator
from henaw.model.distribution import suggest_install
from henaw.model.errors import RuntimeUnavailableError, ScoringError
from henaw.model.files import write_whole
from henaw.model.profile import LabProfile
from henaw.model.runtime import OUTPUT_NAMES
from henaw.scoring.answering.columns import WITHHOLD, check_outputs, check_unreliable
from henaw.scoring.henaw import Henaw
from henaw.scoring.reading.frames import to_batch
from henaw.scoring.reading.preflight import look_over, require_accepted
from henaw.scoring.reading.table_files import TEXT_SUFFIXES

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

ArrowFunction = Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]

_LOOKED_OVER = 10_000

_REFUSED = f"{ScoringError.__module__}.{ScoringError.__qualname__}: "
"""Precedes the message in the traceback of a Python worker."""
_RAISED = re.compile(r"^[A-Za-z_][\w.]*: .*$", re.MULTILINE)
"""Lines of a Python traceback that name the exception."""


def score_frame(
    people: DataFrame,
    model: str | Path,
    *,
    layout: Layout | None = None,
    outputs: Sequence[str] = OUTPUT_NAMES,
    unreliable: str = WITHHOLD,
    lab: str | Path | LabProfile | None = None,
    accept: Sequence[str] = (),
) -> DataFrame:
    """Score a Spark table.

    Args:
        people: a table with the layout's columns.
        model: ONNX file on the driver.
        layout: the meaning of each column; None: as the names say.
        outputs: names of the model's outputs.
        unreliable: "withhold" or "keep", as ``Henaw.predict`` takes it.
        lab: profile of the laboratory, as ``Henaw.load`` takes it.
        accept: names of findings to accept, as ``Henaw.predict`` takes them; "all" skips the
            check of the values.

    Returns:
        A table of identifiers and answers, as ``Henaw.score`` returns them.

    Raises:
        ScoringError: the model or the columns cannot be used, or the values look wrong.
        ProfileError: the profile cannot be used.
        RuntimeUnavailableError: pyspark is not installed.
    """
    pandas_types = _import_spark("pyspark.sql.pandas.types")
    layout = find_layout(people.columns) if layout is None else layout
    outputs = check_outputs(outputs)
    check_unreliable(unreliable)
    loaded = Henaw.load(model, lab=lab)
    with _explain_failure("columns", _describe_columns(layout)):
        people = people.select(*(f"`{name}`" for name in layout.columns))
    if ALL not in accept:
        require_accepted(look_over_frame(loaded, people, layout), accept)
    schema = loaded.make_schema(layout, outputs, pandas_types.to_arrow_schema(people.schema))
    name = _ship(people.sparkSession, loaded)
    return people.mapInArrow(
        make_arrow_function(name, layout, outputs, unreliable=unreliable),
        pandas_types.from_arrow_schema(schema),
    )


def look_over_frame(model: Henaw, people: DataFrame, layout: Layout) -> Report:
    """Report how a Spark table is read, by its first ten thousand people.

    Raises:
        ScoringError: the columns cannot be used.
    """
    with _explain_failure("columns", _describe_columns(layout)):
        some = people.select(*(f"`{name}`" for name in layout.columns)).limit(_LOOKED_OVER)
        table = to_batch(some.toArrow())
    return look_over(model, [(table, model.read(table, layout))], layout, people.columns)


def make_arrow_function(
    file_name: str, layout: Layout, outputs: Sequence[str], *, unreliable: str = WITHHOLD
) -> ArrowFunction:
    """A function for ``DataFrame.mapInArrow``.

    Args:
        file_name: name of the model's file, shipped by ``SparkContext.addFile``.
        layout: the meaning of each column.
        outputs: names of the model's outputs.
        unreliable: "withhold" or "keep", as ``Henaw.predict`` takes it.
    """

    def score(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        from pyspark import SparkFiles

        model = _load_once(SparkFiles.get(file_name))
        for batch in batches:
            yield model.score(batch, layout, outputs, unreliable=unreliable)[0]

    return score


def read_frame(source: str, *, separator: str | None = None) -> DataFrame:
    """Read a table with the active Spark session, or a new one.

    Args:
        source: path, URI or pattern of files; CSV if it ends in .csv, .tsv or .txt, with .gz or
            not, else Parquet.
        separator: between the columns of CSV; None: what the first header shows.

    Raises:
        ScoringError: Spark cannot read it.
        RuntimeUnavailableError: pyspark is not installed, or no session can be started.
    """
    read = _open_session().read
    text = source.rstrip("/").lower().endswith(TEXT_SUFFIXES)
    kind = f"Parquet, as its name ends in none of {', '.join(TEXT_SUFFIXES)}"
    people: DataFrame
    with _explain_failure(source, f"it must be {'CSV' if text else kind}"):
        if not text:
            people = read.parquet(source)
            return people
        if separator is None:
            first = read.text(source).first()
            separator = find_separator("" if first is None else first[0])
        # Quotes inside quotes are doubled, as in CSV files outside Spark.
        people = read.csv(source, header=True, sep=separator, escape='"')
        return people


def write_frame(answers: DataFrame, out: str) -> None:
    """Score and write a folder of Parquet; if that fails, no new folder stays.

    Raises:
        ScoringError: the folder exists and is not empty, or cannot be written, or a worker
            refused the table.
    """
    context: Any = answers.sparkSession.sparkContext
    with _explain_failure(out, "OUT must be a new folder that Spark can write"):
        folder = context._jvm.org.apache.hadoop.fs.Path(out)
        files = folder.getFileSystem(context._jsc.hadoopConfiguration())
        was_there = files.exists(folder)
        is_empty = was_there and files.isDirectory(folder) and not len(files.listStatus(folder))
        try:
            answers.write.mode("append" if is_empty else "error").parquet(out)
        except BaseException:
            if not was_there:
                files.delete(folder, True)
            raise


def _open_session() -> SparkSession:
    sessions = _import_spark("pyspark.sql").SparkSession
    session: SparkSession | None = sessions.getActiveSession()
    if session is not None:
        return session
    try:
        session = sessions.builder.getOrCreate()
    except _list_failures() as error:
        raise RuntimeUnavailableError(
            f"Spark does not start: {_find_cause(error)}. It needs Java 17 or later"
        ) from error
    context: Any = session.sparkContext
    if context.master.startswith("local"):
        # By default the workers take the first python3 of the path, which may lack henaw.
        if "PYSPARK_PYTHON" not in os.environ:
            context.pythonExec = sys.executable
        # A failure is reported once, by our error, and not also for each task and stage.
        context.setLogLevel("OFF")
    return session


def _ship(session: SparkSession, model: Henaw) -> str:
    """Ship the model's file to the executors and return its name there.

    Spark knows a file by its base name only: it refuses a second file of that name, or keeps
    the first. Therefore the name contains the model's digest.
    """
    name = f"henaw-{model.sha256}.onnx"
    copy = Path(_import_spark("pyspark").SparkFiles.getRootDirectory()) / "models" / name
    write_whole(copy, model.content)
    session.sparkContext.addFile(str(copy))
    return name


@functools.lru_cache(maxsize=4)
def _load_once(path: str) -> Henaw:
    return Henaw.load(path)


def _describe_columns(layout: Layout) -> str:
    return f"the table must have the columns {', '.join(layout.columns)}"


@contextmanager
def _explain_failure(subject: str, needed: str) -> Iterator[None]:
    """Raise an error of Spark as a ScoringError, without the stack of the JVM."""
    try:
        yield
    except _list_failures() as error:
        cause = _find_cause(error)
        if _REFUSED in cause:
            problem = f"a worker refused it: {cause.rpartition(_REFUSED)[2]}"
        else:
            problem = f"{needed}. Spark says: {cause}"
        raise ScoringError(subject, [problem]) from error


def _list_failures() -> tuple[type[Exception], ...]:
    return (
        _import_spark("pyspark.errors").PySparkException,
        _import_spark("py4j.protocol").Py4JJavaError,
    )


def _find_cause(error: Any) -> str:
    """The cause in one line; if a worker refused the people, its whole message."""
    text = str(error.java_exception.getMessage() if hasattr(error, "java_exception") else error)
    if _REFUSED in text:
        return text
    raised: list[str] = _RAISED.findall(text) if "Traceback (most recent" in text else []
    cause = raised[-1] if raised else text.partition("\n")[0]
    if "ModuleNotFoundError" in cause:
        cause += (
            ". The workers' Python needs henaw: on each executor, set PYSPARK_PYTHON to a Python "
            "that has it"
        )
    return cause


def _import_spark(name: str) -> Any:
    import importlib

    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise RuntimeUnavailableError(
            f"the engine spark needs pyspark: {suggest_install('spark')}"
        ) from error
