"""The TorchServe of ``henaw serve``: its files in one folder, its start and its end."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

import psutil
from henaw.cli.server.background import list_family, wait_or_kill
from henaw.cli.server.java import find_java_home
from henaw.cli.server.monitor import FOLDER_NAME, start_monitor, stop_monitor
from henaw.cli.server.properties import (
    ADDRESSES,
    GRPC_PORTS,
    read_properties,
    write_effective_properties,
)
from henaw.cli.server.record import (
    RECORD_NAME,
    Record,
    ServerError,
    find_server,
    read_log_tails,
    refuse_second,
)
from henaw.handler.configuration import MonitorConfiguration, load_configuration
from henaw.handler.manifest import check_whole
from henaw.handler.observe.process_identity import identify_process
from henaw.handler.observe.worker_state import read_states
from henaw.handler.torchserve.drain import DRAIN_VARIABLE, list_drained
from henaw.model.files import make_private_folder

_DRAIN_NAME = "drain"
_SOCKET_NAME = ".ts.sock.9000"
_LONGEST_SOCKET_PATH = 100
"""A Unix socket's path has at most 107 bytes; TorchServe's is in the temporary folder."""

_WORKER_DIED = "Backend worker process died."
_WORKER_BEGINS = "s_name_part0="
_RAISED = re.compile(r"[\w.]+(?:Error|Exception): ")
_LINES_SHOWN = 20
_MODEL_LOG = "model_log.log"

_START_TIMEOUT_S = 60
_STOP_TIMEOUT_S = 30
_IDLE_TIMEOUT_S = 5
_DRAIN_TIMEOUT_S = 30
"""The longest time of a batch, as in model-config.yaml."""
LONGEST_STOP_S = _IDLE_TIMEOUT_S + _DRAIN_TIMEOUT_S + 2 * _STOP_TIMEOUT_S
"""A stop takes at most this long; kill the server only after that."""
_WITHOUT_WORKER_S = 60.0
_IDLE_S = 0.3
"""A worker that uses no processor time for so long is idle."""

_MONITOR_OFFSET = len(ADDRESSES) + len(GRPC_PORTS)


def start_server(
    *, configuration: Path, archive: Path, run: Path, first_port: int | None = None
) -> Record:
    """Start TorchServe in the background; it may not answer yet.

    Args:
        configuration: a folder with ``config.properties``, ``handler.yaml`` and
            ``log4j2.xml``.
        archive: the model.
        run: the folder for its pid, logs, throttle store and temporary files.
        first_port: the first of six consecutive ports, instead of the configured ones:
            inference, management, metrics, gRPC inference, gRPC management, monitor.

    Raises:
        ConfigurationError: a file of the configuration is missing.
        ArtifactError: the archive is incomplete.
        ServerError: a server runs already, a port is taken, or TorchServe did not start.
        RuntimeUnavailableError: there is no usable Java.
    """
    refuse_second(run)
    stop_monitor(run)
    # TorchServe would retry unpacking a broken archive for minutes.
    check_whole(archive)
    java_home = find_java_home()
    properties = read_properties(configuration, archive, first_port)
    monitor = load_configuration(configuration / "handler.yaml").monitor
    if first_port is not None:
        monitor = dataclasses.replace(monitor, port=first_port + _MONITOR_OFFSET)
    taken = list_taken_ports(properties, monitor)
    if taken:
        raise ServerError("; ".join(taken) + ". Stop what listens there, or give another --port")
    logs, temporary = run / "logs", _make_temporary(run)
    _set_aside(logs)
    for folder in (run, logs, run / "tmp"):
        make_private_folder(folder)
    shutil.rmtree(run / _DRAIN_NAME, ignore_errors=True)
    effective = write_effective_properties(run, properties)
    environment = {
        **os.environ,
        "JAVA_HOME": str(java_home),
        "TS_CONFIG_FILE": str(effective),
        "LOG_LOCATION": str(logs),
        "METRICS_LOCATION": str(logs),
        # TorchServe's script writes its pid file to TMPDIR; its front end uses TEMP for all
        # other files.
        "TMPDIR": str(run / "tmp"),
        "TEMP": temporary,
        "HENAW_HANDLER_CONFIG": str(configuration / "handler.yaml"),
        "HENAW_THROTTLE_STORE": str(run / "throttle.sqlite3"),
        "HENAW_MONITOR_FOLDER": str(run / FOLDER_NAME),
        DRAIN_VARIABLE: str(run / _DRAIN_NAME),
    }
    pid_file = run / "tmp" / ".model_server.pid"
    pid_file.unlink(missing_ok=True)
    with (logs / "console.log").open("wb") as console:
        starter = subprocess.Popen(
            [sys.executable, "-m", "ts.model_server", "--start", "--ncs"],
            cwd=run,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=console,
            stderr=subprocess.STDOUT,
            # In a session of its own, the shell's Ctrl-C and hang-up do not reach it.
            start_new_session=True,
        )
        try:
            starter.wait(timeout=_START_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            # No record names these processes, so they must not stay.
            os.killpg(starter.pid, signal.SIGKILL)
            starter.wait()
            raise ServerError(
                f"TorchServe did not start within {_START_TIMEOUT_S} s\n" + read_log_tail(run)
            ) from None
    try:
        pid = int(pid_file.read_text(encoding="ascii"))
    except (OSError, ValueError):
        raise ServerError("TorchServe did not start:\n" + read_log_tail(run)) from None
    created = identify_process(pid)
    if created is None:
        raise ServerError("TorchServe did not start:\n" + read_log_tail(run))
    record = Record(
        pid=pid, created=created, url=properties["inference_address"], temporary=temporary
    )
    record.write(run)
    start_monitor(configuration=configuration, run=run, port=monitor.port)
    return record


def find_drain(run: Path) -> Path | None:
    """Return the folder whose presence makes the workers refuse requests, if it exists."""
    drain = run / _DRAIN_NAME
    return drain if drain.is_dir() else None


def stop_server(run: Path) -> Record | None:
    """Stop a server and its workers and wait until all have ended.

    Every accepted request is answered:

    1. The monitor ends, so that a load balancer sends no more requests.
    2. For a few seconds the workers finish what they have.
    3. The workers refuse new requests until all that have begun are finished.
    4. The front end closes its ports, answers what it has accepted, and ends.

    Returns:
        The server that ran; None if there was none.
    """
    stop_monitor(run)
    record = find_server(run)
    process = None if record is None else record.find_process()
    if record is None or process is None:
        return None
    family = list_family(process)
    drain = run / _DRAIN_NAME
    try:
        _wait_until_idle(family[1:], timeout_s=_IDLE_TIMEOUT_S)
        drain.mkdir(exist_ok=True)
        _wait_until_idle(family[1:], timeout_s=_DRAIN_TIMEOUT_S, drain=drain)
        with contextlib.suppress(psutil.Error):
            process.terminate()
    except BaseException:
        # The server stays, so it must answer again.
        shutil.rmtree(drain, ignore_errors=True)
        raise
    wait_or_kill(family, _STOP_TIMEOUT_S)
    for folder in (record.temporary, drain):
        shutil.rmtree(folder, ignore_errors=True)
    for name in (RECORD_NAME, "tmp/.model_server.pid"):
        (run / name).unlink(missing_ok=True)
    return record


def _wait_until_idle(
    workers: list[psutil.Process], *, timeout_s: float, drain: Path | None = None
) -> None:
    """Wait until no worker uses processor time or all have seen ``drain``, or the time is over."""
    deadline_s = time.monotonic() + timeout_s
    spent: list[float] = []
    while time.monotonic() < deadline_s:
        before, spent = spent, []
        for worker in workers:
            if drain is not None and worker.pid in list_drained(drain):
                continue
            with contextlib.suppress(psutil.Error):
                times = worker.cpu_times()
                spent.append(times.user + times.system)
        if spent == before:
            return
        time.sleep(_IDLE_S)


def wait_for_exit(record: Record, run: Path) -> None:
    """Wait until the server ends by itself.

    Raises:
        ServerError: TorchServe runs, but no worker has run for a minute: through gRPC a client
            can end the thread that starts workers.
    """
    alive_s = time.monotonic()
    while record.find_process() is not None:
        time.sleep(1.0)
        if any(state.is_alive() for state in read_states(run / FOLDER_NAME)):
            alive_s = time.monotonic()
        elif time.monotonic() > alive_s + _WITHOUT_WORKER_S:
            raise ServerError(
                f"no worker has run for {_WITHOUT_WORKER_S:g} s:\n" + read_log_tail(run)
            )


def measure_model_log(run: Path) -> int:
    """Return the size of the workers' log in bytes."""
    log = run / "logs" / _MODEL_LOG
    return log.stat().st_size if log.is_file() else 0


