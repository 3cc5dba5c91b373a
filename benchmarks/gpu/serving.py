"""What the server and `henaw score` do: one person, batches, and a Parquet file."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import torch
from henaw.model.biomarkers import NAMES, PANEL
from henaw.model.checkpoint import Checkpoint, load_checkpoint
from henaw.model.cuda_runtime import CudaRuntime
from henaw.model.people import People
from henaw.model.runtime import OUTPUT_NAMES, OnnxRuntime, Runtime
from henaw.model.synthetic import draw_synthetic_people
from measuring import Meter

CHECKPOINT = Path(__file__).parents[2] / "model" / "weights" / "henaw-nhanes.safetensors"
SIZES = (1, 64, 1_024, 8_192, 100_000)
SCORED = 1_000_000


def answer_batches(meter: Meter, people: int | None) -> None:
    """Batches by the server's runtimes, copies to and from the device included."""
    checkpoint = load_checkpoint(CHECKPOINT)
    sizes = sorted({min(size, people or size) for size in SIZES})
    everyone = draw_synthetic_people(checkpoint, sizes[-1], 1)
    said: list[str] = []
    runtimes: list[Runtime] = []
    with tempfile.TemporaryDirectory() as folder:
        try:
            exported = _export(checkpoint, Path(folder))
        except ModuleNotFoundError as error:
            meter.tell("export", missing=f"the Python package {error.name}: no ONNX Runtime here")
            runtimes.append(
                CudaRuntime(
                    checkpoint.build_network(), device=str(meter.device), report=said.append
                )
            )
        else:
            runtimes += [
                OnnxRuntime(exported / "henaw.onnx"),
                CudaRuntime.load(
                    exported / "henaw.torchscript.pt",
                    device=str(meter.device),
                    report=said.append,
                ),
            ]
    gpu = runtimes[-1]
    assert isinstance(gpu, CudaRuntime)
    meter.tell("CUDA graphs", captured=gpu.captured, device=gpu.device_name, said=said)
    for size in sizes:
        some = everyone.select(slice(size))
        for runtime in runtimes:
            _answer(meter, runtime, some)
    reference, answers = (
        runtime.predict(*everyone)["biological_age"] for runtime in (runtimes[0], gpu)
    )
    meter.tell(
        "ages of the two runtimes",
        runtimes=[runtimes[0].name, gpu.name],
        largest_difference_years=float(np.abs(reference - answers).max()),
    )


def _answer(meter: Meter, runtime: Runtime, people: People) -> None:
    meter.repeat(
        "answer a batch",
        lambda: runtime.predict(*people),
        runtime=runtime.name,
        people=len(people.age),
    )


def score_file(meter: Meter, people: int | None) -> None:
    """A Parquet file to a Parquet file, all outputs, on the CPU and on the device."""
    import pyarrow as pa
    import pyarrow.parquet as pq
    from henaw.model.layout import find_layout
    from henaw.scoring import Henaw
    from henaw.scoring.job import score_table
    from henaw.scoring.sources import open_source

    count = people or SCORED
    checkpoint = load_checkpoint(CHECKPOINT)
    drawn = draw_synthetic_people(checkpoint, count, 1)
    low, high = np.array([(b.minimum, b.maximum) for b in PANEL]).T
    values = np.clip(drawn.biomarkers, low, high).astype(np.float32)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model_path = _export(checkpoint, folder) / "henaw.onnx"
        source = folder / "people.parquet"
        columns = dict(zip(NAMES, values.T, strict=True))
        pq.write_table(pa.table({"age": drawn.age, "sex": drawn.sex, **columns}), source)
        threads = torch.get_num_threads()
        for device in dict.fromkeys(("cpu", str(meter.device))):
            model = Henaw.load(model_path, device=device)
            table = open_source(source, threads=threads)
            with meter.watch() as seen:
                summary = score_table(
                    model,
                    source,
                    table,
                    folder / "answers.parquet",
                    find_layout(table.names),
                    outputs=OUTPUT_NAMES,
                    threads=threads,
                )
            meter.tell(
                "score a Parquet file",
                asked=device,
                people_by_device=dict(summary.devices),
                threads=threads,
                **seen,
            )


def _export(checkpoint: Checkpoint, folder: Path) -> Path:
    """TorchScript and ONNX, without the proofs of `henaw export`, which take their time."""
    import onnx
    from henaw.export.graphs import export_onnx, export_torchscript
    from henaw.export.metadata import describe_model, format_properties

    network = checkpoint.build_network()
    export_torchscript(network, folder / "henaw.torchscript.pt")
    properties = format_properties(describe_model(checkpoint))
    onnx.save(export_onnx(network, properties), folder / "henaw.onnx")
    return folder
