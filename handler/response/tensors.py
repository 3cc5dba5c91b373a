"""Answers of the Open Inference Protocol (KServe v2): the graph's outputs as arrays."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import orjson
from henaw.handler.contract.types import (
    SERVED_NAME,
    BinarySize,
    Model,
    OutputTensor,
    Runtime,
    TensorsAnswer,
)
from henaw.model.runtime import Outputs
from msgspec import UNSET


def write_tensors(
    outputs: Outputs,
    names: tuple[str, ...],
    *,
    binary: frozenset[str] = frozenset(),
    request_id: str | None,
    model: Model,
) -> tuple[TensorsAnswer, bytes]:
    """Return the answer, ready to be encoded, and the binary values that follow it.

    Args:
        outputs: the graph's outputs.
        names: the outputs to answer.
        binary: the outputs among them whose values follow the JSON.
        request_id: the id that the client gave its request.
        model: the model and runtime that answered.
    """
    following = {name: _encode_binary(outputs[name]) for name in names if name in binary}
    answer = TensorsAnswer(
        model_name=SERVED_NAME,
        model_version=model.version,
        id=request_id,
        outputs=[
            OutputTensor(
                name=name,
                shape=list(outputs[name].shape),
                datatype="BOOL" if outputs[name].dtype == np.bool_ else "FP32",
                data=UNSET if name in binary else _encode_array(outputs[name]),
                parameters=BinarySize(len(following[name])) if name in binary else UNSET,
            )
            for name in names
        ],
        parameters=Runtime(runtime=model.runtime, model=model.name),
    )
    return answer, b"".join(following.values())


def _encode_array(values: npt.NDArray[Any]) -> Any:
    """Return an array as JSON, which msgspec copies into the answer.

    Each number is the shortest text that is read back as the same float32. From Python numbers,
    msgspec would write float64, which takes four times as long.
    """
    flat = np.ascontiguousarray(values).reshape(-1)
    return msgspec.Raw(orjson.dumps(flat, option=orjson.OPT_SERIALIZE_NUMPY))


def _encode_binary(values: npt.NDArray[Any]) -> bytes:
    """Return an output's bytes: FP32 little-endian, BOOL one byte a value."""
    kind = "?" if values.dtype == np.bool_ else "<f4"
    return np.ascontiguousarray(values).astype(kind, copy=False).tobytes()
