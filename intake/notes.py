"""Sentences about what of a source was not used."""

from __future__ import annotations

from collections import Counter

_MOST_NAMED = 12


def describe_unused(
    others: Counter[str], refused: Counter[str], tied: Counter[str], *, noun: str = "rows"
) -> list[str]:
    """What was passed over, what was refused and why, and which results were several.

    Args:
        others: tests that are not of the panel, by name.
        refused: results that are not used, by reason.
        tied: people by biomarker of which several results are the newest, and differ.
        noun: what is counted.

    Example:
        >>> describe_unused(Counter(), Counter({"rdw: no value": 1}), Counter())
        ['not used: 1 rows, rdw: no value']
    """
    lines = []
    if others:
        named = [f"{name!r} ({count})" for name, count in others.most_common(_MOST_NAMED)]
        more = len(others) - len(named)
        rest = f" and {more} more" if more else ""
        lines.append(f"tests that are not of the panel, by {noun}: {', '.join(named)}{rest}")
    lines += [
        f"not used: {count} {noun}, {reason}" for reason, count in refused.most_common(_MOST_NAMED)
    ]
    if len(refused) > _MOST_NAMED:
        left = sum(refused.values()) - sum(count for _, count in refused.most_common(_MOST_NAMED))
        lines.append(
            f"not used: {left} {noun} more, for {len(refused) - _MOST_NAMED} other reasons"
        )
    if tied:
        several = ", ".join(f"{name} ({count})" for name, count in tied.most_common())
        lines.append(f"several results of one time, of which the lowest is used: {several}")
    return lines
