"""One worker process: ``python -m henaw.handler.native.worker``, started by the supervisor.

It answers the connections that it accepts on a socket that all workers share, and carries out the
supervisor's commands from another one. When that one closes, the supervisor has ended, and the
worker ends too.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import resource
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import uvicorn
import uvloop
from henaw.handler.assembly import Companions, assemble_service
from henaw.handler.configuration import HandlerConfiguration, NativeConfiguration
from henaw.handler.exchange import Request
from henaw.handler.native.app import ServiceApp
from henaw.handler.native.control import Command, Reply, WorkerSetup
from henaw.handler.native.cors import Cors
from henaw.handler.native.gpus import choose_native_device
from henaw.handler.native.models import ModelVersion
from henaw.handler.native.protocol import Arrivals, BoundedProtocol
from henaw.handler.native.tls import Tls
from henaw.handler.native.versions import Versions
from henaw.handler.observe.readiness import Readiness, judge_workers
from henaw.handler.observe.request_log import RequestLog
from henaw.handler.observe.worker_state import read_states
from henaw.handler.service import Service
from henaw.handler.throttle.client_keys import ClientKeys
from henaw.handler.throttle.throttle import open_keys
from henaw.model.errors import HenawError

_BACKLOG = 2048
_LINGER_S = 2.0
"""At the server's end, open connections are closed after their next answer, or after so many
seconds without a request."""

_NEW_CLIENTS_S = 0.5
"""Time for the first request of a client that was accepted as the server ceased to listen."""

_GRACE_S = 35
"""Seconds that a request may take that has begun by then: longer than ``body_s`` as shipped, so a
slow client gets its refusal."""
_READINESS_KEPT_S = 0.5
_SWITCH_S = 0.0005
_OTHER_FILES = 256
"""Files that a worker opens beside its clients' connections, at most."""


