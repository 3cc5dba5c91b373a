"""Saved states: whole or not at all, and the last three."""

import dataclasses
import logging
from pathlib import Path

import pytest
import torch
from henaw.training.minibatches.states import LoopState, StateFolder, decode_state, encode_state


def make_state(step: int) -> LoopState:
    generator = torch.Generator().manual_seed(step)
    tensors = torch.rand(3, 7, dtype=torch.float64, generator=generator)
    return LoopState(
        *tensors,
        step=step,
        epoch=2,
        epoch_loss={"mortality": 1 / 3},
        history=[{"epoch": 1, "epoch_loss/mortality": 2 / 3}],
    )


def assert_same(a: LoopState | None, b: LoopState) -> None:
    assert a is not None
    for item in dataclasses.fields(b):
        left, right = getattr(a, item.name), getattr(b, item.name)
        assert torch.equal(left, right) if isinstance(right, torch.Tensor) else left == right


def test_a_state_is_read_to_the_last_bit() -> None:
    assert_same(decode_state(encode_state(make_state(5))), make_state(5))


def test_any_changed_byte_is_detected() -> None:
    content = encode_state(make_state(5))
    for place in range(0, len(content), 7):
        changed = bytearray(content)
        changed[place] ^= 4
        try:
            assert decode_state(bytes(changed)) is None, place
        except (ValueError, KeyError) as error:  # pragma: no cover
            pytest.fail(f"byte {place}: {error!r}")
    assert decode_state(content[:-1]) is None
    assert decode_state(b"") is None


def test_the_last_three_are_kept(tmp_path: Path) -> None:
    folder = StateFolder(tmp_path / "point")
    assert folder.load() is None
    for step in (5, 900, 1000, 10_000):
        folder.save(make_state(step))
    names = sorted(path.name for path in folder.folder.iterdir())
    assert names == [f"state-{step:012d}.saved" for step in (900, 1000, 10_000)]
    assert_same(folder.load(), make_state(10_000))


def test_a_damaged_state_is_skipped(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = StateFolder(tmp_path)
    folder.save(make_state(1))
    folder.save(make_state(2))
    newest = tmp_path / "state-000000000002.saved"
    newest.write_bytes(newest.read_bytes()[:-3])
    with caplog.at_level(logging.WARNING):
        assert_same(folder.load(), make_state(1))
    assert newest.name in caplog.text


def test_what_a_killed_writer_left_is_removed(tmp_path: Path) -> None:
    folder = StateFolder(tmp_path)
    folder.save(make_state(1))
    left = tmp_path / ".state-000000000002.saved.x1y2"
    left.write_bytes(b"half")
    assert_same(folder.load(), make_state(1))
    assert not left.exists()
