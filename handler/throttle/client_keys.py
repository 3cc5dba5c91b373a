"""The digests of the keys that were issued to clients, in a file that is reread on changes."""

from __future__ import annotations

import contextlib
import hashlib
import re
import time
from collections.abc import Callable, Collection
from pathlib import Path

from henaw.model.errors import ConfigurationError
from henaw.model.files import write_whole

_DIGEST = re.compile(r"[0-9a-f]{64}")
_LOOK_EVERY_S = 1.0

Mark = tuple[int, int, int]


class ClientKeys:
    """SHA-256 digests of keys, from the configuration and from a file.

    Each line of the file has a digest, and after it the name of the client; ``#`` begins a comment.
    The path is checked once a second, because Kubernetes updates a mounted Secret by replacing a
    link. If the file is removed or malformed, the keys that were read last remain valid.

    Args:
        fixed: digests, in hexadecimal.
        path: the file; None without one.
        copy: a file for the digests as they were read last. A process that starts while ``path`` is
            malformed takes them from there. None without one.
        report: gets one sentence when the file has changed.
        clock: monotonic seconds.

    Raises:
        ConfigurationError: the file cannot be read, or a line is not a digest, and there is no
            copy.
    """

    def __init__(
        self,
        fixed: Collection[str],
        path: Path | None,
        *,
        copy: Path | None = None,
        report: Callable[[str], None] = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._fixed = frozenset(fixed)
        self._path = path
        self._copy = copy
        self._report = report
        self._clock = clock
        self._mark: Mark | None = None
        self._look_at_s = clock() + _LOOK_EVERY_S
        self._digests = self._fixed
        self._problem: str | None = None
        if path is not None:
            self._digests = self._fixed | self._read_first(path)

    def knows(self, key: str) -> bool:
        """Return whether a key was issued."""
        return key != "" and self.knows_digest(hashlib.sha256(key.encode()).hexdigest())

    def knows_digest(self, digest: str) -> bool:
        """Return whether the key with this digest was issued."""
        if self._path is not None and self._clock() >= self._look_at_s:
            self._look_at_s = self._clock() + _LOOK_EVERY_S
            self._look(self._path)
        return digest in self._digests

    def _read_first(self, path: Path) -> frozenset[str]:
        mark = _mark(path)
        try:
            digests = read_digests(path)
        except ConfigurationError as error:
            if self._copy is None or not self._copy.exists():
                raise
            self._problem = str(error)
            self._report(f"{error}; the earlier keys remain valid")
            return read_digests(self._copy)
        self._mark = mark
        self._keep(digests)
        return digests

    def _keep(self, digests: Collection[str]) -> None:
        if self._copy is not None:
            # Without it, only a process that starts while the file is malformed has no keys.
            with contextlib.suppress(OSError):
                write_whole(self._copy, "\n".join(sorted(digests)).encode(), mode=0o600)

    def _look(self, path: Path) -> None:
        mark = _mark(path)
        if mark == self._mark:
            return
        try:
            digests = read_digests(path)
        except ConfigurationError as error:
            # The file is read again every second, but a problem is reported once.
            if self._problem != str(error):
                self._report(f"{error}; the earlier keys remain valid")
            self._problem = str(error)
            return
        self._mark, self._digests, self._problem = mark, self._fixed | digests, None
        self._keep(digests)
        self._report(f"{path} was read again: {len(digests)} client keys")


def read_digests(path: Path) -> frozenset[str]:
    """Read a file of digests.

    Raises:
        ConfigurationError: the file cannot be read, or a line is not a digest.
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
    # The message does not repeat the line: it may be a key, put here by mistake.
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
