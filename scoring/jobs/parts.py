"""Finished parts of a run, in a folder beside its output that only this user can open.

Files are opened relative to the folder, which stays open, and links are not followed. Thus a
folder that another user puts in its place is never touched. Systems that cannot do this
(Windows) use paths.
"""

from __future__ import annotations

import io
import os
import stat
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from filelock import FileLock, Timeout
from henaw.model.errors import ScoringError

_HAS_DIRECTORIES = {os.open, os.unlink, os.rename, os.stat} <= os.supports_dir_fd
_NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
_CHECKSUM_BYTES = 4
_LOCK, _KEY = "lock", "run"


class Parts:
    """An open folder of parts; use :func:`hold_parts`.

    Attributes:
        path: the folder, for messages.
    """

    def __init__(self, path: Path, folder: int | None) -> None:
        self.path = path
        self._folder = folder

    def list_names(self) -> list[str]:
        """List the files except the lock."""
        return [name for name in os.listdir(self._at()) if name != _LOCK]

    @contextmanager
    def write(self, name: str) -> Iterator[BinaryIO]:
        """Write a file that gets its checksum and its name when it is complete."""
        with self.create(f"{name}.writing") as file:
            checked = _Checked(file)
            yield checked
            file.write(checked.checksum.to_bytes(_CHECKSUM_BYTES, "little"))
        self.rename(f"{name}.writing", name)

    def read(self, name: str) -> memoryview | None:
        """Return the content of a file; None if it is damaged."""
        with open(self._open(name, os.O_RDONLY), "rb") as file:
            content = memoryview(file.read())
        body, checksum = content[:-_CHECKSUM_BYTES], content[-_CHECKSUM_BYTES:]
        is_whole = zlib.crc32(body).to_bytes(_CHECKSUM_BYTES, "little") == checksum
        return body if is_whole else None

    def create(self, name: str) -> BinaryIO:
        """Create a file; an existing one is removed."""
        with suppress(FileNotFoundError):
            self.remove(name)
        return open(self._open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL), "wb")

    def rename(self, name: str, new: str | Path) -> None:
        """Rename a file within the folder, or move it to a path outside."""
        inside = isinstance(new, str)
        if self._folder is None:
            os.replace(self.path / name, self.path / new)
        else:
            os.replace(
                name, new, src_dir_fd=self._folder, dst_dir_fd=self._folder if inside else None
            )

    def remove(self, name: str) -> None:
        """Remove a file."""
        if self._folder is None:
            os.unlink(self.path / name)
        else:
            os.unlink(name, dir_fd=self._folder)

    def empty(self) -> None:
        """Remove all files."""
        for name in self.list_names():
            self.remove(name)

    def _at(self) -> Any:
        return self.path if self._folder is None else self._folder

    def _open(self, name: str, flags: int) -> int:
        if self._folder is None:
            return os.open(self.path / name, flags | _NO_FOLLOW, 0o600)
        return os.open(name, flags | _NO_FOLLOW, 0o600, dir_fd=self._folder)


class _Checked(io.RawIOBase, BinaryIO):
    """A file with a checksum of what was written."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.checksum = 0

    def writable(self) -> bool:
        return True

    def write(self, content: Any) -> int:
        self.checksum = zlib.crc32(content, self.checksum)
        return self._file.write(content)


@contextmanager
def hold_parts(path: Path, key: str) -> Iterator[Parts]:
    """Open and lock the folder of a run; parts of another run are removed.

    An empty folder is removed at the end.

    Args:
        path: the folder; it is created if missing.
        key: digest of everything that the parts depend on.

    Raises:
        ScoringError: a link, a file or another user's folder is in its place, or another run
            has locked it.
    """
    folder = _open_folder(path)
    parts = Parts(path, folder)
    lock = FileLock(path / _LOCK, mode=0o600)
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise ScoringError(
            str(path),
            ["another run is writing this output. Wait until it ends, or name another OUT"],
        ) from error
    try:
        content = parts.read(_KEY) if _KEY in parts.list_names() else None
        if content is None or bytes(content) != key.encode():
            parts.empty()
            with parts.write(_KEY) as file:
                file.write(key.encode())
        yield parts
    finally:
        is_done = not parts.list_names()
        lock.release()
        if is_done:
            with suppress(FileNotFoundError):
                os.unlink(path / _LOCK)
            path.rmdir()
        if folder is not None:
            os.close(folder)


def _open_folder(path: Path) -> int | None:
    with suppress(FileExistsError):
        path.mkdir(mode=0o700)
    there = path.lstat()
    problem = None
    if stat.S_ISLNK(there.st_mode):
        problem = "a link"
    elif not stat.S_ISDIR(there.st_mode):
        problem = "something else"
    if problem is None and not _HAS_DIRECTORIES:
        return None
    if problem is None:
        folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | _NO_FOLLOW)
        if os.fstat(folder).st_uid == os.geteuid():
            os.fchmod(folder, 0o700)
            return folder
        os.close(folder)
        problem = "a folder of another user"
    raise ScoringError(
        str(path),
        [f"{path.name} must be a folder that henaw makes; got {problem}. Remove it"],
    )
