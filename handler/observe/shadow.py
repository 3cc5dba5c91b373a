"""Two versions' answers to one and the same request, paired and compared.

nginx shows a copy of a request to a shadow, and names both by one random id. Whichever
worker comes first leaves what it answered in a file that both servers share; the one that
comes second takes it out and compares. All of it happens in a thread beside the requests:
where the file is missing, locked, full or damaged, comparisons are lost and no answer is.
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

PAIR_HEADER = "x-henaw-pair"
"""Set by nginx, which takes a client's own away."""

MOST_PEOPLE = 1_000
"""Of one request, who are compared."""

KEPT_S = 300.0
"""Until an answer that found no other is forgotten."""

# nginx's $request_id: whatever else a header says is not written anywhere.
_PAIR = re.compile(r"[0-9a-f]{32}")

_SCHEMA = (
    "CREATE TABLE IF NOT EXISTS answer (pair TEXT PRIMARY KEY, version TEXT NOT NULL,"
    " status INTEGER NOT NULL, ages BLOB NOT NULL, written_s REAL NOT NULL) WITHOUT ROWID",
    "CREATE INDEX IF NOT EXISTS written ON answer (written_s)",
)
# What lies ahead was written before the clock was set back.
_EXPIRE = "DELETE FROM answer WHERE written_s < ? OR written_s > ?"
_TAKE = "DELETE FROM answer WHERE pair = ? AND version <> ? RETURNING version, status, ages"
_LEAVE = "INSERT OR REPLACE INTO answer VALUES (?, ?, ?, ?, ?)"

_LARGEST_PAGES = 16 * 1024
"""64 MiB: more than a shadow that answers leaves behind."""

_BUSY_TIMEOUT_S = 2.0
_JOIN_EVERY_S = 1.0
_EXPIRE_EVERY_S = 60.0
_MOST_WAITING = 10_000


class PairedAnswer(NamedTuple):
    """What this version answered.

    Attributes:
        pair: the id that the other version's answer has too.
        status: of the response.
        ages: biological ages of the first people, years, little-endian float32; empty where
            none were answered.
    """

    pair: str
    status: int
    ages: bytes


class PairStore:
    """The file in which answers wait for the other version's.

    It is opened for each :meth:`join` alone, so that one that was removed, replaced or made
    anew is found by everybody the next time.

    Args:
        path: the file; it is made where it is not there, for its owner alone.
        version: of this worker's model.
        clock: seconds since the epoch, the same for all workers.
    """

    def __init__(self, path: Path, version: str, clock: Callable[[], float] = time.time) -> None:
        self._path = path
        self._version = version
        self._clock = clock

    def join(self, answers: Sequence[PairedAnswer]) -> list[Comparison]:
        """Compare with what the other version left, and leave the rest for it.

        Args:
            answers: this version's; all of them go through in one transaction.

        Returns:
            One comparison for each answer whose other one was there, which no worker will
            find again.

        Raises:
            sqlite3.Error, OSError: nothing was changed; a damaged file is removed.
        """
        now_s = self._clock()
        try:
            with contextlib.closing(self._open()) as connection:
                connection.execute("BEGIN IMMEDIATE")
                with connection:
                    for statement in _SCHEMA:
                        connection.execute(statement)
                    connection.execute(_EXPIRE, (now_s - KEPT_S, now_s + KEPT_S))
                    joined = [self._join(connection, answer, now_s) for answer in answers]
                    return [comparison for comparison in joined if comparison is not None]
        except sqlite3.OperationalError:
            # Locked, full, no access: all pass, and nothing is wrong with the file.
            raise
        except sqlite3.DatabaseError:
            for suffix in ("", "-journal"):
                Path(f"{self._path}{suffix}").unlink(missing_ok=True)
            raise

    def _join(
        self, connection: sqlite3.Connection, answer: PairedAnswer, now_s: float
    ) -> Comparison | None:
        # fetchall: a statement that is not run to its end keeps its lock.
        found = connection.execute(_TAKE, (answer.pair, self._version)).fetchall()
        if not found:
            row = (answer.pair, self._version, answer.status, answer.ages, now_s)
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
        # Losing some comparisons in a power cut costs nobody anything.
        connection.execute("PRAGMA synchronous=OFF")
        connection.execute(f"PRAGMA max_page_count={_LARGEST_PAGES}")
        # What is deleted is gone from the file too.
        connection.execute("PRAGMA secure_delete=ON")
        return connection


def _compare_ages(ours: bytes, theirs: object) -> npt.NDArray[np.float64]:
    """Return absolute differences, (n,) years; none where one of both has no ages."""
    if not isinstance(theirs, bytes) or len(theirs) != len(ours):
        return np.empty(0)
    first, second = (np.frombuffer(ages, "<f4").astype(np.float64) for ages in (ours, theirs))
    differences: npt.NDArray[np.float64] = np.abs(first - second)
    return differences[np.isfinite(differences)]


class Pairing(threading.Thread):
    """Joins, once a second, what requests put aside.

    Args:
        store: where the other version's answers are.
        metrics: counts the comparisons.
        report: told in one sentence when comparisons are lost, once for each reason.
    """

    def __init__(
        self, store: PairStore, metrics: Metrics, report: Callable[[str], None] = lambda _: None
    ) -> None:
        super().__init__(name="henaw-pairing", daemon=True)
        self._store = store
        self._metrics = metrics
        self._report = report
        # Beyond it the oldest are lost.
        self._waiting: deque[PairedAnswer] = deque(maxlen=_MOST_WAITING)
        self._expire_at_s = 0.0
        self._lost: str | None = None
        self._ended = threading.Event()

    def take(self, pair: str, status: int, ages: npt.NDArray[np.float32] | None) -> None:
        """Put an answer aside; never raises.

        Args:
            pair: the header's value; any that is not nginx's is left out.
            status: of the response.
            ages: (n,) float32, biological ages in years; None where none were answered.
        """
        if _PAIR.fullmatch(pair):
            first = b"" if ages is None else ages[:MOST_PEOPLE].astype("<f4").tobytes()
            self._waiting.append(PairedAnswer(pair, status, first))

    def run(self) -> None:
        """Join until it is stopped, or the process ends."""
        while not self._ended.wait(_JOIN_EVERY_S):
            self.join_waiting()

    def stop(self) -> None:
        """End the thread, with all that waits joined."""
        self._ended.set()
        self.join()
        self.join_waiting()

    def join_waiting(self) -> None:
        """Compare what waits, and forget from time to time what waited for too long."""
        answers = [self._waiting.popleft() for _ in range(len(self._waiting))]
        now_s = time.monotonic()
        if not answers and now_s < self._expire_at_s:
            return
        self._expire_at_s = now_s + _EXPIRE_EVERY_S
        try:
            comparisons = self._store.join(answers)
        except (sqlite3.Error, OSError) as error:
            if self._lost != str(error):
                self._report(f"pairs: {error}; answers are not compared until it is over")
            self._lost = str(error)
            return
        self._lost = None
        for comparison in comparisons:
            self._metrics.count(comparison)
