"""The identity of a process, which no later process with the same pid has."""

from __future__ import annotations

from pathlib import Path

import psutil

_PROC = Path("/proc")
_BOOT = _PROC / "sys/kernel/random/boot_id"
_STATE, _STARTED = 3, 22
"""Fields of ``/proc/PID/stat``, counted from 1 as proc(5) does."""
_DEAD = (b"Z", b"X", b"x")


def identify_process(pid: int) -> str | None:
    """Return a text that no other process with this pid has ever had; None for a dead process.

    On Linux it is the id of the boot, and the clock ticks from the boot to the start of the
    process. Neither changes when the clock is set, as psutil's start time does.

    >>> import os
    >>> identify_process(os.getpid()) == identify_process(os.getpid())
    True
    """
    if not (_PROC / "self/stat").exists():
        return _ask_psutil(pid)
    try:
        # The name, in parentheses, may contain any character.
        fields = (_PROC / str(pid) / "stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return None
    if fields[_STATE - 3] in _DEAD:
        return None
    boot = _BOOT.read_text(encoding="ascii").strip() if _BOOT.exists() else "boot"
    return f"{boot}-{int(fields[_STARTED - 3])}"


def _ask_psutil(pid: int) -> str | None:
    try:
        process = psutil.Process(pid)
        dead = process.status() == psutil.STATUS_ZOMBIE
        return None if dead else repr(process.create_time())
    except psutil.Error:
        return None
