"""A worker with a GPU, from its start to its description.

The CPU stands in for the GPU, as torch runs the same operations there: what it cannot do is
capture a graph, so that every worker here takes the way of one whose GPU refuses to.
"""

import io
import json
import math
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from henaw.handler import assembly
from henaw.handler.assembly import assemble_service
from henaw.handler.configuration import (
    Bucket,
    HandlerConfiguration,
    Limits,
    ThrottleConfiguration,
)
from henaw.handler.exchange import Request
from henaw.handler.inference import gpu as gpu_module
from henaw.handler.inference.crossover import Crossover
from henaw.handler.inference.gpu import choose_device, start_gpu
from henaw.handler.inference.selfcheck import Golden, load_golden
from henaw.handler.observe.exposition import WorkersCollector
from henaw.handler.observe.heartbeat import Heartbeat
from henaw.handler.observe.request_log import RequestLog
from henaw.handler.service import Service
from henaw.model.errors import ParityError
from henaw.model.exported.cuda import CudaRuntime
from henaw.model.exported.onnx_gpu import OnnxGpuRuntime
from henaw.model.onnx_session import CUDA_PROVIDER
from henaw.model.profile import LabProfile
from henaw.model.runtime import OnnxRuntime, Outputs

JSON = {"content-type": "application/json"}
FASTER = Crossover(people=3, seconds={1: (0.0001, 0.0003), 3: (0.0003, 0.0001)})
NEVER = Crossover(people=None, seconds={1: (0.0001, 0.0003)})


class Worker:
    """A service assembled from the archive, and what it logged."""

    def __init__(self, folder: Path, device: str, **options: Any) -> None:
        self._stream = io.BytesIO()
        everybody = Bucket(rate=1e6, period_s=1.0, burst=10**6)
        configuration = HandlerConfiguration(
            limits=Limits(batch_s=60), throttle=ThrottleConfiguration(anonymous=everybody)
        )
        self.service: Service = assemble_service(
            folder,
            configuration,
            store=None,
            log=RequestLog(self._stream),
            device=device,
            **{"states": None, **options},
        )

    @property
    def notices(self) -> list[str]:
        return [json.loads(line)["message"] for line in self._stream.getvalue().splitlines()]

    def ask(self, body: Any, **flags: bool) -> Any:
        request = Request(body=json.dumps(body).encode(), headers=JSON, request_id="r", **flags)
        (response,) = self.service.answer([request])
        assert response.status == 200, response.body
        return json.loads(response.body)


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[Crossover]:
    """The results of the next measurements; the last one repeats."""
    found = [FASTER]
    monkeypatch.setattr(gpu_module, "measure_crossover", lambda *_: found[-1])
    return found


def test_large_batches_go_to_the_gpu_with_the_cpus_answers(
    unpacked: Path, person: dict[str, Any], measured: list[Crossover]
) -> None:
    worker = Worker(unpacked, "cpu")
    alone = worker.ask(person)
    many = worker.ask({"instances": [person] * 4})["predictions"]
    assert alone["model"]["runtime"] == "onnxruntime-cpu"
    assert many[3]["model"]["runtime"] == "torchscript-cpu"
    for name in ("biological_age", "interval", "mortality_10y"):
        assert many[3][name] == pytest.approx(alone[name], abs=1e-3)
    refused, used = worker.notices
    assert refused.startswith("CUDA graphs cannot be captured on cpu (RuntimeError: the device")
    assert used == "cpu is used for batches of 3 people or more, onnxruntime-cpu for smaller ones"


def test_the_description_says_where_and_from_how_many(
    unpacked: Path, measured: list[Crossover]
) -> None:
    description = Worker(unpacked, "cpu").ask({}, describe=True)
    assert description["runtime"] == "torchscript-cpu"
    assert description["gpu"] == {
        "device": "cpu",
        "from_people": 3,
        "reason": None,
        "cuda_graphs": False,
        "milliseconds": {"1": {"cpu": 0.1, "gpu": 0.3}, "3": {"cpu": 0.3, "gpu": 0.1}},
    }


