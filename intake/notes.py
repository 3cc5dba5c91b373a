"""Sentences about the parts of a source that were not used."""

from __future__ import annotations

from collections import Counter

MOST_NAMED = 12
"""The number of tests and reasons that are named; more are only counted."""


def describe_unused(
    others: Counter[str], refused: Counter[str], tied: Counter[str], *, noun: str = "rows"
) -> list[str]:
    """Describe what was skipped, what was refused and why, and where several results are newest.

    Args:
        others: number of results by name of a test outside the panel.
        refused: number of results that are not used, by reason.
        tied: number of people by biomarker, whose newest results are several that differ.
        noun: what is counted.

    Example:
        >>> describe_unused(Counter(), Counter({"rdw: no value": 1}), Counter())
        ['not used: 1 rows, rdw: no value']
    """
    lines = []
    if others:
        named = [f"{name!r} ({count})" for name, count in others.most_common(MOST_NAMED)]
        more = len(others) - len(named)
        rest = f" and {more} more" if more else ""
        lines.append(f"tests outside the panel, by {noun}: {', '.join(named)}{rest}")
    lines += [
        f"not used: {count} {noun}, {reason}" for reason, count in refused.most_common(MOST_NAMED)
    ]
    if len(refused) > MOST_NAMED:
        left = sum(refused.values()) - sum(count for _, count in refused.most_common(MOST_NAMED))
        lines.append(f"not used: {left} more {noun}, for {len(refused) - MOST_NAMED} other reasons")
    if tied:
        several = ", ".join(f"{name} ({count})" for name, count in tied.most_common())
        lines.append(f"several results at the same time, the lowest is used: {several}")
    return lines
