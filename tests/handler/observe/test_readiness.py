import pytest
from henaw.handler.observe.readiness import judge_workers
from henaw.handler.observe.worker_state import WorkerState

NOW_S = 1000.0


def worker(**changes: object) -> WorkerState:
    defaults: dict[str, object] = {
        "pid": 7, "created": "any", "version": "1.0", "runtime": "onnx", "fallbacks": 0,
        "throttle_fallbacks": 0,
        "checked_at": NOW_S - 5, "differences": [], "busy_since": NOW_S - 1, "drift_slot": 0,
        "drift_slots": 12, "drift_expected": {}, "totals": None,
    }  # fmt: skip
    return WorkerState(**{**defaults, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("workers", "said"),
    [
        ([], "no worker is running"),
        ([worker(checked_at=NOW_S - 16)], "is stopped or hangs: last checked 16 s ago"),
        ([worker(), worker(pid=8, checked_at=NOW_S - 16)], "worker 8 of version 1.0 is stopped"),
        ([worker(busy_since=NOW_S - 20)], "it has had the same batch for 20 s"),
        ([worker(), worker(version="1.1", differences=["onnx: x must"])],
         "worker 7 of version 1.1 answers wrongly: onnx: x must"),
    ],
)  # fmt: skip
def test_it_is_not_ready_and_says_why(workers: list[WorkerState], said: str) -> None:
    readiness = judge_workers(workers, now_s=NOW_S, patience_s=15.0)
    assert not readiness.ready
    assert [said in problem for problem in readiness.problems] == [True]


@pytest.mark.parametrize("workers", [[worker()], [worker(), worker(pid=8, busy_since=None)]])
def test_it_is_ready_while_every_worker_is_right(workers: list[WorkerState]) -> None:
    assert judge_workers(workers, now_s=NOW_S, patience_s=15.0).ready