class _Server(uvicorn.Server):
    """A server without signal handlers: the supervisor says when to end."""

    def __init__(
        self,
        config: uvicorn.Config,
        protocol: Callable[..., asyncio.Protocol],
        limits: NativeConfiguration,
    ) -> None:
        super().__init__(config)
        self._protocol = protocol
        self._limits = limits

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen as uvicorn does, but let no client take long for its TLS handshake or its end."""
        config = self.config
        connect = partial(
            self._protocol, config=config, server_state=self.server_state, app_state={}
        )
        times: dict[str, Any] = {}
        if config.ssl is not None:
            times["ssl_handshake_timeout"] = self._limits.header_s
            times["ssl_shutdown_timeout"] = self._limits.body_s
        loop = asyncio.get_running_loop()
        self.servers = [
            await loop.create_server(
                connect,
                sock=sock,
                ssl=config.ssl,
                **times,
                backlog=config.backlog,
            )
            for sock in sockets or ()
        ]
        self.started = True


class Worker:
    """A worker process.

    Args:
        setup: by the supervisor.
    """

    def __init__(self, setup: WorkerSetup) -> None:
        self._setup = setup
        self._configuration = setup.configuration
        self._log = RequestLog(sys.stdout.buffer, Path(setup.logs))
        self._keys = self._open_keys(self._configuration)
        self._versions = Versions(self._assemble)
        self._readiness: tuple[float, Readiness] | None = None
        native = self._configuration.native
        self._tls = (
            None
            if native.certificate is None or native.key is None
            else Tls(Path(native.certificate), Path(native.key))
        )
        self._arrivals = Arrivals()
        self._app = ServiceApp(
            self._versions,
            log=self._log,
            keys=self._keys if native.require_key else None,
            limits=native,
            arrivals=self._arrivals,
            body_bytes=self._configuration.limits.body_bytes,
            judge=self._judge,
        )
        self._server: uvicorn.Server | None = None
        self._ending: asyncio.Task[None] | None = None

    def load(self) -> None:
        """Check every version of the model and serve it.

        Raises:
            HenawError: the files or the answers of one are wrong.
        """
        self._allow_open_files()
        for model in self._setup.models:
            self._versions.add(model)
        self._versions.set_default(self._setup.default)
        self._app.warm_up()
        # Without this, every client waits while full collections visit objects that stay anyway.
        gc.collect()
        gc.freeze()

    async def serve(self, control: socket.socket) -> None:
        """Answer requests until the supervisor says to end.

        Args:
            control: the socket for its commands.
        """
        limits = self._configuration.native
        attributes = {"limits": limits, "cors": Cors(limits.cors), "arrivals": self._arrivals}
        protocol = type("_Protocol", (BoundedProtocol,), attributes)
        config = uvicorn.Config(
            self._app,
            http=protocol,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            date_header=False,
            backlog=_BACKLOG,
            timeout_keep_alive=round(self._configuration.native.idle_s),
            timeout_graceful_shutdown=_GRACE_S,
        )
        config.load()
        if self._tls is not None:
            config.ssl = self._tls.context
        self._server = _Server(config, protocol, limits)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, self._end)
        reader, writer = await asyncio.open_unix_connection(sock=control)
        tasks = [
            asyncio.create_task(self._carry_out_commands(reader, writer)),
            asyncio.create_task(self._watch()),
        ]
        await self._server.serve(sockets=[socket.socket(fileno=self._setup.listener)])
        for task in tasks:
            task.cancel()
        self._versions.stop()
        self._log.flush()

    async def _carry_out_commands(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        writer.write(msgspec.json.encode(Reply()) + b"\n")
        # The connection is reset if the supervisor has ended without reading a reply.
        with contextlib.suppress(ConnectionError):
            while line := await reader.readline():
                reply = await self._carry_out(msgspec.json.decode(line, type=Command))
                writer.write(msgspec.json.encode(reply) + b"\n")
        self._end()

    async def _carry_out(self, command: Command) -> Reply:
        try:
            if command.end:
                self._end()
            if command.add is not None:
                await asyncio.to_thread(self._versions.add, command.add)
            if command.default is not None:
                self._versions.set_default(command.default)
            if command.remove is not None:
                await asyncio.to_thread(self._versions.remove, command.remove)
            if command.describe is not None:
                return self._describe(command.describe)
        except HenawError as error:
            return Reply(problem=str(error))
        # The supervisor waits for a reply in any case.
        except Exception as error:
            return Reply(problem=f"{type(error).__name__}: {error}")
        return Reply()

    def _describe(self, version: str) -> Reply:
        service = self._versions.find(version)
        if service is None:
            return Reply(problem=f"version {version} is not served")
        asked = Request(body=b"", headers={}, request_id="operator", describe=True)
        (answer,) = service.answer([asked])
        return Reply(description=msgspec.Raw(answer.body))

    async def _watch(self) -> None:
        """Once a second, refuse slow clients, and use a new certificate."""
        loop = asyncio.get_running_loop()
        while self._server is not None:
            await asyncio.sleep(1.0)
            for connection in self._connections:
                connection.check_time(loop.time())
            if self._tls is not None:
                try:
                    if self._tls.reload():
                        self._log.report("the certificate was read again")
                except HenawError as error:
                    self._log.report(f"{error}; the earlier certificate stays in use")

    @property
    def _connections(self) -> list[BoundedProtocol]:
        seen = () if self._server is None else self._server.server_state.connections
        return [connection for connection in seen if isinstance(connection, BoundedProtocol)]

    def _end(self) -> None:
        if self._ending is None:
            self._ending = asyncio.get_running_loop().create_task(self._drain())

    async def _drain(self) -> None:
        """Close each connection after its next answer, then those without a request, and end."""
        if self._server is None:
            return
        self._app.is_ending = True
        await self._wait_for_clients(_LINGER_S)
        for server in self._server.servers:
            server.close()
        # Clients that connected a moment ago send their request yet.
        await self._wait_for_clients(_NEW_CLIENTS_S)
        self._server.should_exit = True
        while self._connections:
            await self._wait_for_clients(_LINGER_S)
            # Over TLS, a normal close waits half a minute for the client's.
            for connection in self._connections:
                connection.abort_if_idle()

    async def _wait_for_clients(self, seconds: float) -> None:
        deadline_s = time.monotonic() + seconds
        while self._connections and time.monotonic() < deadline_s:
            await asyncio.sleep(0.02)

    def _assemble(self, model: ModelVersion, companions: Companions) -> Service:
        setup = self._setup
        monitor = self._configuration.monitor
        run = Path(setup.run)
        lab = self._configuration.lab_profile
        return assemble_service(
            Path(model.folder),
            self._configuration,
            store=Path(setup.store),
            states=Path(setup.states),
            shadow_store=None if monitor.pairs is None else run / monitor.pairs,
            lab_profile=None if lab is None else run / lab,
            keys=self._keys,
            log=self._log,
            device=choose_native_device(setup.number, Path(model.folder), self._log.report),
            companions=companions,
        )

    def _open_keys(self, configuration: HandlerConfiguration) -> ClientKeys | None:
        return open_keys(
            configuration.throttle,
            self._log.report,
            also=frozenset(self._setup.operator_keys),
            copy=Path(self._setup.keys),
        )

    def _allow_open_files(self) -> None:
        """Raise the limit on open files as far as the connections need it."""
        needed = self._configuration.native.connections + _OTHER_FILES
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if soft == resource.RLIM_INFINITY or soft >= needed:
            return
        allowed = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
        if allowed < needed:
            self._log.report(
                f"a process may open {hard} files, but {needed} are needed: raise that limit "
                "(LimitNOFILE, ulimit -n), or lower native.connections"
            )

    def _judge(self) -> Readiness:
        now_s = time.monotonic()
        if self._readiness is not None:
            judged_s, readiness = self._readiness
            if now_s - judged_s <= _READINESS_KEPT_S:
                return readiness
        alive = [s for s in read_states(Path(self._setup.states)) if s.is_alive()]
        patience_s = self._configuration.monitor.patience_s
        readiness = judge_workers(alive, now_s=now_s, patience_s=patience_s)
        self._readiness = now_s, readiness
        return readiness


def main() -> None:
    """Run a worker with the setup in the environment."""
    setup = msgspec.json.decode(os.environ.pop("HENAW_WORKER"), type=WorkerSetup)
    control = socket.socket(fileno=setup.control)
    # Ctrl-C goes to the whole process group; the supervisor decides what to do.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        worker = Worker(setup)
        worker.load()
    except (HenawError, OSError) as error:
        control.sendall(msgspec.json.encode(Reply(problem=str(error))) + b"\n")
        sys.exit(1)
    # The thread of the graph must not wait long for the interpreter when it has evaluated one.
    sys.setswitchinterval(_SWITCH_S)
    uvloop.run(worker.serve(control))


if __name__ == "__main__":
    main()
