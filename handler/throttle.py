"""A token bucket for each client, shared by all workers of a server.

The bucket is kept as its "theoretical arrival time" (GCRA, ITU-T I.371): the moment
at which it would be full again. A request of cost c is let through where

    max(tat, now) + c * interval - now <= burst * interval

and then moves ``tat`` to the left-hand side plus ``now``. One SQL statement does both,
so that workers need no lock of their own, and a refused request changes nothing: who
hammers while over the limit does not lengthen the wait. Times are whole nanoseconds,
because in floating point the last token of a burst is lost to rounding.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import math
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from henaw.handler.configuration import Bucket, ThrottleConfiguration

_SCHEMA = (
    "CREATE TABLE IF NOT EXISTS bucket"
    " (client BLOB PRIMARY KEY, tat_ns INTEGER NOT NULL) WITHOUT ROWID"
)
# A stored time that this bucket cannot have reached means that the clock was set back or
# the configuration shrank: the bucket starts afresh, or its client would wait that long.
_ADMIT = """
INSERT INTO bucket (client, tat_ns) VALUES (:client, :now + :cost)
ON CONFLICT (client) DO UPDATE
   SET tat_ns = IIF(tat_ns > :reach, :now, MAX(tat_ns, :now)) + :cost
 WHERE IIF(tat_ns > :reach, :now, MAX(tat_ns, :now)) + :cost - :now <= :window