def find_refusal(run: Path, since: int = 0) -> str | None:
    """Return the message of a worker that refused to serve; None if none did.

    Args:
        run: the server's folder.
        since: bytes of the workers' log to skip.
    """
    log = run / "logs" / _MODEL_LOG
    content = log.read_bytes() if log.is_file() else b""
    if len(content) < since:  # a new log began
        since = 0
    text = content[since:].decode("utf-8", errors="replace")
    before, died, after = text.partition(_WORKER_DIED)
    if not died:
        return None
    # TorchServe writes the traceback of a RuntimeError before its own sentence. It writes that of
    # other errors after its sentence, followed by the next attempt.
    for part in (before, after.partition(_WORKER_BEGINS)[0]):
        lines = part.splitlines()
        raised = [i for i, line in enumerate(lines) if _RAISED.match(line)]
        if raised:
            return "\n".join(lines[raised[-1] :])
    return "\n".join(before.splitlines()[-_LINES_SHOWN:])


def read_log_tail(run: Path) -> str:
    """Return the last lines of each log that is not empty."""
    return read_log_tails(run, "console.log", "ts_log.log", _MODEL_LOG)


def list_taken_ports(properties: dict[str, str], monitor: MonitorConfiguration) -> list[str]:
    """Return a sentence for each configured port that is taken."""
    addresses = [
        (urlsplit(properties[key]).hostname, urlsplit(properties[key]).port or 0, key)
        for key in ADDRESSES
    ]
    addresses += [("127.0.0.1", int(properties[key]), key) for key in GRPC_PORTS]
    addresses.append((monitor.address, monitor.port, "monitor"))
    return find_taken_ports(addresses)


def find_taken_ports(addresses: Sequence[tuple[str | None, int, str]]) -> list[str]:
    """Return a sentence for each (address, port, name) that is taken."""
    taken = []
    for host, port, key in addresses:
        with socket.socket() as probe:
            # As in TorchServe: a port in TIME_WAIT is free.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError:
                taken.append(f"port {port} ({key}) is taken")
    return taken


def _set_aside(logs: Path) -> None:
    """Move the logs of the last run away: the new ones say why a start failed."""
    before = logs.with_name("logs.previous")
    if logs.is_dir():
        shutil.rmtree(before, ignore_errors=True)
        logs.rename(before)


def _make_temporary(run: Path) -> str:
    inside = run / "tmp"
    if len(str(inside / _SOCKET_NAME).encode()) < _LONGEST_SOCKET_PATH:
        make_private_folder(inside)
        return str(inside)
    return tempfile.mkdtemp(prefix="henaw-")
