"""Requests of the Open Inference Protocol (KServe v2): people as arrays."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from henaw.handler.contract.types import (
    DATATYPES,
    LONGEST_REQUEST_ID,
    SERVED_NAME,
)
from henaw.handler.errors import ProblemList
from henaw.handler.request.binary_tensors import (
    BinaryReader,
    choose_binary,
    count_binary,
    has_binary,
)
from henaw.handler.request.person import describe_age, refuse_unknown_fields
from henaw.handler.wording import describe_implausible, describe_type
from henaw.model.biomarkers import AGE_MAXIMUM_YEARS, AGE_MINIMUM_YEARS, NAMES, PANEL
from henaw.model.runtime import INPUT_NAMES, OUTPUT_NAMES

_REQUEST_FIELDS: Final = frozenset({"id", "inputs", "model_name", "outputs", "parameters"})
_TENSOR_FIELDS: Final = frozenset({"name", "shape", "datatype", "data", "parameters"})
REQUIRED_OUTPUTS: Final = ("critical", "reliable")
_NUMBERS: Final = frozenset({float, int})
_NUMBERS_OR_NULL: Final = _NUMBERS | {type(None)}
_MINIMA = np.array([b.minimum for b in PANEL])
_MAXIMA = np.array([b.maximum for b in PANEL])


@dataclass(frozen=True, slots=True, kw_only=True)
class Tensors:
    """The arrays of one request, shaped as the graph takes them.

    Attributes:
        biomarkers: (n, 9) float32, the panel's units and order, NaN = missing.
        age: (n,) float32, years.
        sex: (n,) int64, 0 female, 1 male.
        outputs: the outputs of the graph that the client asks for.
        binary_outputs: the outputs among them that it asks for in binary.
        request_id: the id that the client gave its request.
    """

    biomarkers: npt.NDArray[np.float32]
    age: npt.NDArray[np.float32]
    sex: npt.NDArray[np.int64]
    outputs: tuple[str, ...]
    binary_outputs: frozenset[str]
    request_id: str | None


def count_rows(tree: Mapping[str, Any]) -> int:
    """Return the number of people in the longest array, before it is validated.

    Example:
        >>> count_rows({"inputs": [{"name": "age", "data": [54, 61]}]})
        2
    """
    inputs = tree.get("inputs")
    counts = [1]
    for tensor in inputs if isinstance(inputs, list) else []:
        if isinstance(tensor, dict):
            per_person = len(NAMES) if tensor.get("name") == "biomarkers" else 1
            counts.append(-(-_count_values(tensor) // per_person))
    return max(counts)


def _count_values(tensor: Mapping[str, Any]) -> int:
    if _is_binary(tensor):
        return count_binary(tensor)
    data = tensor.get("data")
    if not isinstance(data, list):
        return 0
    return sum(len(row) if row.__class__ is list else 1 for row in data)


def _is_binary(tensor: Mapping[str, Any]) -> bool:
    """Return whether an input's values are read from the bytes after the JSON."""
    return has_binary(tensor) and "data" not in tensor


def read_tensors(tree: dict[str, Any], problems: ProblemList, binary: bytes = b"") -> Tensors:
    """Read the arrays, and add everything that is wrong to ``problems``.

    Args:
        tree: a decoded body that has ``inputs``.
        problems: the request's problems.
        binary: the bytes after the JSON.

    Returns:
        The arrays; empty if a problem was added.
    """
    refuse_unknown_fields(tree, None, problems, allowed=_REQUEST_FIELDS)
    request_id = tree.get("id")
    if request_id is not None and not (
        isinstance(request_id, str) and len(request_id) <= LONGEST_REQUEST_ID
    ):
        problems.add(
            None, "id", "type", f"id must be a string of at most {LONGEST_REQUEST_ID} characters"
        )
    served = tree.get("model_name")
    if served not in (None, SERVED_NAME):
        expected = f"model_name must be {SERVED_NAME}"
        problems.add_wrong(None, "model_name", expected, served, code="not_allowed")
    outputs = _read_outputs(tree.get("outputs"), problems)
    arrays = _read_inputs(tree["inputs"], problems, BinaryReader(binary))
    if not problems:
        check_arrays(arrays, problems)
    if problems:
        arrays = {name: np.empty(0) for name in INPUT_NAMES}
    return Tensors(
        biomarkers=arrays["biomarkers"].reshape(-1, len(NAMES)).astype(np.float32),
        age=arrays["age"].astype(np.float32),
        sex=arrays["sex"].astype(np.int64),
        outputs=outputs,
        # Only outputs without a problem can be read.
        binary_outputs=frozenset()
        if problems
        else choose_binary(tree, tree.get("outputs") or (), outputs),
        request_id=request_id,
    )


def check_arrays(arrays: Mapping[str, npt.NDArray[np.float64]], problems: ProblemList) -> None:
    """Add a problem if the lengths of the arrays disagree, or a value is out of range.

    Args:
        arrays: ``biomarkers`` (9 n,), ``age`` (n,) years and ``sex`` (n,).
        problems: the request's problems.
    """
    _check_shapes(arrays, problems)
    if not problems:
        _check_ranges(arrays, problems)


