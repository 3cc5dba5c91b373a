import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from henaw.handler.configuration import ThrottleConfiguration
from henaw.handler.inference.failover import FailoverRuntime
from henaw.handler.inference.selfcheck import load_golden
from henaw.handler.observe.drift import load_drift_reference
from henaw.handler.observe.heartbeat import Heartbeat
from henaw.handler.observe.metrics import Evaluation, Metrics
from henaw.handler.observe.worker_state import StateFile, WorkerState, read_states
from henaw.handler.throttle.throttle import Throttle
from henaw.model.reliability import find_codes
from henaw.model.runtime import INPUT_NAMES, OnnxRuntime, Outputs

Make = Callable[..., Heartbeat]


class Moody:
    """A runtime that answers rightly or wrongly, fails or hangs, as the test says."""

    name = "moody"

    def __init__(self, inner: OnnxRuntime) -> None:
        self.inner = inner
        self.mood = "right"
        self.go_on = threading.Event()

    def predict(self, biomarkers: Any, age: Any, sex: Any) -> Outputs:
        if self.mood == "failing":
            raise MemoryError("MARKED")
        if self.mood == "hanging":
            self.go_on.wait()
        outputs = self.inner.predict(biomarkers, age, sex)
        if self.mood == "wrong":
            outputs["mortality_10y"] = outputs["mortality_10y"] + 0.01
        return outputs


@pytest.fixture
def moody(onnx: OnnxRuntime) -> Moody:
    return Moody(onnx)


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def metrics(weights: Path) -> Metrics:
    return Metrics(load_drift_reference(weights / "henaw.json"))


@pytest.fixture
def heartbeat(
    moody: Moody, weights: Path, tmp_path: Path, said: list[str], metrics: Metrics
) -> Iterator[Heartbeat]:
    heartbeat = Heartbeat(
        runtime=FailoverRuntime(moody),
        golden=load_golden(weights / "golden.json"),
        metrics=metrics,
        throttle=Throttle(ThrottleConfiguration(), None),
        file=StateFile(tmp_path / "states"),
        version="1.0",
        check_every_s=0.05,
        report=said.append,
    )
    yield heartbeat
    if heartbeat.is_alive():
        moody.go_on.set()
        heartbeat.stop()


def read_state(tmp_path: Path) -> WorkerState:
    (state,) = read_states(tmp_path / "states")
    return state


def test_wrong_answers_are_reported_once_and_so_is_their_end(
    heartbeat: Heartbeat, moody: Moody, tmp_path: Path, said: list[str]
) -> None:
    for mood, expected in (
        ("right", []),
        ("wrong", ["moody: mortality_10y must be within 0.0001"]),
        ("wrong", ["moody: mortality_10y must be within 0.0001"]),
        ("failing", ["moody failed with MemoryError"]),
        ("right", []),
    ):
        moody.mood = mood
        heartbeat.check()
        heartbeat.write()
        differences = read_state(tmp_path).differences
        assert [text[: len(e)] for text, e in zip(differences, expected, strict=True)] == expected
    assert len(said) == 2
    assert said[0].startswith("the model's answers are wrong: moody: mortality_10y")
    assert said[1] == "the model's answers are right again"


def test_a_model_that_hangs_has_no_recent_check(
    heartbeat: Heartbeat, moody: Moody, tmp_path: Path
) -> None:
    heartbeat.start()
    time.sleep(0.3)
    moody.mood = "hanging"
    time.sleep(0.3)
    before = read_state(tmp_path).checked_at
    time.sleep(0.3)
    assert read_state(tmp_path).checked_at == before
    moody.mood = "right"
    moody.go_on.set()
    time.sleep(0.3)
    assert read_state(tmp_path).checked_at > before


def test_a_stopped_heartbeat_holds_no_file_open(heartbeat: Heartbeat, tmp_path: Path) -> None:
    """Versions are added and removed while the process goes on."""
    before = psutil.Process().num_fds()
    heartbeat.start()
    heartbeat.stop()
    assert read_state(tmp_path).ended
    assert psutil.Process().num_fds() == before


def test_a_state_that_cannot_be_written_is_reported_once(
    heartbeat: Heartbeat, tmp_path: Path, said: list[str]
) -> None:
    (tmp_path / "states").write_text("a file where the folder should be")
    heartbeat.write()
    heartbeat.write()
    assert len(said) == 1
    (tmp_path / "states").unlink()
    heartbeat.write()
    assert read_state(tmp_path).version == "1.0"


def test_many_people_are_counted_immediately(
    heartbeat: Heartbeat, moody: Moody, metrics: Metrics, tmp_path: Path
) -> None:
    """Else their client would wait while its thread counts all people of a second."""
    people = 10_000
    inputs = (
        np.full((people, 9), 20, np.float32),
        np.full(people, 50, np.float32),
        np.zeros(people, np.int64),
    )
    outputs = moody.predict(*inputs)
    evaluation = Evaluation(
        runtime="moody",
        seconds=0.001,
        **dict(zip(INPUT_NAMES, inputs, strict=True)),
        biological_age=outputs["biological_age"],
        imputed=outputs["imputed"],
        out_of_range=outputs["out_of_range"],
        withheld=find_codes(outputs),
    )
    heartbeat._check_every_s = 60.0
    heartbeat.start()
    while not (tmp_path / "states").exists():
        time.sleep(0.01)
    counted_s = time.monotonic()
    for _ in range(2):
        metrics.count(evaluation)
    # The next regular count is due only after most of a second.
    while metrics._totals.people < 2 * people:
        assert time.monotonic() < counted_s + 0.6
        time.sleep(0.01)
