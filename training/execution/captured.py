"""CUDA graphs: a computation is recorded once and replayed, one launch instead of hundreds."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

WARM_UP = 3
"""Plain runs before the recording, in which libraries initialise themselves."""
_LOGGER = logging.getLogger(__name__)


def capture(
    compute: Callable[[], Tensor], *, reads: Tensor, changes: Sequence[Tensor] = ()
) -> Callable[[], Tensor]:
    """``compute`` itself or, on CUDA, its recording.

    A recording reads and writes the same memory in each call, so its inputs must be changed
    in place. It must not wait for the device or copy from the CPU. If recording fails, a
    warning is logged and ``compute`` itself is returned.

    Args:
        compute: the computation; it always returns a tensor of the same shape.
        reads: a tensor that it reads; the computation is recorded only if this is on CUDA.
        changes: tensors that it changes; they are restored after the recording.

    Raises:
        torch.OutOfMemoryError: the computation does not fit into memory.
    """
    if reads.device.type != "cuda":
        return compute
    before = [tensor.detach().clone() for tensor in changes]
    try:
        return _record(compute, reads.device)
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        _LOGGER.warning("a CUDA graph could not be recorded; the fit is only slower: %s", error)
        torch.cuda.synchronize(reads.device)
        return compute
    finally:
        with torch.no_grad():
            for tensor, value in zip(changes, before, strict=True):
                tensor.copy_(value)


def _record(compute: Callable[[], Tensor], device: torch.device) -> Callable[[], Tensor]:
    with torch.cuda.device(device):
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(WARM_UP):
                compute()
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        # torch's default stream for captures may belong to another device.
        with torch.cuda.graph(graph, stream=stream):
            result = compute()

    def replay() -> Tensor:
        graph.replay()
        return result.clone()

    return replay
