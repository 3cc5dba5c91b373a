"""Arrays: the Open Inference Protocol (KServe v2) form of requests and answers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt
import orjson
from henaw.handler.contract.types import (
    DATATYPES,
    LONGEST_REQUEST_ID,
    SERVED_NAME,
    BinarySize,
    Model,
    OutputTensor,
    Runtime,
    TensorsAnswer,
)
from henaw.handler.errors import ProblemList
from henaw.handler.request.binary_tensors import (
    BinaryReader,
    choose_binary,
    count_binary,
    has_binary,
    write_binary,
)
from henaw.handler.request.person import refuse_unknown_fields
from henaw.handler.wording import describe_implausible, describe_type, show_value
from henaw.model.biomarkers import AGE_MAXIMUM_YEARS, AGE_MINIMUM_YEARS, NAMES, PANEL
from henaw.model.runtime import INPUT_NAMES, OUTPUT_NAMES, Outputs
from msgspec import UNSET

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
        outputs: the graph's outputs asked for.
        binary_outputs: those of them that are answered in binary.
        request_id: the id the request gave itself.
    """

    biomarkers: npt.NDArray[np.float32]
    age: npt.NDArray[np.float32]
    sex: npt.NDArray[np.int64]
    outputs: tuple[str, ...]
    binary_outputs: frozenset[str]
    request_id: str | None


