"""One TorchServe of our own: its files in one folder, its start, its end."""

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
from henaw.cli.java import find_java_home
from henaw.cli.monitor_process import FOLDER_NAME, start_monitor, stop_monitor
from henaw.cli.properties import (
    ADDRESSES,
    GRPC_PORTS,
    read_properties,
    write_effective_properties,
)
from henaw.cli.server_record import (
    RECORD_NAME,
    Record,
    ServerError,
    find_server,
    read_log_tails,
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
"""A Unix socket's path holds 107 bytes; TorchServe puts its own in the temporary folder."""

_WORKER_DIED = "Backend worker process died."
_WORKER_BEGINS = "s_name_part0="
_RAISED = re.compile(r"[\w.]+(?:Error|Exception): ")
_LINES_SHOWN = 20
_MODEL_LOG = "model_log.log"

_START_TIMEOUT_S = 60
_STOP_TIMEOUT_S = 30
_IDLE_TIMEOUT_S = 5
_DRAIN_TIMEOUT_S = 30
"""As long as a batch may take, by model-config.yaml."""
LONGEST_STOP_S = _IDLE_TIMEOUT_S + _DRAIN_TIMEOUT_S + 2 * _STOP_TIMEOUT_S
"""Wait this long after a stop before you kill it."""
_WITHOUT_WORKER_S = 60.0
_IDLE_S = 0.3
"""A worker that waits spends nothing in this; one that works cannot but be seen to."""

_MONITOR_OFFSET = len(ADDRESSES) + len(GRPC_PORTS)


def start_server(
    *, configuration: Path, archive: Path, run: Path, first_port: int | None = None
) -> Record:
    """Start TorchServe in the background; it may not answer yet.

    Args:
        configuration: a folder with ``config.properties``, ``handler.yaml`` and
            ``log4j2.xml``.
        archive: the model.
        run: where its pid, logs, throttle store and temporary files go.
        first_port: six ports from here on instead of those configured: inference,
            management, metrics, gRPC for the first two, and the monitor's.

    Raises:
        ConfigurationError: a file of the configuration is missing.
        ArtifactError: the archive is not whole.
        ServerError: it runs already, a port is taken, or TorchServe refused.
        RuntimeUnavailableError: there is no Java for it, or another TorchServe.
    """
    running = find_server(run)
    if running is not None:
        raise ServerError(f"a server runs already: {running.url}, pid {running.pid}")
    stop_monitor(run)
    # TorchServe would try to unpack it for minutes.
    check_whole(archive)
    java_home = find_java_home()
    properties = read_properties(configuration, archive, first_port)
    monitor = load_configuration(configuration / "handler.yaml").monitor
    if first_port is not None:
        monitor = dataclasses.replace(monitor, port=first_port + _MONITOR_OFFSET)
    taken = list_taken_ports(properties, monitor)
    if taken:
        raise ServerError("; ".join(taken) + ": stop what listens there, or give another --port")
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
        # TorchServe's script keeps its pid file in the one, its front end all else in
        # the other.
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
            # Its own session: the shell's Ctrl-C and hang-up are not for the server.
            start_new_session=True,
        )
        try:
            starter.wait(timeout=_START_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            # Nothing is left behind that no record names.
            os.killpg(starter.pid, signal.SIGKILL)
            starter.wait()
            raise ServerError(
                f"expected TorchServe to start within {_START_TIMEOUT_S} s, however: it did not\n"
                + read_log_tail(run)
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
    """Return the mark by which a server's workers send everybody away, if it is there."""
    drain = run / _DRAIN_NAME
    return drain if drain.is_dir() else None


def stop_server(run: Path) -> Record | None:
    """Stop that server and its workers, and wait until all are gone.

    Nothing that the server has taken is left without an answer. The monitor ends first, so
    that who watches readiness sends no more. Then the workers may finish, a few seconds at
    most; then they send away whatever comes; and once all have done what they had begun,
    the front end closes its doors, answers whom it let in, and ends.

    Returns:
        What ran; None where nothing did.
    """
    stop_monitor(run)
    record = find_server(run)
    process = None if record is None else record.find_process()
    if record is None or process is None:
        return None
    family = [process]
    with contextlib.suppress(psutil.Error):
        family += process.children(recursive=True)
    drain = run / _DRAIN_NAME
    try:
        _wait_until_idle(family[1:], timeout_s=_IDLE_TIMEOUT_S)
        drain.mkdir(exist_ok=True)
        _wait_until_idle(family[1:], timeout_s=_DRAIN_TIMEOUT_S, drain=drain)
        with contextlib.suppress(psutil.Error):
            process.terminate()
    except BaseException:
        # It goes on, so it answers again.
        shutil.rmtree(drain, ignore_errors=True)
        raise
    _, left = psutil.wait_procs(family, timeout=_STOP_TIMEOUT_S)
    for straggler in left:
        with contextlib.suppress(psutil.Error):
            straggler.kill()
    psutil.wait_procs(left, timeout=_STOP_TIMEOUT_S)
    for folder in (record.temporary, drain):
        shutil.rmtree(folder, ignore_errors=True)
    for name in (RECORD_NAME, "tmp/.model_server.pid"):
        (run / name).unlink(missing_ok=True)
    return record


def _wait_until_idle(
    workers: list[psutil.Process], *, timeout_s: float, drain: Path | None = None
) -> None:
    """Return when the workers spend no time or, where marked, all saw it; or after a while."""
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
    """Return when the server has ended by itself.

    Raises:
        ServerError: no worker has lived for a while, though TorchServe goes on: by gRPC a
            client can end the thread that starts them.
    """
    alive_s = time.monotonic()
    while record.find_process() is not None:
        time.sleep(1.0)
        if any(state.is_alive() for state in read_states(run / FOLDER_NAME)):
            alive_s = time.monotonic()
        elif time.monotonic() > alive_s + _WITHOUT_WORKER_S:
            raise ServerError(
                f"no worker has lived for {_WITHOUT_WORKER_S:g} s:\n" + read_log_tail(run)
            )


def measure_model_log(run: Path) -> int:
    """Return how many bytes the workers have logged."""
    log = run / "logs" / _MODEL_LOG
    return log.stat().st_size if log.is_file() else 0


def find_refusal(run: Path, since: int = 0) -> str | None:
    """Return why a worker refused to serve, in its own words; None where none did.

    Args:
        run: the server's folder.
        since: bytes of the workers' log that are older than what is asked about.
    """
    log = run / "logs" / _MODEL_LOG
    content = log.read_bytes() if log.is_file() else b""
    if len(content) < since:  # a new log was begun
        since = 0
    text = content[since:].decode("utf-8", errors="replace")
    before, died, after = text.partition(_WORKER_DIED)
    if not died:
        return None
    # TorchServe writes the trace of a RuntimeError before its own sentence, that of any other
    # error after it; what follows then is the next attempt's.
    for part in (before, after.partition(_WORKER_BEGINS)[0]):
        lines = part.splitlines()
        raised = [i for i, line in enumerate(lines) if _RAISED.match(line)]
        if raised:
            return "\n".join(lines[raised[-1] :])
    return "\n".join(before.splitlines()[-_LINES_SHOWN:])


def read_log_tail(run: Path) -> str:
    """Return the end of each log that holds anything, for a person to read."""
    return read_log_tails(run, "console.log", "ts_log.log", _MODEL_LOG)


def list_taken_ports(properties: dict[str, str], monitor: MonitorConfiguration) -> list[str]:
    """Return a sentence for each address at which something listens already."""
    addresses = [
        (urlsplit(properties[key]).hostname, urlsplit(properties[key]).port or 0, key)
        for key in ADDRESSES
    ]
    addresses += [("127.0.0.1", int(properties[key]), key) for key in GRPC_PORTS]
    addresses.append((monitor.address, monitor.port, "monitor"))
    return find_taken_ports(addresses)


def find_taken_ports(addresses: Sequence[tuple[str | None, int, str]]) -> list[str]:
    """Return a sentence for each address, port and name at which something listens already."""
    taken = []
    for host, port, key in addresses:
        with socket.socket() as probe:
            # As TorchServe does it: a port in TIME_WAIT is free.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError:
                taken.append(f"port {port} ({key}) is taken")
    return taken


def _set_aside(logs: Path) -> None:
    """Keep the last run's logs, and begin new ones: why a start failed is read from them."""
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
