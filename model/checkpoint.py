"""One-file checkpoints: safetensors with a JSON header, validated before use.

No pickle is read or written. The header is under the metadata key ``henaw``. It has the
protocol number, model name and version, full configuration, panel, provenance, training-data
digest, metrics and a digest of the tensors.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from henaw.model.biomarkers import describe_fitted_panel
from henaw.model.configuration import NetworkConfiguration, read_configuration
from henaw.model.errors import CheckpointError, ConfigurationError
from henaw.model.files import write_whole
from henaw.model.graph.tables import (
    POSITIVE_TENSORS,
    list_correlation_problems,
    list_hierarchy_problems,
    list_tensor_shapes,
)
from henaw.model.network import Network
from henaw.model.runtime import PROTOCOL
from torch import Tensor

__all__ = [
    "PROTOCOL",
    "Checkpoint",
    "load_checkpoint",
    "save_checkpoint",
    "write_whole",
]

_METADATA_KEY = "henaw"
_ADDED = ("causes",)
"""Fields that were added to protocol 2 later. A file without one was fitted with the default, so
the default is not written either."""
_COPIED = ("name", "version", "date", "intended_use", "training", "metrics")
"""Fields of a checkpoint that the header has as they are."""
_HEADER_TYPES: dict[str, type] = {
    "protocol": int,
    "name": str,
    "version": str,
    "date": str,
    "network": dict,
    "panel": list,
    "parameters": int,
    "tensors_sha256": str,
    "training": dict,
    "metrics": dict,
    "intended_use": str,
}


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A fitted model and what is known about it.

    Attributes:
        name: the model's name.
        version: the model's version.
        date: of the model, YYYY-MM-DD.
        intended_use: what the model is for, and what it is not for.
        network: the shape.
        tensors: every fitted tensor by name, float32.
        training: provenance: data, digest, configuration and counts.
        metrics: measures of the evaluation, and the people it was made on.
        sha256: of the file it was read from, or "" before it is written.
    """

    name: str
    version: str
    date: str
    intended_use: str
    network: NetworkConfiguration
    tensors: Mapping[str, Tensor]
    training: Mapping[str, Any]
    metrics: Mapping[str, Any]
    sha256: str = ""

    def build_network(self) -> Network:
        """Build the network of this checkpoint, in evaluation mode."""
        return Network(self.network, self.tensors).eval()


def save_checkpoint(checkpoint: Checkpoint, path: Path) -> None:
    """Write a checkpoint completely or not at all; the same checkpoint gives the same bytes.

    Args:
        checkpoint: the model.
        path: the file; an older one is replaced.

    Raises:
        CheckpointError: the checkpoint is not valid.
    """
    tensors = {name: tensor.contiguous() for name, tensor in checkpoint.tensors.items()}
    problems = _check_tensors(checkpoint.network, tensors)
    if problems:
        raise CheckpointError(str(path), problems)
    header = {
        **{name: getattr(checkpoint, name) for name in _COPIED},
        "protocol": PROTOCOL,
        "network": _describe_network(checkpoint.network),
        "panel": describe_fitted_panel(),
        "parameters": sum(tensor.numel() for tensor in tensors.values()),
        "tensors_sha256": _digest_tensors(tensors),
    }
    text = json.dumps(header, sort_keys=True, allow_nan=False)
    write_whole(path, safetensors.torch.save(tensors, metadata={_METADATA_KEY: text}))


def load_checkpoint(path: Path) -> Checkpoint:
    """Read and validate a checkpoint.

    Raises:
        CheckpointError: the file cannot be read or used; every problem is listed.

    Example:
        >>> load_checkpoint(Path("model/weights/henaw-nhanes.safetensors")).name
        'henaw-nhanes'
    """
    content = _read_bytes(path)
    try:
        tensors = safetensors.torch.load(content)
    except (safetensors.SafetensorError, ValueError, KeyError, RuntimeError) as error:
        raise CheckpointError(str(path), [_explain_unreadable(content, error)]) from error
    header = _read_header(path, content)
    if header.get("protocol") != PROTOCOL:
        # The tensors of another protocol cannot be checked.
        raise CheckpointError(
            str(path),
            [
                f"protocol must be {PROTOCOL}; got {header.get('protocol')!r}. This version "
                "computes the age differently; fit the model again with `henaw train`"
            ],
        )
    problems = [
        f"header: {key} must be {kind.__name__}; got {header.get(key)!r}"
        for key, kind in _HEADER_TYPES.items()
        if type(header.get(key)) is not kind
    ]
    problems += _check_panel(header.get("panel"))
    shape: Any = header.get("network")
    if isinstance(shape, dict):
        # A default may change between versions; the shape of a fitted model may not.
        problems += [
            f"network: {field.name}: missing key"
            for field in dataclasses.fields(NetworkConfiguration)
            if field.name not in shape and field.name not in _ADDED
        ]
    network = None
    try:
        network = read_configuration(NetworkConfiguration, shape, subject="network")
    except ConfigurationError as error:
        problems += [f"network: {problem}" for problem in error.problems]
    if network is not None:
        problems += _check_tensors(network, tensors)
    count = sum(tensor.numel() for tensor in tensors.values())
    if header.get("parameters") != count:
        problems.append(f"parameters must be {header.get('parameters')}; got {count}")
    if header.get("tensors_sha256") != _digest_tensors(tensors):
        problems.append("tensors differ from the digest in the header: the file was damaged")
    if problems or network is None:
        raise CheckpointError(str(path), problems)
    return Checkpoint(
        **{name: header[name] for name in _COPIED},
        network=network,
        tensors=tensors,
        sha256=hashlib.sha256(content).hexdigest(),
    )


