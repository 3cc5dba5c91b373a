"""The native engine, from its configuration to its end; ``henaw serve`` runs it."""

from __future__ import annotations

import contextlib
import hashlib
import secrets
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from wsgiref.simple_server import WSGIServer

from henaw.handler.configuration import HandlerConfiguration
from henaw.handler.native.control import WorkerSetup
from henaw.handler.native.models import copy_model
from henaw.handler.native.supervisor import Supervisor, end_by_signals, listen
from henaw.handler.observe.request_log import RequestLog
from henaw.model.errors import HenawError
from henaw.model.files import write_whole

OPERATOR_KEY_NAME = "operator.key"
"""A file in the server's folder with the key for management, which is new at each start."""

MODELS_NAME, LOGS_NAME, STATES_NAME, STORE_NAME = "models", "logs", "monitor", "throttle.sqlite3"
KEYS_NAME = "client-keys"
_MANAGEMENT_OFFSET, _MONITOR_OFFSET = 1, 5
"""The same as for TorchServe, which needs the ports between them."""


class EngineError(HenawError, RuntimeError):
    """The engine cannot start."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """The paths of one server.

    Attributes:
        source: the model: an archive, or a folder of ``henaw export``.
        store: the folder that versions are added from.
        run: the server's own folder.
    """

    source: Path
    store: Path
    run: Path


def move_ports(configuration: HandlerConfiguration, first: int | None) -> HandlerConfiguration:
    """Return the configuration with ports from ``first`` on instead of its own."""
    if first is None:
        return configuration
    native = configuration.native
    management = None if native.management_port is None else first + _MANAGEMENT_OFFSET
    return replace(
        configuration,
        native=replace(native, port=first, management_port=management),
        monitor=replace(configuration.monitor, port=first + _MONITOR_OFFSET),
    )


def run_engine(
    place: Place,
    configuration: HandlerConfiguration,
    when_ready: Callable[[Callable[[], None]], None],
) -> None:
    """Serve until SIGTERM or Ctrl-C.

    Args:
        place: the paths of the server.
        configuration: the operator's, with the ports to use.
        when_ready: called once every worker answers, with a function that ends the server.

    Raises:
        EngineError: a port is taken.
        ArtifactError: the model is incomplete.
        WorkerError: a worker did not start, and says why.
        NoWorkerError: no worker has been alive for a while.
    """
    native, monitor = configuration.native, configuration.monitor
    log = RequestLog(sys.stdout.buffer)
    models = place.run / MODELS_NAME
    # These are from an earlier server.
    for stale in (models, place.run / STATES_NAME):
        shutil.rmtree(stale, ignore_errors=True)
    (place.run / KEYS_NAME).unlink(missing_ok=True)
    model = copy_model(place.source, models)
    key = _make_operator_key(place.run / OPERATOR_KEY_NAME) if native.require_key else None
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(_listen(native.address, native.port))
        setup = WorkerSetup(
            number=0,
            listener=listener.fileno(),
            control=-1,
            configuration=configuration,
            run=str(place.run),
            logs=str(place.run / LOGS_NAME),
            store=str(place.run / STORE_NAME),
            states=str(place.run / STATES_NAME),
            keys=str(place.run / KEYS_NAME),
            models=[model],
            default=model.version,
            operator_keys=[] if key is None else [hashlib.sha256(key.encode()).hexdigest()],
        )
        supervisor = Supervisor(
            listener,
            setup,
            workers=native.workers,
            patience_s=monitor.patience_s,
            find_hung=lambda patience_s: _find_hung(place.run / STATES_NAME, patience_s),
            report=log.report,
        )
        stack.enter_context(end_by_signals(supervisor))
        # These are imported while the workers start.
        starting = _Starting(supervisor)
        from henaw.handler.native.management import ManagementApp
        from henaw.handler.observe.monitor import make_monitor, make_threaded_server

        try:
            server = make_monitor(monitor, place.run / STATES_NAME)
            stack.enter_context(_serving(server))
            if native.management_port is not None:
                app = ManagementApp(supervisor, folder=models, store=place.store, key=key)
                server = make_threaded_server("127.0.0.1", native.management_port, app)
                stack.enter_context(_serving(server))
        except OSError as error:
            supervisor.end()
            starting.join()
            supervisor.run()
            raise EngineError(
                f"the monitor's port {monitor.port} or the management port "
                f"{native.management_port} is taken. Stop the program that listens there, or give "
                "another --port"
            ) from error
        starting.join()
        when_ready(supervisor.end)
        supervisor.run()


class _Starting:
    """Starts the workers in a thread; :meth:`join` raises the error of that thread."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._error: HenawError | None = None
        self._supervisor = supervisor
        self._thread = threading.Thread(target=self._start, daemon=True)
        self._thread.start()

    def join(self) -> None:
        self._thread.join()
        if self._error is not None:
            raise self._error

    def _start(self) -> None:
        try:
            self._supervisor.start()
        except HenawError as error:
            self._error = error


@contextlib.contextmanager
def _serving(server: WSGIServer) -> Iterator[None]:
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()


def _listen(address: str, port: int) -> contextlib.AbstractContextManager[Any]:
    try:
        return listen(address, port)
    except OSError as error:
        raise EngineError(
            f"port {port} (native.port) is taken, or {address} is not an address of this machine. "
            "Stop the program that listens there, or give another --port"
        ) from error


def _make_operator_key(path: Path) -> str:
    key = secrets.token_urlsafe(24)
    write_whole(path, key.encode(), mode=0o600)
    return key


def _find_hung(states: Path, patience_s: float) -> set[int]:
    """Return the workers without a check, or with the same batch, for ``patience_s`` seconds."""
    from henaw.handler.observe.worker_state import read_states

    now_s = time.monotonic()
    return {
        state.pid
        for state in read_states(states)
        if not state.ended
        and state.checked_at > 0
        and (
            now_s - state.checked_at > patience_s
            or (state.busy_since is not None and now_s - state.busy_since > patience_s)
        )
    }
