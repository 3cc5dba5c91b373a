from typing import Any

import numpy as np
import pytest
from henaw.handler.engine import Engine
from henaw.model.runtime import Outputs

INPUTS = (np.zeros((1, 9), np.float32), np.zeros(1, np.float32), np.zeros(1, np.int64))


class Device:
    def __init__(self, name: str) -> None:
        self.name = name
        self.error: Exception | None = None
        self.calls = 0
        self.shift = 0.0

    def predict(self, biomarkers: Any, age: Any, sex: Any) -> Outputs:
        self.calls += 1
        if self.error is not None:
            raise self.error
        return {"biological_age": age + self.shift, "imputed": np.zeros(len(age), np.bool_)}


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def test_the_cpu_answers_where_there_is_no_gpu() -> None:
    engine = Engine(Device("cpu"))
    assert engine.predict(*INPUTS)[1] == engine.preferred_name == "cpu"


def test_failure_cooldown_and_return() -> None:
    cpu, gpu, clock = Device("cpu"), Device("gpu"), Clock()
    reports: list[str] = []
    engine = Engine(cpu, gpu, cooldown_s=30, report=reports.append, clock=clock)
    assert engine.predict(*INPUTS)[1] == "gpu"

    gpu.error = RuntimeError("CUDA error: out of memory")
    assert engine.predict(*INPUTS)[1] == "cpu"
    assert (engine.failures, gpu.calls) == (1, 2)

    gpu.error = None
    clock.now_s = 29.9
    assert engine.predict(*INPUTS)[1] == "cpu"
    assert gpu.calls == 2

    clock.now_s = 30.0
    assert engine.predict(*INPUTS)[1] == "gpu"
    assert [report.split()[0:2] for report in reports] == [["gpu", "failed"], ["gpu", "answers"]]


def test_a_gpu_that_stays_lost_is_tried_once_a_cooldown() -> None:
    cpu, gpu, clock = Device("cpu"), Device("gpu"), Clock()
    gpu.error = RuntimeError("CUDA error: device lost")
    engine = Engine(cpu, gpu, cooldown_s=10, clock=clock)
    for second in range(31):
        clock.now_s = second
        assert engine.predict(*INPUTS)[1] == "cpu"
    assert gpu.calls == engine.failures == 4


def test_torchs_own_out_of_memory_is_caught() -> None:
    import torch

    gpu = Device("gpu")
    gpu.error = torch.OutOfMemoryError("CUDA out of memory")
    assert Engine(Device("cpu"), gpu).predict(*INPUTS)[1] == "cpu"


def test_an_error_in_the_input_is_not_the_devices() -> None:
    gpu = Device("gpu")
    gpu.error = ValueError("shape")
    with pytest.raises(ValueError, match="shape"):
        Engine(Device("cpu"), gpu).predict(*INPUTS)


@pytest.mark.parametrize("shift", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_not_finite_are_a_failure_of_the_gpu(shift: float) -> None:
    cpu, gpu, clock = Device("cpu"), Device("gpu"), Clock()
    reports: list[str] = []
    engine = Engine(cpu, gpu, cooldown_s=30, report=reports.append, clock=clock)
    gpu.shift = shift
    outputs, runtime = engine.predict(*INPUTS)
    assert (runtime, engine.failures) == ("cpu", 1)
    assert np.isfinite(outputs["biological_age"]).all()
    assert "not finite" in reports[0]
    assert engine.predict(*INPUTS)[1] == "cpu"
    assert gpu.calls == 1
    gpu.shift, clock.now_s = 0.0, 30.0
    assert engine.predict(*INPUTS)[1] == "gpu"


def test_where_the_cpu_has_no_number_either_it_is_what_answers() -> None:
    cpu, gpu = Device("cpu"), Device("gpu")
    cpu.shift = gpu.shift = np.nan
    outputs, runtime = Engine(cpu, gpu).predict(*INPUTS)
    assert runtime == "cpu"
    assert np.isnan(outputs["biological_age"]).all()
