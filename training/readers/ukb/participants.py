"""Lists of participants: those who withdrew, those to keep."""

from __future__ import annotations

import gzip
import re
from collections.abc import Sequence
from pathlib import Path

import polars as pl
from henaw.model.errors import CohortError
from henaw.model.ukb_names import is_participant

_IDENTIFIER = re.compile(r'^\W*(\d+)(?:\.0+)?(?:[\s,;"_]|$)')
"""A number at the start of a line; ``1234567_21015_0_0.png`` is an image of a person."""


def read_participants(paths: Sequence[Path]) -> pl.Series:
    """Read lists with one participant a line, first on it; a header may stand above.

    Names of bulk files, such as ``1234567_21015_0_0.png``, count for their participant.

    Returns:
        Distinct identifiers, int64.

    Raises:
        CohortError: a list is not there, is empty, or has lines that start with no
            number; all are listed, by line and without what they hold.
    """
    problems: list[str] = []
    found: set[int] = set()
    for path in paths:
        try:
            lines = _read_lines(path)
        except (OSError, EOFError, UnicodeError) as error:
            reason = getattr(error, "strerror", None) or type(error).__name__
            problems.append(f"{path}: expected a list of participants, however: {reason}")
            continue
        matches = [(number, _IDENTIFIER.match(line)) for number, line in lines]
        bad = [number for number, match in matches if match is None]
        if bad:
            problems.append(
                f"{path}: expected a participant's number first on every line, however "
                f"{len(bad)} have none, the first is line {bad[0]}"
            )
        # An empty list of the withdrawn is a download that failed, not good news.
        if not lines:
            problems.append(f"{path}: expected participants, however the list is empty")
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
