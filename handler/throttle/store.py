"""The buckets of one host: in a file that all workers share, or in memory.

A bucket is stored as its "theoretical arrival time" (GCRA, ITU-T I.371): the time at
which it is full again. A request of cost c is admitted if

    max(tat, now) + c * interval - now <= burst * interval

and then sets ``tat`` to the left-hand side plus ``now``. One SQL statement does both, so
that workers need no other lock. Times are whole nanoseconds, because in floating
point the last token of a burst is lost to rounding.

Existing libraries need a separate server to be exact over processes, or take only whole tokens; but
a person in a bulk request costs only a part of a token.
"""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from henaw.model.errors import HenawError
from henaw.model.files import make_private_folder

_SCHEMA = (
    "CREATE TABLE IF NOT EXISTS bucket"
    " (client BLOB PRIMARY KEY, tat_ns INTEGER NOT NULL) WITHOUT ROWID"
)
# A stored time that this bucket cannot have reached means that the clock was set back, or that
# the configured bucket is smaller now. Such a bucket starts full: its client would wait too long.
_ADMIT = """
INSERT INTO bucket (client, tat_ns) VALUES (:client, :now + :cost)
ON CONFLICT (client) DO UPDATE
   SET tat_ns = IIF(tat_ns > :reach, :now, MAX(tat_ns, :now)) + :cost
 WHERE IIF(tat_ns > :reach, :now, MAX(tat_ns, :now)) + :cost - :now <= :window
RETURNING tat_ns
"""
_READ = "SELECT tat_ns FROM bucket WHERE client = ?"
_EXPIRE = "DELETE FROM bucket WHERE tat_ns < ?"

SECOND_NS = 1_000_000_000
_SKEW_NS = 5 * SECOND_NS
"""Longer than one worker waits until another has written."""

_BUSY_TIMEOUT_S = 0.5
_LOOK_EVERY_NS = SECOND_NS
_EXPIRE_EVERY_NS = 60 * SECOND_NS


class StoreError(HenawError, RuntimeError):
    """A store cannot decide at present."""


class Demand(NamedTuple):
    """What one request takes from a bucket, as time: one token is the interval of its rate.

    Attributes:
        client: the owner of the bucket.
        cost_ns: the time to take. A negative time is given back; the bucket is then as if it had
            never been taken.
        window_ns: the size of the bucket.
    """

    client: bytes
    cost_ns: int
    window_ns: int


class Decision(NamedTuple):
    """The result of a demand.

    Attributes:
        allowed: whether the bucket had enough.
        ahead_ns: time until the bucket is full.
    """

    allowed: bool
    ahead_ns: int


class Store(Protocol):
    """Buckets that several workers may share."""

    name: str

    def admit(self, demands: Sequence[Demand]) -> list[Decision]:
        """Take what is demanded from each bucket that has enough, in order.

        A refusal changes nothing: a client that keeps asking while over its rate does not wait
        longer because of that.

        Raises:
            StoreError: the store cannot decide.
        """
        ...


class MemoryStore:
    """Buckets of this process only. This store never fails.

    Args:
        clock_ns: nanoseconds since the epoch, the same for all workers.
    """

    name = "this worker"

    def __init__(self, clock_ns: Callable[[], int] = time.time_ns) -> None:
        self._clock_ns = clock_ns
        self._connection: sqlite3.Connection | None = None
        self._expire_at_ns = 0

    def admit(self, demands: Sequence[Demand]) -> list[Decision]:
        """Decide, as :class:`Store` says."""
        now = self._clock_ns()
        connection = self._connect(now)
        if now >= self._expire_at_ns:
            connection.execute(_EXPIRE, (now,))
            self._expire_at_ns = now + _EXPIRE_EVERY_NS
        if len(demands) == 1:
            return [_decide(connection, now, demands[0])]
        # One transaction for all demands takes less than half the time of separate ones.
        connection.execute("BEGIN IMMEDIATE")
        with connection:
            return [
                decision
                for demand, alike in itertools.groupby(demands)
                for decision in _decide_alike(connection, now, demand, len(list(alike)))
            ]

    def _connect(self, _: int) -> sqlite3.Connection:
        if self._connection is None:
            self._connection = _open(":memory:")
        return self._connection


