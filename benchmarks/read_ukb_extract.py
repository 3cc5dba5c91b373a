"""Peak memory and time of `henaw data ukb` on a CSV as wide and long as UK Biobank's.

    python benchmarks/read_ukb_extract.py --rows 500000 --columns 3000 --folder BIG_DISK

Writes a synthetic CSV (nobody in it exists; wanted columns spread over the width, the
rest filled as an extract is, two cells of three empty), reads it with the command in a
process of its own, and prints the peak resident memory of that process, the time as a
ratio to reading the bytes of the file once, and, with --pandas, the same for
pandas.read_csv of the same columns. The file is removed afterwards.
"""

from __future__ import annotations

import argparse
import datetime
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TYPICAL = {
    30710: 1.5,
    30750: 36.0,
    30700: 72.0,
    30600: 45.0,
    30180: 28.0,
    30070: 13.4,
    30730: 28.0,
    30650: 25.0,
    30620: 21.0,
}
EMPTY = ("53-1.0", "191-0.0", "21022-0.0", "40001-0.0", "30710-1.0", "30750-1.0", "30600-1.0")
REPORTABILITY = ("30716-0.0", "30756-0.0", "30706-0.0", "30606-0.0")


def make_wanted(source: random.Random) -> dict[str, str]:
    """One person's cells in the columns that are read."""
    visit = datetime.date(2006, 4, 1) + datetime.timedelta(source.randint(0, 1600))
    death = visit + datetime.timedelta(source.randint(100, 4500))
    return {
        "31-0.0": str(source.randint(0, 1)),
        "34-0.0": str(source.randint(1938, 1969)),
        "52-0.0": str(source.randint(1, 12)),
        "53-0.0": str(visit),
        "54-0.0": source.choice(("11012", "11004", "11003")),
        "21003-0.0": str(source.randint(40, 69)),
        "40000-0.0": str(death) if source.random() < 0.1 else "",
        **{
            f"{field}-0.0": f"{value * source.lognormvariate(0, 0.2):.2f}"
            for field, value in TYPICAL.items()
        },
        **dict.fromkeys(EMPTY, ""),
        **dict.fromkeys(REPORTABILITY, "1"),
    }


READ_WITH_PANDAS = """
import sys, pandas
header = pandas.read_csv(sys.argv[1], nrows=0).columns
wanted = [name for name in header if name in set(sys.argv[2].split(","))]
table = pandas.read_csv(sys.argv[1], usecols=wanted)
print(len(table))
"""


def write_extract(path: Path, rows: int, columns: int) -> None:
    """Write the CSV; the same arguments give the same bytes."""
    source = random.Random(1)
    people = [make_wanted(source) for _ in range(997)]
    names = list(people[0])
    width = (columns - 1 - len(names)) // len(names)
    fillers = [
        ",".join(
            source.choice(("", "", "-7", "12.345", "2009-05-11", '"several words"'))
            if source.random() < 1 / 3
            else ""
            for _ in range(width)
        )
        for _ in range(5000)
    ]
    with path.open("w", buffering=1 << 22) as file:
        header = ["eid"]
        for i, name in enumerate(names):
            header += [name, *(f"{100000 + i * width + j}-0.0" for j in range(width))]
        file.write(",".join(header) + "\n")
        for row in range(rows):
            cells = [str(1_000_001 + row)]
            for i, name in enumerate(names):
                cells.append(people[row % 997][name])
                if width:
                    cells.append(fillers[(row * 31 + i * 17) % 5000])
            file.write(",".join(cells) + "\n")


def read_once(path: Path) -> float:
    """Seconds to read the bytes, and nothing else."""
    began = time.perf_counter()
    with path.open("rb", buffering=0) as file:
        while file.read(1 << 24):
            pass
    return time.perf_counter() - began


def measure(command: list[str]) -> tuple[float, float]:
    """Seconds and peak resident MB of a command."""
    began = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    # Of this child alone: getrusage(RUSAGE_CHILDREN) would be the largest of all.
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{command[0]} ended with {process.returncode}")
    return time.perf_counter() - began, usage.ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--columns", type=int, default=3000)
    parser.add_argument("--folder", type=Path, help="where to write; default: a temporary one")
    parser.add_argument("--pandas", action="store_true", help="compare with pandas.read_csv")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        path = Path(folder) / "synthetic_ukb.csv"
        write_extract(path, options.rows, options.columns)
        size = path.stat().st_size
        print(f"{options.rows} rows x {options.columns} columns: {size / 1e9:.2f} GB of CSV")
        out = Path(folder) / "cohort.parquet"
        command = [sys.executable, "-c", "from henaw.cli.main import main; main()"]
        once = read_once(path)
        seconds, peak = measure([*command, "data", "ukb", str(path), "--out", str(out)])
        once = min(once, read_once(path))
        print(
            f"henaw data ukb: peak {peak:.0f} MB ({peak * 1048576 / size:.3f} of the file), "
            f"{seconds / once:.1f} times a plain read of the bytes ({seconds:.0f} s)"
        )
        if options.pandas:
            wanted = ",".join(["eid", *make_wanted(random.Random(1))])
            seconds, peak = measure([sys.executable, "-c", READ_WITH_PANDAS, str(path), wanted])
            print(
                f"pandas.read_csv, read only: peak {peak:.0f} MB "
                f"({peak * 1048576 / size:.3f} of the file), "
                f"{seconds / once:.1f} times a plain read ({seconds:.0f} s)"
            )


if __name__ == "__main__":
    main()
