"""The network as TorchScript, as an exported program and as an ONNX file."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.numpy_helper
import torch
from henaw.model.biomarkers import NAMES
from henaw.model.errors import ArtifactError
from henaw.model.exported.digest import DIGEST_KEY, compute_digest
from henaw.model.network import Network
from henaw.model.profile import PROFILE_SHAPES, PROFILE_TENSORS
from henaw.model.runtime import INPUT_NAMES, OUTPUT_NAMES
from torch import Tensor

OPSET = 18
IR_VERSION = 9
"""The newest that the web runtime and older ONNX Runtimes read without a warning."""
LARGEST_BYTES = 1_000_000 * 2 ** max(0, len(NAMES) - 9)
"""1 MB for nine biomarkers; each further one doubles the tables of missing patterns."""


def _example(count: int = 3) -> tuple[Tensor, Tensor, Tensor]:
    biomarkers = torch.full((count, len(NAMES)), 20.0)
    biomarkers[0, 0] = torch.nan
    return biomarkers, torch.full((count,), 50.0), torch.zeros(count, dtype=torch.int64)


def export_torchscript(network: Network, path: Path) -> None:
    """Trace the network and save it; the trace is exact, because the graph has no branches."""
    with warnings.catch_warnings():
        # torch deprecates torch.jit, but TorchServe loads such a file for a GPU.
        warnings.filterwarnings("ignore", message=r".*torch\.jit.*", category=DeprecationWarning)
        warnings.filterwarnings("ignore", message=r".*torch\.jit.*", category=FutureWarning)
        traced = torch.jit.trace(network, _example(), check_trace=False)
        # The laboratory's profile remains a buffer, which a server can set.
        frozen = torch.jit.freeze(traced.eval(), preserved_attrs=list(PROFILE_TENSORS))
        torch.jit.save(frozen, str(path))


def export_program(network: Network) -> torch.export.ExportedProgram:
    """Export the network for any number of people."""
    people = torch.export.Dim("n", min=0)
    return torch.export.export(
        network, _example(), dynamic_shapes=({0: people}, {0: people}, {0: people})
    )


class _WithProfile(torch.nn.Module):
    """The network with the laboratory's profile as inputs, so that no converter folds it."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(
        self, biomarkers: Tensor, age: Tensor, sex: Tensor, *profile: Tensor
    ) -> tuple[Tensor, ...]:
        named = dict(zip(PROFILE_TENSORS, profile, strict=True))
        answers: tuple[Tensor, ...] = torch.func.functional_call(
            self.network, named, (biomarkers, age, sex)
        )
        return answers


def export_onnx(network: Network, properties: dict[str, str]) -> onnx.ModelProto:
    """Convert to ONNX, remove everything that a runtime does not need, and check the result.

    A digest is added to the properties. The laboratory's profile is three initializers with
    known names. They are 0 in the file, and can be replaced in its bytes
    (:mod:`henaw.model.profile`).

    Args:
        network: the model.
        properties: metadata of the file.

    Raises:
        ArtifactError: the file is too large, too new, or says where it was made.
    """
    # It logs the torchvision operators that are not installed.
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    # It logs the operators that it does not fold, which is harmless.
    logging.getLogger("onnxscript.optimizer").setLevel(logging.ERROR)
    people = torch.export.Dim("n", min=0)
    profile = [torch.zeros(PROFILE_SHAPES[name]) for name in PROFILE_TENSORS]
    program = torch.export.export(
        _WithProfile(network),
        (*_example(), *profile),
        dynamic_shapes=({0: people}, {0: people}, {0: people}, (None,) * len(profile)),
    )
    with warnings.catch_warnings():
        # The converter itself uses deprecated names of pytree.
        warnings.filterwarnings("ignore", category=FutureWarning)
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        converted = torch.onnx.export(
            program,
            input_names=[*INPUT_NAMES, *PROFILE_TENSORS],
            output_names=list(OUTPUT_NAMES),
            opset_version=OPSET,
            dynamo=True,
            external_data=False,
            optimize=True,
            verbose=False,
        )
    if converted is None:
        raise ArtifactError("onnx", ["the converter returned no program"])
    model: onnx.ModelProto = converted.model_proto
    _fix_profile(model.graph)
    _strip(model)
    model.ir_version = IR_VERSION
    model.producer_name, model.producer_version = "henaw", properties.get("version", "")
    del model.metadata_props[:]
    for key, value in properties.items():
        model.metadata_props.add(key=key, value=value)
    digest = compute_digest(model.SerializeToString(deterministic=True))
    model.metadata_props.add(key=DIGEST_KEY, value=digest)
    onnx.checker.check_model(model, full_check=True)
    _require(model)
    return model


def _fix_profile(graph: onnx.GraphProto) -> None:
    """Turn the inputs of the laboratory's profile into initializers of 0."""
    for value in [value for value in graph.input if value.name in PROFILE_TENSORS]:
        graph.input.remove(value)
        zeros = np.zeros(PROFILE_SHAPES[value.name], np.float32)
        graph.initializer.append(onnx.numpy_helper.from_array(zeros, value.name))


def _strip(model: onnx.ModelProto) -> None:
    """Remove source paths and stack traces."""
    graph = model.graph
    model.doc_string = graph.doc_string = ""
    graph.name = "henaw"
    del graph.value_info[:]
    del graph.metadata_props[:]
    for function in model.functions:
        del function.metadata_props[:]
    for item in (*graph.node, *graph.input, *graph.output, *graph.initializer):
        item.doc_string = ""
        del item.metadata_props[:]
    for value in (*graph.input, *graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "n"


def _require(model: onnx.ModelProto) -> None:
    problems = []
    size = model.ByteSize()
    if size >= LARGEST_BYTES:
        problems.append(f"size must be below {LARGEST_BYTES} bytes; got {size}")
    if model.ir_version > IR_VERSION:
        problems.append(f"IR version must be at most {IR_VERSION}; got {model.ir_version}")
    for opset in model.opset_import:
        if opset.domain == "" and opset.version > OPSET:
            problems.append(f"opset must be at most {OPSET}; got {opset.version}")
        if opset.domain not in ("", "ai.onnx"):
            problems.append(f"operators must be ONNX's own; got {opset.domain}")
    problems += _check_names("inputs", model.graph.input, INPUT_NAMES)
    problems += _check_names("outputs", model.graph.output, OUTPUT_NAMES)
    content = model.SerializeToString()
    problems += [
        f"the file must not say where it was made; it contains {mark.decode()!r}"
        for mark in (b".py", b"site-packages", b"stack_trace", b"/home/", b"/root/")
        if mark in content
    ]
    if problems:
        raise ArtifactError("onnx", problems)


def _check_names(kind: str, values: Any, expected: tuple[str, ...]) -> list[str]:
    seen = [value.name for value in values]
    return [] if seen == list(expected) else [f"{kind} must be {list(expected)}; got {seen}"]
