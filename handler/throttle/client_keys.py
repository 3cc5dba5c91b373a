"""The keys that clients were issued, as digests, in a file that is read again as it changes."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable, Collection
from pathlib import Path

from henaw.model.errors import ConfigurationError

_DIGEST = re.compile(r"[0-9a-f]{64}")
_LOOK_EVERY_S = 1.0

Mark = tuple[int, int, int]


class ClientKeys:
    """SHA-256 digests of keys, fixed ones and those of a file.

    The file has a digest a line, and after it a name for whom it is; ``#`` begins a comment.
    Kubernetes replaces a mounted Secret by a link: what is at the path is looked at once a
    second. A file that is gone or malformed keeps the keys that it had.

    Args:
        fixed: digests, in hexadecimal.
        path: the file; None where there is none.
        report: told in one sentence what comes of a change.
        clock: seconds, never going backwards.

    Raises:
        ConfigurationError: the file cannot be read, or a line of it is no digest.
    """

    def __init__(
        self,
        fixed: Collection[str],
        path: Path | None,
        *,
        report: Callable[[str], None] = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._fixed = frozenset(fixed)
        self._path = path
        self._report = report
        self._clock = clock
        self._mark: Mark | None = None
        self._look_at_s = clock() + _LOOK_EVERY_S
        self._digests = self._fixed
        self._problem: str | None = None
        if path is not None:
            self._mark = _mark(path)
            self._digests = self._fixed | read_digests(path)

    def knows(self, key: str) -> bool:
        """Tell whether a key was issued."""
        return self.knows_digest(hashlib.sha256(key.encode()).hexdigest())

    def knows_digest(self, digest: str) -> bool:
        """Tell whether the key with this digest was issued."""
        if self._path is not None and self._clock() >= self._look_at_s:
            self._look_at_s = self._clock() + _LOOK_EVERY_S
            self._look(self._path)
        return digest in self._digests

    def _look(self, path: Path) -> None:
        mark = _mark(path)
        if mark == self._mark:
            return
        try:
            digests = read_digests(path)
        except ConfigurationError as error:
            # Tried again every second, told once.
            if self._problem != str(error):
                self._report(f"{error}; the keys of before hold")
            self._problem = str(error)
            return
        self._mark, self._digests, self._problem = mark, self._fixed | digests, None
        self._report(f"{path} was read again: {len(digests)} client keys")


def read_digests(path: Path) -> frozenset[str]:
    """Read a file of digests.

    Raises:
        ConfigurationError: it cannot be read, or a line of it is no digest.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        said = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise ConfigurationError(str(path), [f"the client keys cannot be read: {said}"]) from error
    found = [
        (number, line.split()[0])
        for number, line in enumerate(lines, 1)
        if line.strip() and not line.lstrip().startswith("#")
    ]
    # Not shown: it may be a key itself, put here by mistake.
    wrong = [number for number, word in found if not _DIGEST.fullmatch(word)]
    if wrong:
        raise ConfigurationError(
            str(path),
            [f"line {n} must begin with a SHA-256 digest, 64 of 0-9 a-f" for n in wrong[:10]],
        )
    return frozenset(word for _, word in found)


def _mark(path: Path) -> Mark | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size
