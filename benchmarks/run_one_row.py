"""Time one person in ONNX Runtime on one thread, as a multiple of a small perceptron's time.

    python benchmarks/run_one_row.py EXPORTED

EXPORTED is the folder that ``henaw export`` wrote. The script times three models in turns: HENAW
with all outputs; a perceptron 11 -> 64 -> 32 -> 6 that is exported the same way; and a graph with
HENAW's outputs that computes almost nothing. No model with these outputs can be faster than the
last one. Compare the ratios; the times depend on the machine.
"""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from henaw.export.graphs import IR_VERSION, OPSET
from henaw.export.people import draw_anywhere
from henaw.model.runtime import INPUT_NAMES
from onnx import TensorProto, helper, numpy_helper

ROUNDS, RUNS = 20, 500


def open_session(model: bytes) -> onnxruntime.InferenceSession:
    """Open a session on one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def export_perceptron() -> bytes:
    """Export the perceptron for any number of rows."""
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
        raise RuntimeError("the converter returned no program")
    return program.model_proto.SerializeToString()


def make_outputs_alone(model: bytes) -> bytes:
    """Build a graph with HENAW's inputs and outputs and as few operations as possible.

    One product with ones gives all numbers; each flag is a comparison.
    """
    graph = onnx.load_from_string(model).graph
    numbers, nodes, widths = [], [], []
    for output in graph.output:
        shape = output.type.tensor_type.shape.dim
        if output.type.tensor_type.elem_type == TensorProto.BOOL:
            source = "biomarkers" if len(shape) > 1 else "age"
            nodes.append(helper.make_node("Less", [source, "one"], [output.name]))
        elif len(shape) > 1:
            numbers.append(output.name)
            widths.append(shape[1].dim_value)
        else:
            nodes.append(helper.make_node("Abs", ["age"], [output.name]))
    nodes.append(helper.make_node("MatMul", ["biomarkers", "ones"], ["all"]))
    nodes.append(helper.make_node("Split", ["all", "widths"], numbers, axis=1))
    constants = {
        "one": np.float32(1),
        "ones": np.ones((9, sum(widths)), np.float32),
        "widths": np.array(widths),
    }
    alone = helper.make_graph(
        nodes,
        "outputs",
        graph.input,
        graph.output,
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    file = helper.make_model(alone, opset_imports=[helper.make_opsetid("", OPSET)])
    file.ir_version = IR_VERSION
    return file.SerializeToString()


def time_in_turns(runs: dict[str, Callable[[], object]]) -> dict[str, np.ndarray]:
    """Time every run in microseconds; in turns, so that other programs slow all models equally."""
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
    person = dict(zip(INPUT_NAMES, draw_anywhere(1, seed=1), strict=True))
    row = {"x": np.ones((1, 11), np.float32)}
    operations = len(onnx.load_from_string(model).graph.node)
    sessions = {
        "perceptron": (open_session(export_perceptron()), row),
        f"henaw, {operations} operations": (open_session(model), person),
        "its outputs alone": (open_session(make_outputs_alone(model)), person),
    }
    times = time_in_turns(
        {name: partial(session.run, None, inputs) for name, (session, inputs) in sessions.items()}
    )
    base = np.median(times["perceptron"])
    for name, values in times.items():
        p50, p99 = np.quantile(values, [0.5, 0.99])
        print(f"{name}: p50 {p50:.1f} us ({p50 / base:.1f} x), p99 {p99:.1f} us")


if __name__ == "__main__":
    main()
