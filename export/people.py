"""Synthetic people for parity, golden vectors and benchmarks.

An export never writes a row of a real cohort.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
from henaw.model.biomarkers import INDEX, NAMES, PANEL
from henaw.model.people import People
from henaw.model.synthetic import draw_synthetic_people

__all__ = [
    "People",
    "blank_every_pattern",
    "draw_anywhere",
    "draw_synthetic_people",
    "join_people",
    "list_edge_cases",
]

_UNCHANGED: Mapping[str, float] = MappingProxyType({})
_TYPICAL = tuple(biomarker.typical for biomarker in PANEL)


def join_people(*groups: People) -> People:
    """All groups, one after the other."""
    return People(*(np.concatenate(parts) for parts in zip(*groups, strict=True)))


def draw_anywhere(count: int, seed: int) -> People:
    """People with values over the accepted ranges and beyond, a fifth of them missing."""
    generator = np.random.default_rng(seed)
    low = np.log([biomarker.minimum / 3 for biomarker in PANEL])
    high = np.log([biomarker.maximum * 3 for biomarker in PANEL])
    biomarkers = np.exp(generator.uniform(low, high, (count, len(NAMES)))).astype(np.float32)
    biomarkers[generator.random((count, len(NAMES))) < 0.2] = np.nan
    age = generator.uniform(15, 125, count).astype(np.float32)
    return People(biomarkers, age, generator.integers(0, 2, count))


def blank_every_pattern(people: People) -> People:
    """Each pattern of missing biomarkers once, applied to ``people`` in turn."""
    patterns = np.arange(2 ** len(NAMES))
    chosen = people.select(patterns % len(people.age))
    missing = (patterns[:, None] >> np.arange(len(NAMES)) & 1).astype(bool)
    return People(np.where(missing, np.float32(np.nan), chosen.biomarkers), chosen.age, chosen.sex)


def list_edge_cases() -> tuple[list[str], People]:
    """The edge cases of the graph's contract, and their names."""
    names, rows, ages, sexes = [], [], [], []

    def add(
        name: str, values: Mapping[str, float] = _UNCHANGED, *, age: float = 50.0, sex: int = 0
    ) -> None:
        row = list(_TYPICAL)
        for biomarker, value in values.items():
            row[INDEX[biomarker]] = value
        names.append(name)
        rows.append(row)
        ages.append(age)
        sexes.append(sex)

    add("typical")
    add("typical man", sex=1)
    add("all missing", dict.fromkeys(NAMES, np.nan))
    for name in NAMES:
        add(f"{name} missing", {name: np.nan})
        add(f"{name} +inf", {name: np.inf})
        add(f"{name} -inf", {name: -np.inf})
        add(f"{name} far above", {name: 1e9})
        add(f"{name} negative", {name: -1.0})
    add("all +inf", dict.fromkeys(NAMES, np.inf))
    add("alt 0", {"alt": 0.0})
    add("ast 0", {"ast": 0.0})
    add("ast and alt 0", {"ast": 0.0, "alt": 0.0})
    add("ast and alt negative", {"ast": -3.0, "alt": -2.0})
    add("alt denormal", {"alt": 1e-42})
    add("ast and alt denormal", {"ast": 1e-42, "alt": 1e-42})
    add("alt at the guard", {"alt": 1e-6})
    add("everything largest", dict.fromkeys(NAMES, float(np.finfo(np.float32).max)))
    for age in (0.0, 18.0, 20.0, 85.0, 85.5, 120.0, -5.0, 1000.0):
        add(f"age {age:g}", age=age)
    for age in (np.nan, np.inf, -np.inf):
        add(f"age {age}", age=age)
    for sex in (-1, 2, 2**40):
        add(f"sex {sex}", sex=sex)
    return names, People(
        np.array(rows, np.float32), np.array(ages, np.float32), np.array(sexes, np.int64)
    )
