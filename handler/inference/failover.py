"""The GPU for large batches while its answers are right, and the CPU otherwise."""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Lock

import numpy as np
import numpy.typing as npt
from henaw.handler.inference.selfcheck import Golden, compare_answers, list_differences
from henaw.model.runtime import Outputs, Runtime


class FailoverRuntime:
    """Evaluates the graph on a preferred runtime, and on a fallback when that one fails.

    A preferred runtime that failed is not used until :meth:`check` finds its answers right.

    Args:
        fallback: evaluates small batches, and all batches while there is no preferred runtime.
        preferred: the fast one; None if the machine has no such device.
        crossover: number of people in a batch from which on the preferred runtime is used.
        cooldown_s: seconds without the preferred runtime after it failed.
        report: gets one sentence when the preferred runtime fails or is used again.
        clock: monotonic seconds.

    Attributes:
        failures: how often the preferred runtime failed.
    """

    def __init__(
        self,
        fallback: Runtime,
        preferred: Runtime | None = None,
        *,
        crossover: int = 1,
        cooldown_s: float = 30.0,
        report: Callable[[str], None] = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.fallback = fallback
        self.preferred = preferred
        self.crossover = crossover
        self.failures = 0
        self._cooldown_s = cooldown_s
        self._report = report
        self._clock = clock
        self._retry_at: float | None = None
        self._lock = Lock()

    @property
    def runtime_name(self) -> str:
        """The runtime that evaluates large batches at present."""
        if self.preferred is None or self._retry_at is not None:
            return self.fallback.name
        return self.preferred.name

    def predict(
        self,
        biomarkers: npt.NDArray[np.float32],
        age: npt.NDArray[np.float32],
        sex: npt.NDArray[np.int64],
    ) -> tuple[Outputs, str]:
        """Evaluate the graph.

        Args:
            biomarkers: (n, 9) float32 in the panel's units and order, NaN = missing.
            age: (n,) float32, years.
            sex: (n,) int64, 0 female, 1 male.

        Returns:
            The graph's outputs, and the name of the runtime that computed them.
        """
        if self.preferred is not None and self._retry_at is None and len(age) >= self.crossover:
            try:
                outputs = self.preferred.predict(biomarkers, age, sex)
            # torch reports lack of memory, a lost device and a failed kernel as subclasses of
            # RuntimeError. This batch does not cause any of them.
            except RuntimeError as error:
                failure = type(error).__name__
            else:
                rows = _find_rows_without_number(outputs)
                if not len(rows) or self._agrees(outputs, rows, biomarkers, age, sex):
                    return outputs, self.preferred.name
                failure = "numbers that are not finite"
            self._set_aside(self.preferred, failure)
        return self.fallback.predict(biomarkers, age, sex), self.fallback.name

    def check(self, golden: Golden) -> list[str]:
        """Compare the answers of both runtimes with the golden ones.

        A preferred runtime with wrong answers is set aside. After its cool-down it is tried
        again, and used again if its answers are right.

        Args:
            golden: people and their answers.

        Returns:
            One sentence for each output of the fallback that is wrong.
        """
        if self.preferred is not None and (
            self._retry_at is None or self._clock() >= self._retry_at
        ):
            self._prove(self.preferred, golden)
        return list_differences(self.fallback, golden)

    def _prove(self, preferred: Runtime, golden: Golden) -> None:
        try:
            differences = list_differences(preferred, golden)
        except RuntimeError as error:
            self._set_aside(preferred, type(error).__name__)
            return
        if differences:
            self._set_aside(preferred, "wrong golden answers: " + "; ".join(differences))
        elif self._retry_at is not None:
            self._retry_at = None
            self._report(f"{preferred.name} is used again")

    def _agrees(
        self,
        outputs: Outputs,
        rows: npt.NDArray[np.intp],
        biomarkers: npt.NDArray[np.float32],
        age: npt.NDArray[np.float32],
        sex: npt.NDArray[np.int64],
    ) -> bool:
        """Return whether the fallback agrees on these rows: for some people NaN is right."""
        right = self.fallback.predict(biomarkers[rows], age[rows], sex[rows])
        seen = {name: values[rows] for name, values in outputs.items()}
        return not compare_answers("", seen, right)

    def _set_aside(self, preferred: Runtime, failure: str) -> None:
        with self._lock:
            self.failures += 1
            self._retry_at = self._clock() + self._cooldown_s
        self._report(
            f"{preferred.name} failed with {failure}. {self.fallback.name} is used instead; "
            f"{preferred.name} is tried again in {self._cooldown_s:g} s"
        )


def _find_rows_without_number(outputs: Outputs) -> npt.NDArray[np.intp]:
    """Return the rows in which any output is not finite."""
    is_odd = [
        ~np.isfinite(values.reshape(len(values), -1)).all(axis=1)
        for values in outputs.values()
        if not np.isfinite(values).all()
    ]
    return np.flatnonzero(np.any(is_odd, axis=0)) if is_odd else np.array([], dtype=np.intp)
