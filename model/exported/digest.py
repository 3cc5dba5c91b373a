"""The digest of an ONNX file's content, which is the same with every laboratory profile.

The digest is one of the file's properties, and is in its sidecar. It covers every byte of the
graph, its weights and the other properties, except what a profile changes. A profile has its
own digest.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from henaw.model.errors import ArtifactError, ProfileError
from henaw.model.profile import METADATA_KEY, PROFILE_SHAPES, find_tensor, read_profile

DIGEST_KEY = "content_sha256"
"""Name of the property with the digest."""

_GRAPH, _METADATA_PROPS = 7, 14
"""Fields of ModelProto: the graph, and its properties."""
_INITIALIZER = 5
"""Field of GraphProto: its tensors of weights."""
_EXTERNAL_DATA = 13
"""Field of TensorProto: the other file that has its values."""
_VARINT, _DELIMITED = 0, 2
"""Wire types of protocol buffers that contain their size."""
_FIXED_BYTES = {1: 8, 5: 4}
"""The other wire types, and their sizes."""
_DAMAGED = "The file was damaged or changed: export the model again"
_NO_FILE = "the file is not ONNX, or is damaged or truncated"


def read_properties(model: bytes) -> dict[str, str]:
    """Read the properties of an ONNX file before any runtime opens it.

    Raises:
        ArtifactError: the file is not ONNX, is truncated, or a property is not text.
    """
    properties = {}
    for number, _, inside, end in _split_fields(model):
        if number != _METADATA_PROPS:
            continue
        entry = model[inside:end]
        parts = {part: entry[start:stop] for part, _, start, stop in _split_fields(entry)}
        try:
            properties[parts.get(1, b"").decode()] = parts.get(2, b"").decode()
        except UnicodeDecodeError as error:
            raise ArtifactError(
                "ONNX file", [f"its properties must be UTF-8: {error}. {_DAMAGED}"]
            ) from error
    return properties


def compute_digest(model: bytes) -> str:
    """SHA-256 of an ONNX file without its profile and without this digest.

    Raises:
        ArtifactError: the file is not a model of HENAW.
    """
    content = bytearray(model)
    try:
        for name, shape in PROFILE_SHAPES.items():
            start = find_tensor(model, name)
            size = 4 * math.prod(shape)
            content[start : start + size] = bytes(size)
    except ProfileError as error:
        raise ArtifactError("ONNX file", error.problems) from error
    digest = hashlib.sha256()
    own = [b"\x0a" + bytes([len(key)]) + key.encode() for key in (DIGEST_KEY, METADATA_KEY)]
    view = memoryview(content)
    for number, start, inside, end in _split_fields(content):
        if number == _METADATA_PROPS and any(content.startswith(key, inside, end) for key in own):
            continue
        digest.update(view[start:end])
    return digest.hexdigest()


def check_content(model: bytes, properties: Mapping[str, Any]) -> None:
    """Check that a file is as it was exported, except for a laboratory's profile.

    Args:
        model: the file.
        properties: the file's properties.

    Raises:
        ArtifactError: the file was changed.
    """
    expected = properties.get(DIGEST_KEY)
    if expected is None:
        raise ArtifactError("ONNX file", [f"it has no property {DIGEST_KEY!r}. {_DAMAGED}"])
    if _has_external_data(model):
        raise ArtifactError(
            "ONNX file",
            ["its weights are in another file (external data); they must be in the ONNX file"],
        )
    seen = compute_digest(model)
    if seen != expected:
        raise ArtifactError(
            "ONNX file",
            [f"its content must have the SHA-256 {expected}; got {seen}. {_DAMAGED}"],
        )
    text = properties.get(METADATA_KEY)
    arrays = (
        [np.zeros(shape, np.float32) for shape in PROFILE_SHAPES.values()]
        if text is None
        else read_profile(json.loads(text)).arrays
    )
    for name, array in zip(PROFILE_SHAPES, arrays, strict=True):
        values = array.astype("<f4").tobytes()
        start = find_tensor(model, name)
        if model[start : start + len(values)] != values:
            raise ArtifactError(
                "ONNX file", [f"its tensor {name} differs from its profile. {_DAMAGED}"]
            )


def _has_external_data(model: bytes) -> bool:
    def find(message: bytes, wanted: int) -> Iterator[bytes]:
        return (message[a:b] for number, _, a, b in _split_fields(message) if number == wanted)

    return any(
        True
        for graph in find(model, _GRAPH)
        for tensor in find(graph, _INITIALIZER)
        for _ in find(tensor, _EXTERNAL_DATA)
    )


def _split_fields(model: bytes | bytearray) -> Iterator[tuple[int, int, int, int]]:
    """The number of each field, and where the field starts, its content starts, and both end."""
    place = 0
    while place < len(model):
        start = place
        tag, place = _read_varint(model, place)
        if tag & 7 == _VARINT:
            inside = place
            _, end = _read_varint(model, place)
        elif tag & 7 == _DELIMITED:
            length, inside = _read_varint(model, place)
            end = inside + length
        else:
            inside = place
            end = place + _FIXED_BYTES.get(tag & 7, len(model))
        if end > len(model):
            raise ArtifactError(
                "ONNX file", [f"{_NO_FILE}: the field at byte {start} is incomplete"]
            )
        yield tag >> 3, start, inside, end
        place = end


def _read_varint(model: bytes | bytearray, place: int) -> tuple[int, int]:
    """Read a number of seven bits a byte, lowest first; also return where it ends."""
    value = 0
    for shift in range(0, 64, 7):
        if place >= len(model):
            break
        byte = model[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place
    raise ArtifactError("ONNX file", [f"{_NO_FILE}: the number before byte {place} is incomplete"])
