"""On the CPU everything but the capture itself, with stand-ins for it; on a GPU the real thing."""

import inspect
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from henaw.export.people import People, draw_synthetic_people, join_people
from henaw.model.checkpoint import Checkpoint
from henaw.model.errors import RuntimeUnavailableError
from henaw.model.exported.cuda import SIZES, CudaRuntime, Run
from henaw.model.profile import LabProfile, set_profile
from henaw.model.runtime import OUTPUT_NAMES, OnnxRuntime, Outputs, Runtime, load_torchscript
from torch.utils._python_dispatch import TorchDispatchMode

Golden = tuple[People, Outputs]
SMALL = (4, 32)
TOLERANCES = {"percentile": 1e-2}


def assert_same(seen: Outputs, expected: Outputs) -> None:
    assert tuple(seen) == OUTPUT_NAMES
    for name, right in expected.items():
        assert (seen[name].shape, seen[name].dtype) == (right.shape, right.dtype), name
        atol = TOLERANCES.get(name, 1e-4)
        np.testing.assert_allclose(seen[name], right, rtol=0, atol=atol, err_msg=name)


class Tape:
    """Stands in for CUDA graphs: counts captures and replays, and runs the operations."""

    def __init__(self) -> None:
        self.captures = 0
        self.replays = 0

    def __call__(self, run: Run) -> Run:
        self.captures += 1

        def replay() -> None:
            self.replays += 1
            run()

        return replay


@pytest.fixture
def tape() -> Tape:
    return Tape()


@pytest.fixture
def taped(artifacts: Path, tape: Tape) -> CudaRuntime:
    module = load_torchscript(artifacts / "henaw.torchscript.pt", device="cpu")
    return CudaRuntime(module, device="cpu", sizes=SMALL, capture=tape)


@pytest.mark.parametrize(
    "call", [(0, 0), (1, 1), (4, 1), (5, 1), (32, 1), (33, 2), (64, 2), (200, 7)], ids=str
)
def test_any_number_of_people_is_padded_or_answered_in_pieces(
    taped: CudaRuntime,
    tape: Tape,
    runtimes: dict[str, Runtime],
    golden: Golden,
    call: tuple[int, int],
) -> None:
    people, replays = call
    assert (taped.captured, tape.captures) == (True, len(SMALL))
    some = golden[0].select(slice(0, people))
    before = tape.replays
    assert_same(taped.predict(*some), runtimes["eager"].predict(*some))
    assert tape.replays - before == replays


def test_rows_of_an_earlier_call_change_nothing(
    taped: CudaRuntime, runtimes: dict[str, Runtime], golden: Golden
) -> None:
    people = golden[0]
    # Edge cases, with NaN answers among them, lie in the rows that the second call pads.
    taped.predict(*people.select(slice(0, 32)))
    some = people.select(slice(150, 155))
    assert_same(taped.predict(*some), runtimes["eager"].predict(*some))


def test_answers_stay_as_they_are_after_the_next_call(taped: CudaRuntime, golden: Golden) -> None:
    first = taped.predict(*golden[0].select(slice(100, 110)))
    kept = {name: values.copy() for name, values in first.items()}
    taped.predict(*golden[0].select(slice(150, 160)))
    for name in OUTPUT_NAMES:
        np.testing.assert_array_equal(first[name], kept[name])


def test_a_sex_beyond_float32_is_neither_female_nor_male(
    taped: CudaRuntime, runtimes: dict[str, Runtime], golden: Golden
) -> None:
    people = golden[0].select(slice(150, 154))
    sex = np.array([2**53 + 1, -(2**62), 2**63 - 1, 1])
    seen = taped.predict(people.biomarkers, people.age, sex)
    assert_same(seen, runtimes["eager"].predict(people.biomarkers, people.age, sex))
    assert np.isnan(seen["biological_age"]).tolist() == [True, True, True, False]