class FileStore(MemoryStore):
    """Buckets of all workers of a server, which outlive the workers.

    The file is opened at the first request, reopened if it is replaced, and recreated if it is
    damaged.

    Args:
        path: the file.
        report: called with one sentence when the file is reopened or recreated.
        clock_ns: nanoseconds since the epoch, the same for all workers.
    """

    name = "the throttle's file"

    def __init__(
        self,
        path: Path,
        report: Callable[[str], None] = lambda _: None,
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        super().__init__(clock_ns)
        self._path = path
        self._report = report
        self._inodes: tuple[int | None, int | None] = (None, None)
        self._look_at_ns = 0

    def admit(self, demands: Sequence[Demand]) -> list[Decision]:
        """Decide, as :class:`Store` says."""
        try:
            return super().admit(demands)
        except (sqlite3.OperationalError, OSError) as error:
            # The file is locked for longer than the timeout, the disk is full, or too many files
            # are open. This passes, and the content of the file is intact.
            self._close()
            raise StoreError(str(error)) from error
        except sqlite3.DatabaseError as error:
            self._discard()
            raise StoreError(f"{error}; it is recreated") from error

    def _connect(self, now_ns: int) -> sqlite3.Connection:
        """Return a connection to the file that is now at the path."""
        if self._connection is not None and now_ns >= self._look_at_ns:
            self._look_at_ns = now_ns + _LOOK_EVERY_NS
            if self._find_inodes() != self._inodes:
                self._report("throttle: its file was replaced; it is reopened")
                self._close()
        if self._connection is None:
            self._connection = self._make()
            self._look_at_ns = now_ns + _LOOK_EVERY_NS
        return self._connection

    def _make(self) -> sqlite3.Connection:
        make_private_folder(self._path.parent)
        with self._locked():
            if self._was_emptied():
                # Workers that have it open still write to its log. A new file makes them reopen it.
                self._report("throttle: its file was emptied; it is recreated")
                self._remove()
            self._path.touch(mode=0o600)
            try:
                connection = _open(str(self._path))
            except sqlite3.OperationalError:
                raise
            except sqlite3.DatabaseError as error:
                self._report(f"throttle: its file was damaged: {error}; it is recreated")
                self._remove()
                self._path.touch(mode=0o600)
                connection = _open(str(self._path))
            self._inodes = self._find_inodes()
        return connection

    def _was_emptied(self) -> bool:
        """Return whether the file is empty but has a write-ahead log beside it."""
        log = Path(f"{self._path}-wal")
        return self._path.exists() and self._path.stat().st_size == 0 and log.exists()

    def _discard(self) -> None:
        """Remove the file if it is still the one that failed."""
        inode = self._inodes[0]
        self._close()
        with contextlib.suppress(OSError), self._locked():
            if inode is None or self._find_inodes()[0] == inode:
                self._remove()

    def _remove(self) -> None:
        for suffix in ("", "-wal", "-shm"):
            Path(f"{self._path}{suffix}").unlink(missing_ok=True)

    def _close(self) -> None:
        if self._connection is not None:
            with contextlib.suppress(sqlite3.Error):
                self._connection.close()
        self._connection = None

    def _find_inodes(self) -> tuple[int | None, int | None]:
        """Return the inodes of the file at the path and of its write-ahead log.

        Both are needed: when an emptied file is opened, SQLite deletes its log, and workers that
        still had the file open would write to a log that no other worker reads.
        """
        return _find_inode(self._path), _find_inode(Path(f"{self._path}-wal"))

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Let one worker at a time create or remove the file."""
        # The lock is not truncated and no link is followed: it may point to someone else's file.
        lock = os.open(f"{self._path}.lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)


def _decide_alike(
    connection: sqlite3.Connection, now_ns: int, demand: Demand, count: int
) -> list[Decision]:
    """Decide on equal demands in a row: in one statement if all of them are admitted."""
    sum_ns = count * demand.cost_ns
    if count > 1 and 0 < sum_ns <= demand.window_ns:
        last = _decide(connection, now_ns, demand._replace(cost_ns=sum_ns))
        if last.allowed:
            return [
                Decision(allowed=True, ahead_ns=last.ahead_ns - after * demand.cost_ns)
                for after in reversed(range(count))
            ]
    decisions: list[Decision] = []
    while len(decisions) < count:
        decisions.append(_decide(connection, now_ns, demand))
        if not decisions[-1].allowed:
            # It changed nothing, so the next ones are refused too.
            decisions += decisions[-1:] * (count - len(decisions))
    return decisions


def _decide(connection: sqlite3.Connection, now_ns: int, demand: Demand) -> Decision:
    values = {
        "client": demand.client,
        "now": now_ns,
        "cost": demand.cost_ns,
        "window": demand.window_ns,
        "reach": now_ns + demand.window_ns + _SKEW_NS,
    }
    # fetchall: a statement that is not read to its end keeps its lock.
    row = connection.execute(_ADMIT, values).fetchall()
    if row:
        return Decision(allowed=True, ahead_ns=int(row[0][0]) - now_ns)
    held = connection.execute(_READ, (demand.client,)).fetchone()
    return Decision(allowed=False, ahead_ns=0 if held is None else max(0, int(held[0]) - now_ns))


def _find_inode(path: Path) -> int | None:
    try:
        return path.stat().st_ino
    except OSError:
        return None


def _open(path: str) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=_BUSY_TIMEOUT_S, isolation_level=None)
    try:
        # A power cut may lose the last changes of a bucket: they are not worth waiting for the
        # disk.
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=OFF")
        connection.execute(_SCHEMA)
    except sqlite3.Error:
        connection.close()
        raise
    return connection
