"""Real servers of either engine on free ports, started and stopped as ``henaw serve`` does it."""

import contextlib
import functools
import http.client
import json
import os
import shlex
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests
import yaml
from henaw.cli.server.example_request import wait_for_answer
from henaw.cli.server.native import start_native, stop_native
from henaw.cli.server.record import Engine, Record, find_server
from henaw.cli.server.torchserve import start_server, stop_server
from henaw.export.archive import build_archive

SERVE_CONFIG = Path(__file__).resolve().parents[2] / "serve_config"
WORKER = {"native": "henaw.handler.native.worker", "torchserve": "model_service_worker"}
"""Part of the command line of each engine's workers."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip tests of one engine's features on the other engine."""
    for item in items:
        only = item.get_closest_marker("only")
        params = getattr(item, "callspec", None)
        engine = None if params is None else params.params.get("engine")
        if only is not None and engine is not None and engine != only.args[0]:
            item.add_marker(pytest.mark.skip(reason=f"{only.args[0]} alone: {only.args[1]}"))


@pytest.fixture(scope="session", params=["native", "torchserve"])
def engine(request: pytest.FixtureRequest) -> Engine:
    """The engine that a test is about; each test runs on both."""
    chosen: Engine = request.param
    return chosen


def _start_engine(
    engine: Engine, *, configuration: Path, archive: Path, run: Path, first_port: int
) -> Record:
    """Start a server; of TorchServe it may not answer yet."""
    if engine == "torchserve":
        return start_server(
            configuration=configuration, archive=archive, run=run, first_port=first_port
        )
    return start_native(
        configuration=configuration,
        source=archive,
        store=archive.parent,
        run=run,
        first_port=first_port,
    )


def _stop_engine(run: Path) -> None:
    """Stop the server that was started with a folder, if it still runs."""
    record = find_server(run)
    if record is not None and record.engine == "native":
        stop_native(record, run)
    else:
        stop_server(run)


def find_free_ports(count: int = 6) -> int:
    """Return the first of as many free ports in a row, none of which a client's socket takes.

    Each process of a run searches a part of its own.
    """
    process = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    for first in range(20_000 + 3_000 * process + os.getpid() % 1_000, 32_700, count):
        try:
            for port in range(first, first + count):
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", port))
        except OSError:
            continue
        return first
    pytest.fail("no free ports in a row")


@pytest.fixture(scope="session")
def free_ports() -> Callable[[], int]:
    """Find free ports for a server."""
    return find_free_ports


@pytest.fixture(scope="session")
def start_engine(engine: Engine) -> Callable[..., Record]:
    """Start a server of the engine; of TorchServe it may not answer yet."""
    return functools.partial(_start_engine, engine)


@pytest.fixture(scope="session")
def stop_engine() -> Callable[[Path], None]:
    """Stop the server that was started with a folder, if it still runs."""
    return _stop_engine


def _wait_until(look: Callable[[], Any], seconds: float = 10) -> None:
    """Look until what is seen is true."""
    deadline_s = time.monotonic() + seconds
    while not look():
        assert time.monotonic() < deadline_s
        time.sleep(0.1)


@pytest.fixture(scope="session")
def wait_until() -> Callable[..., None]:
    """Look until what is seen is true."""
    return _wait_until


@dataclass(frozen=True)
class Server:
    """A running server, and its folder."""

    record: Record
    run: Path

    def post(self, body: Any, path: str = "predictions", **options: Any) -> requests.Response:
        """Send a body, as JSON where it is not bytes."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = {"Content-Type": "application/json", **options.pop("headers", {})}
        return requests.post(
            f"{self.record.url}/{path}/henaw", data=data, headers=headers, timeout=60, **options
        )

    def list_processes(self) -> list[psutil.Process]:
        """Return the process that was started and all of its children."""
        front = psutil.Process(self.record.pid)
        return [front, *front.children(recursive=True)]

    def list_workers(self) -> list[psutil.Process]:
        """Return the processes with the model in them."""
        mark = WORKER[self.record.engine]
        return [p for p in self.list_processes()[1:] if mark in " ".join(p.cmdline())]

    def post_together(self, bodies: list[bytes]) -> list[tuple[int, Any, bytes]]:
        """Send bodies over as many connections so that they wait for the same batch.

        Returns:
            Of each, its status, headers and body.
        """
        address = self.record.url.partition("://")[2]
        connections = [http.client.HTTPConnection(address, timeout=60) for _ in bodies]
        for connection in connections:
            connection.request("GET", "/ping")
            connection.getresponse().read()
        # TorchServe's front end waits until a batch is full.
        held = self.list_workers() if self.record.engine == "native" else []
        for worker in held:
            worker.suspend()
        try:
            for connection, body in zip(connections, bodies, strict=True):
                headers = {"Content-Type": "application/json"}
                connection.request("POST", "/predictions/henaw", body, headers)
        finally:
            for worker in held:
                worker.resume()
        answers = []
        for connection in connections:
            with contextlib.closing(connection):
                response = connection.getresponse()
                answers.append((response.status, response.headers, response.read()))
        return answers

    def is_connected(self, port: int) -> bool:
        """Tell whether a worker holds the connection of a client's port."""
        held = [c for worker in self.list_workers() for c in worker.net_connections()]
        return any(connection.raddr[1:] == (port,) for connection in held)

    wait_until = staticmethod(_wait_until)

    @property
    def management(self) -> str:
        """The address that manages and describes versions."""
        host, _, port = self.record.url.rpartition(":")
        return f"{host}:{int(port) + 1}"

    def read_log(self) -> list[dict[str, Any]]:
        """Return the request records so far."""
        logs = sorted((self.run / "logs").glob("requests.*.log"))
        return [json.loads(line) for log in logs for line in log.read_text().splitlines()]


