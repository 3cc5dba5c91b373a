"""People through other engines: the model travels to their processes, and answers alike."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from henaw.scoring import Henaw

COLUMNS = ["biological_age", "interval_low", "mortality_10y"]


@pytest.fixture(scope="module")
def expected(model: Henaw, people: pd.DataFrame) -> pd.DataFrame:
    return model.predict(people)


def test_dask_scores_each_partition(
    model: Henaw, people: pd.DataFrame, expected: pd.DataFrame
) -> None:
    dask = pytest.importorskip("dask", reason="needs Dask: pip install 'dask[dataframe]'")
    import dask.dataframe as dd

    tables = dd.from_pandas(people.set_index("participant_id"), npartitions=4)
    answers = tables.map_partitions(model.predict, meta=model.predict(tables._meta))
    assert answers["biological_age"].dtype == np.float32
    with dask.config.set(scheduler="processes", num_workers=2):
        seen = answers.compute()
    assert sorted(seen.index) == sorted(people["participant_id"])
    seen = seen.loc[people["participant_id"], COLUMNS].reset_index(drop=True)
    pd.testing.assert_frame_equal(seen, expected[COLUMNS])


RAY = """
import sys

import ray.data
from henaw import Henaw

try:
    ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False)
except Exception as error:
    print(f"Ray does not start: {error}")
    sys.exit(77)
people = ray.data.read_parquet(sys.argv[1])
answers = people.map_batches(Henaw.load(sys.argv[2]).predict, batch_format="pyarrow")
answers.to_pandas().to_parquet(sys.argv[3])
"""


def test_ray_scores_in_its_workers(
    model_path: Path, people: pd.DataFrame, expected: pd.DataFrame, tmp_path: Path
) -> None:
    """In a process of its own: Ray leaves files to the collector, and waits 30 s for its parts."""
    pytest.importorskip("ray", reason="needs Ray: pip install 'ray[data]'")
    people.to_parquet(tmp_path / "people.parquet")
    paths = (tmp_path / "people.parquet", model_path, tmp_path / "answers.parquet")
    command = [sys.executable, "-c", RAY, *map(str, paths)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode == 77:
        pytest.skip(done.stdout)
    assert done.returncode == 0, done.stderr
    seen = pd.read_parquet(paths[2], columns=COLUMNS).astype(np.float32)
    pd.testing.assert_frame_equal(seen, expected[COLUMNS])


def test_a_duckdb_relation_is_a_table_and_answers_can_be_asked(
    model: Henaw, people: pd.DataFrame, expected: pd.DataFrame
) -> None:
    duckdb = pytest.importorskip("duckdb", reason="needs DuckDB: pip install duckdb")
    with duckdb.connect() as connection:
        relation = connection.sql("SELECT * FROM people WHERE crp > 1 ORDER BY participant_id")
        answers = model.predict(relation)
        assert isinstance(answers, pa.Table)
        asked = connection.sql("SELECT count(*), avg(biological_age) FROM answers")
        ((count, mean),) = asked.fetchall()
    chosen = expected[(people["crp"] > 1).to_numpy()]
    assert 0 < count == len(chosen) < len(people)
    assert mean == pytest.approx(chosen["biological_age"].mean(), abs=1e-3)


def test_polars_and_anything_with_a_stream_of_arrow(
    model: Henaw, people: pd.DataFrame, expected: pd.DataFrame
) -> None:
    pl = pytest.importorskip("polars", reason="needs polars: pip install polars")

    class Stream:
        """A table of some other library."""

        def __init__(self, table: pa.Table) -> None:
            self._table = table

        def __arrow_c_stream__(self, requested: object = None) -> object:
            return self._table.__arrow_c_stream__(requested)

    for table in (pl.from_pandas(people), Stream(pa.table(people))):
        seen = model.predict(table)["biological_age"].to_numpy()
        np.testing.assert_array_equal(seen, expected["biological_age"])
