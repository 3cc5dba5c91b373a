"""Records: one JSON object a line, none lost or repeated; TensorBoard if configured."""

import json
import sys
from pathlib import Path

import pytest
from henaw.model.errors import ConfigurationError
from henaw.training.minibatches.watch import Watch


def read(folder: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (folder / "watch.jsonl").read_text().splitlines()]


def test_records_are_lines_of_json(tmp_path: Path) -> None:
    watch = Watch(tmp_path, "a", 0, tensorboard=False)
    watch.write(1, {"loss": 0.5})
    watch.write(2, {"loss": 0.25})
    assert read(tmp_path) == [
        {"fit": "a", "step": 1, "loss": 0.5},
        {"fit": "a", "step": 2, "loss": 0.25},
    ]


def test_records_of_a_killed_process_after_its_state_are_removed(tmp_path: Path) -> None:
    for fit in ("a", "b"):
        watch = Watch(tmp_path, fit, 0, tensorboard=False)
        for step in (1, 2, 3):
            watch.write(step, {"loss": 1.0})
    with (tmp_path / "watch.jsonl").open("a") as file:
        file.write('{"fit": "b", "st')
    Watch(tmp_path, "b", 2, tensorboard=False).write(3, {"loss": 2.0})
    told = [(record["fit"], record["step"], record["loss"]) for record in read(tmp_path)]
    assert told == [("a", 1, 1), ("a", 2, 1), ("a", 3, 1), ("b", 1, 1), ("b", 2, 1), ("b", 3, 2)]


def test_nothing_is_written_without_a_folder() -> None:
    Watch(None, "a", 0, tensorboard=False).write(1, {"loss": 0.5})


def test_tensorboard_gets_the_same_figures(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    watch = Watch(tmp_path, "a", 0, tensorboard=True)
    watch.write(1, {"loss/mortality": 0.5, "note": "text"})
    watch.write(2, {"loss/mortality": 0.25})
    watch.close()
    events = EventAccumulator(str(tmp_path / "tensorboard" / "a")).Reload()
    told = [(event.step, event.value) for event in events.Scalars("loss/mortality")]
    assert told == [(1, 0.5), (2, 0.25)]


def test_missing_tensorboard_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    with pytest.raises(ConfigurationError, match=r"henaw\[watch\]"):
        Watch(tmp_path, "a", 0, tensorboard=True)


def test_tensorboard_needs_a_folder() -> None:
    pytest.importorskip("tensorboard")
    with pytest.raises(ConfigurationError, match="--work"):
        Watch(None, "a", 0, tensorboard=True)
