"""Parity of runtimes: the worst differences, and for which person."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from henaw.export.people import People
from henaw.model.errors import ParityError
from henaw.model.exported.parity import Parity, compare_outputs
from henaw.model.runtime import Outputs, Runtime


def compare_runtimes(runtimes: Sequence[Runtime], people: People) -> list[Parity]:
    """Compare every runtime with the first one, and each with itself in other batches.

    The other batches are the first 300 people one by one, everyone in reverse, and an empty
    batch.
    """
    expected = runtimes[0].predict(*people)
    few = people.select(slice(0, 300))
    result = []
    for runtime in runtimes:
        together = runtime.predict(*people)
        if runtime is not runtimes[0]:
            result += compare_outputs(
                together, expected, runtime=runtime.name, against=runtimes[0].name
            )
        singly = [runtime.predict(*few.select(slice(i, i + 1))) for i in range(len(few.age))]
        backwards = runtime.predict(*people.select(np.arange(len(people.age))[::-1].copy()))
        empty = runtime.predict(*people.select(slice(0, 0)))
        for batch, answers, truth in (
            ("one by one", _stack(singly), {k: v[: len(few.age)] for k, v in together.items()}),
            ("in reverse", {k: v[::-1] for k, v in backwards.items()}, together),
            ("empty batch", empty, {k: v[:0] for k, v in together.items()}),
        ):
            result += compare_outputs(
                answers, truth, runtime=f"{runtime.name}, {batch}", against=runtime.name
            )
    return result


def _stack(parts: Sequence[Outputs]) -> Outputs:
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def require_parity(comparisons: Sequence[Parity], people: People) -> None:
    """Refuse a difference beyond its tolerance.

    Raises:
        ParityError: lists each such output, with its worst difference and the person.
    """
    broken = [comparison for comparison in comparisons if not comparison.holds]
    if broken:
        raise ParityError(
            "parity",
            [
                f"{c.runtime}: {c.output} must be within {c.tolerance:g} of {c.against}; got "
                f"{c.worst_absolute:g} at biomarkers={people.biomarkers[c.row].tolist()} "
                f"age={people.age[c.row]} sex={people.sex[c.row]}"
                for c in broken
            ],
        )


def describe_parity(comparisons: Sequence[Parity], people: People) -> dict[str, Any]:
    """The content of ``parity.json``: the number of people, and every comparison."""
    years = [c.worst_absolute for c in comparisons if c.output == "biological_age"]
    return {
        "people": len(people.age),
        "worst_biological_age_years": max(years),
        "comparisons": [dataclasses.asdict(comparison) for comparison in comparisons],
    }
