"""A file that one process at a time holds, on Linux, macOS and Windows."""

from __future__ import annotations

import importlib
from typing import IO, Any

_FAR = 1 << 30
"""Windows keeps others from reading the bytes that are locked: none that is written."""


def lock(file: IO[str]) -> None:
    """Hold a file until it is closed.

    Raises:
        BlockingIOError: another process holds it.
    """
    try:
        import fcntl
    except ImportError:
        windows: Any = importlib.import_module("msvcrt")
        place = file.tell()
        file.seek(_FAR)
        try:
            windows.locking(file.fileno(), windows.LK_NBLCK, 1)
        except OSError as error:
            raise BlockingIOError(*error.args) from error
        finally:
            file.seek(place)
    else:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
