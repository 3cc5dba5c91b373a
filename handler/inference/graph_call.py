"""One evaluation of the graph, which an engine may run in another thread."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt
from henaw.handler.inference.failover import FailoverRuntime
from henaw.model.runtime import INPUT_NAMES, Outputs


class People(Protocol):
    """The people of one request, as the graph takes them."""

    def __len__(self) -> int:
        """Return how many they are."""
        ...

    @property
    def biomarkers(self) -> npt.NDArray[np.float32]:
        """(n, 9), the panel's units and order, NaN = missing."""
        ...

    @property
    def age(self) -> npt.NDArray[np.float32]:
        """(n,), years."""
        ...

    @property
    def sex(self) -> npt.NDArray[np.int64]:
        """(n,), 0 female, 1 male."""
        ...


@dataclass(slots=True, kw_only=True)
class GraphCall:
    """One evaluation of the graph, for all people of a few requests.

    Attributes:
        runtime: evaluates it.
        parts: the people of each request.
        start_clock: starts the clock of the evaluation's work.
        inputs: (n, 9) float32 biomarkers in the panel's units and order, NaN = missing; (n,)
            float32 ages, years; (n,) int64 sexes, 0 female, 1 male. Of all people, after the run.
        ran_on: the name of the runtime that evaluated it.
        seconds: how long it took.
        work_s: seconds of work, by the clock.
    """

    runtime: FailoverRuntime
    parts: Sequence[People]
    start_clock: Callable[[], Callable[[], float]]
    inputs: tuple[npt.NDArray[np.float32], npt.NDArray[np.float32], npt.NDArray[np.int64]] = field(
        init=False
    )
    ran_on: str = ""
    seconds: float = 0.0
    work_s: float = 0.0
    _outputs: Outputs = field(default_factory=dict)
    _error: Exception | None = None

    @property
    def people(self) -> int:
        """How many people it is for."""
        return sum(map(len, self.parts))

    def run(self) -> None:
        """Evaluate the graph; any thread may do this, and it never raises."""
        started_s, find_work_s = time.perf_counter(), self.start_clock()
        try:
            biomarkers, age, sex = (
                getattr(self.parts[0], name)
                if len(self.parts) == 1
                else np.concatenate([getattr(part, name) for part in self.parts])
                for name in INPUT_NAMES
            )
            self.inputs = biomarkers, age, sex
            self._outputs, self.ran_on = self.runtime.predict(*self.inputs)
        # Whatever a runtime raises must end its requests, not the thread. result() raises it.
        except Exception as error:
            self._error = error
        self.seconds, self.work_s = time.perf_counter() - started_s, find_work_s()

    def result(self) -> Outputs:
        """Return the graph's outputs, or raise the error that ended the evaluation."""
        if self._error is not None:
            raise self._error
        return self._outputs
