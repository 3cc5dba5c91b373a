"""Binary values after the JSON: the binary tensor extension of the Open Inference Protocol.

https://kserve.github.io/website/docs/concepts/architecture/data-plane/v2-protocol/binary-tensor-data-extension
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from henaw.handler.contract.types import DATATYPES
from henaw.handler.errors import ProblemList
from henaw.handler.wording import show_value
from henaw.model.biomarkers import NAMES

SIZE_PARAMETER: Final = "binary_data_size"
_OUTPUT_PARAMETER: Final = "binary_data"
_OUTPUTS_PARAMETER: Final = "binary_data_output"
_TYPES: Final = {
    "FP32": "<f4",
    "FP64": "<f8",
    "INT8": "<i1",
    "UINT8": "<u1",
    "INT32": "<i4",
    "INT64": "<i8",
}


class BinaryReader:
    """Reads the bytes of one input after another, in the order of the inputs.

    Args:
        content: all bytes after the JSON.
    """

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._taken = 0

    def read(
        self, name: str, tensor: Mapping[str, Any], problems: ProblemList
    ) -> npt.NDArray[np.float64]:
        """Return an input's values, flat, and add everything that is wrong to ``problems``.

        Args:
            name: the input's name.
            tensor: the input's JSON, with a ``binary_data_size``.
            problems: the request's problems.
        """
        field = f"inputs.{name}"
        size = tensor["parameters"][SIZE_PARAMETER]
        remaining = len(self._content) - self._taken
        if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size <= remaining:
            problems.add(
                None,
                f"{field}.parameters.{SIZE_PARAMETER}",
                "shape",
                f"{SIZE_PARAMETER} must be 0 to {remaining}, the number of bytes left; "
                f"got {show_value(size)}",
            )
            problems.refuse()  # All that follows would be read from the wrong place.
        begin, self._taken = self._taken, self._taken + size
        datatype, shape = tensor.get("datatype"), tensor.get("shape")
        if datatype not in DATATYPES[name]:
            return np.empty(0)  # Its datatype is a problem that is listed already.
        type_ = np.dtype(_TYPES[datatype])
        axes = 2 if name == "biomarkers" else 1
        if (
            not isinstance(shape, list)
            or len(shape) != axes
            or not all(length.__class__ is int and length >= 0 for length in shape)
            or shape[1:] not in ([], [len(NAMES)])
            or math.prod(shape) * type_.itemsize != size
        ):
            expected = f"[n, {len(NAMES)}]" if axes == 2 else "[n]"
            problems.add(
                None,
                f"{field}.shape",
                "shape",
                f"shape must be {expected} and match the {size} bytes of this input, "
                f"{type_.itemsize} for each value",
            )
            return np.empty(0)
        values = np.frombuffer(self._content, type_, count=size // type_.itemsize, offset=begin)
        return _check_finite(name, values.astype(np.float64), problems)

    def finish(self, problems: ProblemList) -> None:
        """Add a problem if bytes are left over."""
        left = len(self._content) - self._taken
        if left:
            problems.add(None, "inputs", "shape", f"{left} bytes are left after the last input")


def _check_finite(
    name: str, values: npt.NDArray[np.float64], problems: ProblemList
) -> npt.NDArray[np.float64]:
    """Return the values; NaN is a missing biomarker, and every other value must be finite."""
    wrong = np.isinf(values) if name == "biomarkers" else ~np.isfinite(values)
    for place in np.flatnonzero(wrong).tolist():
        row, column = divmod(place, len(NAMES) if name == "biomarkers" else 1)
        field = f"biomarkers.{NAMES[column]}" if name == "biomarkers" else name
        named = field.rpartition(".")[2]
        problems.add(row, field, "type", f"{named} must be a finite number; got {values[place]}")
    return values


def has_binary(tensor: Mapping[str, Any]) -> bool:
    """Return whether an input's values are in binary."""
    parameters = tensor.get("parameters")
    return isinstance(parameters, dict) and SIZE_PARAMETER in parameters


def count_binary(tensor: Mapping[str, Any]) -> int:
    """Return the number of values that an input declares, before it is validated.

    Example:
        >>> count_binary({"datatype": "FP32", "parameters": {"binary_data_size": 8}})
        2
    """
    size, type_ = tensor["parameters"][SIZE_PARAMETER], _TYPES.get(str(tensor.get("datatype")))
    if size.__class__ is not int or type_ is None:
        return 0
    # Without this limit a message would contain a number of thousands of digits.
    return int(min(max(size, 0), 1 << 30) // np.dtype(type_).itemsize)


def choose_binary(
    tree: Mapping[str, Any], asked: Sequence[Any], names: Sequence[str]
) -> frozenset[str]:
    """Return the outputs that are answered in binary.

    Args:
        tree: a decoded body.
        asked: the outputs that it asks for.
        names: all outputs that are answered. One that is not in ``asked`` follows the
            parameter of the whole request.

    Example:
        >>> sorted(choose_binary({"parameters": {"binary_data_output": True}}, [], ["reliable"]))
        ['reliable']
    """
    parameters = tree.get("parameters")
    all_binary = isinstance(parameters, dict) and parameters.get(_OUTPUTS_PARAMETER) is True
    chosen = dict.fromkeys(names, all_binary)
    for item in asked:
        own = item.get("parameters") if isinstance(item, dict) else None
        if isinstance(own, dict) and _OUTPUT_PARAMETER in own:
            chosen[item["name"]] = own[_OUTPUT_PARAMETER] is True
    return frozenset(name for name, is_binary in chosen.items() if is_binary)
