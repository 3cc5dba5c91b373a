"""Tables on disk; what is killed here is a real process."""

import dataclasses
import gzip
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest
from filelock import FileLock
from henaw.intake.tables.layout import find_layout
from henaw.model.biomarkers import NAMES
from henaw.model.errors import ScoringError
from henaw.model.runtime import OUTPUT_NAMES
from henaw.scoring import Henaw
from henaw.scoring.answering.summary import Summary
from henaw.scoring.jobs.comparison import compare_models
from henaw.scoring.jobs.table import _take_fingerprint, score_table
from henaw.scoring.reading.input_files import take_states
from henaw.scoring.reading.sources import open_source
from henaw.scoring.reading.table_files import CHUNK


def score(model: Henaw, source: Path, out: Path, **named: object) -> Summary:
    table = open_source(source, threads=2)
    return score_table(
        model,
        source,
        table,
        out,
        find_layout(table.names),
        outputs=OUTPUT_NAMES,
        **named,  # type: ignore[arg-type]
    )


def write(table: pa.Table, path: Path) -> Path:
    if path.suffix == ".parquet":
        pq.write_table(table, path, row_group_size=300)
    elif path.suffix == ".arrow":
        with pa.ipc.new_file(str(path), table.schema) as writer:
            writer.write_table(table, 300)
    elif path.suffix == ".ipc":
        with pa.ipc.new_stream(str(path), table.schema) as writer:
            writer.write_table(table, 300)
    elif path.suffix == ".gz":
        path.write_bytes(gzip.compress(table.to_pandas().to_csv(index=False).encode()))
    else:
        table.to_pandas().to_csv(path, index=False, sep=";" if "semicolon" in path.name else ",")
    return path


def read(path: Path) -> pa.Table:
    if path.suffix == ".csv":
        return pa_csv.read_csv(path)
    if path.suffix == ".arrow":
        return pa.ipc.open_file(path).read_all()
    return pq.read_table(path)


@pytest.fixture(scope="module")
def table(people: pd.DataFrame) -> pa.Table:
    return pa.Table.from_pandas(people, preserve_index=False)


def assert_answers(seen: pa.Table, expected: pa.Table) -> None:
    """The same rows in the same order; text and back keeps all digits of float32."""
    assert seen.schema.names == ["participant_id", *expected.schema.names]
    withheld = [value or "" for value in seen["withheld"].to_pylist()]
    assert withheld == [value or "" for value in expected["withheld"].to_pylist()]
    assert "critical_value" in withheld
    for name in expected.schema.names[:-2]:
        np.testing.assert_allclose(
            seen[name].to_numpy().astype(float), expected[name].to_numpy().astype(float), atol=1e-5
        )


@pytest.mark.parametrize(
    "name", ["in.parquet", "in.csv", "semicolon.csv", "in.csv.gz", "in.arrow", "in.ipc"]
)
@pytest.mark.parametrize("out", ["out.parquet", "out.csv", "out.arrow"])
def test_any_format_gives_the_same(
    model: Henaw, table: pa.Table, tmp_path: Path, name: str, out: str
) -> None:
    summary = score(model, write(table, tmp_path / name), tmp_path / out)
    seen = read(tmp_path / out)
    assert_answers(seen, model.predict(table))
    assert seen["participant_id"].to_pylist() == table["participant_id"].to_pylist()
    assert (summary.rows, summary.scored, summary.resumed) == (1000, 1000, 0)
    assert summary.imputed["crp"] == table["crp"].null_count
    assert {path.name for path in tmp_path.iterdir()} == {name, out}


def test_what_is_withheld_is_counted_and_the_choice_starts_from_the_beginning(
    model: Henaw, doubtful: pd.DataFrame, tmp_path: Path
) -> None:
    doubtful.to_parquet(tmp_path / "in.parquet")
    for choice in ("withhold", "keep"):
        summary = score(model, tmp_path / "in.parquet", tmp_path / "out.csv", unreliable=choice)
        assert (summary.rows, summary.scored, summary.resumed) == (6, 6, 0)
        assert summary.unreliable == {
            "critical_value": 2,
            "age_outside_fitted": 2,
            "nothing_known": 1,
            "unlike_fitted": 1,
        }
        ages = read(tmp_path / "out.csv")["biological_age"]
        assert ages.null_count == (5 if choice == "withhold" else 0)


def test_what_is_kept_of_a_run_is_not_used_by_the_other_choice(
    model: Henaw, table: pa.Table, tmp_path: Path
) -> None:
    source = write(table, tmp_path / "in.parquet")
    keys = {
        _take_fingerprint(
            model, take_states([source]), find_layout(table.schema.names), ("age_gap",), choice
        )
        for choice in ("withhold", "keep")
    }
    assert len(keys) == 2


