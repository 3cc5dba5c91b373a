"""The check at start-up: each runtime must give the answers that were exported with the model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
from henaw.model.errors import ArtifactError, ParityError
from henaw.model.runtime import Outputs, Runtime

TOLERANCE = 1e-4
"""The largest difference between two runtimes, in years or probability."""

_TOLERANCES = {"percentile": 1e-2}
"""The same for outputs in other units: a percentile changes by tens of percent a year."""

_WORDS = {"NaN": np.nan, "Infinity": np.inf, "-Infinity": -np.inf, None: np.nan}


@dataclass(frozen=True, kw_only=True)
class Golden:
    """People, and their answers when the model was exported.

    Attributes:
        biomarkers: (n, 9) float32, the panel's units and order, NaN = missing.
        age: (n,) float32, years.
        sex: (n,) int64, 0 female, 1 male.
        outputs: the graph's outputs by name; NaN where the graph computes NaN.
    """

    biomarkers: npt.NDArray[np.float32]
    age: npt.NDArray[np.float32]
    sex: npt.NDArray[np.int64]
    outputs: Mapping[str, npt.NDArray[np.float64]]

    def select(self, rows: npt.NDArray[np.intp]) -> Golden:
        """Return the people in these rows, which may repeat."""
        return Golden(
            biomarkers=self.biomarkers[rows],
            age=self.age[rows],
            sex=self.sex[rows],
            outputs={name: values[rows] for name, values in self.outputs.items()},
        )


def load_golden(path: Path) -> Golden:
    """Read golden people; in the file null is NaN, and "Infinity" a text.

    Raises:
        ArtifactError: the file is not one that an export writes.
    """
    try:
        document = msgspec.json.decode(path.read_bytes())
        inputs = {name: _read_array(rows) for name, rows in document["inputs"].items()}
        outputs = {name: _read_array(rows) for name, rows in document["outputs"].items()}
        return Golden(
            biomarkers=inputs["biomarkers"].astype(np.float32),
            age=inputs["age"].astype(np.float32),
            sex=inputs["sex"].astype(np.int64),
            outputs=outputs,
        )
    except (
        OSError,
        msgspec.MsgspecError,
        AttributeError,
        KeyError,
        TypeError,
        ValueError,
    ) as error:
        raise ArtifactError(path.name, [f"it has no golden people: {error}"]) from error


def recompute_answers(golden: Golden, runtime: Runtime) -> Golden:
    """Return the same people with the answers that ``runtime`` gives now."""
    outputs = runtime.predict(golden.biomarkers, golden.age, golden.sex)
    return replace(
        golden,
        outputs={name: outputs[name].astype(np.float64) for name in golden.outputs},
    )


def list_differences(runtime: Runtime, golden: Golden) -> list[str]:
    """Return one sentence for each output in which ``runtime`` differs from the stored answers."""
    outputs = runtime.predict(golden.biomarkers, golden.age, golden.sex)
    return compare_answers(runtime.name, outputs, golden.outputs)


def compare_answers(
    runtime: str, outputs: Outputs, right: Mapping[str, npt.NDArray[Any]]
) -> list[str]:
    """Return one sentence for each output that is not right.

    Args:
        runtime: the name of the runtime that computed ``outputs``.
        outputs: the outputs to compare.
        right: the right outputs; NaN is right where they have NaN.
    """
    return [
        difference
        for name, stored in right.items()
        for difference in _compare(runtime, name, outputs, stored)
    ]


def check_runtimes(runtimes: Iterable[Runtime], golden: Golden) -> None:
    """Raise an error unless every runtime gives the stored answers.

    Raises:
        ParityError: an output differs; the message names each, its runtime, by how much and where.
    """
    differences = [d for runtime in runtimes for d in list_differences(runtime, golden)]
    if differences:
        raise ParityError("start-up self-check", differences)


def check_sizes(runtime: Runtime, golden: Golden, sizes: Iterable[int]) -> None:
    """Raise an error unless a runtime gives the stored answers to calls of every size.

    Args:
        runtime: the runtime, with a compiled graph for each size of call.
        golden: the golden people, repeated if a call is larger.
        sizes: numbers of people in a call.

    Raises:
        ParityError: an output differs; the message names each, its size, by how much and where.
    """
    count = len(golden.age)
    differences = [
        f"{size} people in a call: {difference}"
        for size in sizes
        for rows in (np.arange(-(-count // size) * size) % count).reshape(-1, size)
        for difference in list_differences(runtime, golden.select(rows))
    ]
    if differences:
        raise ParityError("start-up self-check", differences)


def _compare(runtime: str, name: str, outputs: Outputs, stored: npt.NDArray[Any]) -> Iterable[str]:
    if name not in outputs or outputs[name].shape != stored.shape:
        shape = outputs[name].shape if name in outputs else "none"
        yield f"{runtime}: {name} must have the shape {stored.shape}; got {shape}"
        return
    seen = outputs[name].astype(np.float64)
    with np.errstate(invalid="ignore"):
        distance = np.abs(seen - stored.astype(np.float64))
    distance[np.isnan(seen) & np.isnan(stored)] = 0.0
    distance[seen == stored] = 0.0
    distance[np.isnan(distance)] = np.inf
    worst = float(distance.max(initial=0.0))
    tolerance = _TOLERANCES.get(name, TOLERANCE)
    if worst > tolerance:
        place = tuple(int(i) for i in np.unravel_index(int(distance.argmax()), distance.shape))
        yield (
            f"{runtime}: {name} must be within {tolerance:g} of the stored answers; "
            f"got a difference of {worst:.3g} at {place}"
        )


def _read_array(rows: Any) -> npt.NDArray[np.float64]:
    return np.array(_read_value(rows), dtype=np.float64)


def _read_value(value: Any) -> Any:
    if isinstance(value, list):
        return [_read_value(item) for item in value]
    return _WORDS[value] if value is None or isinstance(value, str) else value
