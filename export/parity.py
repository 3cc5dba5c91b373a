"""Whether runtimes agree, by how much they do not, and where."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from henaw.export.people import People
from henaw.model.errors import ParityError
from henaw.model.runtime import Outputs, Runtime

TOLERANCES: dict[str, float] = {
    "biological_age": 1e-4,
    "age_gap": 1e-4,
    "interval": 2e-4,
    "mortality_10y": 1e-5,
    "cause_risk_10y": 1e-5,
    "contributions": 1e-4,
    "system_contributions": 1e-4,
    "imputed": 0.0,
    "out_of_range": 0.0,
    "age_out_of_range": 0.0,
    "percentile": 1e-2,
    "draw_sd": 1e-4,
    "critical": 0.0,
    "reliable": 0.0,
}
"""Largest absolute difference by output: years, probabilities, percent, and flags."""


@dataclass(frozen=True, kw_only=True)
class Parity:
    """The worst difference of one output between two runtimes.

    Attributes:
        runtime: the runtime compared.
        against: the runtime it is compared with.
        output: the output's name.
        worst_absolute: largest |difference|; infinite where one is NaN and the other not.
        worst_relative: largest |difference| / |value|.
        row: the person with the worst absolute difference, -1 for no people.
        tolerance: largest absolute difference allowed.
    """

    runtime: str
    against: str
    output: str
    worst_absolute: float
    worst_relative: float
    row: int
    tolerance: float

    @property
    def holds(self) -> bool:
        """Whether the difference is allowed."""
        return self.worst_absolute <= self.tolerance


def compare_outputs(
    outputs: Outputs,
    expected: Outputs,
    *,
    runtime: str,
    against: str,
    tolerances: dict[str, float] = TOLERANCES,
) -> list[Parity]:
    """Compare every output; a NaN equals a NaN."""
    result = []
    for name, tolerance in tolerances.items():
        if outputs[name].shape != expected[name].shape:
            raise ParityError(
                runtime,
                [
                    f"{name}: shape must be {expected[name].shape} as in {against}, "
                    f"however: {outputs[name].shape}"
                ],
            )
        a, b = outputs[name].astype(np.float64), expected[name].astype(np.float64)
        with np.errstate(invalid="ignore"):  # inf - inf, which counts as equal
            absolute = np.where(np.isnan(a) & np.isnan(b) | (a == b), 0.0, np.abs(a - b))
        absolute = np.where(np.isnan(absolute), np.inf, absolute)
        size = np.where(np.isfinite(b), np.abs(b), 1.0)
        per_row = absolute.reshape(len(a), -1).max(1) if a.size else np.zeros(0)
        result.append(
            Parity(
                runtime=runtime,
                against=against,
                output=name,
                worst_absolute=float(per_row.max(initial=0.0)),
                worst_relative=float((absolute / np.maximum(size, 1e-6)).max(initial=0.0)),
                row=int(per_row.argmax()) if len(per_row) else -1,
                tolerance=tolerance,
            )
        )
    return result


def compare_runtimes(runtimes: Sequence[Runtime], people: People) -> list[Parity]:
    """Compare every runtime with the first, and each with itself in other batches.

    The batches: nobody, the people one by one for the first few hundred, and all of
    them in reverse.
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
        nobody = runtime.predict(*people.select(slice(0, 0)))
        for batch, answers, truth in (
            ("one by one", _stack(singly), {k: v[: len(few.age)] for k, v in together.items()}),
            ("in reverse", {k: v[::-1] for k, v in backwards.items()}, together),
            ("nobody", nobody, {k: v[:0] for k, v in together.items()}),
        ):
            result += compare_outputs(
                answers, truth, runtime=f"{runtime.name}, {batch}", against=runtime.name
            )
    return result


def _stack(parts: Sequence[Outputs]) -> Outputs:
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def require_parity(comparisons: Sequence[Parity], people: People) -> None:
    """Refuse comparisons that do not hold.

    Raises:
        ParityError: listing each with its worst difference and the person.
    """
    broken = [comparison for comparison in comparisons if not comparison.holds]
    if broken:
        raise ParityError(
            "parity",
            [
                f"{c.runtime}: {c.output} must be within {c.tolerance:g} of {c.against}, "
                f"however: {c.worst_absolute:g} at biomarkers={people.biomarkers[c.row].tolist()} "
                f"age={people.age[c.row]} sex={people.sex[c.row]}"
                for c in broken
            ],
        )


def describe_parity(comparisons: Sequence[Parity], people: People) -> dict[str, Any]:
    """``parity.json``: how many people, and every comparison."""
    years = [c.worst_absolute for c in comparisons if c.output == "biological_age"]
    return {
        "people": len(people.age),
        "worst_biological_age_years": max(years),
        "comparisons": [dataclasses.asdict(comparison) for comparison in comparisons],
    }