def test_rows_without_answers_stay_where_they_are(
    model: Henaw, unscorable: pd.DataFrame, tmp_path: Path
) -> None:
    unscorable.to_csv(tmp_path / "in.csv", index=False)
    summary = score(model, tmp_path / "in.csv", tmp_path / "out.parquet")
    assert (summary.rows, summary.scored) == (6, 1)
    assert summary.reasons["age is outside 18 to 120 years"] == 2
    assert read(tmp_path / "out.parquet")["reason"].to_pylist()[1] == "age is missing"


_READ_ALL = """
import re, sys
from pathlib import Path
from henaw.intake.tables.layout import find_layout
from henaw.scoring.reading.sources import open_source

def read_peak_kib():
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])

source = open_source(Path(sys.argv[1]))
layout = find_layout(source.names)
before = read_peak_kib()
rows = sum(people.num_rows for _, people in source.read_chunks(layout, ()))
print(rows, read_peak_kib() - before)
"""


@pytest.mark.parametrize("row_group", [500_000, 4_000_000], ids=["many groups", "one group"])
def test_a_large_parquet_is_read_in_little_memory(tmp_path: Path, row_group: int) -> None:
    rows, path = 4_000_000, tmp_path / "large.parquet"
    noise = np.random.default_rng(1)
    columns = {name: noise.random(rows, np.float32) for name in ("age", *NAMES)}
    columns["sex"] = np.zeros(rows, np.float32)
    pq.write_table(pa.table(columns), path, row_group_size=row_group)
    assert path.stat().st_size > 150 << 20
    said = subprocess.run(
        [sys.executable, "-c", _READ_ALL, str(path)], capture_output=True, text=True, check=True
    ).stdout
    seen, grown_kib = map(int, said.split())
    assert seen == rows
    assert grown_kib < 80 << 10


def test_pandas_is_not_imported_where_nothing_needs_it(
    model_path: Path, table: pa.Table, tmp_path: Path
) -> None:
    """Arrow imports it at the first conversion from or to NumPy: a quarter of a second."""
    source = write(table, tmp_path / "people.parquet")
    program = """
import sys
from pathlib import Path
from henaw.cli.main import commands
try:
    commands(sys.argv[1:])
finally:
    print("pandas" in sys.modules)
"""
    command = ["score", str(source), str(tmp_path / "out.parquet"), "--model", str(model_path)]
    result = subprocess.run(
        [sys.executable, "-c", program, *command], capture_output=True, text=True, check=True
    )
    assert result.stdout.splitlines()[-1] == "False"
    assert (tmp_path / "out.parquet").is_file()


@pytest.mark.parametrize("name", ["in.parquet", "in.csv", "in.arrow"])
def test_a_table_without_rows(model: Henaw, table: pa.Table, tmp_path: Path, name: str) -> None:
    summary = score(model, write(table.slice(0, 0), tmp_path / name), tmp_path / "out.parquet")
    assert summary.rows == 0
    assert read(tmp_path / "out.parquet").num_rows == 0


def test_large_row_groups_are_cut(model: Henaw, table: pa.Table, tmp_path: Path) -> None:
    many = pa.concat_tables([table] * 70)
    pq.write_table(many, tmp_path / "in.parquet")
    assert many.num_rows > CHUNK
    score(model, tmp_path / "in.parquet", tmp_path / "out.parquet", threads=2)
    seen = pq.ParquetFile(tmp_path / "out.parquet")
    assert seen.metadata.num_row_groups == 2
    assert_answers(seen.read().slice(69_000), model.predict(table))


def start(model_path: Path, source: Path, out: Path) -> "subprocess.Popen[bytes]":
    command = ["from henaw.cli.main import main; main()", "score", source, out]
    return subprocess.Popen(
        [sys.executable, "-c", *map(str, command), "--model", str(model_path), "--threads", "1"],
        stderr=subprocess.PIPE,
    )


def kill_after(process: "subprocess.Popen[bytes]", parts: Path, count: int) -> None:
    deadline = time.monotonic() + 60
    while len(list(parts.glob("*.part"))) < count:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.communicate()


@pytest.fixture
def long_table(table: pa.Table, tmp_path: Path) -> Path:
    path = tmp_path / "in.parquet"
    pq.write_table(pa.concat_tables([table] * 150), path, row_group_size=1000)
    return path


