"""`henaw data ukb` as a command in its own process."""

import os
import subprocess
import sys

import pandas as pd
import pytest

MAIN = (sys.executable, "-c", "from henaw.cli.main import main; main()", "data", "ukb")
HEADER = "eid,31-0.0,53-0.0,54-0.0,21003-0.0,40000-0.0,40001-0.0,30710-0.0"


def run(*arguments):
    return subprocess.run(
        [*MAIN, *map(str, arguments)], capture_output=True, text=True, check=False
    )


@pytest.fixture
def extract(tmp_path):
    folder = tmp_path / "extract"
    folder.mkdir()
    (folder / "main.csv").write_text(
        f"{HEADER}\n"
        "1000001,0,2008-01-01,11012,60,,,1.5\n"
        "1000002,1,2009-01-01,11004,61,2012-01-01,I219,2.5\n"
        "1000003,1,2009-01-01,11012,61,,,0.5\n"
        "1000004,1,2009-01-01,11012,61,,,900\n"
    )
    return folder


def test_a_table_and_a_report_are_written_and_summarised(extract, tmp_path):
    out = tmp_path / "cohort.parquet"
    (tmp_path / "withdrawn.csv").write_text("1000003\n")
    done = run(
        extract, "--out", out, "--withdrawn", tmp_path / "withdrawn.csv",
        "--censor", "england=2018-01-01", "--visit", 0,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    table = pd.read_parquet(out)
    assert table["participant_id"].tolist() == [1000001, 1000002, 1000004]
    assert table["death"].tolist() == [0, 1, 0]
    assert table["followup_months"].round(0).tolist() == [120, 36, 108]
    assert "withdrawn 1" in done.stdout
    assert "crp: field 30710, unit mg/L, present 3, outside accepted range kept 1" in done.stdout
    assert "warning: hba1c (field 30750) is not in the extract" in done.stderr
    assert out.with_suffix(".report.json").is_file()
    assert "100000" not in done.stdout + done.stderr


def test_problems_are_a_message_and_no_trace(extract, tmp_path):
    (extract / "main.csv").write_text("eid,30710-0.0\n1000001,1\n")
    done = run(extract, "--out", tmp_path / "cohort.parquet")
    assert done.returncode == 1
    assert "4 problems" in done.stderr
    assert "Traceback" not in done.stderr


PROBE = """
import resource, sys
from pathlib import Path
from henaw.training.readers.ukb.build import build_ukb_table
from henaw.training.readers.ukb.configuration import UkbConfiguration
build_ukb_table(Path(sys.argv[1]), Path(sys.argv[2]), UkbConfiguration())
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is in KiB on Linux only")
def test_memory_does_not_grow_with_what_is_not_wanted(tmp_path):
    """150 MB of cells of which a hundredth is wanted must not be held."""
    columns = 1500
    filler = ",".join(["2009-05-11", "", ""] * (columns // 3))
    header = ",".join(f"{100000 + i}-0.0" for i in range(filler.count(",") + 1))
    peaks = {}
    for rows in (300, 25_000):
        path = tmp_path / f"{rows}.csv"
        with path.open("w") as file:
            file.write(f"{HEADER},{header}\n")
            for row in range(rows):
                file.write(f"{1000001 + row},0,2008-01-01,11012,60,,,1.5,{filler}\n")
        done = subprocess.run(
            [sys.executable, "-c", PROBE, path, tmp_path / "cohort.parquet"],
            capture_output=True, text=True, check=True,
            env={**os.environ, "POLARS_MAX_THREADS": "2"},
        )  # fmt: skip
        peaks[rows] = float(done.stdout)
        megabytes = path.stat().st_size / 2**20
    assert megabytes > 150
    assert peaks[25_000] - peaks[300] < megabytes / 2, peaks
