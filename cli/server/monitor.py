"""The monitor beside a server: started and stopped with it."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import psutil
from henaw.cli.server.background import start_command
from henaw.handler.observe.process_identity import identify_process
from henaw.model.files import write_whole

FOLDER_NAME = "monitor"
"""In the server's folder: the state files of its workers."""

_RECORD_NAME = "monitor.json"
_STOP_TIMEOUT_S = 10


def start_monitor(*, configuration: Path, run: Path, port: int) -> None:
    """Start a monitor in the background.

    Args:
        configuration: a folder with ``handler.yaml``, absolute.
        run: the server's folder, absolute.
        port: the port that it listens on.
    """
    arguments = [
        *("monitor", "--config", str(configuration), "--port", str(port)),
        *("--folder", str(run / FOLDER_NAME)),
    ]
    pid = start_command(arguments, run / "logs" / "monitor.log")
    record = {"pid": pid, "created": identify_process(pid), "port": port}
    write_whole(run / _RECORD_NAME, json.dumps(record).encode())


def read_monitor_port(run: Path) -> int | None:
    """Return the port of the monitor that was started with a folder; None if there is none."""
    try:
        return int(json.loads((run / _RECORD_NAME).read_text(encoding="utf-8"))["port"])
    except (OSError, ValueError, LookupError):
        return None


def stop_monitor(run: Path) -> None:
    """Stop the monitor that was started with a folder, if it still runs."""
    with contextlib.suppress(OSError, ValueError, KeyError, psutil.Error):
        record = json.loads((run / _RECORD_NAME).read_text(encoding="utf-8"))
        if identify_process(record["pid"]) == record["created"]:
            process = psutil.Process(record["pid"])
            process.terminate()
            with contextlib.suppress(psutil.TimeoutExpired):
                process.wait(timeout=_STOP_TIMEOUT_S)
    (run / _RECORD_NAME).unlink(missing_ok=True)
