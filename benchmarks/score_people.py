"""How fast people are scored: every figure a ratio of two things measured in this run.

python benchmarks/score_people.py [--peers PYTHON] [--ten-million]

PYTHON is the interpreter of an environment of its own that has pyaging and biolearn:

    python -m venv peers
    peers/bin/pip install torch==2.13.0 pyaging biolearn pyarrow

Their PhenoAge reads other columns than HENAW; they get as many rows with values of its
own. pyaging fetches its weights when it runs: here it gets the published coefficients
instead, in its own model class and through its own `predict_age`.
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
from pathlib import Path
from typing import Any

CHECKPOINT = Path(__file__).parents[1] / "model" / "weights" / "henaw-nhanes.safetensors"
PEOPLE = 500_000
ROWS_ONE_BY_ONE = 300
REPEATS = 3
MOST_PREFLIGHT_SECONDS = 2


def simulate(folder: Path, count: int) -> None:
    """Synthetic people within what is accepted, in chunks, so that any number fits."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq
    from henaw.model.biomarkers import NAMES, PANEL
    from henaw.model.checkpoint import load_checkpoint
    from henaw.model.synthetic import draw_synthetic_people

    path = folder / f"synthetic-{count}.parquet"
    people = draw_synthetic_people(load_checkpoint(CHECKPOINT), min(count, 100_000), seed=1)
    values = np.clip(people.biomarkers, [b.minimum for b in PANEL], [b.maximum for b in PANEL])
    columns = dict(zip(NAMES, values.astype(np.float32).T, strict=True))
    writer = None
    for start in range(0, count, len(people.age)):
        identifiers = pa.array(np.arange(start, start + len(people.age)))
        table = pa.table(
            {"participant_id": identifiers, "age": people.age, "sex": people.sex, **columns}
        )
        writer = writer or pq.ParquetWriter(path, table.schema)
        writer.write_table(table.slice(0, count - start))
    assert writer is not None
    writer.close()
    return path


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
        """As `henaw score` does, pre-flight included."""
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
    """The pre-flight alone, the model opened before."""
    from henaw.intake.tables.layout import find_layout
    from henaw.scoring import Henaw
    from henaw.scoring.reading.preflight import look_over_source
    from henaw.scoring.reading.sources import open_source

    model = Henaw.load(folder / "exported" / "henaw.onnx")

    def run() -> None:
        source = open_source(folder / f"synthetic-{count}.parquet", threads=2)
        look_over_source(model, source, find_layout(source.names))

    return run


def copy_defaults(folder: Path, count: int) -> Callable[[], None]:
    import pyarrow.parquet as pq

    answers = pq.read_table(folder / f"answers-{count}.parquet")

    def copy() -> None:
        pq.read_table(folder / f"synthetic-{count}.parquet")
        pq.write_table(answers, folder / "copy.parquet")

    return copy


def copy_tuned(folder: Path, count: int) -> Callable[[], None]:
    import pyarrow.parquet as pq

    answers = pq.read_table(folder / f"answers-{count}.parquet")

    def copy() -> None:
        pq.read_table(folder / f"synthetic-{count}.parquet")
        pq.write_table(
            answers, folder / "copy.parquet", compression="zstd", use_dictionary=["reason"]
        )

    return copy


def loop(folder: Path, count: int) -> Callable[[], None]:
    """One call of the PyTorch network a row, ROWS_ONE_BY_ONE rows."""
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


_PHENOAGE = {
    "albumin": (47.0, -0.03359355),
    "creatinine": (72.5, 0.009506491),
    "glucose": (4.5, 0.1953192),
    "log_crp": (0.2, 0.09536762),
    "lymphocyte_percent": (28.0, -0.01199984),
    "mean_cell_volume": (92.0, 0.02676401),
    "red_cell_distribution_width": (13.0, 0.3306156),
    "alkaline_phosphatase": (64.0, 0.001868778),
    "white_blood_cell_count": (6.0, 0.05542406),
    "age": (50.0, 0.08035356),
}


def _draw_phenoage(count: int) -> Any:
    import numpy as np
    import pandas as pd

    noise = np.random.default_rng(1).uniform(0.9, 1.1, (len(_PHENOAGE), count))
    middles = [middle for middle, _ in _PHENOAGE.values()]
    return pd.DataFrame(dict(zip(_PHENOAGE, noise * np.array(middles)[:, None], strict=True)))


def _between_files(folder: Path, frame: Any, compute: Callable[[Any], Any]) -> Callable[[], None]:
    import pandas as pd

    path, out = folder / "phenoage.parquet", folder / "phenoage-answers.parquet"
    frame.to_parquet(path)

    def run() -> None:
        pd.DataFrame({"age": compute(pd.read_parquet(path))}).to_parquet(out)

    return run


_BIOLEARN = {
    "log_crp": "c_reactive_protein",
    "red_cell_distribution_width": "red_blood_cell_distribution_width",
    "alkaline_phosphatase": "alkaline_phosphate",
}


def biolearn(folder: Path, count: int) -> Callable[[], None]:
    from biolearn.hematology import phenotypic_age

    return _between_files(folder, _draw_phenoage(count).rename(columns=_BIOLEARN), phenotypic_age)


