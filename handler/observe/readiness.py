"""Is the model fit to be asked? Judged from outside, by what each worker tells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from henaw.handler.observe.worker_state import WorkerState


@dataclass(frozen=True, kw_only=True)
class Readiness:
    """The judgement.

    Attributes:
        workers: how many live.
        problems: one sentence each; ready where there is none.
    """

    workers: int
    problems: tuple[str, ...]

    @property
    def ready(self) -> bool:
        """Whether requests should be sent here."""
        return not self.problems


def judge_workers(states: Sequence[WorkerState], *, now_s: float, patience_s: float) -> Readiness:
    """Judge a server by its living workers: each of them must be right, and lately so.

    One that is wedged makes the server not ready, since requests are still handed to it;
    one that died does not, since they are not.

    Args:
        states: of the workers that live.
        now_s: monotonic seconds.
        patience_s: seconds without a check, or in one batch, after which a worker counts
            as wedged.
    """
    problems = []
    for state in states:
        worker = f"worker {state.pid} of version {state.version}"
        unchecked_s = now_s - state.checked_at
        busy_s = 0.0 if state.busy_since is None else now_s - state.busy_since
        if unchecked_s > patience_s:
            problems.append(f"{worker} is stopped or hangs: last checked {unchecked_s:.0f} s ago")
        elif busy_s > patience_s:
            problems.append(f"{worker} hangs in a batch: for {busy_s:.0f} s")
        problems += [f"{worker} is wrong: {difference}" for difference in state.differences]
    if not states:
        problems.append("no worker lives")
    return Readiness(workers=len({state.pid for state in states}), problems=tuple(problems))
