"""Read lists of participants: those who withdrew, or those to keep."""

from __future__ import annotations

import gzip
import re
from collections.abc import Sequence
from pathlib import Path

import polars as pl
from henaw.intake.words.ukb_names import is_participant
from henaw.model.errors import CohortError

_IDENTIFIER = re.compile(r'^\W*(\d+)(?:\.0+)?(?:[\s,;"_]|$)')
"""A number at the start of a line, also in ``1234567_21015_0_0.png``, an image of a person."""


def read_participants(paths: Sequence[Path]) -> pl.Series:
    """Read lists in which each line starts with a participant, with or without a header.

    Names of bulk files, such as ``1234567_21015_0_0.png``, stand for their participant.

    Returns:
        Distinct identifiers, int64.

    Raises:
        CohortError: a list cannot be read, is empty, or has lines that do not start with a
            number; they are listed by line number and not quoted.
    """
    problems: list[str] = []
    found: set[int] = set()
    for path in paths:
        try:
            lines = _read_lines(path)
        except (OSError, EOFError, UnicodeError) as error:
            reason = getattr(error, "strerror", None) or type(error).__name__
            problems.append(f"{path}: the list cannot be read: {reason}")
            continue
        matches = [(number, _IDENTIFIER.match(line)) for number, line in lines]
        bad = [number for number, match in matches if match is None]
        if bad:
            problems.append(
                f"{path}: every line must start with a participant's number; {len(bad)} do not, "
                f"first line {bad[0]}"
            )
        # An empty list of withdrawals is most likely a download that failed.
        if not lines:
            problems.append(f"{path}: the list is empty")
        found |= {int(match[1]) for _, match in matches if match}
    if problems:
        raise CohortError("lists of participants", problems)
    return pl.Series("eid", sorted(found), dtype=pl.Int64)


def _read_lines(path: Path) -> list[tuple[int, str]]:
    content = path.read_bytes()
    if content.startswith(b"\x1f\x8b"):
        content = gzip.decompress(content)
    lines = [
        (number, line.strip())
        for number, line in enumerate(content.decode("utf-8-sig").splitlines(), 1)
        if line.strip()
    ]
    if lines and is_participant(re.split(r"[\t,; ](?!ID\b)", lines[0][1])[0].strip('"')):
        lines = lines[1:]
    return lines
