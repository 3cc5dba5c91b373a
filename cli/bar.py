"""A progress bar that appears with its first step."""

from __future__ import annotations

import time
from types import TracebackType
from typing import NoReturn

from tqdm import tqdm

_TELL_EVERY_S = 0.5


class Bar:
    """A progress bar on standard error, drawn at the first step.

    Thus a cohort that cannot be read gives one message without a bar before it.

    Args:
        total: number of steps.
        unit: name of a step.
        shown: whether it is drawn.
    """

    def __init__(self, total: int, unit: str, *, shown: bool = True) -> None:
        self._total = total
        self._unit = unit
        self._shown = shown
        self._began = time.time()
        self._told = 0.0
        self._bar: tqdm[NoReturn] | None = None

    def __enter__(self) -> Bar:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: object, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.close()

    def advance(self, step: str) -> None:
        """Count a finished step."""
        bar = self._draw()
        bar.set_postfix_str(step, refresh=False)
        bar.update()

    def tell(self, where: str) -> None:
        """Show the progress of the current step, at most twice a second."""
        now = time.monotonic()
        if now - self._told >= _TELL_EVERY_S:
            self._told = now
            self._draw().set_postfix_str(where)

    def _draw(self) -> tqdm[NoReturn]:
        if self._bar is None:
            bar: tqdm[NoReturn] = tqdm(
                total=self._total, unit=self._unit, disable=not self._shown, mininterval=0
            )
            # Reading the cohort counts too.
            bar.start_t = bar.last_print_t = self._began
            self._bar = bar
        return self._bar
