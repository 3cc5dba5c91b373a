"""Where a fit runs: a device, a working folder, one process or several.

None of it changes the result of a fit, except for rounding.
"""

from __future__ import annotations

import datetime
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.distributed
from filelock import FileLock, Timeout
from henaw.model.errors import ConfigurationError, RuntimeUnavailableError
from henaw.model.files import make_private_folder
from torch import Tensor

_CPU = torch.device("cpu")
_NAME = re.compile(r"cpu|cuda(:(0|[1-9]\d{0,2}))?")
_LONGEST_WAIT = datetime.timedelta(hours=12)
"""Processes wait for the leading one, which needs minutes for the reference of a large cohort."""


@dataclass(frozen=True, kw_only=True)
class Execution:
    """Where a fit runs.

    Attributes:
        device: the device with the people and the parameters.
        work: folder for cached results, saved states and records; None keeps none.
        rank: the number of this process, from 0.
        world: how many processes there are.
        tick: called with a solver's progress, in a few words.
    """

    device: torch.device = _CPU
    work: Path | None = None
    rank: int = 0
    world: int = 1
    tick: Callable[[str], None] = lambda _: None

    @property
    def leads(self) -> bool:
        """Whether this is the leading process, the only one that writes files."""
        return self.rank == 0

    def add_up(self, values: Tensor) -> Tensor:
        """The sum over the processes, whose values must have the same shape."""
        if self.world == 1:
            return values
        # NCCL sums only tensors on its device.
        total = values.to(self.device, copy=True)
        torch.distributed.all_reduce(total)
        return total.to(values.device)

    def spread(self, values: Tensor) -> Tensor:
        """The leading process's values, sent to every process; shapes must be equal."""
        if self.world == 1:
            return values
        sent = values.to(self.device, copy=True)
        torch.distributed.broadcast(sent, 0)
        return sent.to(values.device)

    def share(self, content: bytes) -> bytes:
        """The leading process's bytes, sent to every process."""
        if self.world == 1:
            return content
        length = int(self.spread(torch.tensor([len(content)])))
        data = torch.zeros(length, dtype=torch.uint8)
        if self.leads and content:
            data = torch.frombuffer(bytearray(content), dtype=torch.uint8)
        return self.spread(data).numpy().tobytes()


ALONE = Execution()
"""One process on the CPU, without a working folder."""


@contextmanager
def open_execution(device: str, work: Path | None) -> Iterator[Execution]:
    """Choose the device, join the processes that torchrun started, and lock the folder.

    Args:
        device: auto, cpu, cuda or cuda:N; auto is CUDA if there is a device.
        work: see :class:`Execution`.

    Raises:
        RuntimeUnavailableError: there is no such device.
        ConfigurationError: the name is not one of these, or another fit is using the folder.
    """
    world, rank = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("RANK", "0"))
    chosen = choose_device(device, int(os.environ.get("LOCAL_RANK", "0")))
    lock = None
    if work is not None and rank == 0:
        make_private_folder(work)
        lock = FileLock(work / "work.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout as error:
            raise ConfigurationError(
                str(work), ["another fit is using this folder. Choose another one"]
            ) from error
    try:
        if world > 1:
            backend = "nccl" if chosen.type == "cuda" else "gloo"
            torch.distributed.init_process_group(
                backend, rank=rank, world_size=world, timeout=_LONGEST_WAIT
            )
        yield Execution(device=chosen, work=work, rank=rank, world=world)
        if world > 1:
            # If a process fails while it ends, torchrun stops all. The barrier lets the
            # leading process write its files first.
            torch.distributed.barrier()
    finally:
        if torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()
        if lock is not None:
            lock.release()


def choose_device(name: str, local_rank: int = 0) -> torch.device:
    """A device by its name.

    Args:
        name: auto, cpu, cuda or cuda:N.
        local_rank: the process's number on its machine, which chooses its CUDA device.

    Raises:
        RuntimeUnavailableError: there is no such device.
        ConfigurationError: the name is not one of these.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if not _NAME.fullmatch(name):
        raise ConfigurationError(
            "device", [f"device must be auto, cpu, cuda or cuda:N; got {name!r}"]
        )
    device = torch.device(name)
    if device.type == "cuda":
        device = torch.device("cuda", local_rank if device.index is None else device.index)
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if (device.index or 0) >= count:
            raise RuntimeUnavailableError(
                f"there is no device {device}; CUDA devices here: {count}"
            )
        torch.cuda.set_device(device)
    return device
