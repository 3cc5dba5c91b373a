"""Scoring on Spark: the graph runs in the executors, on Arrow batches.

The model file is shipped once to each executor and opened once in each of its Python
workers. The executors need ``henaw[score]``.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from henaw.model.errors import RuntimeUnavailableError
from henaw.model.layout import Layout, find_layout
from henaw.model.runtime import OUTPUT_NAMES
from henaw.scoring.answers import check_outputs
from henaw.scoring.henaw import Henaw

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

ArrowFunction = Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]


def score_frame(
    people: DataFrame,
    model: str | Path,
    *,
    layout: Layout | None = None,
    outputs: Sequence[str] = OUTPUT_NAMES,
) -> DataFrame:
    """Score a Spark table; like ``Henaw.score``, identifiers and answers come back.

    Args:
        people: a table whose columns the layout names.
        model: ONNX file on the driver.
        layout: which column is what; None: as the names say.
        outputs: of the graph.

    Raises:
        ScoringError: the model or the columns cannot be used.
        RuntimeUnavailableError: pyspark is not installed.
    """
    pandas_types = _import_spark("pyspark.sql.pandas.types")
    layout = find_layout(people.columns) if layout is None else layout
    outputs = check_outputs(outputs)
    people = people.select(*(f"`{name}`" for name in layout.columns))
    schema = Henaw.load(model).make_schema(
        layout, outputs, pandas_types.to_arrow_schema(people.schema)
    )
    people.sparkSession.sparkContext.addFile(str(model))
    return people.mapInArrow(
        make_arrow_function(Path(model).name, layout, outputs),
        pandas_types.from_arrow_schema(schema),
    )


def make_arrow_function(file_name: str, layout: Layout, outputs: Sequence[str]) -> ArrowFunction:
    """A function for ``DataFrame.mapInArrow``.

    Args:
        file_name: of the model, as ``SparkContext.addFile`` shipped it.
        layout: which column is what.
        outputs: of the graph.
    """

    def score(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        from pyspark import SparkFiles

        model = _load_once(SparkFiles.get(file_name))
        for batch in batches:
            yield model.score(batch, layout, outputs)[0]

    return score


def read_frame(path: Path) -> DataFrame:
    """A table that Spark reads, by the session there is or a new one: Parquet, else CSV.

    Raises:
        RuntimeUnavailableError: pyspark is not installed.
    """
    session = _import_spark("pyspark.sql").SparkSession.builder.getOrCreate()
    parquet = path.is_dir() or path.suffix == ".parquet"
    people: DataFrame = (
        session.read.parquet(str(path)) if parquet else session.read.csv(str(path), header=True)
    )
    return people


@functools.lru_cache(maxsize=4)
def _load_once(path: str) -> Henaw:
    return Henaw.load(path)


def _import_spark(name: str) -> Any:
    import importlib

    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise RuntimeUnavailableError(
            "expected pyspark for Spark, found none: pip install 'henaw[spark]'"
        ) from error
