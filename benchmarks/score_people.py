"""How fast tables of people are scored; every figure is a ratio within one run.

    python benchmarks/score_people.py [--ten-million]

500 000 synthetic people, from Parquet to Parquet with every output, against pyarrow's read and
write of the same tables and against one call of the PyTorch network a row. Then the time a person
and the memory for other numbers of people. Every measurement is a process of its own.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

CHECKPOINT = Path(__file__).parents[1] / "model" / "weights" / "henaw-nhanes.safetensors"
PEOPLE = 500_000
ROWS_ONE_BY_ONE = 300
REPEATS = 3
OUR_OPTIONS = {"compression": "zstd", "use_dictionary": ["reason"]}
"""With which HENAW writes Parquet."""


class Measured(NamedTuple):
    """Seconds of the work alone, and the peak memory of its process."""

    seconds: float
    memory_mb: float


def simulate(folder: Path, count: int) -> None:
    """Write synthetic people within the accepted ranges, in chunks, so that any number fits."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq
    from henaw.model.biomarkers import NAMES, PANEL
    from henaw.model.checkpoint import load_checkpoint
    from henaw.model.synthetic import draw_synthetic_people

    people = draw_synthetic_people(load_checkpoint(CHECKPOINT), min(count, 100_000), seed=1)
    values = np.clip(people.biomarkers, [b.minimum for b in PANEL], [b.maximum for b in PANEL])
    columns = dict(zip(NAMES, values.astype(np.float32).T, strict=True))
    table = pa.table({"age": people.age, "sex": people.sex, **columns})
    schema = pa.schema([("participant_id", pa.int64()), *table.schema])
    with pq.ParquetWriter(folder / f"synthetic-{count}.parquet", schema) as writer:
        for start in range(0, count, len(table)):
            identifiers = pa.array(np.arange(start, start + len(table)))
            chunk = table.add_column(0, "participant_id", identifiers)
            writer.write_table(chunk.slice(0, count - start))


def export(folder: Path, count: int) -> Callable[[], None]:
    from henaw.export.export import export_checkpoint

    def run() -> None:
        export_checkpoint(CHECKPOINT, folder / "exported")
        simulate(folder, count)

    return run


def score(folder: Path, count: int) -> Callable[[], None]:
    from henaw.intake.tables.layout import find_layout
    from henaw.model.runtime import OUTPUT_NAMES
    from henaw.scoring import Henaw
    from henaw.scoring.jobs.table import score_table
    from henaw.scoring.reading.input_files import take_states
    from henaw.scoring.reading.preflight import look_over_source
    from henaw.scoring.reading.sources import open_source

    path = folder / f"synthetic-{count}.parquet"

    def run() -> None:
        """Do what `henaw score` does, with its checks of the table."""
        states = take_states([path])
        source = open_source(path, threads=2)
        layout = find_layout(source.names)
        model = Henaw.load(folder / "exported" / "henaw.onnx")
        assert not look_over_source(model, source, layout).find_stops()
        score_table(
            model,
            path,
            source,
            folder / f"answers-{count}.parquet",
            layout,
            outputs=OUTPUT_NAMES,
            threads=2,
            states=states,
        )

    return run


def preflight(folder: Path, count: int) -> Callable[[], None]:
    """The checks of the table alone, after the model is opened."""
    from henaw.intake.tables.layout import find_layout
    from henaw.scoring import Henaw
    from henaw.scoring.reading.preflight import look_over_source
    from henaw.scoring.reading.sources import open_source

    model = Henaw.load(folder / "exported" / "henaw.onnx")

    def run() -> None:
        source = open_source(folder / f"synthetic-{count}.parquet", threads=2)
        look_over_source(model, source, find_layout(source.names))

    return run


