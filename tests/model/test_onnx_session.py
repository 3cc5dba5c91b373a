"""Devices of ONNX Runtime; a session on the CPU stands in for one on CUDA."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from henaw.export.people import People
from henaw.model.errors import ConfigurationError
from henaw.model.onnx_session import CPU_PROVIDER, CUDA_PROVIDER, check_device
from henaw.model.runtime import OnnxRuntime, Outputs

Golden = tuple[People, Outputs]
Install = Callable[..., Any]


@pytest.mark.parametrize("name", ["", "gpu", "cuda:", "cuda:-1", "CUDA", "cuda:0 ", "mps"])
def test_other_devices_are_refused(name: str) -> None:
    with pytest.raises(ConfigurationError, match="device must be auto, cpu, cuda or cuda:N; got"):
        check_device(name)


@pytest.mark.parametrize(("device", "number"), [("auto", 0), ("cuda", 0), ("cuda:3", 3)])
def test_cuda_is_used_without_tf32(
    weights: Path, golden: Golden, pretend_cuda: Install, device: str, number: int
) -> None:
    stand_in = pretend_cuda()
    runtime = OnnxRuntime(weights / "henaw.onnx", device=device)
    assert (runtime.name, runtime.device) == ("onnxruntime-cuda", f"cuda:{number}")
    ((cuda, cpu),) = stand_in.opened
    assert cuda == (CUDA_PROVIDER, {"device_id": str(number), "use_tf32": "0"})
    assert cpu == CPU_PROVIDER
    expected = golden[1]["biological_age"]
    seen = runtime.predict(*golden[0])["biological_age"]
    np.testing.assert_allclose(seen, expected, rtol=0, atol=1e-4)


def test_the_cpu_is_the_default_also_where_there_is_cuda(
    weights: Path, pretend_cuda: Install
) -> None:
    stand_in = pretend_cuda()
    assert OnnxRuntime(weights / "henaw.onnx").device == "cpu"
    assert stand_in.opened == [[CPU_PROVIDER]]


BROKEN = {
    "no device": ({"starts": False}, "no CUDA-capable device is detected"),
    "no error from ONNX Runtime": (
        {"keeps_cuda": False},
        "CUDA does not start: ONNX Runtime gives no error",
    ),
}


@pytest.mark.parametrize(("behaviour", "why"), BROKEN.values(), ids=BROKEN.keys())
@pytest.mark.parametrize("device", ["auto", "cuda"])
def test_cuda_that_cannot_start_is_reported_once_if_it_was_requested(  # noqa: PLR0917
    weights: Path,
    pretend_cuda: Install,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
    behaviour: dict[str, Any],
    why: str,
    device: str,
) -> None:
    pretend_cuda(**behaviour)
    runtime = OnnxRuntime(weights / "henaw.onnx", device=device)
    assert (runtime.name, runtime.device) == ("onnxruntime-cpu", "cpu")
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(warnings) == (device != "auto")
    assert all(why in said and "onnxruntime-gpu[cuda,cudnn]" in said for said in warnings)
    assert capsys.readouterr().out == ""


def test_a_library_that_is_missing_is_named(
    weights: Path,
    pretend_cuda: Install,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pretend_cuda(keeps_cuda=False)
    # What onnxruntime-gpu 1.31 prints on a machine without CUDA.
    said = "Failed to load libcublasLt.so.13: cannot open shared object file\nPlease follow"
    monkeypatch.setattr(onnxruntime, "preload_dlls", lambda **_: print(said))
    assert OnnxRuntime(weights / "henaw.onnx", device="cuda").device == "cpu"
    (record,) = caplog.records
    assert "not on cuda: CUDA does not start: Failed to load libcublasLt.so.13: cannot open" in (
        record.getMessage()
    )
    assert capfd.readouterr().out == ""


def test_a_build_for_the_cpu_says_how_to_install_cuda(
    weights: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [CPU_PROVIDER])
    for device in ("auto", "cuda:1"):
        assert OnnxRuntime(weights / "henaw.onnx", device=device).device == "cpu"
    (record,) = (record for record in caplog.records if record.levelno >= logging.WARNING)
    assert "runs on the CPU, not on cuda:1: onnxruntime " in record.getMessage()
    assert "pip install 'onnxruntime-gpu[cuda,cudnn]'" in record.getMessage()


def test_a_damaged_file_is_not_reported_as_a_device_error(
    pretend_cuda: Install, caplog: pytest.LogCaptureFixture
) -> None:
    pretend_cuda()
    with pytest.raises(Exception, match="INVALID_PROTOBUF"):
        OnnxRuntime(b"no model", device="cuda")
    assert not caplog.records


def test_the_cpu_takes_over_from_a_device_that_fails(
    weights: Path, golden: Golden, pretend_cuda: Install, caplog: pytest.LogCaptureFixture
) -> None:
    stand_in = pretend_cuda(runs_before_failing=1)
    runtime = OnnxRuntime(weights / "henaw.onnx", device="cuda")
    first, *others = (runtime.predict(*golden[0]) for _ in range(3))
    for other in others:
        np.testing.assert_array_equal(first["biological_age"], other["biological_age"])
    assert (runtime.name, runtime.device) == ("onnxruntime-cpu", "cpu")
    (record,) = (record for record in caplog.records if record.levelno >= logging.WARNING)
    assert "cuda:0 failed, the CPU answers from now on: CUDA failure 2" in record.getMessage()
    assert len(stand_in.opened) == 2


def test_a_wrong_shape_does_not_make_the_cpu_take_over(
    weights: Path, golden: Golden, pretend_cuda: Install
) -> None:
    pretend_cuda()
    runtime = OnnxRuntime(weights / "henaw.onnx", device="cuda")
    people = golden[0]
    with pytest.raises(Exception, match="biomarkers"):
        runtime.predict(people.biomarkers[:, :3], people.age, people.sex)
    assert runtime.device == "cuda:0"


@pytest.mark.gpu
@pytest.mark.skipif(
    CUDA_PROVIDER not in onnxruntime.get_available_providers(), reason="no onnxruntime-gpu"
)
def test_cuda_answers_as_the_cpu(weights: Path, golden: Golden) -> None:
    runtime = OnnxRuntime(weights / "henaw.onnx", device="cuda")
    assert runtime.device == "cuda:0"
    seen = runtime.predict(*golden[0])
    for name, expected in golden[1].items():
        atol = 1e-1 if name == "percentile" else 1e-3
        np.testing.assert_allclose(seen[name], expected, rtol=0, atol=atol)
