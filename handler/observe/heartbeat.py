"""A worker's thread that proves the model anew and tells how the worker is.

The golden people go through every runtime that requests go through. Where the model hangs, so does
this thread; where the whole process is stopped, so is this: either way nothing more is
told, and who reads the states sees it.
"""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Callable

from henaw.handler.inference.failover import Engine
from henaw.handler.inference.gpu import Gpu
from henaw.handler.inference.selfcheck import Golden
from henaw.handler.observe.metrics import DRIFT_SLOTS, Metrics
from henaw.handler.observe.process_identity import identify_process
from henaw.handler.observe.worker_state import StateFile, WorkerState
from henaw.handler.throttle.throttle import Throttle

_TELL_EVERY_S = 1.0


class Pulse(threading.Thread):
    """Checks and tells until it is stopped, or the process ends.

    Args:
        engine: answers the golden people.
        golden: the people and their stored answers.
        metrics: what the worker counts.
        gpu: the worker's, told with the state; None where there is none.
        throttle: whose fallbacks are told.
        file: where the state is told.
        version: of the model.
        check_every_s: seconds between checks.
        report: told in one sentence when the model turns wrong or right again.
    """

    def __init__(
        self,
        *,
        engine: Engine,
        golden: Golden,
        gpu: Gpu | None = None,
        metrics: Metrics,
        throttle: Throttle,
        file: StateFile,
        version: str,
        check_every_s: float,
        report: Callable[[str], None],
    ) -> None:
        super().__init__(name="henaw-pulse", daemon=True)
        self._engine = engine
        self._golden = golden
        self._metrics = metrics
        self._throttle = throttle
        self._file = file
        self._version = version
        self._check_every_s = check_every_s
        self._report = report
        self._created = identify_process(os.getpid()) or ""
        self._crossovers = (
            {}
            if gpu is None
            else {gpu.device: math.inf if gpu.crossover is None else gpu.crossover}
        )
        self._checked_at = 0.0
        self._differences: list[str] = []
        self._untold: str | None = None
        self._ended = threading.Event()

    def run(self) -> None:
        """Check when it is time, tell every second."""
        pause = min(_TELL_EVERY_S, self._check_every_s)
        while not self._ended.is_set():
            if time.monotonic() >= self._checked_at + self._check_every_s:
                self.check()
            self.tell()
            self._ended.wait(pause)

    def stop(self) -> None:
        """End the thread: Python must not exit while a runtime is at work in one."""
        self._ended.set()
        self.join()
        self.tell()

    def check(self) -> None:
        """Compare what the model answers now with the stored answers."""
        before = self._differences
        try:
            self._differences = self._engine.check(self._golden)
        except Exception as error:
            self._differences = [f"{self._engine.fallback.name} failed with {type(error).__name__}"]
        self._checked_at = time.monotonic()
        if self._differences and not before:
            self._report("the model is wrong: " + "; ".join(self._differences))
        if before and not self._differences:
            self._report("the model is right again")

    def tell(self) -> None:
        """Write the state; where that fails the worker serves on, unseen."""
        try:
            self._file.write(
                WorkerState(
                    pid=os.getpid(),
                    created=self._created,
                    version=self._version,
                    runtime=self._engine.runtime_name,
                    crossovers=self._crossovers,
                    fallbacks=self._engine.failures,
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
            if self._untold != str(error):
                self._report(f"metrics and readiness: {error}; tried again every second")
            self._untold = str(error)
        else:
            self._untold = None
