"""Telling a lack of memory from other errors."""

from __future__ import annotations

import torch

_WORDS = ("can't allocate memory", "ALLOC_FAILED")
"""Errors of the CPU's allocator and of cuBLAS, which raise a plain RuntimeError."""


def ran_out(error: Exception) -> bool:
    """Whether an error means that memory ran out, of the machine or of the device.

    Example:
        >>> ran_out(MemoryError()), ran_out(RuntimeError("shapes cannot be multiplied"))
        (True, False)
    """
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _WORDS)