def pyaging(folder: Path, count: int) -> Callable[[], None]:
    import pyaging as pya
    import torch
    from pyaging.models import LinearModel, PhenoAge

    frame = _draw_phenoage(count).rename(columns={"log_crp": "c_reactive_protein"})
    model = PhenoAge()
    model.features = list(frame.columns)
    model.metadata |= {"clock_name": "phenoage", "data_type": "blood chemistry"}
    model.base_model = LinearModel(len(_PHENOAGE))
    with torch.no_grad():
        model.base_model.linear.weight[:] = torch.tensor([[c for _, c in _PHENOAGE.values()]])
        model.base_model.linear.bias[:] = -19.90667
    model = model.to(torch.float64).eval()
    cache = pya.pred.ClockCache()
    cache._get_or_load = lambda *_: model  # type: ignore[method-assign]

    def compute(table: Any) -> Any:
        adata = pya.preprocess.df_to_adata(table, verbose=False)
        pya.pred.predict_age(adata, "phenoage", clock_cache=cache, verbose=False)
        return adata.obs["phenoage"]

    return _between_files(folder, frame, compute)


def export(folder: Path, count: int) -> None:
    from henaw.export.export import export_checkpoint

    export_checkpoint(CHECKPOINT, folder / "exported")
    simulate(folder, count)


WORK: dict[str, Callable[[Path, int], Callable[[], None]]] = {
    "export": lambda folder, count: lambda: export(folder, count),
    "simulate": lambda folder, count: lambda: simulate(folder, count),
    "score": score,
    "preflight": preflight,
    "copy_defaults": copy_defaults,
    "copy_tuned": copy_tuned,
    "loop": loop,
    "biolearn": biolearn,
    "pyaging": pyaging,
}


def measure(
    name: str, folder: Path, count: int, python: str = sys.executable
) -> tuple[float, float] | None:
    """Seconds of the work alone, and the peak memory in MB of its process."""
    process = subprocess.Popen(
        [python, __file__, "--child", name, str(folder), str(count)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    said = process.stdout.read()
    errors = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = status
    if status:
        print(f"{name}: cannot run: {errors.strip().splitlines()[-1:]}")
        return None
    return float(said.split()[-1]), usage.ru_maxrss / 1024


def compare(names: dict[str, str], folder: Path, count: int) -> dict[str, tuple[float, float]]:
    """Median of seconds by those of ``score``, and most MB: all in turn, several times.

    Args:
        names: of the work, with the interpreter that runs it.
        folder: where the files are.
        count: of people.
    """
    rounds: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
    for _ in range(REPEATS):
        ours = 0.0
        for name, python in names.items():
            seen = measure(name, folder, count, python)
            if seen is not None:
                ours = seen[0] if name == "score" else ours
                rounds[name].append((seen[0] / ours, seen[1]))
    return {
        name: (statistics.median(r[0] for r in runs), max(r[1] for r in runs))
        for name, runs in rounds.items()
        if runs
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--peers")
    parser.add_argument("--ten-million", action="store_true")
    parser.add_argument("--child", nargs=3)
    options = parser.parse_args()
    if options.child:
        name, folder, count = options.child
        work = WORK[name](Path(folder), int(count))
        began = time.perf_counter()
        work()
        print(time.perf_counter() - began)
        return

    here = dict.fromkeys(
        ("score", "preflight", "copy_defaults", "copy_tuned", "loop"), sys.executable
    )
    there = dict.fromkeys(("pyaging", "biolearn"), options.peers) if options.peers else {}
    with tempfile.TemporaryDirectory() as name:
        temporary = Path(name)
        # Everything is a process of its own: this one stays small, since what it holds
        # when it forks would count as the peak of the child.
        measure("export", temporary, PEOPLE)
        measure("score", temporary, PEOPLE)
        seen = compare(here | there, temporary, PEOPLE)
        print(f"{PEOPLE:,} people, Parquet to Parquet, all outputs: {seen['score'][1]:.0f} MB")
        for copy, what in (("copy_defaults", "its defaults"), ("copy_tuned", "our options")):
            print(f"{1 / seen[copy][0]:.2f} x pyarrow's read and write of the same, by {what}")
        alone = measure("preflight", temporary, PEOPLE)
        assert alone is not None
        print(
            f"its pre-flight: {alone[0]:.2f} s here (to be under {MOST_PREFLIGHT_SECONDS} s), "
            f"{seen['preflight'][0]:.0%} of the whole"
        )
        a_row = seen["loop"][0] * PEOPLE / ROWS_ONE_BY_ONE
        print(f"PyTorch row by row takes {a_row:.0f} x as long")
        for peer in there:
            if peer in seen:
                print(f"{peer}, PhenoAge of as many, takes {seen[peer][0]:.2f} x as long")
        counts = [10_000, 100_000, 1_000_000, *([10_000_000] if options.ten_million else [])]
        base = measure("score", temporary, PEOPLE)
        for count in counts:
            measure("simulate", temporary, count)
            run = measure("score", temporary, count)
            (temporary / f"answers-{count}.parquet").unlink()
            if run is not None and base is not None:
                ratio = run[0] / count / (base[0] / PEOPLE)
                print(f"{count:,}: {ratio:.2f} x the time a row of {PEOPLE:,}, {run[1]:.0f} MB")


if __name__ == "__main__":
    main()