def copy(folder: Path, count: int, **options: Any) -> Callable[[], None]:
    """pyarrow reads the people and writes the answers, which are read before."""
    import pyarrow.parquet as pq

    answers = pq.read_table(folder / f"answers-{count}.parquet")

    def run() -> None:
        pq.read_table(folder / f"synthetic-{count}.parquet")
        pq.write_table(answers, folder / "copy.parquet", **options)

    return run


def loop(folder: Path, count: int) -> Callable[[], None]:
    """One call of the PyTorch network a row, for ROWS_ONE_BY_ONE rows."""
    import pyarrow.parquet as pq
    import torch
    from henaw.model.biomarkers import NAMES
    from henaw.model.checkpoint import load_checkpoint

    table = pq.read_table(folder / f"synthetic-{count}.parquet").slice(0, ROWS_ONE_BY_ONE)
    network = load_checkpoint(CHECKPOINT).build_network()
    rows = table.to_pylist()

    def run() -> None:
        with torch.inference_mode():
            for row in rows:
                network(
                    torch.tensor([[row[name] for name in NAMES]]),
                    torch.tensor([row["age"]]),
                    torch.tensor([row["sex"]]),
                )

    return run


WORK: dict[str, Callable[[Path, int], Callable[[], None]]] = {
    "export": export,
    "simulate": lambda folder, count: partial(simulate, folder, count),
    "score": score,
    "preflight": preflight,
    "copy_defaults": copy,
    "copy_tuned": partial(copy, **OUR_OPTIONS),
    "loop": loop,
}
COMPARED = ("score", "preflight", "copy_defaults", "copy_tuned", "loop")


def measure(name: str, folder: Path, count: int) -> Measured:
    """Do one piece of work in a process of its own."""
    command = [sys.executable, __file__, "--child", name, str(folder), str(count)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    output = process.stdout.read() if process.stdout is not None else ""
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{name} ended with {process.returncode}")
    return Measured(float(output.split()[-1]), usage.ru_maxrss / 1024)


def compare(folder: Path, count: int) -> dict[str, float]:
    """Median of each work's seconds over those of ``score``; all take turns, REPEATS times."""
    rounds: dict[str, list[float]] = {name: [] for name in COMPARED}
    for _ in range(REPEATS):
        seconds = {name: measure(name, folder, count).seconds for name in COMPARED}
        for name in COMPARED:
            rounds[name].append(seconds[name] / seconds["score"])
    return {name: statistics.median(ratios) for name, ratios in rounds.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--ten-million", action="store_true")
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        name, folder, count = options.child
        work = WORK[name](Path(folder), int(count))
        began = time.perf_counter()
        work()
        print(time.perf_counter() - began)
        return

    with tempfile.TemporaryDirectory() as name:
        temporary = Path(name)
        # This process stays small: the memory that it has when it forks would count as the
        # child's peak.
        measure("export", temporary, PEOPLE)
        base = measure("score", temporary, PEOPLE)
        ratio = compare(temporary, PEOPLE)
        print(f"{PEOPLE:,} people, Parquet to Parquet, all outputs: {base.memory_mb:.0f} MB")
        for work, what in (("copy_defaults", "its defaults"), ("copy_tuned", "our options")):
            print(f"{1 / ratio[work]:.2f} x pyarrow's read and write of the same, by {what}")
        print(f"its checks of the table: {ratio['preflight']:.0%} of the whole")
        print(f"PyTorch row by row takes {ratio['loop'] * PEOPLE / ROWS_ONE_BY_ONE:.0f} x as long")
        for count in (10_000, 100_000, 1_000_000, *([10_000_000] if options.ten_million else [])):
            measure("simulate", temporary, count)
            run = measure("score", temporary, count)
            (temporary / f"answers-{count}.parquet").unlink()
            a_person = run.seconds / count / (base.seconds / PEOPLE)
            print(
                f"{count:,}: {a_person:.2f} x the time a row of {PEOPLE:,}, {run.memory_mb:.0f} MB"
            )


if __name__ == "__main__":
    main()
