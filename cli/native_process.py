"""One native engine of our own: its start in the background, and its end."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil
from henaw.cli.server_record import RECORD_NAME, Record, ServerError, find_server, read_log_tails
from henaw.handler.configuration import HandlerConfiguration, load_configuration
from henaw.handler.native.engine import LOGS_NAME, OPERATOR_KEY_NAME, Place, move_ports, run_engine
from henaw.handler.observe.process_identity import identify_process
from henaw.model.errors import HenawError
from henaw.model.files import make_private_folder

CONSOLE_LOG = "console.log"
_START_TIMEOUT_S = 120.0
_POLL_S = 0.02
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
LONGEST_STOP_S = 60
"""Wait this long after a stop before you kill it."""


def serve_here(
    *,
    configuration: Path,
    source: Path,
    store: Path,
    run: Path,
    first_port: int | None,
    when_ready: Callable[[Record], None],
) -> None:
    """Serve in this process until told to end.

    Args:
        configuration: a folder with ``handler.yaml``.
        source: an archive, or a folder of ``henaw export``.
        store: the folder that versions are added from.
        run: the server's folder.
        first_port: six ports from here on instead of those configured.
        when_ready: called in a thread, once the server answers.

    Raises:
        ConfigurationError: a file of the configuration is missing or wrong.
        ServerError: one runs already.
        HenawError: the model is not right, a port is taken, or ``when_ready`` failed.
    """
    _refuse_second(run)
    file = configuration / "handler.yaml"
    settings = move_ports(load_configuration(file), first_port)
    for folder in (run, run / LOGS_NAME):
        make_private_folder(folder)
    record = _describe(settings, store)
    failures: list[HenawError] = []

    def greet() -> None:
        record.write(run)
        # Beside the supervisor, which has workers to look after meanwhile.
        threading.Thread(target=ask_once, daemon=True).start()

    def ask_once() -> None:
        try:
            when_ready(record)
        except HenawError as error:
            failures.append(error)
            os.kill(os.getpid(), signal.SIGTERM)

    place = Place(configuration=file, source=source, store=store, run=run)
    try:
        run_engine(place, settings, greet)
    finally:
        for name in (RECORD_NAME, OPERATOR_KEY_NAME):
            (run / name).unlink(missing_ok=True)
    if failures:
        raise failures[0]


def start_native(
    *, configuration: Path, source: Path, store: Path, run: Path, first_port: int | None = None
) -> Record:
    """Start it in the background, and return once it answers.

    Raises:
        ServerError: it runs already, or ended at once, and why.
    """
    _refuse_second(run)
    logs = run / LOGS_NAME
    for folder in (run, logs):
        make_private_folder(folder)
    words = [
        *(sys.executable, "-c", "from henaw.cli.main import main; main()"),
        *("serve", "--engine", "native", "--foreground"),
        *("--config", str(configuration), "--archive", str(source), "--run", str(run)),
        *("--store", str(store)),
    ]
    if first_port is not None:
        words += ["--port", str(first_port)]
    # Not by subprocess, which wants to see the end of what it starts.
    pid = os.posix_spawn(
        sys.executable,
        words,
        os.environ,
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, logs / CONSOLE_LOG, _NEW_FILE, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
        # Its own session: the shell's Ctrl-C and hang-up are not for the server.
        setsid=True,
    )
    deadline_s = time.monotonic() + _START_TIMEOUT_S
    while time.monotonic() < deadline_s:
        record = find_server(run)
        if record is not None and record.pid == pid:
            return record
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            said = (logs / CONSOLE_LOG).read_text(encoding="utf-8", errors="replace").strip()
            # Its last message is this one's too.
            raise ServerError(said.rpartition("error: ")[2] or f"exit status {status >> 8}")
        time.sleep(_POLL_S)
    os.kill(pid, signal.SIGTERM)
    raise ServerError(
        f"the server did not start in {_START_TIMEOUT_S:g} s\n" + read_log_tails(run, CONSOLE_LOG)
    )


def stop_native(record: Record, run: Path) -> None:
    """Stop that server, and wait until all its processes are gone.

    What it has taken is answered first: the supervisor sees to it.
    """
    process = record.find_process()
    if process is None:
        return
    family = [process]
    with contextlib.suppress(psutil.Error):
        family += process.children(recursive=True)
        process.terminate()
    _, left = psutil.wait_procs(family, timeout=LONGEST_STOP_S)
    for straggler in left:
        with contextlib.suppress(psutil.Error):
            straggler.kill()
    psutil.wait_procs(left, timeout=LONGEST_STOP_S)
    (run / RECORD_NAME).unlink(missing_ok=True)


def _refuse_second(run: Path) -> None:
    running = find_server(run)
    if running is not None:
        raise ServerError(f"a server runs already: {running.url}, pid {running.pid}")


def _describe(settings: HandlerConfiguration, store: Path) -> Record:
    native = settings.native
    created = identify_process(os.getpid())
    if created is None:
        raise HenawError("this process cannot be told from others: is /proc mounted?")
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
        monitor_port=settings.monitor.port,
    )