@pytest.fixture(scope="session")
def configuration(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The local configuration with a third bucket-worth less of generosity for one key.

    Anonymous clients have the local rate; a client with a key has three requests.
    """
    folder = Path(
        shutil.copytree(SERVE_CONFIG / "local", tmp_path_factory.mktemp("config") / "local")
    )
    handler = yaml.safe_load((folder / "handler.yaml").read_text())
    # A slow machine is not overload.
    handler["limits"]["batch_s"] = 60
    handler["throttle"]["keyed"] = {"rate": 3, "period_s": 3600, "burst": 3}
    handler["native"] = {"workers": 2}
    (folder / "handler.yaml").write_text(yaml.safe_dump(handler))
    return folder


@pytest.fixture(scope="session")
def archive(artifacts: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped archive but for two workers that wait a while for a batch to fill."""
    folder = tmp_path_factory.mktemp("store")
    model_config = yaml.safe_load((SERVE_CONFIG / "model-config.yaml").read_text())
    model_config |= {"minWorkers": 2, "maxWorkers": 2, "batchSize": 16, "maxBatchDelay": 100}
    (folder / "model-config.yaml").write_text(yaml.safe_dump(model_config))
    return build_archive(artifacts, folder / "model-config.yaml", folder)


@pytest.fixture(scope="session")
def server(
    engine: Engine, archive: Path, configuration: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """A server that several tests share."""
    run = tmp_path_factory.mktemp("run")
    record = _start_engine(
        engine,
        configuration=configuration,
        archive=archive,
        run=run,
        first_port=find_free_ports(),
    )
    try:
        wait_for_answer(record, run)
        yield Server(record, run)
    finally:
        _stop_engine(run)


@pytest.fixture
def henaw(
    engine: Engine, tmp_path: Path
) -> Iterator[Callable[..., subprocess.CompletedProcess[str]]]:
    """Run the ``henaw`` command with a folder, ports and an engine of its own."""
    port = str(find_free_ports())

    def run(
        *arguments: str,
        stdout: int = subprocess.PIPE,
        in_terminal: bool = False,
        **environment: str,
    ) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", "from henaw.cli.main import main; main()", *arguments]
        if in_terminal:
            command = ["script", "--quiet", "--command", shlex.join(command), os.devnull]
        return subprocess.run(
            command,
            cwd=SERVE_CONFIG.parent,
            env={
                **os.environ,
                "HENAW_RUN": str(tmp_path / "run"),
                "HENAW_PORT": port,
                "HENAW_ENGINE": engine,
                **environment,
            },
            stdout=stdout,
            stderr=subprocess.PIPE,
            text=True,
            timeout=300,
            check=False,
        )

    yield run
    run("stop")


@pytest.fixture(scope="session")
def start(
    engine: Engine, artifacts: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., Server]]:
    """Start a server from a shipped configuration with changes; it may not answer yet."""
    started: list[Path] = []

    def change(
        name: str,
        *,
        properties: dict[str, str] | None = None,
        throttle: dict[str, Any] | None = None,
        limits: dict[str, Any] | None = None,
        native: dict[str, Any] | None = None,
        monitor: dict[str, Any] | None = None,
        workers: int = 1,
    ) -> Server:
        run = tmp_path_factory.mktemp(name)
        folder = Path(shutil.copytree(SERVE_CONFIG / name, run / "config"))
        handler = yaml.safe_load((folder / "handler.yaml").read_text())
        handler["limits"] |= {"batch_s": 60, **(limits or {})}
        handler["throttle"] |= throttle or {}
        handler["monitor"] = {**handler.get("monitor", {}), **(monitor or {})}
        handler["native"] = {**handler.get("native", {}), "workers": workers, **(native or {})}
        (folder / "handler.yaml").write_text(yaml.safe_dump(handler))
        with (folder / "config.properties").open("a") as file:
            file.writelines(f"\n{key}={value}" for key, value in (properties or {}).items())
        model_config = yaml.safe_load((SERVE_CONFIG / "model-config.yaml").read_text())
        model_config |= {"minWorkers": workers, "maxWorkers": workers}
        (run / "model-config.yaml").write_text(yaml.safe_dump(model_config))
        archive = build_archive(artifacts, run / "model-config.yaml", run)
        started.append(run)
        port = find_free_ports()
        record = _start_engine(
            engine, configuration=folder, archive=archive, run=run, first_port=port
        )
        return Server(record, run)

    yield change
    for run in started:
        _stop_engine(run)


@pytest.fixture(scope="session")
def swift(start: Callable[..., Server]) -> Server:
    """Three workers that wait for no batch; a client with a key has 100 requests."""
    bucket = {"rate": 100, "period_s": 36000, "burst": 100}
    server = start("local", throttle={"keyed": bucket}, workers=3)
    wait_for_answer(server.record, server.run)
    return server