def _describe_network(network: NetworkConfiguration) -> dict[str, Any]:
    return {
        field.name: getattr(network, field.name)
        for field in dataclasses.fields(network)
        if field.name not in _ADDED or getattr(network, field.name) != field.default
    }


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise CheckpointError(str(path), ["there is no such file"]) from error
    except OSError as error:
        raise CheckpointError(str(path), [f"the file cannot be read: {error}"]) from error


def _explain_unreadable(content: bytes, error: Exception) -> str:
    if not content:
        return "the file is empty"
    # Pickle protocol 2 and later, a zip of torch.save, and the older text and binary protocols.
    old_pickle = content[:1] in (b"(", b"]", b"}", b"c") and content.endswith(b".")
    if content[:1] == b"\x80" or content[:2] == b"PK" or old_pickle:
        return (
            "the file must be safetensors; got a pickle (of torch.save?). Reading it could run "
            "code, so it is refused. Write the model with `henaw train`"
        )
    return f"the file is not safetensors, or is truncated or damaged: {error}"


def _read_header(path: Path, content: bytes) -> dict[str, Any]:
    length = int.from_bytes(content[:8], "little")
    metadata = json.loads(content[8 : 8 + length]).get("__metadata__") or {}
    if _METADATA_KEY not in metadata:
        raise CheckpointError(
            str(path),
            [f"header: metadata must have the key {_METADATA_KEY!r}; got {sorted(metadata)}"],
        )
    try:
        header = json.loads(metadata[_METADATA_KEY])
    except (ValueError, RecursionError) as error:
        # ValueError is also raised for an integer with more digits than Python reads.
        raise CheckpointError(str(path), [f"header: it cannot be read as JSON: {error}"]) from error
    if not isinstance(header, dict):
        raise CheckpointError(str(path), [f"header: it must be an object; got {header!r}"])
    return header


def _check_panel(panel: object) -> list[str]:
    expected = json.loads(json.dumps(describe_fitted_panel()))
    if panel == expected:
        return []
    if not isinstance(panel, list):
        return [f"panel must be a list of {len(expected)}; got {panel!r}"]
    problems = [
        f"panel: row {i} must be an object; got {row!r}"
        for i, row in enumerate(panel)
        if not isinstance(row, dict)
    ]
    if problems:
        return problems
    seen = [row.get("name") for row in panel]
    wanted = [row["name"] for row in expected]
    if seen != wanted:
        return [f"panel: order must be {wanted}; got {seen}"]
    return [
        f"panel: {row['name']}.{key} must be {row[key]!r}; got {other.get(key)!r}"
        for row, other in zip(expected, panel, strict=True)
        for key in row
        if other.get(key) != row[key]
    ]


def _check_tensors(network: NetworkConfiguration, tensors: Mapping[str, Tensor]) -> list[str]:
    shapes = list_tensor_shapes(network)
    problems = [f"tensor {name}: missing" for name in shapes if name not in tensors]
    problems += [f"tensor {name}: unexpected" for name in sorted(tensors) if name not in shapes]
    sound = {}
    for name, shape in shapes.items():
        if name not in tensors:
            continue
        tensor = tensors[name]
        before = len(problems)
        if tuple(tensor.shape) != shape:
            problems.append(f"tensor {name}: shape must be {list(shape)}; got {list(tensor.shape)}")
        if tensor.dtype != torch.float32:
            problems.append(f"tensor {name}: dtype must be float32; got {tensor.dtype}")
            continue  # Complex and 8-bit types have neither an order nor isfinite.
        bad = int((~torch.isfinite(tensor)).sum())
        if bad:
            problems.append(f"tensor {name}: must be finite; {bad} values are not")
        elif name in POSITIVE_TENSORS and not bool((tensor > 0).all()):
            problems.append(
                f"tensor {name}: must be above 0; the least value is {float(tensor.min()):g}"
            )
        if len(problems) == before:
            sound[name] = tensor
    problems += list_correlation_problems(sound)
    return problems + list_hierarchy_problems(sound, network)


def _digest_tensors(tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].contiguous()
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
        digest.update(tensor.flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