def _read_inputs(
    inputs: object, problems: ProblemList, binary: BinaryReader
) -> dict[str, npt.NDArray[np.float64]]:
    arrays: dict[str, npt.NDArray[np.float64]] = {}
    if not isinstance(inputs, list):
        problems.add_wrong(None, "inputs", "inputs must be an array", inputs)
        return arrays
    for tensor in inputs:
        if not isinstance(tensor, dict):
            problems.add_wrong(None, "inputs", "each input must be an object", tensor)
            continue
        name = tensor.get("name")
        if not isinstance(name, str) or name not in INPUT_NAMES:
            problems.check_name(None, "inputs.name", name, INPUT_NAMES, "an input")
        elif name in arrays:
            problems.add(None, f"inputs.{name}", "not_allowed", f"{name} is given more than once")
        else:
            arrays[name] = _read_tensor(name, tensor, problems, binary)
    binary.finish(problems)
    for name in INPUT_NAMES:
        if name not in arrays and not problems:
            problems.add(None, f"inputs.{name}", "missing", f"the input {name} is missing")
    return arrays


def _read_tensor(
    name: str, tensor: dict[str, Any], problems: ProblemList, binary: BinaryReader
) -> npt.NDArray[np.float64]:
    field = f"inputs.{name}"
    refuse_unknown_fields(tensor, None, problems, allowed=_TENSOR_FIELDS, prefix=f"{field}.")
    datatype = tensor.get("datatype")
    if datatype not in DATATYPES[name]:
        expected = f"datatype must be {' or '.join(DATATYPES[name])}"
        problems.add_wrong(None, f"{field}.datatype", expected, datatype, code="not_allowed")
    if _is_binary(tensor):
        return binary.read(name, tensor, problems)
    data = tensor.get("data")
    if not isinstance(data, list):
        problems.add_wrong(None, f"{field}.data", "data must be an array", data)
        return np.empty(0)
    if data and all(isinstance(row, list) for row in data):
        data = [value for row in data for value in row]
    allowed = _NUMBERS_OR_NULL if name == "biomarkers" else _NUMBERS
    if not set(map(type, data)) <= allowed:
        _refuse_values(name, data, allowed, problems)
        return np.empty(0)
    shape = tensor.get("shape")
    wanted = [len(data) // len(NAMES), len(NAMES)] if name == "biomarkers" else [len(data)]
    # In Python [True, 9.0] is equal to [1, 9].
    is_whole = isinstance(shape, list) and all(type(axis) is int for axis in shape)
    if not is_whole or shape != wanted or math.prod(wanted) != len(data):
        expected = f"[n, {len(NAMES)}]" if name == "biomarkers" else "[n]"
        problems.add(
            None,
            f"{field}.shape",
            "shape",
            f"shape must be {expected} and match the {len(data)} values in data",
        )
        return np.empty(0)
    try:
        return np.array(data, dtype=np.float64)
    except OverflowError:
        problems.add(None, f"{field}.data", "implausible", "data has a number that is too large")
        return np.empty(0)


def _refuse_values(
    name: str, data: list[Any], allowed: frozenset[type], problems: ProblemList
) -> None:
    per_row = len(NAMES) if name == "biomarkers" else 1
    for place, value in enumerate(data):
        if value.__class__ not in allowed:
            row, column = divmod(place, per_row)
            field = f"biomarkers.{NAMES[column]}" if name == "biomarkers" else name
            problems.add(row, field, "type", *describe_type(field.rpartition(".")[2], value))


def _check_shapes(arrays: Mapping[str, npt.NDArray[np.float64]], problems: ProblemList) -> None:
    counts = {
        "biomarkers": len(arrays["biomarkers"]) // len(NAMES),
        "age": len(arrays["age"]),
        "sex": len(arrays["sex"]),
    }
    if len(set(counts.values())) != 1:
        seen = ", ".join(f"{name} {count}" for name, count in counts.items())
        problems.add(
            None, "inputs", "shape", f"inputs must have the same number of people; got {seen}"
        )


def _check_ranges(arrays: Mapping[str, npt.NDArray[np.float64]], problems: ProblemList) -> None:
    age, sex = arrays["age"], arrays["sex"]
    for row in np.flatnonzero(~((age >= AGE_MINIMUM_YEARS) & (age <= AGE_MAXIMUM_YEARS))):
        problems.add(int(row), "age", "implausible", describe_age(age[row]))
    for row in np.flatnonzero(~((sex == 0) | (sex == 1))):
        problems.add_wrong(int(row), "sex", "sex must be 0 or 1", sex[row], code="not_allowed")
    biomarkers = arrays["biomarkers"].reshape(-1, len(NAMES))
    for row, column in np.argwhere((biomarkers < _MINIMA) | (biomarkers > _MAXIMA)):
        biomarker = PANEL[column]
        message, hint = describe_implausible(biomarker, float(biomarkers[row, column]))
        if hint is not None:
            hint = hint.replace("give the unit", f"arrays are in {biomarker.unit}")
        problems.add(int(row), f"biomarkers.{biomarker.name}", "implausible", message, hint)


def _read_outputs(asked: object, problems: ProblemList) -> tuple[str, ...]:
    if asked is None:
        return OUTPUT_NAMES
    if not isinstance(asked, list) or not asked:
        problems.add_wrong(
            None, "outputs", "outputs must be an array of at least one object", asked
        )
        return OUTPUT_NAMES
    names = [item.get("name") if isinstance(item, dict) else item for item in asked]
    for name in names:
        problems.check_name(None, "outputs", name, OUTPUT_NAMES, "an output")
    return add_required(names)


def add_required(names: Sequence[Any]) -> tuple[str, ...]:
    """Return the outputs that are answered, in the graph's order.

    An array cannot contain null, so no number is withheld. Instead, every answer says which
    people's numbers are reliable.

    Example:
        >>> add_required(["biological_age"])
        ('biological_age', 'critical', 'reliable')
    """
    return tuple(name for name in OUTPUT_NAMES if name in names or name in REQUIRED_OUTPUTS)
