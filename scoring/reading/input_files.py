"""A check that input files do not change while they are read."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from henaw.intake.fhir.files import list_files
from henaw.model.errors import ScoringError

_BLOCK_BYTES = 1 << 20


class FileStatus(NamedTuple):
    """What the operating system says about a file; times in nanoseconds."""

    device: int
    inode: int
    size: int
    modified: int
    changed: int


@dataclass(frozen=True)
class InputFile:
    """The state of a file.

    Attributes:
        path: the file.
        sha256: SHA-256 of its content.
        status: its status in the file system.
    """

    path: Path
    sha256: str
    status: FileStatus


def take_states(paths: Sequence[Path]) -> tuple[InputFile, ...]:
    """Return the present states of files and of the files in folders.

    Raises:
        ScoringError: a file cannot be read.
    """
    try:
        files = [file for path in paths for file in list_files(path) or [path]]
        return tuple(InputFile(path, _digest(path), _describe(path)) for path in files)
    except FileNotFoundError as error:
        raise ScoringError(str(error.filename), ["there is no such file"]) from error
    except OSError as error:
        raise ScoringError(str(error.filename), [f"it cannot be read: {error.strerror}"]) from error


def require_unchanged(files: Sequence[InputFile]) -> None:
    """Check that files have not changed.

    Raises:
        ScoringError: a file has changed.
    """
    for file in files:
        try:
            is_same = _describe(file.path) == file.status or _digest(file.path) == file.sha256
        except OSError:
            is_same = False
        if not is_same:
            raise ScoringError(
                str(file.path),
                ["the file changed while it was read. Wait until it is complete, then start again"],
            )


def _describe(path: Path) -> FileStatus:
    status = os.stat(path)
    return FileStatus(
        status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
    )


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()
