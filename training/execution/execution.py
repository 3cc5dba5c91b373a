"""Where a fit runs: a device, a working folder, one process or several.

Nothing here changes what a fit gives, beyond rounding.
"""

from __future__ import annotations

import datetime
import os
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
_LONGEST_WAIT = datetime.timedelta(hours=12)
"""Processes wait while the leading one tabulates the reference, minutes on a large cohort."""


@dataclass(frozen=True, kw_only=True)
class Execution:
    """Where a fit runs.

    Attributes:
        device: of the people and the parameters.
        work: folder for cached cohorts, saved states and records; none are kept
            without it.
        rank: number of this process, from 0.
        world: number of processes.
        tick: told, in a few words, where a solver is, at most some times a second.
    """

    device: torch.device = _CPU
    work: Path | None = None
    rank: int = 0
    world: int = 1
    tick: Callable[[str], None] = lambda _: None

    @property
    def leads(self) -> bool:
        """Whether this process writes what only one may write."""
        return self.rank == 0

    def add_up(self, values: Tensor) -> Tensor:
        """Sum over the processes; what each gives must have the same shape."""
        if self.world == 1:
            return values
        # NCCL adds up what is on its device only.
        total = values.to(self.device, copy=True)
        torch.distributed.all_reduce(total)
        return total.to(values.device)

    def spread(self, values: Tensor) -> Tensor:
        """The leading process's values, in every process; all must have the same shape."""
        if self.world == 1:
            return values
        sent = values.to(self.device, copy=True)
        torch.distributed.broadcast(sent, 0)
        return sent.to(values.device)

    def share(self, content: bytes) -> bytes:
        """The leading process's bytes, in every process."""
        if self.world == 1:
            return content
        length = int(self.spread(torch.tensor([len(content)])))
        data = torch.zeros(length, dtype=torch.uint8)
        if self.leads and content:
            data = torch.frombuffer(bytearray(content), dtype=torch.uint8)
        return self.spread(data).numpy().tobytes()


ALONE = Execution()
"""On the CPU, in one process, keeping nothing."""


@contextmanager
def open_execution(device: str, work: Path | None) -> Iterator[Execution]:
    """Choose the device, join the processes that torchrun started, and hold the folder.

    Args:
        device: auto, cpu, cuda or cuda:N; auto is CUDA where there is one.
        work: see :class:`Execution`.

    Raises:
        RuntimeUnavailableError: the device is not there.
        ConfigurationError: the device is none of those, or another fit holds the folder.
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
            # torchrun stops every process when one fails as it ends: the leading one
            # must have written what it writes by then.
            torch.distributed.barrier()
    finally:
        if torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()
        if lock is not None:
            lock.release()


def choose_device(name: str, local_rank: int = 0) -> torch.device:
    """A device by its name; ``local_rank`` tells processes of one machine apart.

    Raises:
        RuntimeUnavailableError: it is not there.
        ConfigurationError: there is no such name.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ConfigurationError("device", [_explain_names(name)]) from error
    if device.type not in ("cpu", "cuda"):
        raise ConfigurationError("device", [_explain_names(name)])
    if device.type == "cuda":
        device = torch.device("cuda", local_rank if device.index is None else device.index)
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if (device.index or 0) >= count:
            raise RuntimeUnavailableError(
                f"there is no device {device}; CUDA devices here: {count}"
            )
        torch.cuda.set_device(device)
    return device


def _explain_names(name: str) -> str:
    return f"device must be auto, cpu, cuda or cuda:N; got {name!r}"
