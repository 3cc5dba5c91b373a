"""Golden people: their values, and the model's outputs for them when it was exported.

:mod:`henaw.export.golden` writes the file. JSON has no NaN and no infinity: null is NaN, and the
strings "Infinity" and "-Infinity" are the infinities.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from henaw.model.errors import ArtifactError
from henaw.model.people import People
from henaw.model.runtime import Outputs


def read_golden(path: Path) -> tuple[People, Outputs]:
    """Read the inputs and outputs of a golden file as arrays.

    Raises:
        ArtifactError: the file is missing, or is not a golden file.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        inputs = content["inputs"]
        people = People(
            _decode(inputs["biomarkers"]).astype(np.float32),
            _decode(inputs["age"]).astype(np.float32),
            np.array(inputs["sex"], np.int64),
        )
        return people, {name: _decode(values) for name, values in content["outputs"].items()}
    except (OSError, LookupError, TypeError, ValueError, RecursionError) as error:
        raise ArtifactError(str(path), [f"the file has no golden people: {error!r}"]) from error


def _decode(values: list[Any]) -> npt.NDArray[Any]:
    array = np.array(values, dtype=object)
    if array.size and isinstance(array.flat[0], bool):
        return array.astype(bool)
    numbers = [np.nan if value is None else float(value) for value in array.flat]
    return np.array(numbers, np.float32).reshape(array.shape)
