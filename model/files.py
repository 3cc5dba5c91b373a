"""Files that are written completely or not at all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def make_private_folder(folder: Path) -> None:
    """Make a folder that only this user may enter, and the missing folders above it.

    ``Path.mkdir`` gives its mode only to the last folder. A folder that exists keeps its mode.
    """
    for path in (*reversed(folder.parents), folder):
        if not path.is_dir():
            path.mkdir(mode=0o700, exist_ok=True)


def write_whole(path: Path, content: bytes, *, mode: int = 0o644) -> None:
    """Write a file so that a reader sees either all of it or the older file.

    Args:
        path: the file; missing folders above it are made.
        content: of the whole file.
        mode: its permissions; while it is written they are not wider.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(
        dir=path.parent, prefix=f".{path.name}.", delete=False
    ) as file:
        try:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
            os.chmod(file.name, mode)
        except BaseException:
            file.close()
            os.unlink(file.name)
            raise
    # Closed first: Windows does not replace an open file.
    try:
        os.replace(file.name, path)
    except BaseException:
        os.unlink(file.name)
        raise
