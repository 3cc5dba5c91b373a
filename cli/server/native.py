"""The native engine of ``henaw serve``: its start, in the background or not, and its end."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil
from henaw.cli.server.background import list_family, start_command, wait_or_kill
from henaw.cli.server.record import (
    RECORD_NAME,
    Record,
    ServerError,
    find_server,
    read_log_tails,
    refuse_second,
)
from henaw.handler.configuration import HandlerConfiguration, load_configuration
from henaw.handler.native.engine import LOGS_NAME, OPERATOR_KEY_NAME, Place, move_ports, run_engine
from henaw.handler.observe.process_identity import identify_process
from henaw.model.errors import HenawError
from henaw.model.files import make_private_folder

CONSOLE_LOG = "console.log"
_START_TIMEOUT_S = 120.0
_POLL_S = 0.02
LONGEST_STOP_S = 60
"""A stop takes at most this long; kill the server only after that."""


def serve_here(
    *,
    configuration: Path,
    source: Path,
    store: Path,
    run: Path,
    first_port: int | None,
    when_ready: Callable[[Record], None],
) -> None:
    """Serve in this process until it is told to end.

    Args:
        configuration: a folder with ``handler.yaml``.
        source: an archive, or a folder of ``henaw export``.
        store: the folder that versions are added from.
        run: the server's folder.
        first_port: the first of six consecutive ports, instead of the configured ones.
        when_ready: called in a thread, once the server answers.

    Raises:
        ConfigurationError: a file of the configuration is missing or wrong.
        ServerError: a server runs already.
        HenawError: the model is damaged, a port is taken, or ``when_ready`` failed.
    """
    refuse_second(run)
    file = configuration / "handler.yaml"
    handler = move_ports(load_configuration(file), first_port)
    for folder in (run, run / LOGS_NAME):
        make_private_folder(folder)
    record = _describe(handler, store)
    failures: list[HenawError] = []

    def greet(end: Callable[[], None]) -> None:
        record.write(run)
        # This runs in a thread, so that the supervisor can watch its workers meanwhile.
        threading.Thread(target=ask_once, args=(end,), daemon=True).start()

    def ask_once(end: Callable[[], None]) -> None:
        try:
            when_ready(record)
        except HenawError as error:
            failures.append(error)
            end()

    place = Place(source=source, store=store, run=run)
    try:
        run_engine(place, handler, greet)
    finally:
        for name in (RECORD_NAME, OPERATOR_KEY_NAME):
            (run / name).unlink(missing_ok=True)
    if failures:
        raise failures[0]


def start_native(
    *, configuration: Path, source: Path, store: Path, run: Path, first_port: int | None = None
) -> Record:
    """Start the engine in the background and return once it answers.

    Raises:
        ServerError: a server runs already, or this one ended; the message says why.
    """
    refuse_second(run)
    logs = run / LOGS_NAME
    for folder in (run, logs):
        make_private_folder(folder)
    arguments = [
        *("serve", "--engine", "native", "--foreground"),
        *("--config", str(configuration), "--archive", str(source), "--run", str(run)),
        *("--store", str(store)),
    ]
    if first_port is not None:
        arguments += ["--port", str(first_port)]
    pid = start_command(arguments, logs / CONSOLE_LOG)
    deadline_s = time.monotonic() + _START_TIMEOUT_S
    while time.monotonic() < deadline_s:
        record = find_server(run)
        if record is not None and record.pid == pid:
            return record
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            said = (logs / CONSOLE_LOG).read_text(encoding="utf-8", errors="replace").strip()
            # Its last message becomes the message of this error.
            raise ServerError(said.rpartition("error: ")[2] or f"exit status {status >> 8}")
        time.sleep(_POLL_S)
    os.kill(pid, signal.SIGTERM)
    raise ServerError(
        f"the server did not start in {_START_TIMEOUT_S:g} s\n" + read_log_tails(run, CONSOLE_LOG)
    )


def stop_native(record: Record, run: Path) -> None:
    """Stop a server and wait until all its processes have ended.

    The supervisor first answers the requests that it has accepted.
    """
    process = record.find_process()
    if process is None:
        return
    family = list_family(process)
    with contextlib.suppress(psutil.Error):
        process.terminate()
    wait_or_kill(family, LONGEST_STOP_S)
    (run / RECORD_NAME).unlink(missing_ok=True)


def _describe(handler: HandlerConfiguration, store: Path) -> Record:
    native = handler.native
    created = identify_process(os.getpid())
    if created is None:
        raise HenawError("this process cannot be identified. Is /proc mounted?")
    scheme = "http" if native.certificate is None else "https"
    host = f"[{native.address}]" if ":" in native.address else native.address
    return Record(
        pid=os.getpid(),
        created=created,
        url=f"{scheme}://{host}:{native.port}",
        engine="native",
        certificate=native.certificate,
        private_key=native.key,
        needs_key=native.require_key,
        management=(
            None if native.management_port is None else f"http://127.0.0.1:{native.management_port}"
        ),
        store=str(store),
        monitor_port=handler.monitor.port,
    )
