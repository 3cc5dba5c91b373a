from pathlib import Path

import numpy as np
import pytest
import torch
from henaw.export.people import People
from henaw.model.errors import RuntimeUnavailableError
from henaw.model.runtime import OUTPUT_NAMES, OnnxRuntime, Outputs, Runtime, TorchRuntime

Golden = tuple[People, Outputs]


def test_answers_come_by_name_in_the_order_of_the_contract(
    runtime: Runtime, golden: Golden
) -> None:
    people, expected = golden
    outputs = runtime.predict(*people)
    assert tuple(outputs) == OUTPUT_NAMES
    np.testing.assert_allclose(
        outputs["biological_age"], expected["biological_age"], rtol=0, atol=1e-4
    )


def test_inputs_are_left_as_they_were(runtime: Runtime, golden: Golden) -> None:
    people = golden[0]
    before = [array.copy() for array in people]
    runtime.predict(*people)
    for array, copy in zip(people, before, strict=True):
        np.testing.assert_array_equal(array, copy)


def test_views_and_read_only_arrays_are_accepted(runtime: Runtime, golden: Golden) -> None:
    people, expected = golden
    backwards = [array[::-1] for array in people]
    for array in backwards:
        array.flags.writeable = False
    outputs = runtime.predict(*backwards)
    np.testing.assert_allclose(
        outputs["biological_age"][::-1], expected["biological_age"], rtol=0, atol=1e-4
    )


def test_outputs_do_not_change_with_a_later_call(runtime: Runtime, golden: Golden) -> None:
    first = runtime.predict(*golden[0])
    kept = first["biological_age"].copy()
    runtime.predict(*golden[0].select(slice(None, None, -1)))
    np.testing.assert_array_equal(first["biological_age"], kept)


def test_each_runtime_says_what_it_is(runtimes: dict[str, Runtime]) -> None:
    assert [runtime.name for runtime in runtimes.values()] == [
        "eager",
        "torchscript-cpu",
        "onnxruntime-cpu",
    ]


def test_onnx_is_read_from_a_file_and_from_bytes(artifacts: Path, golden: Golden) -> None:
    path = artifacts / "henaw.onnx"
    from_file, from_bytes = OnnxRuntime(path, threads=2), OnnxRuntime(path.read_bytes())
    a, b = from_file.predict(*golden[0]), from_bytes.predict(*golden[0])
    for name in OUTPUT_NAMES:
        np.testing.assert_array_equal(a[name], b[name])
    assert from_file.metadata["name"] == "henaw-nhanes"


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a CUDA device")
def test_cuda_without_a_device_is_refused(artifacts: Path) -> None:
    for device in ("cuda", "cuda:0"):
        with pytest.raises(RuntimeUnavailableError, match=rf"'{device}' needs CUDA"):
            TorchRuntime.load_torchscript(artifacts / "henaw.torchscript.pt", device=device)


@pytest.mark.gpu
def test_cuda_answers_as_the_cpu(artifacts: Path, golden: Golden) -> None:
    people, expected = golden
    runtime = TorchRuntime.load_torchscript(artifacts / "henaw.torchscript.pt", device="cuda:0")
    assert runtime.name == "torchscript-cuda"
    outputs = runtime.predict(*people)
    np.testing.assert_allclose(
        outputs["biological_age"], expected["biological_age"], rtol=0, atol=1e-3
    )
