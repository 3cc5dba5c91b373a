"""Failover between two simulated devices."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from henaw.handler.inference.failover import FailoverRuntime
from henaw.handler.inference.selfcheck import Golden, compare_answers, load_golden
from henaw.model.exported.cuda import CudaRuntime
from henaw.model.runtime import Outputs, Runtime

INPUTS = (np.zeros((1, 9), np.float32), np.zeros(1, np.float32), np.zeros(1, np.int64))
GOLDEN = Golden(
    biomarkers=np.zeros((3, 9), np.float32),
    age=np.array([40.0, np.nan, 50.0], np.float32),
    sex=np.zeros(3, np.int64),
    outputs={"biological_age": np.array([40.0, np.nan, 50.0]), "imputed": np.zeros(3)},
)


class Device:
    def __init__(self, name: str) -> None:
        self.name = name
        self.error: Exception | None = None
        self.calls = 0
        self.rows = 0
        self.shift = 0.0

    def predict(self, biomarkers: Any, age: Any, sex: Any) -> Outputs:
        self.calls += 1
        self.rows += len(age)
        if self.error is not None:
            raise self.error
        return {"biological_age": age + self.shift, "imputed": np.zeros(len(age), np.bool_)}


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


class Bench:
    """A runtime with two devices, and its reports."""

    def __init__(self, **options: Any) -> None:
        self.cpu, self.gpu, self.clock = Device("cpu"), Device("gpu"), Clock()
        self.reports: list[str] = []
        self.failover = FailoverRuntime(
            self.cpu,
            self.gpu,
            cooldown_s=30,
            report=self.reports.append,
            clock=self.clock,
            **options,
        )

    def ask(self, people: int = 1) -> str:
        ages = np.full(people, 40.0, np.float32)
        outputs, name = self.failover.predict(
            np.zeros((people, 9), np.float32), ages, np.zeros(people, np.int64)
        )
        np.testing.assert_array_equal(outputs["biological_age"], ages)
        return name


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_the_cpu_answers_where_there_is_no_gpu() -> None:
    failover = FailoverRuntime(Device("cpu"))
    assert failover.predict(*INPUTS)[1] == failover.runtime_name == "cpu"
    assert failover.check(GOLDEN) == []


def test_a_failure_is_answered_by_the_cpu_until_golden_people_prove_the_gpu(bench: Bench) -> None:
    assert bench.ask() == bench.failover.runtime_name == "gpu"

    bench.gpu.error = RuntimeError("CUDA error: out of memory")
    assert bench.ask() == bench.failover.runtime_name == "cpu"
    assert (bench.failover.failures, bench.gpu.calls) == (1, 2)

    bench.gpu.error = None
    bench.clock.now_s = 29.9
    assert bench.failover.check(GOLDEN) == []
    assert (bench.ask(), bench.gpu.calls) == ("cpu", 2)

    bench.clock.now_s = 30.0
    # No request uses it before the check.
    assert (bench.ask(), bench.gpu.calls) == ("cpu", 2)
    assert bench.failover.check(GOLDEN) == []
    assert bench.ask() == bench.failover.runtime_name == "gpu"
    assert bench.reports == [
        "gpu failed with RuntimeError. cpu is used instead; gpu is tried again in 30 s",
        "gpu is used again",
    ]


def test_a_gpu_that_stays_lost_is_tried_once_in_each_cooldown(bench: Bench) -> None:
    bench.gpu.error = RuntimeError("CUDA error: device lost")
    for second in range(61):
        bench.clock.now_s = second
        assert bench.ask() == "cpu"
        assert bench.failover.check(GOLDEN) == []
    assert bench.gpu.calls == bench.failover.failures == 3


@pytest.mark.parametrize("shift", [0.01, np.nan])
def test_a_gpu_that_comes_back_with_wrong_answers_stays_unused(bench: Bench, shift: float) -> None:
    bench.gpu.error = RuntimeError("CUDA error")
    bench.ask()
    bench.gpu.error, bench.gpu.shift, bench.clock.now_s = None, shift, 30.0
    assert bench.failover.check(GOLDEN) == []
    assert (bench.ask(), bench.failover.failures) == ("cpu", 2)
    assert "wrong golden answers: gpu: biological_age must be" in bench.reports[1]


def test_the_check_finds_a_gpu_with_wrong_answers(bench: Bench) -> None:
    assert (bench.failover.check(GOLDEN), bench.ask()) == ([], "gpu")
    bench.gpu.shift = 0.01
    # The CPU is right and is used from now on, so the worker is right.
    assert (bench.failover.check(GOLDEN), bench.ask()) == ([], "cpu")
    assert bench.failover.failures == 1


def test_the_check_returns_the_wrong_answers_of_the_cpu(bench: Bench) -> None:
    bench.cpu.shift = 0.01
    (difference,) = bench.failover.check(GOLDEN)
    assert difference.startswith("cpu: biological_age must be within")


def test_small_batches_go_to_the_cpu() -> None:
    bench = Bench(crossover=64)
    assert [bench.ask(people) for people in (0, 1, 63, 64, 65)] == ["cpu"] * 3 + ["gpu"] * 2
    assert bench.failover.runtime_name == "gpu"


@pytest.mark.parametrize(
    "error",
    [torch.OutOfMemoryError("CUDA out of memory"), torch.AcceleratorError("device-side assert")],
    ids=["memory", "device"],
)
def test_torchs_own_errors_are_caught(bench: Bench, error: Exception) -> None:
    bench.gpu.error = error
    assert (bench.ask(), bench.failover.failures) == ("cpu", 1)


def test_an_error_in_the_input_is_not_the_devices(bench: Bench) -> None:
    bench.gpu.error = ValueError("shape")
    with pytest.raises(ValueError, match="shape"):
        bench.ask()


@pytest.mark.parametrize("shift", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_not_finite_are_a_failure_of_the_gpu(bench: Bench, shift: float) -> None:
    bench.gpu.shift = shift
    assert (bench.ask(), bench.failover.failures) == ("cpu", 1)
    assert "not finite" in bench.reports[0]
    assert (bench.ask(), bench.gpu.calls) == ("cpu", 1)


def test_where_nan_is_right_the_gpu_has_not_failed(bench: Bench) -> None:
    rows = slice(None)
    outputs, name = bench.failover.predict(
        GOLDEN.biomarkers[rows], GOLDEN.age[rows], GOLDEN.sex[rows]
    )
    assert (name, bench.failover.failures, bench.reports) == ("gpu", 0, [])
    np.testing.assert_array_equal(outputs["biological_age"], GOLDEN.age)
    # Only those rows go to the CPU.
    assert bench.cpu.rows == 1


def test_one_wrong_nan_among_right_ones_is_a_failure(bench: Bench) -> None:
    class Holed(Device):
        def predict(self, biomarkers: Any, age: Any, sex: Any) -> Outputs:
            outputs = super().predict(biomarkers, age, sex)
            outputs["biological_age"][-1] = np.nan
            return outputs

    bench.failover.preferred = Holed("gpu")
    outputs, name = bench.failover.predict(GOLDEN.biomarkers, GOLDEN.age, GOLDEN.sex)
    assert (name, bench.failover.failures) == ("cpu", 1)
    np.testing.assert_array_equal(outputs["biological_age"], GOLDEN.age)


def test_golden_people_whose_right_answer_is_nan_are_no_failure(
    runtimes: dict[str, Runtime], artifacts: Path
) -> None:
    golden = load_golden(artifacts / "golden.json")
    captured = CudaRuntime.load(artifacts / "henaw.torchscript.pt", device="cpu")
    for preferred in (runtimes["torchscript"], captured):
        reports: list[str] = []
        failover = FailoverRuntime(runtimes["onnx"], preferred, report=reports.append)
        outputs, name = failover.predict(golden.biomarkers, golden.age, golden.sex)
        assert (name, failover.failures, reports) == ("torchscript-cpu", 0, [])
        assert np.isnan(outputs["biological_age"]).any()
        assert compare_answers(name, outputs, golden.outputs) == []
        assert failover.check(golden) == []
        assert failover.failures == 0
