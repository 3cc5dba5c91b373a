"""The mark that tells TorchServe's workers that their server is shutting down.

The mark is a folder. While it exists, workers refuse new requests, and each worker creates a file
in it that is named by its process id. The file shows that the worker has answered all earlier
requests.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

DRAIN_VARIABLE = "HENAW_DRAIN_FOLDER"


class DrainMark:
    """Checks whether the folder exists.

    Args:
        folder: of the mark; None if shutdowns are not announced.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = None if folder is None else str(folder)

    def is_set(self) -> bool:
        """Return whether the server is shutting down; takes a microsecond."""
        if self._folder is None or not os.path.isdir(self._folder):
            return False
        with contextlib.suppress(OSError):
            Path(self._folder, str(os.getpid())).touch()
        return True


def find_drain_mark() -> DrainMark:
    """Return the mark that ``HENAW_DRAIN_FOLDER`` names."""
    named = os.environ.get(DRAIN_VARIABLE)
    return DrainMark(Path(named) if named else None)


def list_drained(folder: Path) -> set[int]:
    """Return the processes that have seen the mark."""
    return {int(path.name) for path in folder.iterdir() if path.name.isdecimal()}