def test_without_torch_onnxruntime_answers_large_batches(
    unpacked: Path, person: dict[str, Any], measured: list[Crossover],
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
) -> None:  # fmt: skip
    monkeypatch.setattr(assembly, "has_torch", lambda _: False)
    sidecar = json.loads((unpacked / "henaw.json").read_text())
    profile = LabProfile(
        name="north", shift={"rdw": 0.05}, standard_error={"rdw": 0.01},
        model=sidecar["checkpoint_sha256"],
    )  # fmt: skip
    (tmp_path / "lab.json").write_text(json.dumps(profile.describe()))
    worker = Worker(unpacked, "cpu", lab_profile=tmp_path / "lab.json")
    assert isinstance(worker.service._runtime.preferred, OnnxGpuRuntime)
    alone, many = worker.ask(person), worker.ask({"instances": [person] * 4})["predictions"][0]
    assert many["biological_age"] == pytest.approx(alone["biological_age"], abs=1e-4)
    assert worker.ask({}, describe=True)["gpu"]["from_people"] == 3


def test_a_gpu_that_onnxruntime_cannot_use_leaves_the_cpu(
    unpacked: Path, person: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has CUDA")
    monkeypatch.setattr(assembly, "has_torch", lambda _: False)
    worker = Worker(unpacked, "cuda:0")
    assert worker.ask(person)["model"]["runtime"] == "onnxruntime-cpu"
    assert "ONNX Runtime cannot use cuda:0" in worker.notices[-1]


@pytest.mark.gpu
def test_onnxruntime_on_a_real_gpu(artifacts: Path, golden: Golden, onnx: OnnxRuntime) -> None:
    if CUDA_PROVIDER not in onnxruntime.get_available_providers():
        pytest.skip("needs onnxruntime-gpu")
    content = (artifacts / "henaw.onnx").read_bytes()
    gpu = start_gpu(
        "cuda:0", partial(OnnxGpuRuntime, content, device="cuda:0"),
        fallback=onnx, golden=golden, lab=None, served=golden, report=lambda _: None,
    )  # fmt: skip
    assert gpu.reason is None or "as fast or faster" in gpu.reason


def test_a_gpu_that_is_never_faster_is_not_used(
    unpacked: Path, person: dict[str, Any], measured: list[Crossover]
) -> None:
    measured.append(NEVER)
    worker = Worker(unpacked, "cpu")
    answers = worker.ask({"instances": [person] * 4})["predictions"]
    assert answers[0]["model"]["runtime"] == "onnxruntime-cpu"
    reason = "onnxruntime-cpu is as fast or faster for any number of people"
    assert worker.notices[-1] == f"cpu is not used: {reason}"
    gpu = worker.ask({}, describe=True)["gpu"]
    assert (gpu["from_people"], gpu["reason"]) == (None, reason)


def test_a_gpu_that_fails_at_the_start_leaves_the_cpu(
    unpacked: Path, person: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> CudaRuntime:
        raise torch.OutOfMemoryError("CUDA out of memory.\nTried to allocate 2 MiB")

    monkeypatch.setattr(CudaRuntime, "load", fail)
    worker = Worker(unpacked, "cpu")
    answers = worker.ask({"instances": [person] * 4})["predictions"]
    assert answers[0]["model"]["runtime"] == "onnxruntime-cpu"
    reason = "it failed at start-up with OutOfMemoryError: CUDA out of memory."
    assert worker.notices == [f"cpu is not used until the worker restarts: {reason}"]
    assert worker.ask({}, describe=True)["gpu"]["reason"] == reason


@pytest.mark.parametrize("size", [64, 1024, 8192])
def test_a_size_that_answers_wrongly_keeps_the_worker_from_starting(
    unpacked: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    right = CudaRuntime.predict

    def predict(self: CudaRuntime, biomarkers: Any, age: Any, sex: Any) -> Outputs:
        outputs = right(self, biomarkers, age, sex)
        if len(age) == size:
            outputs["mortality_10y"] = outputs["mortality_10y"] + np.float32(0.001)
        return outputs

    monkeypatch.setattr(CudaRuntime, "predict", predict)
    with pytest.raises(ParityError) as caught:
        Worker(unpacked, "cpu")
    assert {problem.split(":")[0] for problem in caught.value.problems} == {
        f"{size} people in a call"
    }


def test_a_failing_gpu_fails_no_request_and_comes_back(
    unpacked: Path, person: dict[str, Any], measured: list[Crossover],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    worker = Worker(unpacked, "cpu")
    failover = worker.service._runtime
    golden = load_golden(unpacked / "golden.json")
    people = {"instances": [person] * 4}
    expected = worker.ask(people)["predictions"][0]["biological_age"]

    def fail(*_: Any) -> Outputs:
        raise torch.OutOfMemoryError("CUDA out of memory")

    with monkeypatch.context() as patch:
        patch.setattr(CudaRuntime, "predict", fail)
        (answer, *_) = worker.ask(people)["predictions"]
        assert answer["biological_age"] == pytest.approx(expected, abs=1e-3)
        assert answer["model"]["runtime"] == "onnxruntime-cpu"
        failover._retry_at = 0.0
        assert failover.check(golden) == []
        assert failover.failures == 2
    failover._retry_at = 0.0
    assert failover.check(golden) == []
    assert worker.ask(people)["predictions"][0]["model"]["runtime"] == "torchscript-cpu"


def test_the_laboratorys_profile_is_set_on_the_gpu_too(
    unpacked: Path, person: dict[str, Any], measured: list[Crossover], tmp_path: Path
) -> None:
    sidecar = json.loads((unpacked / "henaw.json").read_text())
    profile = LabProfile(
        name="north", shift={"rdw": 0.05}, standard_error={"rdw": 0.01},
        model=sidecar["checkpoint_sha256"],
    )  # fmt: skip
    (tmp_path / "lab.json").write_text(json.dumps(profile.describe()))
    worker = Worker(unpacked, "cpu", lab_profile=tmp_path / "lab.json")
    alone, many = worker.ask(person), worker.ask({"instances": [person] * 4})["predictions"][0]
    assert many["model"]["runtime"] == "torchscript-cpu"
    assert many["biological_age"] == pytest.approx(alone["biological_age"], abs=1e-3)
    plain = Worker(unpacked, "cpu").ask(person)
    assert abs(plain["biological_age"] - alone["biological_age"]) > 0.05


@pytest.mark.parametrize("found", [FASTER, NEVER], ids=["faster", "never"])
def test_metrics_say_from_how_many_people_the_gpu_answers(
    unpacked: Path,
    measured: list[Crossover],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    found: Crossover,
) -> None:
    measured.append(found)
    # Once, and without a thread that outlives the test.
    monkeypatch.setattr(Heartbeat, "start", Heartbeat.write)
    Worker(unpacked, "cpu", states=tmp_path)
    families = {f.name: f for f in WorkersCollector(tmp_path, patience_s=15.0).collect()}
    (sample,) = families["henaw_gpu_crossover_people"].samples
    assert sample.labels["device"] == "cpu"
    assert sample.value == (3.0 if found is FASTER else math.inf)
    (sample,) = families["henaw_workers"].samples
    runtime = "torchscript-cpu" if found is FASTER else "onnxruntime-cpu"
    assert sample.labels["runtime"] == runtime


@pytest.mark.parametrize(
    ("gpu_id", "seen", "device"),
    [(None, 4, None), (0, 1, "cuda:0"), ("3", 4, "cuda:3"), (1, 1, None), (0, 0, None)],
)
def test_each_worker_takes_the_gpu_that_torchserve_gives_it(
    monkeypatch: pytest.MonkeyPatch, gpu_id: Any, seen: int, device: str | None
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: seen > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: seen)
    said: list[str] = []
    assert choose_device(gpu_id, said.append) == device
    assert [
        text.startswith(f"TorchServe assigns GPU {gpu_id} to this worker, but") for text in said
    ] == ([True] if device is None and gpu_id is not None else [])


@pytest.fixture
def golden(artifacts: Path) -> Golden:
    return load_golden(artifacts / "golden.json")


@pytest.mark.gpu
def test_a_worker_on_a_real_gpu(unpacked: Path, person: dict[str, Any]) -> None:
    worker = Worker(unpacked, "cuda:0")
    gpu = worker.ask({}, describe=True)["gpu"]
    assert gpu["device"].startswith("cuda:0 (")
    assert gpu["cuda_graphs"] is True
    assert gpu["from_people"] is not None
    answers = worker.ask({"instances": [person] * 9000})["predictions"]
    assert answers[0]["model"]["runtime"] == "torchscript-cuda"
    assert answers[0]["biological_age"] == pytest.approx(
        worker.ask(person)["biological_age"], abs=1e-3
    )


@pytest.mark.gpu
def test_each_gpu_answers(artifacts: Path, golden: Golden, onnx: OnnxRuntime) -> None:
    for number in range(torch.cuda.device_count()):
        said: list[str] = []
        gpu = start_gpu(
            f"cuda:{number}",
            partial(CudaRuntime.load, artifacts / "henaw.torchscript.pt", device=f"cuda:{number}"),
            fallback=onnx, golden=golden, lab=None, served=golden, report=said.append,
        )  # fmt: skip
        assert gpu.device.startswith(f"cuda:{number} (")
        assert gpu.captured, said
