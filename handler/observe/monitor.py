"""Metrics and readiness over HTTP, from a process that shares nothing with the workers.

``GET /metrics`` is for Prometheus. ``GET /ready`` answers 200, or 503 with the reasons, and
``GET /live`` whether any worker is alive. They answer even if a worker hangs or is stopped.
"""

from __future__ import annotations

import contextlib
import socket
import sys
import time
from collections.abc import Callable, Iterable
from http import HTTPStatus
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import msgspec
from henaw.handler.configuration import MonitorConfiguration
from henaw.handler.observe.exposition import WorkersCollector
from henaw.handler.observe.readiness import judge_workers
from henaw.handler.observe.worker_state import read_states, remove_dead_states
from prometheus_client import CollectorRegistry, make_wsgi_app

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

Application = Callable[["WSGIEnvironment", "StartResponse"], Iterable[bytes]]


_CONNECTIONS = 64
_REQUEST_S = 10.0


class _Server(ThreadingMixIn, WSGIServer):
    """A server with a thread for each connection, but few of them, and none for long."""

    daemon_threads = True

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._until_s: dict[socket.socket, float] = {}

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer a connection, or close it if there are too many."""
        if len(self._until_s) >= _CONNECTIONS:
            self.shutdown_request(request)
            return
        self._until_s[request] = time.monotonic() + _REQUEST_S
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Close a connection."""
        self._until_s.pop(request, None)
        super().shutdown_request(request)

    def service_actions(self) -> None:
        """Twice a second, cut connections that take too long."""
        now_s = time.monotonic()
        for connection, until_s in list(self._until_s.items()):
            if now_s >= until_s:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of clients that break off; print other errors."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


class _Handler(WSGIRequestHandler):
    timeout = _REQUEST_S

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing: a line for each scrape is of no use."""


def build_application(folder: Path, *, patience_s: float) -> Application:
    """Return the WSGI application.

    Args:
        folder: with the states of the workers.
        patience_s: seconds after which a silent or busy worker counts as hung.
    """
    registry = CollectorRegistry()
    registry.register(WorkersCollector(folder, patience_s=patience_s))
    answer_metrics = make_wsgi_app(registry)

    def answer(environment: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        path = environment["PATH_INFO"]
        if path == "/metrics":
            metrics: Iterable[bytes] = answer_metrics(environment, start_response)
            return metrics
        if path == "/live":
            lives = any(state.is_alive() for state in read_states(folder))
            status = HTTPStatus.OK if lives else HTTPStatus.SERVICE_UNAVAILABLE
            document: dict[str, object] = {"live": lives}
        elif path == "/ready":
            alive = [state for state in read_states(folder) if state.is_alive()]
            readiness = judge_workers(alive, now_s=time.monotonic(), patience_s=patience_s)
            status = HTTPStatus.OK if readiness.ready else HTTPStatus.SERVICE_UNAVAILABLE
            document = {
                "ready": readiness.ready,
                "workers": readiness.workers,
                "problems": readiness.problems,
            }
        else:
            status, document = HTTPStatus.NOT_FOUND, {"paths": ["/metrics", "/live", "/ready"]}
        headers = [("Content-Type", "application/json"), ("Cache-Control", "no-store")]
        start_response(f"{status.value} {status.phrase}", headers)
        return [msgspec.json.encode(document)]

    return answer


def make_monitor(configuration: MonitorConfiguration, folder: Path) -> WSGIServer:
    """Return the monitor, which already listens, without the counts of earlier workers.

    Args:
        configuration: the operator's.
        folder: with the states of the workers.

    Raises:
        OSError: the address is taken.
    """
    remove_dead_states(folder)
    application = build_application(folder, patience_s=configuration.patience_s)
    return make_threaded_server(configuration.address, configuration.port, application)


def make_threaded_server(address: str, port: int, application: Application) -> WSGIServer:
    """Return a server for an application, which already listens.

    Raises:
        OSError: the address is taken.
    """
    return make_server(address, port, application, server_class=_Server, handler_class=_Handler)
