"""The ONNX file that ships, and why a converter's result is refused."""

from collections.abc import Callable
from pathlib import Path

import onnx
import onnx.numpy_helper
import pytest
from henaw.export.graphs import _require
from henaw.model.errors import ArtifactError
from henaw.model.profile import PROFILE_SHAPES, PROFILE_TENSORS
from henaw.model.runtime import INPUT_NAMES, OUTPUT_NAMES

FLOAT, LONG, BOOL = onnx.TensorProto.FLOAT, onnx.TensorProto.INT64, onnx.TensorProto.BOOL


@pytest.fixture
def model(artifacts: Path) -> onnx.ModelProto:
    return onnx.load(artifacts / "henaw.onnx")


def test_one_small_file_that_older_runtimes_read(artifacts: Path, model: onnx.ModelProto) -> None:
    assert (artifacts / "henaw.onnx").stat().st_size < 1_000_000
    assert model.ir_version <= 9
    assert [(opset.domain, opset.version) for opset in model.opset_import] == [("", 18)]
    assert len(model.functions) == 0
    assert all(tensor.data_location != tensor.EXTERNAL for tensor in model.graph.initializer)
    assert {node.domain for node in model.graph.node} <= {"", "ai.onnx"}
    onnx.checker.check_model(model, full_check=True)


def test_names_types_and_shapes_are_the_contract(model: onnx.ModelProto) -> None:
    def describe(values: object) -> dict[str, tuple[int, list[str | int]]]:
        return {
            value.name: (
                value.type.tensor_type.elem_type,
                [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim],
            )
            for value in values
        }

    inputs, outputs = describe(model.graph.input), describe(model.graph.output)
    assert tuple(inputs) == INPUT_NAMES
    assert tuple(outputs) == OUTPUT_NAMES
    assert inputs == {
        "biomarkers": (FLOAT, ["n", 9]),
        "age": (FLOAT, ["n"]),
        "sex": (LONG, ["n"]),
    }
    assert outputs == {
        "biological_age": (FLOAT, ["n"]),
        "age_gap": (FLOAT, ["n"]),
        "interval": (FLOAT, ["n", 2]),
        "mortality_10y": (FLOAT, ["n"]),
        "cause_risk_10y": (FLOAT, ["n", 4]),
        "contributions": (FLOAT, ["n", 13]),
        "system_contributions": (FLOAT, ["n", 4]),
        "imputed": (BOOL, ["n", 9]),
        "out_of_range": (BOOL, ["n", 9]),
        "age_out_of_range": (BOOL, ["n"]),
        "percentile": (FLOAT, ["n"]),
        "draw_sd": (FLOAT, ["n"]),
        "critical": (BOOL, ["n", 9]),
        "reliable": (BOOL, ["n"]),
    }


def test_a_laboratorys_profile_is_initializers_of_0(model: onnx.ModelProto) -> None:
    tensors = {
        tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer
    }
    assert set(PROFILE_TENSORS) <= set(tensors)
    for name in PROFILE_TENSORS:
        assert tensors[name].shape == PROFILE_SHAPES[name]
        assert not tensors[name].any()
        assert any(name in node.input for node in model.graph.node)


def test_nothing_says_where_it_was_made(artifacts: Path, model: onnx.ModelProto) -> None:
    for name in ("henaw.onnx", "henaw.json", "golden.json", "parity.json"):
        content = (artifacts / name).read_bytes()
        here = str(Path(__file__).resolve().parents[2]).encode()
        for mark in (
            b".py",
            b"site-packages",
            b"stack_trace",
            b"/home/",
            b"/root/",
            b"/tmp/",
            here,
        ):
            assert mark not in content, (name, mark)
    assert not model.doc_string
    assert all(not node.doc_string and not node.metadata_props for node in model.graph.node)
    assert model.producer_name == "henaw"


def rename_output(model: onnx.ModelProto) -> None:
    model.graph.output[0].name = "age"


def grow(model: onnx.ModelProto) -> None:
    model.doc_string = "x" * 1_000_000


def add_domain(model: onnx.ModelProto) -> None:
    model.opset_import.add(domain="com.microsoft", version=1)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (grow, "size must be below 1000000 bytes; got "),
        (lambda m: setattr(m, "ir_version", 10), "IR version must be at most 9; got 10"),
        (lambda m: setattr(m.opset_import[0], "version", 21), "opset must be at most 18"),
        (add_domain, "operators must be ONNX's own; got com.microsoft"),
        (rename_output, "outputs must be ['biological_age'"),
        (lambda m: m.graph.input.reverse(), "inputs must be ['biomarkers'"),
        (lambda m: setattr(m.graph, "doc_string", "model/network.py"), "it contains '.py'"),
        (lambda m: setattr(m.graph, "doc_string", "/root/x"), "it contains '/root/'"),
    ],
)
def test_a_file_that_breaks_its_limits_is_refused(
    model: onnx.ModelProto, change: Callable[[onnx.ModelProto], None], problem: str
) -> None:
    change(model)
    with pytest.raises(ArtifactError) as caught:
        _require(model)
    assert any(problem in text for text in caught.value.problems)


def test_the_file_that_ships_breaks_none(model: onnx.ModelProto) -> None:
    _require(model)
