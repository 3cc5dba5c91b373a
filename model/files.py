"""Files that are written whole or not at all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def make_private_folder(folder: Path) -> None:
    """Make a folder, and those missing on the way to it, that only this user may enter.

    ``Path.mkdir`` gives its mode to the last folder alone. One that exists keeps its mode.
    """
    for path in (*reversed(folder.parents), folder):
        if not path.is_dir():
            path.mkdir(mode=0o700, exist_ok=True)


def write_whole(path: Path, content: bytes, *, mode: int = 0o644) -> None:
    """Write a file so that a reader sees all of it or what was there before.

    Args:
        path: the file; folders on the way are made.
        content: all of it.
        mode: its permissions, which it has from its first byte on or narrower.
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
    # Closed: Windows replaces no file that is open.
    try:
        os.replace(file.name, path)
    except BaseException:
        os.unlink(file.name)
        raise
