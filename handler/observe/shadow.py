"""The answers of a stable version and of its shadow to the same requests, compared.

nginx copies a request to the shadow, and gives both copies one random id. The worker that answers
first leaves its answer in a file that both servers share; the worker that answers second takes it
out and compares. A thread beside the requests does all of it: if the file is missing, locked, full
or damaged, comparisons are lost, but no answer is.
"""

from __future__ import annotations

import contextlib
import re
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from henaw.handler.observe.metrics import Comparison, Metrics
from henaw.model.files import make_private_folder

SHADOW_HEADER = "x-henaw-pair"
"""The id of a request that a shadow answers too. nginx sets it, and drops a client's own."""

MOST_PEOPLE = 1_000
"""People of one request that are compared."""

KEPT_S = 300.0
"""Seconds until an answer without its counterpart is deleted."""

# nginx's $request_id. No other value of the header is written anywhere.
_ID = re.compile(r"[0-9a-f]{32}")

_SCHEMA = (
    "CREATE TABLE IF NOT EXISTS answer (pair TEXT PRIMARY KEY, version TEXT NOT NULL,"
    " status INTEGER NOT NULL, ages BLOB NOT NULL, written_s REAL NOT NULL) WITHOUT ROWID",
    "CREATE INDEX IF NOT EXISTS written ON answer (written_s)",
)
# A time in the future was written before the clock was set back.
_EXPIRE = "DELETE FROM answer WHERE written_s < ? OR written_s > ?"
_TAKE = "DELETE FROM answer WHERE pair = ? AND version <> ? RETURNING version, status, ages"
_LEAVE = "INSERT OR REPLACE INTO answer VALUES (?, ?, ?, ?, ?)"

_LARGEST_PAGES = 16 * 1024
"""64 MiB: more than a shadow that answers leaves behind."""

_BUSY_TIMEOUT_S = 2.0
_COMPARE_EVERY_S = 1.0
_EXPIRE_EVERY_S = 60.0
_MOST_WAITING = 10_000


class SharedAnswer(NamedTuple):
    """This version's answer to a request that the other version answers too.

    Attributes:
        shared_id: the id of the request, the same in both versions.
        status: of the response.
        ages: biological ages of the first people, years, little-endian float32; empty if the
            response has none.
    """

    shared_id: str
    status: int
    ages: bytes


class AnswerStore:
    """The file in which answers wait for those of the other version.

    Every call of :meth:`match` opens it. So all workers find a file that was removed or replaced
    the next time.

    Args:
        path: the file; it is created when needed, for its owner alone.
        version: of this worker's model.
        clock: seconds since the epoch, the same for all workers.
    """

    def __init__(self, path: Path, version: str, clock: Callable[[], float] = time.time) -> None:
        self._path = path
        self._version = version
        self._clock = clock

    def match(self, answers: Sequence[SharedAnswer]) -> list[Comparison]:
        """Compare answers with those of the other version, and leave the rest in the file.

        Args:
            answers: this version's; one transaction has all of them.

        Returns:
            One comparison for each answer whose counterpart was there. The counterpart is
            removed, so that no worker counts it twice.

        Raises:
            sqlite3.Error, OSError: nothing was changed; a damaged file was removed.
        """
        now_s = self._clock()
        try:
            with contextlib.closing(self._open()) as connection:
                connection.execute("BEGIN IMMEDIATE")
                with connection:
                    for statement in _SCHEMA:
                        connection.execute(statement)
                    connection.execute(_EXPIRE, (now_s - KEPT_S, now_s + KEPT_S))
                    matched = [self._match(connection, answer, now_s) for answer in answers]
                    return [comparison for comparison in matched if comparison is not None]
        except sqlite3.OperationalError:
            # The file is locked or full, or may not be read. That passes; its content is right.
            raise
        except sqlite3.DatabaseError:
            for suffix in ("", "-journal"):
                Path(f"{self._path}{suffix}").unlink(missing_ok=True)
            raise

    def _match(
        self, connection: sqlite3.Connection, answer: SharedAnswer, now_s: float
    ) -> Comparison | None:
        # fetchall: a statement that is not read to its end keeps its lock.
        found = connection.execute(_TAKE, (answer.shared_id, self._version)).fetchall()
        if not found:
            row = (answer.shared_id, self._version, answer.status, answer.ages, now_s)
            connection.execute(_LEAVE, row)
            return None
        version, status, ages = found[0]
        return Comparison(
            other=str(version),
            same_status=status == answer.status,
            differences=_compare_ages(answer.ages, ages),
        )

    def _open(self) -> sqlite3.Connection:
        make_private_folder(self._path.parent)
        self._path.touch(mode=0o600)
        connection = sqlite3.connect(self._path, timeout=_BUSY_TIMEOUT_S, isolation_level=None)
        # A power cut may lose comparisons: they are not worth waiting for the disk.
        connection.execute("PRAGMA synchronous=OFF")
        connection.execute(f"PRAGMA max_page_count={_LARGEST_PAGES}")
        # Deleted answers are erased from the file too.
        connection.execute("PRAGMA secure_delete=ON")
        return connection


