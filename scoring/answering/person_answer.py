"""One person's answer as a readable Python object."""

from __future__ import annotations

import html
import math
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from henaw.model.biomarkers import NAMES, SYSTEMS
from henaw.scoring.answering.explanation import label_part

_SMALLEST_SHOWN = 0.05
"""Years; a smaller part would be shown as 0.0 and is left out."""
_WIDTH = 88
"""Characters in a line."""


@dataclass(frozen=True, kw_only=True, repr=False)
class PersonAnswer:
    """The model's answer for one person.

    Numbers and ``interval`` are None if the person cannot be scored (see ``reason``) or if the
    answer is not reliable and therefore withheld (see ``withheld``).

    Attributes:
        age: years, as given.
        sex: female or male; None if the given value is neither.
        biological_age: years.
        age_gap: years, biological age minus age.
        interval: 90 % interval of the biological age, years.
        percentile: 0 to 100, of the gap among people of that age and sex.
        draw_sd: years, the standard deviation between repeated blood draws.
        mortality_10y: probability of death within ten years.
        cause_risk_10y: the same by cause.
        contributions: years, by biomarker and interaction; with the age they sum to
            ``biological_age``.
        systems: years, by organ system.
        imputed: biomarkers that were not given and are estimated from the others.
        out_of_range: biomarkers outside the range of the fitted people.
        critical: biomarkers beyond their critical limits.
        age_out_of_range: whether the age is outside the fitted ages.
        reliable: whether the numbers may be shown.
        withheld: sentences that say why the answer is not reliable and what to do.
        reason: why the person cannot be scored; None if scored.
        model: the model's name, version and, if it contains a profile, laboratory.
    """

    age: float | None
    sex: str | None
    biological_age: float | None
    age_gap: float | None
    interval: tuple[float, float] | None
    percentile: float | None
    draw_sd: float | None
    mortality_10y: float | None
    cause_risk_10y: Mapping[str, float | None]
    contributions: Mapping[str, float | None]
    systems: Mapping[str, float | None]
    imputed: tuple[str, ...]
    out_of_range: tuple[str, ...]
    critical: tuple[str, ...]
    age_out_of_range: bool
    reliable: bool
    withheld: tuple[str, ...]
    reason: str | None
    model: str

    def __repr__(self) -> str:
        lines = [self._write_head(), *self._write_lines(), f"Model: {self.model}"]
        wrap = textwrap.TextWrapper(_WIDTH, subsequent_indent="  ", break_on_hyphens=False)
        return "\n".join(map(wrap.fill, lines))

    def _repr_html_(self) -> str:
        lines = "".join(f"<li>{html.escape(line)}</li>" for line in self._write_lines())
        return (
            f"<div><strong>{html.escape(self._write_head())}</strong><ul>{lines}</ul>"
            f"<small>{html.escape(self.model)}</small></div>"
        )

    def _write_head(self) -> str:
        if self.reason is not None:
            return f"Not scored: {self.reason}"
        who = f"{self.age:g} years, {self.sex}"
        if self.biological_age is None or self.interval is None:
            return f"No biological age is shown ({who}): the answer is not reliable"
        low, high = self.interval
        return (
            f"Biological age {self.biological_age:.1f} years "
            f"(90 % interval {low:.1f} to {high:.1f}) at {who}"
        )

    def _write_lines(self) -> list[str]:
        lines = [] if self.reliable else list(self.withheld)
        if self.age_gap is not None and self.percentile is not None:
            direction = "above" if self.age_gap > 0 else "below"
            gap = f"{abs(self.age_gap):.1f} years {direction} the age"
            lines.append(
                f"{gap if abs(self.age_gap) >= _SMALLEST_SHOWN else 'The same as the age'}; of 100 "
                f"people of that age and sex, {self.percentile:.0f} have a younger result"
            )
        if self.mortality_10y is not None:
            risks = ", ".join(
                f"{cause} {_percent(risk)}" for cause, risk in self.cause_risk_10y.items()
            )
            by_cause = f": {risks}" if risks else ""
            lines.append(f"Risk of death in 10 years {_percent(self.mortality_10y)}{by_cause}")
        parts = self._list_parts()
        if parts:
            lines.append(f"Years that each part adds: {', '.join(parts)}")
        for words, names in (
            ("Not given, so estimated", self.imputed),
            ("Outside the fitted range", self.out_of_range),
        ):
            if names and self.reason is None:
                lines.append(f"{words}: {', '.join(label_part(name) for name in names)}")
        return lines

    def _list_parts(self) -> list[str]:
        known = [(name, years) for name, years in self.contributions.items() if years is not None]
        known.sort(key=lambda part: -abs(part[1]))
        return [
            f"{label_part(name)} {years:+.1f}"
            for name, years in known
            if abs(years) >= _SMALLEST_SHOWN
        ]


def build_answer(
    row: Mapping[str, Any],
    *,
    age: float,
    sex: str | None,
    contribution_names: Sequence[str],
    cause_names: Sequence[str],
    withheld: Sequence[str],
    model: str,
) -> PersonAnswer:
    """Make the answer of one person from a row with all outputs of the graph.

    Args:
        row: values by column; None for a missing one.
        age: years; NaN if missing.
        sex: female, male or None.
        contribution_names: the model's contributions.
        cause_names: the model's causes of death.
        withheld: sentences that say why the answer is not reliable.
        model: the model's name and version.
    """

    def list_flagged(output: str) -> tuple[str, ...]:
        return tuple(name for name in NAMES if row[f"{output}_{name}"])

    low, high = row["interval_low"], row["interval_high"]
    numbers = ("biological_age", "age_gap", "percentile", "draw_sd", "mortality_10y")
    return PersonAnswer(
        age=None if math.isnan(age) else age,
        sex=sex,
        interval=None if low is None else (low, high),
        cause_risk_10y={name: row[f"cause_risk_10y_{name}"] for name in cause_names},
        contributions={name: row[f"contribution_{name}"] for name in contribution_names},
        systems={name: row[f"system_{name}"] for name in SYSTEMS},
        imputed=list_flagged("imputed"),
        out_of_range=list_flagged("out_of_range"),
        critical=list_flagged("critical"),
        age_out_of_range=bool(row["age_out_of_range"]),
        reliable=bool(row["reliable"]),
        withheld=tuple(withheld),
        reason=row["reason"],
        model=model,
        **{name: row[name] for name in numbers},
    )


def show_values(reasons: Iterable[str], person: Mapping[str, Any]) -> list[str]:
    """Add to each reason the value of the person that caused it, if there is one.

    Example:
        >>> show_values(["crp is not a number"], {"crp": "high"})
        ["crp is not a number; got 'high'"]
    """
    values = {reason: person.get(reason.partition(" ")[0]) for reason in reasons}
    return [
        reason if value is None else f"{reason}; got {value!r}" for reason, value in values.items()
    ]


def _percent(risk: float | None) -> str:
    return "unknown" if risk is None else f"{100 * risk:.2g} %"
