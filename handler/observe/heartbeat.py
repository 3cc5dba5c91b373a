"""A worker's heartbeat: a thread that checks the model and writes the worker's state.

It puts golden people through every runtime that requests use, and adds up the counts. If the
model hangs or the process is stopped, the thread writes nothing more, and readers of the state
see that.
"""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Callable

from henaw.handler.inference.failover import FailoverRuntime
from henaw.handler.inference.gpu import Gpu
from henaw.handler.inference.selfcheck import Golden
from henaw.handler.observe.metrics import DRIFT_SLOTS, Metrics
from henaw.handler.observe.process_identity import identify_process
from henaw.handler.observe.worker_state import StateFile, WorkerState
from henaw.handler.throttle.throttle import Throttle

_WRITE_EVERY_S = 1.0


class Heartbeat(threading.Thread):
    """Checks the model and writes the state until it is stopped, or the process ends.

    Args:
        runtime: computes the answers for the golden people.
        golden: the people and their stored answers.
        metrics: the worker's counts.
        gpu: the worker's; None without one.
        throttle: whose fallbacks are part of the state.
        file: takes the state.
        version: of the model.
        check_every_s: seconds between checks.
        report: gets one sentence when the model's answers become wrong, or right again.
    """

    def __init__(
        self,
        *,
        runtime: FailoverRuntime,
        golden: Golden,
        gpu: Gpu | None = None,
        metrics: Metrics,
        throttle: Throttle,
        file: StateFile,
        version: str,
        check_every_s: float,
        report: Callable[[str], None],
    ) -> None:
        super().__init__(name="henaw-heartbeat", daemon=True)
        self._runtime = runtime
        self._golden = golden
        self._metrics = metrics
        self._throttle = throttle
        self._file = file
        self._version = version
        self._check_every_s = check_every_s
        self._report = report
        self._process = identify_process(os.getpid()) or ""
        self._crossovers = (
            {}
            if gpu is None
            else {gpu.device: math.inf if gpu.crossover is None else gpu.crossover}
        )
        self._checked_at = 0.0
        self._differences: list[str] = []
        self._write_error: str | None = None
        self._ended = threading.Event()

    def run(self) -> None:
        """Write the state every second, and check the model when it is due."""
        pause = min(_WRITE_EVERY_S, self._check_every_s)
        while not self._ended.is_set():
            if time.monotonic() >= self._checked_at + self._check_every_s:
                self.check()
            self.write()
            self._add_up(pause)

    def _add_up(self, seconds: float) -> None:
        """For some seconds, add up the counts whenever there are many."""
        until_s = time.monotonic() + seconds
        while not self._ended.is_set() and (left_s := until_s - time.monotonic()) > 0:
            if self._metrics.is_due.wait(left_s):
                self._metrics.sum_up()

    def stop(self) -> None:
        """End the thread: Python must not exit while a runtime is in use by one."""
        self._ended.set()
        self._metrics.is_due.set()
        self.join()
        self.write()
        self._file.close()

    def check(self) -> None:
        """Compare the model's answers with the stored ones."""
        before = self._differences
        try:
            self._differences = self._runtime.check(self._golden)
        # Whatever a runtime raises, the thread must go on to report it.
        except Exception as error:
            failed = self._runtime.fallback.name
            self._differences = [f"{failed} failed with {type(error).__name__}"]
        self._checked_at = time.monotonic()
        if self._differences and not before:
            self._report("the model's answers are wrong: " + "; ".join(self._differences))
        if before and not self._differences:
            self._report("the model's answers are right again")

    def write(self) -> None:
        """Write the state. If that fails, the worker still serves, and the monitor misses it."""
        try:
            self._file.write(
                WorkerState(
                    pid=os.getpid(),
                    created=self._process,
                    version=self._version,
                    runtime=self._runtime.runtime_name,
                    crossovers=self._crossovers,
                    fallbacks=self._runtime.failures,
                    throttle_fallbacks=self._throttle.fallbacks,
                    checked_at=self._checked_at,
                    differences=self._differences,
                    busy_since=self._metrics.busy_since,
                    drift_slot=self._metrics.slot,
                    drift_slots=DRIFT_SLOTS,
                    drift_expected=self._metrics.reference.find_expected(),
                    totals=self._metrics.sum_up(),
                    ended=self._ended.is_set(),
                )
            )
        except OSError as error:
            if self._write_error != str(error):
                self._report(f"metrics and readiness are not written: {error}; retried each second")
            self._write_error = str(error)
        else:
            self._write_error = None
