"""Whether a server is ready, judged from outside by the states of its workers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from henaw.handler.observe.worker_state import WorkerState


@dataclass(frozen=True, kw_only=True)
class Readiness:
    """Whether a server is ready, and why not.

    Attributes:
        workers: the number of living workers.
        problems: one sentence each; empty where the server is ready.
    """

    workers: int
    problems: tuple[str, ...]

    @property
    def ready(self) -> bool:
        """Whether this server should get requests."""
        return not self.problems


def judge_workers(states: Sequence[WorkerState], *, now_s: float, patience_s: float) -> Readiness:
    """Judge a server by its living workers: the last check of each must be recent and right.

    A worker that hangs makes the server not ready, since it still gets requests. A worker that
    died does not, since it gets none.

    Args:
        states: of the living workers.
        now_s: monotonic seconds.
        patience_s: seconds without a check, or in one batch, after which a worker counts as
            hung.
    """
    problems = []
    for state in states:
        worker = f"worker {state.pid} of version {state.version}"
        unchecked_s = now_s - state.checked_at
        busy_s = 0.0 if state.busy_since is None else now_s - state.busy_since
        if unchecked_s > patience_s:
            problems.append(f"{worker} is stopped or hangs: last checked {unchecked_s:.0f} s ago")
        elif busy_s > patience_s:
            problems.append(f"{worker} hangs: it has had the same batch for {busy_s:.0f} s")
        problems += [f"{worker} answers wrongly: {difference}" for difference in state.differences]
    if not states:
        problems.append("no worker is running")
    return Readiness(workers=len({state.pid for state in states}), problems=tuple(problems))