def count_rows(tree: Mapping[str, Any]) -> int:
    """Return how many people the arrays hold, by the longest, however deep its values are."""
    inputs = tree.get("inputs")
    counts = [1]
    for tensor in inputs if isinstance(inputs, list) else []:
        if isinstance(tensor, dict):
            per_person = len(NAMES) if tensor.get("name") == "biomarkers" else 1
            counts.append(-(-_count_values(tensor) // per_person))
    return max(counts)


def _count_values(tensor: Mapping[str, Any]) -> int:
    if has_binary(tensor):
        return count_binary(tensor)
    data = tensor.get("data")
    if not isinstance(data, list):
        return 0
    return sum(len(row) if row.__class__ is list else 1 for row in data)


def read_tensors(tree: dict[str, Any], problems: ProblemList, binary: bytes = b"") -> Tensors:
    """Read the arrays; where something is wrong, add it to ``problems``.

    Args:
        tree: a decoded body that has ``inputs``.
        problems: where everything that is wrong is added.
        binary: the bytes after the JSON.

    Returns:
        The arrays; empty where a problem was added.
    """
    refuse_unknown_fields(tree, None, problems, allowed=_REQUEST_FIELDS)
    request_id = tree.get("id")
    if request_id is not None and not (
        isinstance(request_id, str) and len(request_id) <= LONGEST_REQUEST_ID
    ):
        problems.add(
            None, "id", "type", f"expected a string of at most {LONGEST_REQUEST_ID} characters"
        )
    served = tree.get("model_name")
    if served not in (None, SERVED_NAME):
        problems.add(
            None,
            "model_name",
            "not_allowed",
            f"model_name must be {SERVED_NAME}; got {show_value(served)}",
        )
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
        binary_outputs=choose_binary(tree, tree.get("outputs") or (), outputs),
        request_id=request_id,
    )


def check_arrays(arrays: Mapping[str, npt.NDArray[np.float64]], problems: ProblemList) -> None:
    """Add to ``problems`` where the arrays' lengths disagree or a value is out of range.

    Args:
        arrays: ``biomarkers`` (9 n,), ``age`` (n,) years and ``sex`` (n,).
        problems: where everything that is wrong is added.
    """
    _check_shapes(arrays, problems)
    if not problems:
        _check_ranges(arrays, problems)


def write_tensors(
    outputs: Outputs,
    names: tuple[str, ...],
    *,
    binary: frozenset[str] = frozenset(),
    request_id: str | None,
    model: Model,
) -> tuple[TensorsAnswer, bytes]:
    """Return the answer in the protocol's output shape, ready to be encoded, and what follows it.

    Args:
        outputs: the graph's.
        names: of those that are answered.
        binary: those of them whose values follow the JSON.
        request_id: the id that the request gave itself.
        model: what answered.
    """
    following = {name: write_binary(outputs[name]) for name in names if name in binary}
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
    """Return an array as JSON that is put into the answer as it is.

    Each number is the shortest text that is read as the same float32. msgspec would take
    a list of Python numbers and write each as a float64: four times as long.
    """
    flat = np.ascontiguousarray(values).reshape(-1)
    return msgspec.Raw(orjson.dumps(flat, option=orjson.OPT_SERIALIZE_NUMPY))


def _read_inputs(
    inputs: object, problems: ProblemList, binary: BinaryReader
) -> dict[str, npt.NDArray[np.float64]]:
    arrays: dict[str, npt.NDArray[np.float64]] = {}
    if not isinstance(inputs, list):
        problems.add(None, "inputs", "type", f"expected an array, however: {show_value(inputs)}")
        return arrays
    for tensor in inputs:
        if not isinstance(tensor, dict):
            problems.add(
                None, "inputs", "type", f"expected an object, however: {show_value(tensor)}"
            )
            continue
        name = tensor.get("name")
        if not isinstance(name, str) or name not in INPUT_NAMES:
            near = problems.suggest(name, INPUT_NAMES) if isinstance(name, str) else None
            problems.add(
                None,
                "inputs.name",
                "not_allowed",
                f"{show_value(name)} is not an input",
                f"did you mean {near}?" if near else f"one of {', '.join(INPUT_NAMES)}",
            )
        elif name in arrays:
            problems.add(None, f"inputs.{name}", "not_allowed", "given more than once")
        else:
            arrays[name] = _read_tensor(name, tensor, problems, binary)
    binary.finish(problems)
    for name in INPUT_NAMES:
        if name not in arrays and not problems:
            problems.add(None, f"inputs.{name}", "missing", f"expected the input {name}")
    return arrays


def _read_tensor(
    name: str, tensor: dict[str, Any], problems: ProblemList, binary: BinaryReader
) -> npt.NDArray[np.float64]:
    field = f"inputs.{name}"
    refuse_unknown_fields(tensor, None, problems, allowed=_TENSOR_FIELDS, prefix=f"{field}.")
    datatype = tensor.get("datatype")
    if datatype not in DATATYPES[name]:
        problems.add(
            None,
            f"{field}.datatype",
            "not_allowed",
            f"expected {' or '.join(DATATYPES[name])}, however: {show_value(datatype)}",
        )
    if has_binary(tensor) and "data" not in tensor:
        return binary.read(name, tensor, problems)
    data = tensor.get("data")
    if not isinstance(data, list):
        problems.add(
            None, f"{field}.data", "type", f"expected an array, however: {show_value(data)}"
        )
        return np.empty(0)
    if data and all(isinstance(row, list) for row in data):
        data = [value for row in data for value in row]
    allowed = _NUMBERS_OR_NULL if name == "biomarkers" else _NUMBERS
    if not set(map(type, data)) <= allowed:
        _refuse_values(name, data, allowed, problems)
        return np.empty(0)
    shape = tensor.get("shape")
    wanted = [len(data) // len(NAMES), len(NAMES)] if name == "biomarkers" else [len(data)]
    if shape != wanted or math.prod(wanted) != len(data):
        expected = f"[n, {len(NAMES)}]" if name == "biomarkers" else "[n]"
        problems.add(
            None,
            f"{field}.shape",
            "shape",
            f"expected {expected} and as many values, however: {len(data)} values "
            f"and another shape",
        )
        return np.empty(0)
    try:
        return np.array(data, dtype=np.float64)
    except OverflowError:
        problems.add(None, f"{field}.data", "implausible", "a number is too large")
        return np.empty(0)


def _refuse_values(
    name: str, data: list[Any], allowed: frozenset[type], problems: ProblemList
) -> None:
    per_row = len(NAMES) if name == "biomarkers" else 1
    for place, value in enumerate(data):
        if value.__class__ not in allowed:
            row, column = divmod(place, per_row)
            field = f"biomarkers.{NAMES[column]}" if name == "biomarkers" else name
            problems.add(row, field, "type", *describe_type(value))


def _check_shapes(arrays: Mapping[str, npt.NDArray[np.float64]], problems: ProblemList) -> None:
    counts = {
        "biomarkers": len(arrays["biomarkers"]) // len(NAMES),
        "age": len(arrays["age"]),
        "sex": len(arrays["sex"]),
    }
    if len(set(counts.values())) != 1:
        seen = ", ".join(f"{name} {count}" for name, count in counts.items())
        problems.add(None, "inputs", "shape", f"expected as many people in each, however: {seen}")


def _check_ranges(arrays: Mapping[str, npt.NDArray[np.float64]], problems: ProblemList) -> None:
    age, sex = arrays["age"], arrays["sex"]
    for row in np.flatnonzero(~((age >= AGE_MINIMUM_YEARS) & (age <= AGE_MAXIMUM_YEARS))):
        problems.add(
            int(row),
            "age",
            "implausible",
            f"{age[row]:.10g} years is outside {AGE_MINIMUM_YEARS:g} to {AGE_MAXIMUM_YEARS:g}",
        )
    for row in np.flatnonzero(~((sex == 0) | (sex == 1))):
        problems.add(
            int(row), "sex", "not_allowed", f"expected 0 or 1, however: {show_value(sex[row])}"
        )
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
        problems.add(
            None, "outputs", "type", f"expected an array of objects, however: {show_value(asked)}"
        )
        return OUTPUT_NAMES
    names = [item.get("name") if isinstance(item, dict) else item for item in asked]
    for name in names:
        if not isinstance(name, str) or name not in OUTPUT_NAMES:
            near = problems.suggest(name, OUTPUT_NAMES) if isinstance(name, str) else None
            problems.add(
                None,
                "outputs",
                "not_allowed",
                f"{show_value(name)} is not an output",
                f"did you mean {near}?" if near else f"one of {', '.join(OUTPUT_NAMES)}",
            )
    return add_required(names)


def add_required(names: Sequence[Any]) -> tuple[str, ...]:
    """Return outputs in the graph's order, with those that every answer has.

    Arrays hold no nulls, so that nothing is withheld in them: they always say instead
    what is not reliable.
    """
    return tuple(name for name in OUTPUT_NAMES if name in names or name in REQUIRED_OUTPUTS)
