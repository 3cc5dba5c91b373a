"""The largest differences between two runtimes, and where they are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from henaw.model.errors import ParityError
from henaw.model.runtime import Outputs

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
        worst_absolute: largest |difference|; infinite if only one is NaN.
        worst_relative: largest |difference| / |value|.
        row: row of the person with the worst absolute difference; -1 without people.
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
    """Compare every output; a NaN equals a NaN.

    Args:
        outputs: outputs of the runtime that is compared, by name.
        expected: outputs of the other runtime.
        runtime: name of the runtime that is compared.
        against: name of the other runtime.
        tolerances: largest absolute difference allowed, by output.

    Raises:
        ParityError: an output has another shape.
    """
    result = []
    for name, tolerance in tolerances.items():
        if outputs[name].shape != expected[name].shape:
            raise ParityError(
                runtime,
                [
                    f"{name}: shape must be {expected[name].shape} as in {against}; "
                    f"got {outputs[name].shape}"
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
