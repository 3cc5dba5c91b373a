"""The monitor beside a server of our own: started and stopped with it."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from pathlib import Path

import psutil
from henaw.handler.observe.process_identity import identify_process
from henaw.model.files import write_whole

FOLDER_NAME = "monitor"
"""In the server's folder: where its workers tell how they are."""

_RECORD_NAME = "monitor.json"
_STOP_TIMEOUT_S = 10
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_TRUNC


def start_monitor(*, configuration: Path, run: Path, port: int) -> None:
    """Start it in the background.

    Args:
        configuration: a folder with ``handler.yaml``, absolute.
        run: the server's folder, absolute.
        port: where it answers.
    """
    arguments = [
        *(sys.executable, "-c", "from henaw.cli.main import main; main()"),
        *("monitor", "--config", str(configuration), "--port", str(port)),
        *("--folder", str(run / FOLDER_NAME)),
    ]
    # Not by subprocess, which wants to see the end of what it starts.
    pid = os.posix_spawn(
        sys.executable,
        arguments,
        os.environ,
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, run / "logs" / "monitor.log", _NEW_FILE, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
        # As the server: the shell's Ctrl-C and hang-up are not for it.
        setsid=True,
    )
    record = {"pid": pid, "created": identify_process(pid), "port": port}
    write_whole(run / _RECORD_NAME, json.dumps(record).encode())


def read_monitor_port(run: Path) -> int | None:
    """Return where the one that was started with this folder answers."""
    try:
        return int(json.loads((run / _RECORD_NAME).read_text(encoding="utf-8"))["port"])
    except (OSError, ValueError, LookupError):
        return None


def stop_monitor(run: Path) -> None:
    """Stop the one that was started with this folder, if it still runs."""
    with contextlib.suppress(OSError, ValueError, KeyError, psutil.Error):
        record = json.loads((run / _RECORD_NAME).read_text(encoding="utf-8"))
        if identify_process(record["pid"]) == record["created"]:
            process = psutil.Process(record["pid"])
            process.terminate()
            with contextlib.suppress(psutil.TimeoutExpired):
                process.wait(timeout=_STOP_TIMEOUT_S)
    (run / _RECORD_NAME).unlink(missing_ok=True)
