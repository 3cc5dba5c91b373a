"""What happened to the rows of a table, in counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from henaw.model.biomarkers import NAMES
from henaw.model.reliability import count_codes


@dataclass(kw_only=True)
class Summary:
    """Counts of rows; a row with several reasons, notes or codes counts once for each.

    Attributes:
        rows: rows that were read and written.
        scored: rows that have answers.
        resumed: rows that an earlier run of the same job scored.
        flagged: scored rows with an age or a value outside the fitted range.
        withheld: scored rows whose numbers are not reliable.
        with_imputed: scored rows with at least one missing value.
        devices: rows by the device that answered: cpu or cuda:N.
        reasons: rows that were not scored, by reason.
        notes: scored rows with a value such as a limit or a word, by how it was read.
        unreliable: scored rows whose numbers are not reliable, by code.
        imputed: scored rows with a missing value, by biomarker.
    """

    rows: int = 0
    scored: int = 0
    resumed: int = 0
    flagged: int = 0
    withheld: int = 0
    with_imputed: int = 0
    devices: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    notes: Counter[str] = field(default_factory=Counter)
    unreliable: Counter[str] = field(default_factory=Counter)
    imputed: Counter[str] = field(default_factory=Counter)

    def describe(self) -> dict[str, Any]:
        """Return all counts as values of JSON."""
        return {
            name: dict(value) if isinstance(value, Counter) else value
            for name, value in vars(self).items()
        }

    @classmethod
    def parse(cls, counts: Mapping[str, Any]) -> Summary:
        """Return the summary that :meth:`describe` described."""
        values: dict[str, Any] = {
            name: Counter(value) if isinstance(value, dict) else value
            for name, value in counts.items()
        }
        return cls(**values)

    def add(self, other: Summary) -> None:
        """Add the counts of other rows."""
        for name, value in vars(other).items():
            if isinstance(value, Counter):
                getattr(self, name).update(value)
            else:
                setattr(self, name, getattr(self, name) + value)


def summarise(
    biomarkers: npt.NDArray[np.float32],
    *,
    scored: npt.NDArray[np.bool_],
    flagged: npt.NDArray[np.bool_],
    codes: npt.NDArray[np.uint8],
    device: str,
    reasons: Mapping[str, int],
    notes: Mapping[str, int],
) -> Summary:
    """Count the rows of one batch.

    Args:
        biomarkers: (n, 9) values, NaN = missing.
        scored: (n,) whether a row has answers.
        flagged: (n,) whether its age or a value is outside the fitted range.
        codes: (n,) bits of why its numbers are not reliable.
        device: what answered: cpu or cuda:N.
        reasons: rows that were not scored, by reason.
        notes: scored rows by how a value was read.
    """
    missing = ~np.isfinite(biomarkers[scored])
    return Summary(
        rows=len(scored),
        scored=int(scored.sum()),
        flagged=int(flagged[scored].sum()),
        withheld=int((codes[scored] != 0).sum()),
        with_imputed=int(missing.any(axis=1).sum()),
        devices=Counter({device: len(scored)}),
        reasons=Counter(reasons),
        notes=Counter(notes),
        unreliable=Counter(count_codes(codes[scored])),
        imputed=Counter(dict(zip(NAMES, missing.sum(axis=0).tolist(), strict=True))),
    )