def test_a_killed_run_is_continued(
    model: Henaw, model_path: Path, long_table: Path, tmp_path: Path
) -> None:
    out, parts = tmp_path / "out.parquet", tmp_path / ".out.parquet.parts"
    out.write_bytes(b"before")
    kill_after(start(model_path, long_table, out), parts, 5)
    assert out.read_bytes() == b"before"
    # What the kill cut short, and one that a full disk left without content.
    (parts / "00000140.writing").write_bytes(b"half")
    (parts / "00000149.part").write_bytes(b"")
    kill_after(start(model_path, long_table, out), parts, 12)
    again = start(model_path, long_table, out)
    said = again.communicate()[1].decode()
    assert again.returncode == 0, said
    resumed = int(said.split(" of these were")[0].split()[-1])
    assert 11_000 <= resumed < 150_000
    score(model, long_table, tmp_path / "whole.parquet")
    assert pq.read_table(out).equals(pq.read_table(tmp_path / "whole.parquet"))
    assert not parts.exists()


@pytest.mark.parametrize("name", ["in.csv", "in.csv.gz", "in.arrow", "in.ipc"])
def test_a_killed_run_is_continued_in_any_format(
    model: Henaw, model_path: Path, table: pa.Table, tmp_path: Path, name: str
) -> None:
    source, out = tmp_path / name, tmp_path / "out.parquet"
    many = pa.concat_tables([table] * 40)
    if ".csv" in name:
        # Text is cut by its bytes: long lines make more pieces of it.
        long = many.append_column("note", pa.array(["no" * 1000] * many.num_rows))
        write_csv(long, source)
    else:
        write(many, source)
    kill_after(start(model_path, source, out), tmp_path / ".out.parquet.parts", 3)
    again = start(model_path, source, out)
    said = again.communicate()[1].decode()
    assert again.returncode == 0, said
    assert 0 < int(said.split(" of these were")[0].split()[-1]) < 40_000
    assert_answers(read(out).slice(39_000), model.predict(table))
    score(model, source, tmp_path / "whole.parquet")
    assert pq.read_table(out).equals(pq.read_table(tmp_path / "whole.parquet"))


def write_csv(table: pa.Table, path: Path) -> None:
    """Faster than pandas, for long ones."""
    with pa.output_stream(str(path), compression="detect") as file:
        pa_csv.write_csv(table, file)


def test_another_input_starts_from_the_beginning(
    model: Henaw, model_path: Path, long_table: Path, table: pa.Table, tmp_path: Path
) -> None:
    out = tmp_path / "out.parquet"
    kill_after(start(model_path, long_table, out), tmp_path / ".out.parquet.parts", 5)
    other = table.set_column(2, "sex", flip(table["sex"]))
    pq.write_table(pa.concat_tables([other] * 2), long_table, row_group_size=1000)
    assert score(model, long_table, out).resumed == 0
    assert_answers(read(out).slice(1000), model.predict(other))


def flip(sex: pa.ChunkedArray) -> pa.ChunkedArray:
    return pa.chunked_array([1 - sex.to_numpy()])


def test_two_runs_do_not_write_one_output(model: Henaw, table: pa.Table, tmp_path: Path) -> None:
    parts = tmp_path / ".out.csv.parts"
    parts.mkdir()
    with (
        FileLock(parts / "lock"),
        pytest.raises(ScoringError, match="another run is writing this output"),
    ):
        score(model, write(table, tmp_path / "in.csv"), tmp_path / "out.csv")


def test_the_input_is_not_written_over(model: Henaw, table: pa.Table, tmp_path: Path) -> None:
    path = write(table, tmp_path / "in.csv")
    before = path.read_bytes()
    with pytest.raises(ScoringError, match="OUT must not be the same file as IN"):
        score(model, path, path)
    assert path.read_bytes() == before


