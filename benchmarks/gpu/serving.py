"""Benchmarks of the server and of `henaw score`: one person, batches, and a Parquet file."""

from __future__ import annotations

import io
import json
import tempfile
import zipfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from henaw.model.biomarkers import NAMES, PANEL
from henaw.model.checkpoint import Checkpoint, load_checkpoint
from henaw.model.exported.cuda import CudaRuntime
from henaw.model.people import People
from henaw.model.runtime import OUTPUT_NAMES, OnnxRuntime, Runtime
from henaw.model.synthetic import draw_synthetic_people
from measuring import Meter

if TYPE_CHECKING:
    from henaw.handler.exchange import Request
from henaw.handler.service import Service

REPOSITORY = Path(__file__).parents[2]
CHECKPOINT = REPOSITORY / "model" / "weights" / "henaw-nhanes.safetensors"
MODEL_CONFIGURATION = REPOSITORY / "serve_config" / "model-config.yaml"
SIZES = (1, 64, 1_024, 8_192, 100_000)
SCORED = 1_000_000


def answer_batches(meter: Meter, people: int | None) -> None:
    """Time batches on the server's runtimes, copies to and from the device included."""
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


def answer_requests(meter: Meter, people: int | None) -> None:
    """Time requests through the server's core, bytes to bytes, with and without the GPU."""
    from henaw.export.archive import build_archive
    from henaw.export.export import export_checkpoint
    from henaw.handler.assembly import assemble_service
    from henaw.handler.configuration import (
        Bucket,
        HandlerConfiguration,
        Limits,
        ThrottleConfiguration,
    )
    from henaw.handler.exchange import Request
    from henaw.handler.observe.request_log import RequestLog

    checkpoint = load_checkpoint(CHECKPOINT)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        export_checkpoint(CHECKPOINT, folder / "exported")
        archive = build_archive(folder / "exported", MODEL_CONFIGURATION, folder)
        with zipfile.ZipFile(archive) as content:
            content.extractall(folder / "unpacked")
        unlimited = Bucket(rate=1e9, period_s=1.0, burst=10**9)
        configuration = HandlerConfiguration(
            limits=Limits(batch_s=60.0),
            throttle=ThrottleConfiguration(anonymous=unlimited),
        )
        for device in dict.fromkeys((None, str(meter.device) if meter.on_cuda else None)):
            service = assemble_service(
                folder / "unpacked",
                configuration,
                store=None,
                states=None,
                log=RequestLog(io.BytesIO()),
                device=device,
            )
            for size in sorted({min(size, people or size) for size in (1, 64, 1_000, 10_000)}):
                some = _draw(checkpoint, size)
                for kind, write in {"instances": _write_instances, "arrays": _write_arrays}.items():
                    request = Request(
                        body=json.dumps(write(some)).encode(),
                        headers={"content-type": "application/json"},
                        request_id="benchmark",
                    )
                    meter.repeat(
                        "answer a request",
                        partial(_ask, service, request),
                        device=device or "no GPU",
                        kind=kind,
                        people=size,
                    )


def _draw(checkpoint: Checkpoint, count: int) -> People:
    """Draw people with values in the accepted ranges."""
    drawn = draw_synthetic_people(checkpoint, count, 1)
    low, high = np.array([(b.minimum, b.maximum) for b in PANEL]).T
    values = np.clip(drawn.biomarkers, low, high).astype(np.float32)
    return drawn._replace(biomarkers=values)


def _ask(service: Service, request: Request) -> None:
    (response,) = service.answer([request])
    if response.status != 200:
        raise RuntimeError(f"status must be 200; got {response.status}: {response.body!r:.300}")


def _write_instances(people: People) -> dict[str, Any]:
    rows = zip(people.biomarkers.tolist(), people.age.tolist(), people.sex.tolist(), strict=True)
    return {
        "instances": [
            {"age": age, "sex": sex, "biomarkers": dict(zip(NAMES, values, strict=True))}
            for values, age, sex in rows
        ]
    }


def _write_arrays(people: People) -> dict[str, Any]:
    arrays = {"biomarkers": people.biomarkers, "age": people.age, "sex": people.sex}
    return {
        "inputs": [
            {
                "name": name,
                "shape": list(values.shape),
                "datatype": "INT64" if name == "sex" else "FP32",
                "data": values.flatten().tolist(),
            }
            for name, values in arrays.items()
        ]
    }


def score_file(meter: Meter, people: int | None) -> None:
    """Time scoring from Parquet to Parquet, all outputs, on the CPU and on the device."""
    import pyarrow as pa
    import pyarrow.parquet as pq
    from henaw.intake.tables.layout import find_layout
    from henaw.scoring import Henaw
    from henaw.scoring.jobs.table import score_table
    from henaw.scoring.reading.sources import open_source

    count = people or SCORED
    checkpoint = load_checkpoint(CHECKPOINT)
    drawn = _draw(checkpoint, count)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model_path = _export(checkpoint, folder) / "henaw.onnx"
        source = folder / "people.parquet"
        columns = dict(zip(NAMES, drawn.biomarkers.T, strict=True))
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
    """Export TorchScript and ONNX, without the slow proofs of `henaw export`."""
    import onnx
    from henaw.export.graphs import export_onnx, export_torchscript
    from henaw.export.metadata import describe_model, format_properties

    network = checkpoint.build_network()
    export_torchscript(network, folder / "henaw.torchscript.pt")
    properties = format_properties(describe_model(checkpoint))
    onnx.save(export_onnx(network, properties), folder / "henaw.onnx")
    return folder
