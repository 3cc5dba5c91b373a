"""Which GPU a worker of the native engine gets, on machines with and without one."""

from pathlib import Path

import onnxruntime
import pytest
import torch
from henaw.handler.native import gpus
from henaw.handler.native.gpus import choose_native_device
from henaw.model.onnx_session import CPU_PROVIDER, CUDA_PROVIDER


@pytest.fixture
def devices(tmp_path: Path) -> Path:
    """A machine with two GPUs."""
    for name in ("nvidia0", "nvidia1", "nvidiactl", "null"):
        (tmp_path / name).touch()
    return tmp_path


def test_without_a_gpu_nothing_is_said(tmp_path: Path) -> None:
    said: list[str] = []
    assert choose_native_device(0, tmp_path, said.append, tmp_path) is None
    assert said == []


def test_torch_is_used_where_it_and_its_file_are(
    devices: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (devices / "henaw.torchscript.pt").touch()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    said: list[str] = []
    found = [choose_native_device(number, devices, said.append, devices) for number in range(3)]
    assert (found, said) == (["cuda:0", "cuda:1", "cuda:0"], [])


def test_onnxruntime_is_used_without_torch(devices: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpus, "has_torch", lambda _: False)
    providers = [CUDA_PROVIDER, CPU_PROVIDER]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: providers)
    said: list[str] = []
    found = [choose_native_device(number, devices, said.append, devices) for number in range(3)]
    assert (found, said) == (["cuda:0", "cuda:1", "cuda:0"], [])


@pytest.mark.skipif(CUDA_PROVIDER in onnxruntime.get_available_providers(), reason="has CUDA")
def test_a_gpu_that_nothing_installed_can_use_is_reported(devices: Path) -> None:
    said: list[str] = []
    assert choose_native_device(0, devices, said.append, devices) is None
    (sentence,) = said
    assert "onnxruntime" in sentence
    assert "built for the CPU only; the CPU is used" in sentence
    assert "henaw-gpu" in sentence
