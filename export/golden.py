"""Golden vectors: synthetic people with the eager network's answers, as JSON.

JSON has no NaN and no infinity: null stands for NaN, and the strings "Infinity" and
"-Infinity" for the infinities.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import numpy.typing as npt
from henaw.export.people import (
    People,
    blank_every_pattern,
    draw_synthetic_people,
    join_people,
    list_edge_cases,
)
from henaw.model.checkpoint import Checkpoint
from henaw.model.runtime import Runtime

COUNT = 200
SEED = 20261123


def choose_golden_people(checkpoint: Checkpoint) -> People:
    """200 people: edge cases, then as many complete people as people with missing values."""
    _, edges = list_edge_cases()
    rest = COUNT - len(edges.age)
    drawn = draw_synthetic_people(checkpoint, rest, SEED)
    patterns = blank_every_pattern(drawn)
    some = np.linspace(1, len(patterns.age) - 1, rest - rest // 2).astype(np.int64)
    return join_people(edges, drawn.select(slice(0, rest // 2)), patterns.select(some))


def format_golden(people: People, runtime: Runtime) -> str:
    """The file's text, with the answers of ``runtime``."""
    outputs = runtime.predict(*people)
    return json.dumps(
        {
            "about": "synthetic people; null is NaN (a missing value)",
            "inputs": {name: _encode(value) for name, value in people._asdict().items()},
            "outputs": {name: _encode(value) for name, value in outputs.items()},
        },
        allow_nan=False,
    )


def _encode(values: npt.NDArray[Any]) -> list[Any]:
    if values.dtype.kind != "f":
        result: list[Any] = values.tolist()
        return result

    def encode(value: Any) -> Any:
        if isinstance(value, list):
            return [encode(item) for item in value]
        if np.isnan(value):
            return None
        # Printed with float32's precision: half the size, and it reads back as the same number.
        return float(str(np.float32(value))) if np.isfinite(value) else _SPELLINGS[value]

    encoded: list[Any] = encode(values.tolist())
    return encoded


_SPELLINGS = {np.inf: "Infinity", -np.inf: "-Infinity"}
