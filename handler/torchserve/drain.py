"""The mark by which workers are told that their server is about to end.

A folder: while it is there, workers send away what they are newly asked, and each leaves a
file in it that is named by its process. By that file whoever made the folder sees that the
worker has answered all that it had begun before.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

DRAIN_VARIABLE = "HENAW_DRAIN_FOLDER"


class DrainMark:
    """Looks whether the folder is there.

    Args:
        folder: None where no server's end is ever announced.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = None if folder is None else str(folder)

    def is_set(self) -> bool:
        """Tell, at the begin of a batch; costs a microsecond."""
        if self._folder is None or not os.path.isdir(self._folder):
            return False
        with contextlib.suppress(OSError):
            Path(self._folder, str(os.getpid())).touch()
        return True


def find_drain_mark() -> DrainMark:
    """Return the one that ``HENAW_DRAIN_FOLDER`` names."""
    named = os.environ.get(DRAIN_VARIABLE)
    return DrainMark(Path(named) if named else None)


def list_drained(folder: Path) -> set[int]:
    """Return the processes that have seen the mark."""
    return {int(path.name) for path in folder.iterdir() if path.name.isdecimal()}
