"""One step: pieces add up, memory that runs out costs nothing but time."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from henaw.model.errors import FitError
from henaw.training.execution import Execution
from henaw.training.loop import BatchProblem
from henaw.training.people import People
from henaw.training.states import StateFolder
from henaw.training.steps import FreeParameters

Make = Callable[..., BatchProblem]
OUT_OF_MEMORY = (
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    MemoryError(),
    RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"),
)


def limit_memory(
    monkeypatch: pytest.MonkeyPatch, people: int, error: Exception, *, after: int = 0
) -> list[int]:
    """Let more than so many people at once fail, as late as a backward pass could."""
    forward, seen = FreeParameters.forward, []

    def limited(self: FreeParameters, crowd: People | None, *rest: Any) -> Any:
        parts = forward(self, crowd, *rest)
        if rest:
            seen.append(len(rest[0]))
            if len(seen) > after and len(rest[0]) > people:
                raise error
        return parts

    monkeypatch.setattr(FreeParameters, "forward", limited)
    return seen


@pytest.mark.parametrize("error", OUT_OF_MEMORY, ids=["cuda", "python", "cpu"])
def test_out_of_memory_ends_where_small_batches_end(
    make_problem: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, error: Exception
) -> None:
    expected = make_problem(accumulation=4).solve("point", None, start=None)
    seen = limit_memory(monkeypatch, 130, error)
    execution = Execution(work=tmp_path)
    found = make_problem(execution=execution).solve("point", None, start=None)
    assert torch.equal(found.free, expected.free)
    assert seen[:3] == [500, 250, 125]
    state = StateFolder(tmp_path / "states" / "synthetic" / "point").load()
    assert state is not None
    assert (state.out_of_memory, state.accumulation) == (2, 4)


def test_pieces_before_the_one_that_failed_are_dropped(
    make_problem: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = make_problem(accumulation=4).solve("point", None, start=None)
    limit_memory(monkeypatch, 130, OUT_OF_MEMORY[0], after=1)
    found = make_problem(accumulation=2).solve("point", None, start=None)
    assert torch.equal(found.free, expected.free)


def test_out_of_memory_amid_a_fit_repeats_the_step(
    make_problem: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = make_problem(accumulation=2).solve("point", None, start=None)
    limit_memory(monkeypatch, 300, OUT_OF_MEMORY[0], after=8)
    found = make_problem().solve("point", None, start=None)
    torch.testing.assert_close(found.free, expected.free, rtol=0, atol=1e-8)


def test_pieces_of_a_batch_add_up(make_problem: Make) -> None:
    whole, pieces = (
        make_problem(accumulation=count).solve("point", None, start=None) for count in (1, 7)
    )
    torch.testing.assert_close(whole.free, pieces.free, rtol=0, atol=1e-8)


def test_one_person_too_many_is_an_error(
    make_problem: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit_memory(monkeypatch, 0, OUT_OF_MEMORY[0])
    with pytest.raises(FitError, match="one person at a time"):
        make_problem().solve("point", None, start=None)


def test_other_errors_are_not_taken_for_it(
    make_problem: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit_memory(monkeypatch, 0, RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    with pytest.raises(RuntimeError, match="cannot be multiplied"):
        make_problem().solve("point", None, start=None)


def test_the_gradient_is_clipped(make_problem: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    step, lengths = torch.optim.Adam.step, []

    def record(self: torch.optim.Adam) -> None:
        lengths.append(float(self.param_groups[0]["params"][0].grad.norm()))
        step(self)

    monkeypatch.setattr(torch.optim.Adam, "step", record)
    make_problem(epochs=1, gradient_clip_norm=0.1).solve("point", None, start=None)
    assert max(lengths) == pytest.approx(0.1, rel=1e-3)
    lengths.clear()
    make_problem(epochs=1, gradient_clip_norm=100.0).solve("point", None, start=None)
    assert max(lengths) > 0.5


@pytest.mark.gpu
def test_a_gpu_that_is_too_small_ends_where_small_batches_end(make_problem: Make) -> None:
    execution = Execution(device=torch.device("cuda", 0))
    settings = {"batch_size": 3000, "epochs": 3, "precision": "float64", "execution": execution}
    expected = make_problem(accumulation=4, **settings).solve("point", None, start=None)
    small = make_problem(**settings)
    torch.cuda.empty_cache()
    held = torch.cuda.memory_reserved()
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction((held + 3_000_000) / total)
    try:
        found = small.solve("point", None, start=None)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    torch.testing.assert_close(found.free, expected.free, rtol=0, atol=1e-7)
