"""The GPU while it works, the CPU when it does not: no request fails for the device."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from henaw.model.runtime import Outputs, Runtime


class Engine:
    """Evaluates the graph on a preferred runtime, and on a second one when that fails.

    Args:
        fallback: answers where there is no preferred runtime, and when it fails.
        preferred: the fast one; None where the machine has no such device.
        cooldown_s: seconds without the preferred runtime after it failed.
        report: told in one sentence when the preferred runtime fails or is back.
        clock: seconds, never going backwards.
    """

    def __init__(
        self,
        fallback: Runtime,
        preferred: Runtime | None = None,
        *,
        cooldown_s: float = 30.0,
        report: Callable[[str], None] = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.fallback = fallback
        self.preferred = preferred
        self.failures = 0
        self._cooldown_s = cooldown_s
        self._report = report
        self._clock = clock
        self._retry_at: float | None = None

    @property
    def preferred_name(self) -> str:
        """The runtime that answers while everything works."""
        return (self.preferred or self.fallback).name

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
            The graph's outputs, and the name of the runtime that gave them.
        """
        if self.preferred is not None and self._is_due():
            try:
                outputs = self.preferred.predict(biomarkers, age, sex)
            # torch reports out of memory, a lost device and a failed kernel as
            # subclasses of RuntimeError; none of them is this batch's fault.
            except RuntimeError as error:
                failure = type(error).__name__
            else:
                # What a request may hold, the graph answers with numbers.
                if all(np.isfinite(values).all() for values in outputs.values()):
                    if self._retry_at is not None:
                        self._retry_at = None
                        self._report(f"{self.preferred.name} answers again")
                    return outputs, self.preferred.name
                failure = "numbers that are not finite"
            self.failures += 1
            self._retry_at = self._clock() + self._cooldown_s
            self._report(
                f"{self.preferred.name} failed with {failure}: "
                f"{self.fallback.name} answers for {self._cooldown_s:g} s"
            )
        return self.fallback.predict(biomarkers, age, sex), self.fallback.name

    def _is_due(self) -> bool:
        return self._retry_at is None or self._clock() >= self._retry_at
