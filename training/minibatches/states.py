"""Saved states of the mini-batches, from which a fit continues to the same last bit.

A state is one file, laid out as in the cache and written whole or not at all. The last three
are kept.
"""

from __future__ import annotations

import dataclasses
import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from henaw.model.files import write_whole
from henaw.training.execution.cache import Entry, decode_entry, encode_entry
from torch import Tensor

FORMAT = 3
KEPT = 3
_TENSORS = ("free", "first_moment", "second_moment")
_LOGGER = logging.getLogger(__name__)


@dataclass
class LoopState:
    """The state of the mini-batches.

    Attributes:
        free: (P,) float64, the parameters.
        first_moment: (P,) float64, Adam's first moment.
        second_moment: (P,) float64, Adam's second moment.
        step: the number of steps taken.
        epoch: the number of epochs completed.
        batch: the number of batches taken in the current epoch.
        accumulation: the number of pieces in which a batch is computed.
        out_of_memory: how often memory ran out.
        epoch_loss: sums over this epoch's batches, by part.
        history: records of the last epochs.
    """

    free: Tensor
    first_moment: Tensor
    second_moment: Tensor
    step: int = 0
    epoch: int = 0
    batch: int = 0
    accumulation: int = 1
    out_of_memory: int = 0
    epoch_loss: dict[str, float] = field(default_factory=dict)
    history: list[dict[str, float]] = field(default_factory=list)

    @staticmethod
    def begin(free: Tensor, accumulation: int) -> LoopState:
        """The state before the first step."""
        return LoopState(
            free=free.clone(),
            first_moment=torch.zeros_like(free),
            second_moment=torch.zeros_like(free),
            accumulation=accumulation,
        )


def encode_state(state: LoopState) -> bytes:
    """The bytes of a state's file."""
    fields = {item.name: getattr(state, item.name) for item in dataclasses.fields(state)}
    arrays = {name: fields.pop(name).detach().cpu().numpy() for name in _TENSORS}
    return encode_entry(Entry(arrays=arrays, values=fields), {"format": FORMAT})


def decode_state(content: bytes) -> LoopState | None:
    """A state, or None if the bytes are damaged or have another format."""
    decoded = decode_entry(content)
    if decoded is None:
        return None
    entry, made_from = decoded
    if made_from != {"format": FORMAT}:
        return None
    values: dict[str, Any] = dict(entry.values)
    values |= {name: torch.from_numpy(array) for name, array in entry.arrays.items()}
    return LoopState(**values)


class StateFolder:
    """The states of one fit, which a single process writes.

    Args:
        folder: created when the first state is saved.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def save(self, state: LoopState) -> None:
        """Save a state and delete states older than those kept."""
        write_whole(self.folder / f"state-{state.step:012d}.saved", encode_state(state))
        for old in self._list()[:-KEPT]:
            old.unlink()

    def load(self) -> LoopState | None:
        """The newest undamaged state, or None.

        A damaged file is skipped with a warning; from the state before it, only the steps in
        between are repeated.
        """
        if self.folder.is_dir():
            # A process that was killed while it wrote left these.
            for rest in self.folder.glob(".*.saved.*"):
                rest.unlink()
        for path in reversed(self._list()):
            state = decode_state(path.read_bytes())
            if state is not None:
                return state
            _LOGGER.warning("%s is damaged or of another version: skipped", path)
        return None

    def _list(self) -> list[Path]:
        return sorted(self.folder.glob("state-*.saved"))
