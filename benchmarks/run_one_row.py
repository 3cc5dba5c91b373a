"""One person in ONNX Runtime on one thread, as a multiple of a small perceptron's time.

``python benchmarks/run_one_row.py EXPORTED`` takes the folder that ``henaw export`` wrote
and measures, in turns, HENAW with all outputs and a perceptron 11 -> 64 -> 32 -> 6 that
is exported the same way. Read the ratios; the times are this machine's.
"""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from henaw.export.graphs import OPSET
from henaw.export.people import draw_anywhere
from henaw.model.runtime import INPUT_NAMES

ROUNDS, RUNS = 20, 500
BATCHES = (256, 1_000, 10_000)


def open_session(model: bytes, **settings: bool) -> onnxruntime.InferenceSession:
    """A session on one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    for name, value in settings.items():
        setattr(options, name, value)
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def export_perceptron() -> bytes:
    """The perceptron, with any number of rows."""
    layers = torch.nn.Sequential(
        *(torch.nn.Linear(11, 64), torch.nn.ReLU()),
        *(torch.nn.Linear(64, 32), torch.nn.ReLU(), torch.nn.Linear(32, 6)),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            layers.eval(),
            (torch.zeros(2, 11),),
            dynamic_shapes=({0: torch.export.Dim("n")},),
            input_names=["x"],
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
    if program is None:
        raise RuntimeError("expected the converter to return a program, got none")
    return program.model_proto.SerializeToString()


def time_in_turns(runs: dict[str, Callable[[], object]]) -> dict[str, np.ndarray]:
    """Microseconds of every run; the turns share whatever else the machine does."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(ROUNDS):
        for name, run in runs.items():
            for _ in range(RUNS):
                start = time.perf_counter()
                run()
                times[name].append(1e6 * (time.perf_counter() - start))
    return {name: np.array(values) for name, values in times.items()}


def main() -> None:
    model = (Path(sys.argv[1]) / "henaw.onnx").read_bytes()
    start = time.perf_counter()
    henaw = open_session(model)
    print(f"session load: {1e3 * (time.perf_counter() - start):.0f} ms")

    person = dict(zip(INPUT_NAMES, draw_anywhere(1, seed=1), strict=True))
    perceptron = open_session(export_perceptron())
    row = {"x": np.ones((1, 11), np.float32)}
    variants = {
        "henaw": henaw,
        "henaw, enable_mem_pattern=False": open_session(model, enable_mem_pattern=False),
        "henaw, enable_cpu_mem_arena=False": open_session(model, enable_cpu_mem_arena=False),
    }
    runs: dict[str, Callable[[], object]] = {"perceptron": lambda: perceptron.run(None, row)}
    for name, session in variants.items():
        runs[name] = lambda session=session: session.run(None, person)
    times = time_in_turns(runs)
    base = np.quantile(times["perceptron"], [0.5, 0.99])
    for name, values in times.items():
        p50, p99 = np.quantile(values, [0.5, 0.99])
        print(f"{name}: p50 {p50:.1f} us ({p50 / base[0]:.1f} x), p99 {p99:.1f} us")

    for count in BATCHES:
        people = dict(zip(INPUT_NAMES, draw_anywhere(count, seed=2), strict=True))
        spent = []
        for _ in range(max(5, 50_000 // count)):
            start = time.perf_counter()
            henaw.run(None, people)
            spent.append(time.perf_counter() - start)
        print(f"{count} rows at once: {count / np.median(spent):,.0f} rows per second")


if __name__ == "__main__":
    main()
