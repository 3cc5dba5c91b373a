"""A progress bar that is drawn once there is something to show."""

from __future__ import annotations

import time
from types import TracebackType
from typing import NoReturn

from tqdm import tqdm

_TELL_EVERY_S = 0.5


class Bar:
    """A bar on standard error, from the first step that ended or is told of.

    So a cohort that cannot be read is one message, without a bar before it.

    Args:
        total: steps.
        unit: what a step is.
        shown: whether it is drawn at all.
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
        """Count a step that ended."""
        bar = self._draw()
        bar.set_postfix_str(step, refresh=False)
        bar.update()

    def tell(self, where: str) -> None:
        """Show where the step that runs is; what comes too soon after another is passed over."""
        now = time.monotonic()
        if now - self._told >= _TELL_EVERY_S:
            self._told = now
            self._draw().set_postfix_str(where)

    def _draw(self) -> tqdm[NoReturn]:
        if self._bar is None:
            bar: tqdm[NoReturn] = tqdm(
                total=self._total, unit=self._unit, disable=not self._shown, mininterval=0
            )
            # Reading the cohort took its time too.
            bar.start_t = bar.last_print_t = self._began
            self._bar = bar
        return self._bar
