"""The record of the server that was started with a folder, of either engine."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import psutil
from henaw.handler.observe.process_identity import identify_process
from henaw.model.errors import HenawError
from henaw.model.files import write_whole

Engine = Literal["native", "torchserve"]
RECORD_NAME = "server.json"
_LINES_SHOWN = 20


class ServerError(HenawError, RuntimeError):
    """The server did not start, or does not run or answer."""


@dataclass(frozen=True, kw_only=True)
class Record:
    """A running server.

    Attributes:
        pid: process number of TorchServe's front end or of the native engine's supervisor.
        created: when that process started; tells it from a later one with the same number.
        url: the address of predictions.
        engine: native or torchserve.
        temporary: TorchServe's folder for sockets and unpacked archives.
        certificate: certificate file of the native engine; None without TLS.
        private_key: the file of its private key.
        needs_key: whether the native engine answers only clients with a key.
        management: the native engine's management address; None if it has none.
        store: the folder that the native engine loads versions from.
        monitor_port: port of the native engine's monitor.
    """

    pid: int
    created: str
    url: str
    engine: Engine = "torchserve"
    temporary: str = ""
    certificate: str | None = None
    private_key: str | None = None
    needs_key: bool = False
    management: str | None = None
    store: str | None = None
    monitor_port: int | None = None

    def find_process(self) -> psutil.Process | None:
        """Return the server's process, if it still runs."""
        if identify_process(self.pid) != self.created:
            return None
        try:
            return psutil.Process(self.pid)
        except psutil.Error:
            return None

    def write(self, run: Path) -> None:
        """Write the record into the server's folder."""
        write_whole(run / RECORD_NAME, json.dumps(dataclasses.asdict(self)).encode())


def read_record(run: Path) -> Record | None:
    """Return the record in a folder; its server may have ended."""
    try:
        return Record(**json.loads((run / RECORD_NAME).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def refuse_second(run: Path) -> None:
    """Check that no server runs with a folder.

    Raises:
        ServerError: a server runs with it.
    """
    running = find_server(run)
    if running is not None:
        raise ServerError(f"a server runs already at {running.url}, pid {running.pid}")


def find_server(run: Path) -> Record | None:
    """Return the server that was started with this folder, if it still runs."""
    record = read_record(run)
    return None if record is None or record.find_process() is None else record


def read_log_tails(run: Path, *names: str) -> str:
    """Return the last lines of each of these logs that is not empty."""
    parts = []
    for name in names:
        log = run / "logs" / name
        text = log.read_text(encoding="utf-8", errors="replace") if log.is_file() else ""
        if text.strip():
            tail = "\n".join(f"  {line}" for line in text.splitlines()[-_LINES_SHOWN:])
            parts.append(f"{log}:\n{tail}")
    return "\n".join(parts)
