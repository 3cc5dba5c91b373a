"""Telling memory that ran out from other errors."""

from __future__ import annotations

import torch

_WORDS = ("can't allocate memory", "ALLOC_FAILED")
"""The CPU's allocator and cuBLAS have no class of their own for it."""


def ran_out(error: Exception) -> bool:
    """Whether an error says that memory, of the machine or the device, ran out.

    Example:
        >>> ran_out(MemoryError()), ran_out(RuntimeError("shapes cannot be multiplied"))
        (True, False)
    """
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _WORDS)
