"""What is done of a run, in a folder beside its output that only this user can reach.

Everything is opened relative to the folder, which stays open, and no link is followed: what
somebody puts in the folder's place is not touched. Where the system cannot do this (Windows),
paths are used.
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
    """An open folder; use :func:`hold_parts`.

    Attributes:
        path: of the folder, for messages.
    """

    def __init__(self, path: Path, folder: int | None) -> None:
        self.path = path
        self._folder = folder

    def list_names(self) -> list[str]:
        """Names of the files, but for the lock."""
        return [name for name in os.listdir(self._at()) if name != _LOCK]

    @contextmanager
    def write(self, name: str) -> Iterator[BinaryIO]:
        """A file that gets its checksum and its name at the end, whole or not at all."""
        with self.create(f"{name}.writing") as file:
            checked = _Checked(file)
            yield checked
            file.write(checked.checksum.to_bytes(_CHECKSUM_BYTES, "little"))
        self.rename(f"{name}.writing", name)

    def read(self, name: str) -> memoryview | None:
        """The content of a file; None where it was damaged."""
        with open(self._open(name, os.O_RDONLY), "rb") as file:
            content = memoryview(file.read())
        body, checksum = content[:-_CHECKSUM_BYTES], content[-_CHECKSUM_BYTES:]
        is_whole = zlib.crc32(body).to_bytes(_CHECKSUM_BYTES, "little") == checksum
        return body if is_whole else None

    def create(self, name: str) -> BinaryIO:
        """A new file, in place of one of that name."""
        with suppress(FileNotFoundError):
            self.remove(name)
        return open(self._open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL), "wb")

    def rename(self, name: str, new: str | Path) -> None:
        """Move a file within the folder, or, by a path, out of it."""
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
    """Writes to a file and knows the checksum of what it wrote."""

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
    """Hold the folder at ``path``, which is made, and emptied unless it is of the same run.

    Once it is empty, it is removed at the end.

    Args:
        path: of the folder.
        key: what its content depends on.

    Raises:
        ScoringError: a link, a file or another user's folder is in its place, or another run
            holds it.
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
        [f"{path.name} must be a folder that this program makes; got {problem}. Remove it"],
    )