RETURNING tat_ns
"""
_READ = "SELECT tat_ns FROM bucket WHERE client = ?"
_EXPIRE = "DELETE FROM bucket WHERE tat_ns < ?"

_SECOND_NS = 1_000_000_000
_SKEW_NS = 5 * _SECOND_NS
"""More than workers' clocks differ by while one waits for another's write."""

_BUSY_TIMEOUT_S = 0.5
_LOOK_EVERY_NS = _SECOND_NS
_EXPIRE_EVERY_NS = 60 * _SECOND_NS


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """Who is asking: the bucket it draws from, and its key in the store.

    Attributes:
        kind: how it was told: "keyed", "proxied" or "anonymous".
        digest: SHA-256 of who it is; what it was made from is not kept.
        bucket: its rate and burst.
    """

    kind: str
    digest: bytes
    bucket: Bucket


@dataclass(frozen=True, slots=True, kw_only=True)
class Admission:
    """The decision on one request.

    Attributes:
        allowed: whether it passes.
        bucket: the bucket it drew from.
        remaining: whole tokens left.
        reset_s: seconds until the bucket is full.
        retry_after_s: seconds until the same request would pass; 0 if it did.
    """

    allowed: bool
    bucket: Bucket
    remaining: int
    reset_s: int
    retry_after_s: int

    def write_headers(self) -> dict[str, str]:
        """Return the ``RateLimit-*`` headers, and ``Retry-After`` where refused."""
        headers = {
            "RateLimit-Limit": str(self.bucket.burst),
            "RateLimit-Remaining": str(self.remaining),
            "RateLimit-Reset": str(self.reset_s),
            "RateLimit-Policy": f"{self.bucket.rate};w={self.bucket.period_s:g}",
        }
        if not self.allowed:
            headers["Retry-After"] = str(self.retry_after_s)
        return headers


class Throttle:
    """Decides which requests pass.

    Args:
        configuration: rates, and how clients are told apart.
        store: the file that holds the buckets; None keeps them in this process.
        report: told in one sentence when the store fails or is made anew.
        clock_ns: nanoseconds since the epoch, the same for all workers.
    """

    def __init__(
        self,
        configuration: ThrottleConfiguration,
        store: Path | None,
        *,
        report: Callable[[str], None] = lambda _: None,
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._configuration = configuration
        self._report = report
        self._clock_ns = clock_ns
        self._memory = _connect(":memory:")
        self._store = None if store is None else _Store(store, report)
        self._store_from_ns = 0
        self._expire_at_ns = 0

    def identify(self, headers: Mapping[str, str]) -> Client:
        """Tell the client by its key, else by the proxy's header, else as anonymous.

        Args:
            headers: the request's, names in lower case.
        """
        configuration = self._configuration
        key = headers.get("x-api-key")
        if key:
            digest = hashlib.sha256(key.encode())
            known = configuration.accepted_keys
            if known is None or digest.hexdigest() in known:
                return Client(
                    kind="keyed", digest=b"k" + digest.digest(), bucket=configuration.keyed
                )
        proxied = headers.get(configuration.proxy_header) if configuration.proxy_header else None
        if proxied:
            digest = hashlib.sha256(proxied.strip().encode())
            return Client(
                kind="proxied", digest=b"p" + digest.digest(), bucket=configuration.anonymous
            )
        return Client(kind="anonymous", digest=b"a", bucket=configuration.anonymous)

    def find_cost(self, people: int) -> float:
        """Return the tokens that a request about so many people costs, at least one."""
        return max(1.0, people * self._configuration.cost_per_instance)

    def find_most_people(self, client: Client) -> float:
        """Return how many people the client could ever ask about at once."""
        if self._configuration.cost_per_instance == 0:
            return math.inf
        return client.bucket.burst // self._configuration.cost_per_instance

    def admit(self, client: Client, cost: float = 1.0) -> Admission:
        """Take ``cost`` tokens from the client's bucket, if it holds them."""
        now = self._clock_ns()
        bucket = client.bucket
        # Whole, so that a burst is as many intervals as it has tokens.
        interval_ns = max(1, round(bucket.period_s * _SECOND_NS / bucket.rate))
        window = bucket.burst * interval_ns
        cost_ns = round(cost * interval_ns)
        if cost_ns > window:
            tat: int | None = None
            allowed = False
        else:
            allowed, tat = self._advance(client.digest, now, cost_ns, window)
        ahead = 0 if tat is None else max(0, min(tat - now, window))
        return Admission(
            allowed=allowed,
            bucket=bucket,
            remaining=int((window - ahead) // interval_ns),
            reset_s=_round_up(ahead),
            retry_after_s=0 if allowed else max(1, _round_up(ahead + cost_ns - window)),
        )

    def _advance(self, key: bytes, now: int, cost: int, window: int) -> tuple[bool, int | None]:
        if self._store is not None and now >= self._store_from_ns:
            try:
                connection = self._store.connect(now)
                return self._ask(connection, key, now, cost, window)
            except sqlite3.OperationalError as error:
                # Locked for longer than the timeout, or a full disk: both pass.
                self._report(f"throttle store: {error}; this worker decides alone for a second")
                self._store.look_again()
                self._store_from_ns = now + _SECOND_NS
            except (sqlite3.DatabaseError, OSError) as error:
                self._report(f"throttle store: {error}; made anew in a second")
                self._store.discard()
                self._store_from_ns = now + _SECOND_NS
        return self._ask(self._memory, key, now, cost, window)

    def _ask(
        self, connection: sqlite3.Connection, key: bytes, now: int, cost: int, window: int
    ) -> tuple[bool, int | None]:
        if now >= self._expire_at_ns:
            connection.execute(_EXPIRE, (now,))
            self._expire_at_ns = now + _EXPIRE_EVERY_NS
        reach = now + window + _SKEW_NS
        values = {"client": key, "now": now, "cost": cost, "window": window, "reach": reach}
        rows = connection.execute(_ADMIT, values).fetchall()
        if rows:
            return True, int(rows[0][0])
        row = connection.execute(_READ, (key,)).fetchone()
        return False, None if row is None else int(row[0])


class _Store:
    """The file: opened late, watched for being replaced, made anew when damaged."""

    def __init__(self, path: Path, report: Callable[[str], None]) -> None:
        self._path = path
        self._report = report
        self._connection: sqlite3.Connection | None = None
        self._inode: int | None = None
        self._look_at_ns = 0

    def connect(self, now_ns: int) -> sqlite3.Connection:
        """Return a connection to the file that is at the path now."""
        if self._connection is not None and now_ns >= self._look_at_ns:
            self._look_at_ns = now_ns + _LOOK_EVERY_NS
            if self._find_inode() != self._inode:
                self._report("throttle store: the file was replaced; opened again")
                self._close()
        if self._connection is None:
            self._connection = self._open()
            self._look_at_ns = now_ns + _LOOK_EVERY_NS
        return self._connection

    def look_again(self) -> None:
        """Open the file anew for the next decision."""
        self._close()

    def discard(self) -> None:
        """Remove the file if it is still the one that failed."""
        inode = self._inode
        self._close()
        with contextlib.suppress(OSError), self._locked():
            if inode is None or self._find_inode() == inode:
                self._remove()

    def _open(self) -> sqlite3.Connection:
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self._locked():
            self._path.touch(mode=0o600)
            try:
                connection = _connect(str(self._path))
            except sqlite3.OperationalError:
                raise
            except sqlite3.DatabaseError as error:
                self._report(f"throttle store: {error}; made anew")
                self._remove()
                self._path.touch(mode=0o600)
                connection = _connect(str(self._path))
            self._inode = self._find_inode()
        return connection

    def _remove(self) -> None:
        for suffix in ("", "-wal", "-shm"):
            Path(f"{self._path}{suffix}").unlink(missing_ok=True)

    def _close(self) -> None:
        if self._connection is not None:
            with contextlib.suppress(sqlite3.Error):
                self._connection.close()
        self._connection = None

    def _find_inode(self) -> int | None:
        try:
            return self._path.stat().st_ino
        except OSError:
            return None

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Let one worker at a time make or remove the file."""
        with Path(f"{self._path}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def _connect(path: str) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=_BUSY_TIMEOUT_S, isolation_level=None)
    try:
        # Losing the last moments of a bucket in a power cut costs nobody anything, so
        # nothing waits for the disk.
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=OFF")
        connection.execute(_SCHEMA)
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def _round_up(nanoseconds: int) -> int:
    return -(-nanoseconds // _SECOND_NS)
