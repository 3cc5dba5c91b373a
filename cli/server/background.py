"""Start and stop background processes."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import psutil

_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_TRUNC


def start_command(arguments: Sequence[str], log: Path) -> int:
    """Start a ``henaw`` command in the background and return its process number.

    Args:
        arguments: the command's arguments, such as ``["monitor", "--port", "8084"]``.
        log: the file that gets its output; an old file is emptied.
    """
    # This does not use subprocess, whose destructor warns of a child that still runs.
    return os.posix_spawn(
        sys.executable,
        [sys.executable, "-c", "from henaw.cli.main import main; main()", *arguments],
        os.environ,
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, log, _NEW_FILE, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
        # In a session of its own, the shell's Ctrl-C and hang-up do not reach it.
        setsid=True,
    )


def list_family(process: psutil.Process) -> list[psutil.Process]:
    """Return a process and all its descendants."""
    with contextlib.suppress(psutil.Error):
        return [process, *process.children(recursive=True)]
    return [process]


def wait_or_kill(family: Sequence[psutil.Process], timeout_s: float) -> None:
    """Wait until processes have ended; kill those that have not ended in time."""
    _, left = psutil.wait_procs(family, timeout=timeout_s)
    for straggler in left:
        with contextlib.suppress(psutil.Error):
            straggler.kill()
    psutil.wait_procs(left, timeout=timeout_s)
