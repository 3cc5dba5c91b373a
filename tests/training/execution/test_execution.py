"""Devices by name, and one fit a folder."""

import dataclasses
from pathlib import Path

import pytest
import torch
from henaw.model.errors import ConfigurationError, RuntimeUnavailableError
from henaw.training.configuration import LoopConfiguration
from henaw.training.execution.execution import choose_device, open_execution


def test_devices_are_chosen_by_name() -> None:
    assert choose_device("cpu") == torch.device("cpu")
    usual = "cuda" if torch.cuda.is_available() else "cpu"
    assert choose_device("auto").type == usual


@pytest.mark.parametrize("name", ["gpu", "mps", ""])
def test_an_unknown_device_is_refused(name: str) -> None:
    with pytest.raises(ConfigurationError, match="device must be auto, cpu, cuda or cuda:N"):
        choose_device(name)


def test_a_missing_device_is_refused() -> None:
    with pytest.raises(
        RuntimeUnavailableError, match="there is no device cuda:99; CUDA devices here"
    ):
        choose_device("cuda:99")


def test_one_fit_locks_a_working_folder(tmp_path: Path) -> None:
    work = tmp_path / "work"
    with open_execution("cpu", work) as execution:
        assert execution.work == work
        assert execution.leads
        with (
            pytest.raises(ConfigurationError, match="another fit is using"),
            open_execution("cpu", work),
        ):
            pass
    with open_execution("cpu", work):
        pass


def test_every_problem_of_the_loop_is_in_one_error() -> None:
    with pytest.raises(ConfigurationError) as caught:
        LoopConfiguration(
            batch_size=4,
            accumulation=8,
            epochs=0,
            learning_rate=float("inf"),
            warmup_share=0.6,
        )
    assert len(caught.value.problems) == 4
    named = {problem.split(" ")[0] for problem in caught.value.problems}
    assert named == {"accumulation", "epochs", "learning_rate", "warmup_share"}
    assert dataclasses.replace(LoopConfiguration(), epochs=1).epochs == 1
