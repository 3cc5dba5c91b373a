"""One step: pieces add up, and memory that runs out costs only time."""

import gc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from henaw.model.errors import FitError
from henaw.training.execution.execution import Execution
from henaw.training.minibatches import steps as module
from henaw.training.minibatches.loop import MiniBatches
from henaw.training.minibatches.states import StateFolder
from henaw.training.objective.objective import Weights
from henaw.training.objective.survival_data import SurvivalData
from torch import Tensor

Make = Callable[..., MiniBatches]
OUT_OF_MEMORY = (
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    MemoryError(),
    RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"),
)


def limit_memory(
    monkeypatch: pytest.MonkeyPatch, people: int, error: Exception, *, after: int = 0
) -> list[int]:
    """Let a computation of more people fail, as late as a backward pass could."""
    compute, seen = module.compute_gap, []

    def limited(weights: Weights, crowd: SurvivalData, **options: Any) -> Tensor:
        gap = compute(weights, crowd, **options)
        seen.append(len(crowd))
        if len(seen) > after and len(crowd) > people:
            raise error
        return gap

    monkeypatch.setattr(module, "compute_gap", limited)
    return seen


@pytest.mark.parametrize("error", OUT_OF_MEMORY, ids=["cuda", "python", "cpu"])
def test_out_of_memory_ends_where_small_batches_end(
    make_batches: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, error: Exception
) -> None:
    expected = make_batches(accumulation=4).solve()
    seen = limit_memory(monkeypatch, 130, error)
    execution = Execution(work=tmp_path)
    found = make_batches(execution=execution).solve()
    assert torch.equal(found, expected)
    assert seen[:3] == [500, 250, 125]
    state = StateFolder(tmp_path / "states" / "synthetic").load()
    assert state is not None
    assert (state.out_of_memory, state.accumulation) == (2, 4)


def test_pieces_before_the_one_that_failed_are_dropped(
    make_batches: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = make_batches(accumulation=4).solve()
    limit_memory(monkeypatch, 130, OUT_OF_MEMORY[0], after=1)
    found = make_batches(accumulation=2).solve()
    assert torch.equal(found, expected)


def test_out_of_memory_amid_a_fit_repeats_the_step(
    make_batches: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = make_batches(accumulation=2).solve()
    limit_memory(monkeypatch, 300, OUT_OF_MEMORY[0], after=8)
    found = make_batches().solve()
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


def test_pieces_of_a_batch_add_up(make_batches: Make) -> None:
    whole, pieces = (make_batches(accumulation=count).solve() for count in (1, 7))
    torch.testing.assert_close(whole, pieces, rtol=0, atol=1e-5)


def test_one_person_too_many_is_an_error(
    make_batches: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit_memory(monkeypatch, 0, OUT_OF_MEMORY[0])
    with pytest.raises(FitError, match="one person at a time"):
        make_batches().solve()


def test_other_errors_are_raised(make_batches: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    limit_memory(monkeypatch, 0, RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    with pytest.raises(RuntimeError, match="cannot be multiplied"):
        make_batches().solve()


def test_the_gradient_is_clipped(make_batches: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    step, lengths = torch.optim.Adam.step, []

    def record(self: torch.optim.Adam) -> None:
        lengths.append(float(self.param_groups[0]["params"][0].grad.norm()))
        step(self)

    monkeypatch.setattr(torch.optim.Adam, "step", record)
    make_batches(epochs=1, gradient_clip_norm=0.1).solve()
    assert max(lengths) == pytest.approx(0.1, rel=1e-3)
    lengths.clear()
    make_batches(epochs=1, gradient_clip_norm=100.0).solve()
    assert max(lengths) > 0.5


@pytest.mark.gpu
def test_a_gpu_that_is_too_small_ends_where_small_batches_end(
    make_batches: Make, people: SurvivalData
) -> None:
    # So many that a batch takes much more than one allocation of device memory.
    crowd = people.select(torch.arange(100 * len(people)) % len(people))
    settings = {
        "crowd": crowd,
        "batch_size": len(crowd),
        "execution": Execution(device=torch.device("cuda", 0)),
    }
    total = torch.cuda.get_device_properties(0).total_memory

    def solve_within(megabytes: int) -> tuple[Tensor, int]:
        """The solution, and into how many pieces batches went."""
        small = make_batches(**settings)
        gc.collect()
        torch.cuda.empty_cache()
        held = torch.cuda.memory_reserved()
        torch.cuda.set_per_process_memory_fraction((held + (megabytes << 20)) / total)
        try:
            return small.solve(), small.stepper.accumulation
        finally:
            torch.cuda.set_per_process_memory_fraction(1.0)

    for megabytes in range(500, 0, -50):
        found, pieces = solve_within(megabytes)
        if pieces > 1:
            break
    assert pieces > 1
    expected = make_batches(accumulation=pieces, **settings).solve()
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-7)