def test_a_bad_table_leaves_the_output_as_it_was(model: Henaw, tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text("age,sex,crp\n50,0,1\n50,0\n")
    out = tmp_path / "out.parquet"
    out.write_bytes(b"before")
    with pytest.raises(ScoringError, match="cannot be read"):
        score(model, tmp_path / "in.csv", out)
    assert out.read_bytes() == b"before"
    assert {path.name for path in tmp_path.iterdir()} == {"in.csv", "out.parquet"}


def damage(path: Path) -> None:
    """Cut off the end of a file or, if that would be noticed immediately, change its middle."""
    content = bytearray(path.read_bytes())
    if path.suffix == ".parquet":
        # Just after the header of the first page, so that its content cannot be unpacked.
        content[64:600] = bytes(536)
    else:
        del content[len(content) * 3 // 4 :]
    path.write_bytes(content)


@pytest.mark.parametrize("name", ["in.csv.gz", "in.parquet", "in.ipc"])
def test_a_damaged_file_is_reported(
    model: Henaw, table: pa.Table, tmp_path: Path, name: str
) -> None:
    damage(write(pa.concat_tables([table] * 20), tmp_path / name))
    with pytest.raises(ScoringError, match=f"{name}: 1 problem\\n  - the file cannot be read: "):
        score(model, tmp_path / name, tmp_path / "out.parquet")
    assert [path.name for path in tmp_path.iterdir()] == [name]

    def compare() -> None:
        source = open_source(tmp_path / name)
        compare_models(model, model, source, find_layout(source.names))

    with pytest.raises(ScoringError, match="the file cannot be read"):
        compare()


def test_a_column_that_a_layout_names_and_a_file_has_not(
    model: Henaw, table: pa.Table, tmp_path: Path
) -> None:
    path = write(table, tmp_path / "in.csv")
    source = open_source(path)
    layout = find_layout([*source.names[:-1], "x"])
    layout = dataclasses.replace(layout, age="years")
    with pytest.raises(ScoringError, match=r"cannot be read: .*years"):
        score_table(model, path, source, tmp_path / "out.csv", layout, outputs=OUTPUT_NAMES)
    assert [path.name for path in tmp_path.iterdir()] == ["in.csv"]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("none.parquet", "out.csv"), "no such file"),
        (("in.docx", "out.csv"), r"end in \.parquet, \.csv"),
        (("broken.parquet", "out.csv"), "cannot be read"),
        (("in.csv", "out.xlsx"), r"must end in \.parquet, .*; got 'out.xlsx'"),
        (("in.csv", "nowhere/out.csv"), "there is no folder"),
        (("in.csv", "folder.csv"), "it must be a file; got a folder"),
    ],
)
def test_names_are_refused_before_work(
    model: Henaw, table: pa.Table, tmp_path: Path, names: tuple[str, str], message: str
) -> None:
    (tmp_path / "broken.parquet").write_bytes(b"PAR1")
    (tmp_path / "folder.csv").mkdir()
    write(table, tmp_path / "in.csv")
    with pytest.raises(ScoringError, match=message):
        score(model, tmp_path / names[0], tmp_path / names[1])
    assert not (tmp_path / names[1]).is_file()
    assert not list(tmp_path.glob(".*.parts"))


def test_the_summary_counts_rows_by_device(
    model: Henaw,
    model_path: Path,
    table: pa.Table,
    tmp_path: Path,
    pretend_cuda: Callable[..., Any],
) -> None:
    source = write(table, tmp_path / "in.arrow")  # in four batches, each a chunk
    assert score(model, source, tmp_path / "cpu.parquet").devices == {"cpu": 1000}
    pretend_cuda(runs_before_failing=2)
    cuda = Henaw.load(model_path, device="cuda")
    summary = score(cuda, source, tmp_path / "cuda.parquet")
    # The device fails at the third chunk, and the rest is scored all the same.
    assert summary.devices == {"cuda:0": 600, "cpu": 400}
    assert (summary.rows, summary.scored) == (1000, 1000)
    seen, expected = (read(tmp_path / f"{name}.parquet") for name in ("cuda", "cpu"))
    np.testing.assert_allclose(
        seen["biological_age"].to_numpy(), expected["biological_age"].to_numpy(), atol=1e-3
    )


def test_what_other_people_gave_is_not_continued(
    model: Henaw, table: pa.Table, tmp_path: Path
) -> None:
    source, people = write(table, tmp_path / "in.csv"), tmp_path / "people.csv"
    layout = find_layout(table.schema.names)
    keys = []
    for content in ("id,age\n", "id,age\n1,2\n"):
        people.write_text(content)
        files = take_states([source, people])
        keys.append(_take_fingerprint(model, files, layout, ("age_gap",), "keep"))
    assert keys[0] != keys[1]


def test_what_another_device_scored_is_not_continued(
    model: Henaw,
    model_path: Path,
    table: pa.Table,
    tmp_path: Path,
    pretend_cuda: Callable[..., Any],
) -> None:
    pretend_cuda()
    source = write(table, tmp_path / "in.parquet")
    layout = find_layout(table.schema.names)
    keys = [
        _take_fingerprint(one, take_states([source]), layout, ("age_gap",), "withhold")
        for one in (model, Henaw.load(model_path, device="cuda"), Henaw.load(model_path))
    ]
    assert keys[0] == keys[2] != keys[1]
