"""Saved states of the mini-batches, from which a fit continues to the same last bit.

A state is one safetensors file, written whole or not at all. The last three are kept.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from henaw.model.checkpoint import write_whole
from torch import Tensor

FORMAT = 3
KEPT = 3
_METADATA_KEY = "henaw_state"
_TENSORS = ("free", "first_moment", "second_moment")
_LOGGER = logging.getLogger(__name__)


@dataclass
class LoopState:
    """The state of the mini-batches.

    Attributes:
        free: (P,) float64, the parameters.
        first_moment: (P,) float64, Adam's.
        second_moment: (P,) float64, Adam's.
        step: steps taken.
        epoch: epochs completed.
        batch: batches taken of the current epoch.
        accumulation: pieces in which a batch is computed.
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
    """The bytes of a state's file, with a SHA-256 of the content in the header."""
    tensors = {name: getattr(state, name).detach().cpu().contiguous() for name in _TENSORS}
    values = {
        item.name: getattr(state, item.name)
        for item in dataclasses.fields(state)
        if item.name not in _TENSORS
    }
    header = {"format": FORMAT, "values": values}
    text = json.dumps(header, sort_keys=True)
    digest = _digest(tensors, text)
    return safetensors.torch.save(
        tensors, metadata={_METADATA_KEY: text, f"{_METADATA_KEY}_sha256": digest}
    )


def decode_state(content: bytes) -> LoopState | None:
    """A state, or None if the bytes are damaged or of another format."""
    try:
        tensors = safetensors.torch.load(content)
    except safetensors.SafetensorError:
        return None
    length = int.from_bytes(content[:8], "little")
    metadata: dict[str, str] = json.loads(content[8 : 8 + length]).get("__metadata__", {})
    text = metadata.get(_METADATA_KEY, "")
    if metadata.get(f"{_METADATA_KEY}_sha256") != _digest(tensors, text):
        return None
    header: dict[str, Any] = json.loads(text)
    if header["format"] != FORMAT:
        return None
    values: dict[str, Any] = header["values"]
    return LoopState(**{**tensors, **values})


class StateFolder:
    """The states of one fit, which a single process writes.

    Args:
        folder: created when the first state is saved.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def save(self, state: LoopState) -> None:
        """Save a state and drop the oldest beyond those kept."""
        write_whole(self.folder / f"state-{state.step:012d}.safetensors", encode_state(state))
        for old in self._list()[:-KEPT]:
            old.unlink()

    def load(self) -> LoopState | None:
        """The newest undamaged state, or None.

        A damaged file is skipped with a warning; the state before it costs only the steps in
        between.
        """
        if self.folder.is_dir():
            # A process that was killed while it wrote left these.
            for rest in self.folder.glob(".*.safetensors.*"):
                rest.unlink()
        for path in reversed(self._list()):
            state = decode_state(path.read_bytes())
            if state is not None:
                return state
            _LOGGER.warning("%s is damaged or of another version: skipped", path)
        return None

    def _list(self) -> list[Path]:
        return sorted(self.folder.glob("state-*.safetensors"))


def _digest(tensors: dict[str, Tensor], text: str) -> str:
    digest = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        digest.update(f"{name} {tensors[name].dtype} {list(tensors[name].shape)}\n".encode())
        digest.update(tensors[name].flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
