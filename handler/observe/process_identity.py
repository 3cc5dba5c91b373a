"""Tells a process from the next owner of its number, whatever is done to the clock."""

from __future__ import annotations

from pathlib import Path

import psutil

_PROC = Path("/proc")
_BOOT = _PROC / "sys/kernel/random/boot_id"
_STATE, _STARTED = 3, 22
"""Fields of ``/proc/PID/stat``, counted from 1 as proc(5) does."""
_DEAD = (b"Z", b"X", b"x")


def identify_process(pid: int) -> str | None:
    """Return what no other process has that ever had this number; None where it is dead.

    On Linux that is the boot and the clock ticks since then at which it began: both stay
    as they are when the clock is set, which psutil's time of a start does not.

    >>> import os
    >>> identify_process(os.getpid()) == identify_process(os.getpid())
    True
    """
    if not (_PROC / "self/stat").exists():
        return _ask_psutil(pid)
    try:
        # The name, in parentheses, may hold anything.
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
