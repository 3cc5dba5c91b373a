"""The loads, and their timing by wrk, which uses little CPU beside the server."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from henaw.cli.server.example_request import EXAMPLE_PERSON
from henaw.model.biomarkers import NAMES
from henaw.model.checkpoint import load_checkpoint
from henaw.model.synthetic import draw_synthetic_people

BULK = 1_000
CONNECTIONS = (1, 16, 64)
BULK_CONNECTIONS = 2

_SCRIPT = Path(__file__).with_name("post.lua")
_SEED = 20_260_101


@dataclass(frozen=True, kw_only=True)
class Load:
    """One load: a body, over so many connections."""

    name: str
    body: Path
    connections: int
    people: int = 1


def write_loads(folder: Path, checkpoint: Path) -> list[Load]:
    """Write the bodies: the README's person, and people like the fitted ones."""
    people = draw_synthetic_people(load_checkpoint(checkpoint), BULK, _SEED)
    values = people.biomarkers.astype(float).round(2)
    ages, sexes, names = people.age.astype(int), people.sex, list(NAMES)
    instances = [
        {"age": age, "sex": sex, "biomarkers": dict(zip(names, row, strict=True))}
        for age, sex, row in zip(ages.tolist(), sexes.tolist(), values.tolist(), strict=True)
    ]
    arrays = {
        "inputs": [
            {"name": "biomarkers", "shape": [BULK, len(names)], "datatype": "FP32",
             "data": values.ravel().tolist()},
            {"name": "age", "shape": [BULK], "datatype": "FP32", "data": ages.tolist()},
            {"name": "sex", "shape": [BULK], "datatype": "INT64", "data": sexes.tolist()},
        ]
    }  # fmt: skip
    asked = ["biological_age", "interval", "mortality_10y"]
    bodies = {
        "one": EXAMPLE_PERSON,
        "instances": {"instances": instances},
        "arrays": arrays,
        "arrays-asked": {**arrays, "outputs": [{"name": name} for name in asked]},
    }
    for name, body in bodies.items():
        (folder / f"{name}.json").write_text(json.dumps(body), encoding="utf-8")
    singles = [
        Load(name=f"one person, {n} connections", body=folder / "one.json", connections=n)
        for n in CONNECTIONS
    ]
    bulk = [
        Load(
            name=name,
            body=folder / f"{body}.json",
            connections=BULK_CONNECTIONS,
            people=BULK,
        )
        for name, body in (
            ("instances of 1 000", "instances"),
            ("arrays of 1 000, every output", "arrays"),
            ("arrays of 1 000, three outputs", "arrays-asked"),
        )
    ]
    return singles + bulk


def press(url: str, load: Load, seconds: float) -> dict[str, float]:
    """Send one load for some seconds.

    Returns:
        ``requests_s``, ``people_s``, ``p50_ms``, ``p99_ms``, and the number of ``failed``.
    """
    finished = subprocess.run(
        ["wrk", "--threads", "1", "--connections", str(load.connections),
         "--duration", f"{max(1, round(seconds))}s", "--timeout", "10s",
         "--script", str(_SCRIPT), url],
        env={**os.environ, "BODY": str(load.body)},
        capture_output=True,
        text=True,
        check=True,
        timeout=seconds + 60,
    )  # fmt: skip
    seen: dict[str, float] = json.loads(finished.stdout.splitlines()[-1])
    # requests_s includes refused requests.
    return seen | {"people_s": seen["requests_s"] * load.people}
