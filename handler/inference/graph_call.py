"""One evaluation of the graph, which an engine may run in another thread."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from henaw.handler.inference.failover import FailoverRuntime
from henaw.model.runtime import Outputs


@dataclass(slots=True, kw_only=True)
class GraphCall:
    """One evaluation of the graph, for all people of a few requests.

    Attributes:
        runtime: evaluates it.
        biomarkers: (n, 9) float32, the panel's units and order, NaN = missing.
        age: (n,) float32, years.
        sex: (n,) int64, 0 female, 1 male.
        start_clock: starts the clock of the evaluation's work.
        ran_on: the name of the runtime that evaluated it.
        seconds: how long it took.
        work_s: seconds of work, by the clock.
    """

    runtime: FailoverRuntime
    biomarkers: npt.NDArray[np.float32]
    age: npt.NDArray[np.float32]
    sex: npt.NDArray[np.int64]
    start_clock: Callable[[], Callable[[], float]]
    ran_on: str = ""
    seconds: float = 0.0
    work_s: float = 0.0
    _outputs: Outputs = field(default_factory=dict)
    _error: Exception | None = None

    @property
    def people(self) -> int:
        """How many people it is for."""
        return len(self.age)

    def run(self) -> None:
        """Evaluate the graph; any thread may do this, and it never raises."""
        started_s, find_work_s = time.perf_counter(), self.start_clock()
        try:
            self._outputs, self.ran_on = self.runtime.predict(self.biomarkers, self.age, self.sex)
        # The service meets it when it takes the result.
        except Exception as error:
            self._error = error
        self.seconds, self.work_s = time.perf_counter() - started_s, find_work_s()

    def result(self) -> Outputs:
        """Return the graph's outputs, or raise the error that ended the evaluation."""
        if self._error is not None:
            raise self._error
        return self._outputs