def _compare_ages(ours: bytes, theirs: object) -> npt.NDArray[np.float64]:
    """Return absolute differences, (n,) years; empty unless both have the same people's ages."""
    if not isinstance(theirs, bytes) or len(theirs) != len(ours):
        return np.empty(0)
    first, second = (np.frombuffer(ages, "<f4").astype(np.float64) for ages in (ours, theirs))
    differences: npt.NDArray[np.float64] = np.abs(first - second)
    return differences[np.isfinite(differences)]


class ShadowComparison(threading.Thread):
    """Compares, once a second, the answers that the service has handed over.

    Args:
        store: has the other version's answers.
        metrics: counts the comparisons.
        report: gets one sentence when comparisons are lost, once for each reason.
    """

    def __init__(
        self, store: AnswerStore, metrics: Metrics, report: Callable[[str], None] = lambda _: None
    ) -> None:
        super().__init__(name="henaw-shadow", daemon=True)
        self._store = store
        self._metrics = metrics
        self._report = report
        # When it is full, the oldest answers are lost.
        self._waiting: deque[SharedAnswer] = deque(maxlen=_MOST_WAITING)
        self._expire_at_s = 0.0
        self._lost: str | None = None
        self._ended = threading.Event()

    def take(self, shared_id: str, status: int, ages: npt.NDArray[np.float32] | None) -> None:
        """Take an answer over; never raises.

        Args:
            shared_id: the header's value; one that nginx did not set is ignored.
            status: of the response.
            ages: (n,) float32, biological ages in years; None if the response has none.
        """
        if _ID.fullmatch(shared_id):
            first = b"" if ages is None else ages[:MOST_PEOPLE].astype("<f4").tobytes()
            self._waiting.append(SharedAnswer(shared_id, status, first))

    def run(self) -> None:
        """Compare until it is stopped, or the process ends."""
        while not self._ended.wait(_COMPARE_EVERY_S):
            self.compare()

    def stop(self) -> None:
        """End the thread, after it has compared all that waits."""
        self._ended.set()
        self.join()
        self.compare()

    def compare(self) -> None:
        """Compare the answers that wait, and now and then delete those that waited too long."""
        answers = [self._waiting.popleft() for _ in range(len(self._waiting))]
        now_s = time.monotonic()
        if not answers and now_s < self._expire_at_s:
            return
        self._expire_at_s = now_s + _EXPIRE_EVERY_S
        try:
            comparisons = self._store.match(answers)
        except (sqlite3.Error, OSError) as error:
            if self._lost != str(error):
                self._report(f"answers are not compared with the other version's: {error}")
            self._lost = str(error)
            return
        self._lost = None
        for comparison in comparisons:
            self._metrics.count(comparison)