def test_threads_do_not_disturb_each_other(taped: CudaRuntime, golden: Golden) -> None:
    people, expected = golden
    wrong: list[str] = []

    def ask(begin: int) -> None:
        rows = slice(begin, begin + 3)
        for _ in range(50):
            seen = taped.predict(*people.select(rows))["biological_age"]
            if not np.allclose(seen, expected["biological_age"][rows], rtol=0, atol=1e-4):
                wrong.append(f"{begin}: {seen}")

    threads = [threading.Thread(target=ask, args=(begin,)) for begin in (100, 120, 140, 160)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_profile_is_seen_by_what_was_captured_before(
    taped: CudaRuntime, artifacts: Path, golden: Golden
) -> None:
    profile = LabProfile(name="north", shift={"rdw": 0.05, "albumin": -2.0}, standard_error={})
    taped.set_profile(profile)
    some = golden[0].select(slice(100, 140))
    onnx = OnnxRuntime(set_profile((artifacts / "henaw.onnx").read_bytes(), profile))
    assert_same(taped.predict(*some), onnx.predict(*some))


def test_without_captures_it_is_reported_once_and_calls_are_plain(
    artifacts: Path, runtimes: dict[str, Runtime], golden: Golden
) -> None:
    tries: list[Run] = []

    def refuse(run: Run) -> Run:
        tries.append(run)
        raise RuntimeError("operation not permitted when stream is capturing\nat line 7")

    said: list[str] = []
    module = load_torchscript(artifacts / "henaw.torchscript.pt", device="cpu")
    runtime = CudaRuntime(module, device="cpu", sizes=SMALL, capture=refuse, report=said.append)
    assert (runtime.captured, len(tries)) == (False, 2)
    assert said == [
        "CUDA graphs cannot be captured on cpu (RuntimeError: operation not permitted when stream "
        "is capturing). Every operation is launched on its own, which takes longer"
    ]
    some = golden[0].select(slice(0, 50))
    assert_same(runtime.predict(*some), runtimes["eager"].predict(*some))


def test_a_replay_that_fails_raises_and_the_next_one_answers(
    taped: CudaRuntime, runtimes: dict[str, Runtime], golden: Golden
) -> None:
    some = golden[0].select(slice(100, 103))
    plan = taped._plans[0]
    replay, plan._replay = plan._replay, fail
    with pytest.raises(torch.OutOfMemoryError):
        taped.predict(*some)
    plan._replay = replay
    assert_same(taped.predict(*some), runtimes["eager"].predict(*some))


def fail() -> None:
    raise torch.OutOfMemoryError("CUDA out of memory")


def test_no_call_compiles(taped: CudaRuntime, golden: Golden) -> None:
    """TorchScript's optimiser leaves plans behind where it ran."""
    for people in (3, 3, 3, 30, 30, 30, 50, 50, 50):
        taped.predict(*golden[0].select(slice(0, people)))
    with pytest.raises(RuntimeError, match="optimized_plan_"):
        taped._module.get_debug_state()


def test_nothing_that_is_captured_waits_for_the_device(artifacts: Path) -> None:
    """A graph can hold no step whose value the host reads, nor a tensor made on the host."""

    class Recorder(TorchDispatchMode):
        names: ClassVar[set[str]] = set()

        def __torch_dispatch__(
            self, function: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            self.names.add(function.overloadpacket.__name__)
            return function(*args, **kwargs or {})

    def record(run: Run) -> Run:
        with Recorder():
            run()
        return run

    module = load_torchscript(artifacts / "henaw.torchscript.pt", device="cpu")
    CudaRuntime(module, device="cpu", sizes=(4,), capture=record)
    assert {"addmm", "embedding", "erf"} <= Recorder.names
    assert Recorder.names.isdisjoint({"_local_scalar_dense", "nonzero", "scalar_tensor", "item"})


def test_too_little_memory_for_a_capture_is_an_error(artifacts: Path) -> None:
    def refuse(run: Run) -> Run:
        raise torch.OutOfMemoryError("CUDA out of memory")

    module = load_torchscript(artifacts / "henaw.torchscript.pt", device="cpu")
    with pytest.raises(torch.OutOfMemoryError):
        CudaRuntime(module, device="cpu", sizes=SMALL, capture=refuse)


class Cuda:
    """Stands in for torch's CUDA calls, and says in which order they came."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls: list[str] = []
        options = inspect.signature(torch.cuda.graph)

        @contextmanager
        def enter(name: str) -> Iterator[None]:
            self.calls.append(f"enter {name}")
            yield
            self.calls.append(f"leave {name}")

        def graph(*given: Any, **named: Any) -> AbstractContextManager[None]:
            options.bind(*given, **named)
            return enter(f"capture on {named['stream']}")

        def say(name: str) -> Run:
            return lambda: self.calls.append(name)

        stream = SimpleNamespace(synchronize=say("wait"))
        monkeypatch.setattr(torch.cuda, "device", lambda device: enter(str(device)))
        monkeypatch.setattr(torch.cuda, "Stream", lambda device: f"stream of {device}")
        monkeypatch.setattr(torch.cuda, "current_stream", lambda: stream)
        monkeypatch.setattr(torch.cuda, "CUDAGraph", lambda: SimpleNamespace(replay=say("replay")))
        monkeypatch.setattr(torch.cuda, "graph", graph)


def test_a_capture_is_on_the_runtimes_own_device(
    taped: CudaRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    cuda = Cuda(monkeypatch)
    taped.device = torch.device("cuda:1")
    taped._capture(lambda: cuda.calls.append("run"))()
    inside = ["enter capture on stream of cuda:1", "run", "leave capture on stream of cuda:1"]
    assert cuda.calls == ["enter cuda:1", *inside, "leave cuda:1", "replay"]


def test_answers_are_read_once_the_device_is_done(
    taped: CudaRuntime, golden: Golden, monkeypatch: pytest.MonkeyPatch
) -> None:
    cuda = Cuda(monkeypatch)
    plan = taped._plans[0]
    plan._device = torch.device("cuda:1")
    replay = plan._replay

    def note() -> None:
        cuda.calls.append("replay")
        replay()

    plan._replay = note
    some = golden[0].select(slice(100, 103))
    np.testing.assert_allclose(
        taped.predict(*some)["biological_age"], golden[1]["biological_age"][100:103], atol=1e-4
    )
    assert cuda.calls == ["enter cuda:1", "replay", "wait", "leave cuda:1"]


def test_tf32_is_off(taped: CudaRuntime) -> None:
    assert torch.backends.cuda.matmul.allow_tf32 is False


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a CUDA device")
def test_cuda_without_a_device_is_refused(artifacts: Path) -> None:
    with pytest.raises(RuntimeUnavailableError, match=r"'cuda:0' needs CUDA; no CUDA"):
        CudaRuntime.load(artifacts / "henaw.torchscript.pt", device="cuda:0")


@pytest.fixture(scope="module")
def cuda(artifacts: Path) -> CudaRuntime:
    said: list[str] = []
    path = artifacts / "henaw.torchscript.pt"
    runtime = CudaRuntime.load(path, device="cuda:0", report=said.append)
    assert (runtime.captured, said) == (True, [])
    return runtime


@pytest.fixture(scope="module")
def crowd(checkpoint: Checkpoint, golden: Golden) -> People:
    """Golden people, then as many drawn ones as three pieces hold."""
    return join_people(golden[0], draw_synthetic_people(checkpoint, 2 * SIZES[-1] + 500, 7))


@pytest.mark.gpu
@pytest.mark.parametrize("people", [0, 1, 64, 65, 200, 1024, 1025, 8192, 8193, 16_900])
def test_captured_graphs_answer_as_the_cpu(
    cuda: CudaRuntime, runtimes: dict[str, Runtime], crowd: People, people: int
) -> None:
    some = crowd.select(slice(0, people))
    assert_same(cuda.predict(*some), runtimes["eager"].predict(*some))


@pytest.mark.gpu
def test_threads_share_a_gpu(cuda: CudaRuntime, golden: Golden) -> None:
    test_threads_do_not_disturb_each_other(cuda, golden)


@pytest.mark.gpu
def test_a_profile_is_seen_by_captured_graphs(artifacts: Path, golden: Golden) -> None:
    runtime = CudaRuntime.load(artifacts / "henaw.torchscript.pt", device="cuda:0")
    test_a_profile_is_seen_by_what_was_captured_before(runtime, artifacts, golden)


@pytest.mark.gpu
def test_captured_graphs_need_no_memory_of_a_full_gpu(
    cuda: CudaRuntime, runtimes: dict[str, Runtime], crowd: People
) -> None:
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved(0) + 1) / total)
    try:
        some = crowd.select(slice(0, 9000))
        assert_same(cuda.predict(*some), runtimes["eager"].predict(*some))
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
