"""Start the servers that are compared."""

from __future__ import annotations

import contextlib
import http.client
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import psutil
import yaml
from henaw.cli.server.example_request import wait_for_answer
from henaw.cli.server.native import start_native, stop_native
from henaw.cli.server.record import Engine
from henaw.cli.server.torchserve import start_server, stop_server
from henaw.export.archive import build_archive
from henaw.export.export import export_checkpoint

REPOSITORY = Path(__file__).resolve().parents[2]
CHECKPOINT = REPOSITORY / "model" / "weights" / "henaw-nhanes.safetensors"
PEERS = Path(__file__).with_name("peers")
_START_TIMEOUT_S = 120
_PLENTY = {"rate": 10_000_000, "period_s": 1, "burst": 10_000_000}


@dataclass(frozen=True, kw_only=True)
class Running:
    """A server that answers.

    Attributes:
        url: where predictions are asked.
        pid: of the process that was started.
        start_s: from the command to the first answer.
        memory_mb: resident, of the largest process with the model in it.
    """

    url: str
    pid: int
    start_s: float
    memory_mb: float


Start = Callable[[Path], AbstractContextManager[Running]]


def export_shipped(folder: Path) -> tuple[Path, Path]:
    """Export the shipped checkpoint; return the exported folder and the archive of it."""
    exported = folder / "exported"
    export_checkpoint(CHECKPOINT, exported)
    configuration = REPOSITORY / "serve_config" / "model-config.yaml"
    return exported, build_archive(exported, configuration, folder / "store")


def find_free_ports(count: int = 6) -> int:
    """Return the first of so many free ports in a row."""
    for first in range(20_000 + os.getpid() % 20_000, 60_000, count):
        try:
            for port in range(first, first + count):
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", port))
        except OSError:
            continue
        return first
    raise OSError(f"there are no {count} free ports in a row")


@contextlib.contextmanager
def serve_henaw(
    archive: Path, folder: Path, *, engine: Engine = "native", workers: int = 1
) -> Iterator[Running]:
    """Start HENAW as ``henaw serve`` does, with the local configuration and an unlimited throttle.

    The throttle still decides about every request: that is part of a request's cost.
    """
    configuration = Path(shutil.copytree(REPOSITORY / "serve_config" / "local", folder / "local"))
    handler = yaml.safe_load((configuration / "handler.yaml").read_text(encoding="utf-8"))
    handler["throttle"] |= {"anonymous": _PLENTY, "keyed": _PLENTY, "cost_per_instance": 0}
    handler["native"]["workers"] = workers
    (configuration / "handler.yaml").write_text(yaml.safe_dump(handler), encoding="utf-8")
    run = folder / "run"
    started_s = time.monotonic()
    port = find_free_ports()
    if engine == "torchserve":
        record = start_server(
            configuration=configuration, archive=archive, run=run, first_port=port
        )
    else:
        record = start_native(
            configuration=configuration,
            source=archive,
            store=archive.parent,
            run=run,
            first_port=port,
        )
    try:
        wait_for_answer(record, run)
        start_s = time.monotonic() - started_s
        yield Running(
            url=f"{record.url}/predictions/henaw",
            pid=record.pid,
            start_s=start_s,
            memory_mb=_find_memory_mb(psutil.Process(record.pid).children()),
        )
    finally:
        if engine == "torchserve":
            stop_server(run)
        else:
            stop_native(record, run)


@contextlib.contextmanager
def serve_peer(command: list[str], exported: Path, folder: Path) -> Iterator[Running]:
    """Start a peer by a command in which ``PORT`` stands for a free port."""
    port = find_free_ports(1)
    log = folder / "peer.log"
    started_s = time.monotonic()
    with log.open("wb") as output:
        process = subprocess.Popen(
            [word.replace("PORT", str(port)) for word in command],
            cwd=PEERS,
            env={
                **os.environ,
                "HENAW_EXPORTED": str(exported),
                "PYTHONDONTWRITEBYTECODE": "1",
            },
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        while not _answers(port):
            if process.poll() is not None or time.monotonic() > started_s + _START_TIMEOUT_S:
                raise RuntimeError("the peer does not answer:\n" + log.read_text()[-2000:])
            time.sleep(0.1)
        start_s = time.monotonic() - started_s
        leader = psutil.Process(process.pid)
        yield Running(
            url=f"http://127.0.0.1:{port}/predict",
            pid=process.pid,
            start_s=start_s,
            memory_mb=_find_memory_mb([leader, *leader.children(recursive=True)]),
        )
    finally:
        # The whole process group, so that the workers end too.
        for number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=10)
            time.sleep(1)


def make_peers(python: Path, exported: Path) -> dict[str, Start]:
    """Return a function that starts each peer, by name; it takes a folder of its own."""
    folder = python.parent
    uvicorn = [
        str(folder / "uvicorn"), "fastapi_app:app", "--host", "127.0.0.1", "--port", "PORT",
        "--loop", "uvloop", "--http", "httptools", "--no-access-log", "--log-level", "warning",
    ]  # fmt: skip
    return {
        "FastAPI, 1 process": partial(serve_peer, uvicorn, exported),
        "FastAPI, 2 processes": partial(serve_peer, [*uvicorn, "--workers", "2"], exported),
    }


def make_environment(folder: Path) -> Path:
    """Return the interpreter of the peers' own environment; create it where it is missing."""
    python = folder / "bin" / "python"
    made = folder / "made-from.txt"
    requirements = PEERS / "requirements.txt"
    if not made.is_file() or made.read_bytes() != requirements.read_bytes():
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        subprocess.run(
            [str(python), "-m", "pip", "install", "--quiet", "-r", str(requirements)], check=True
        )
        made.write_bytes(requirements.read_bytes())
    return python


def _answers(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        body = '{"age": 54, "sex": "female", "biomarkers": {}}'
        connection.request("POST", "/predict", body, {"Content-Type": "application/json"})
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _find_memory_mb(processes: list[psutil.Process]) -> float:
    return max(process.memory_info().rss for process in processes) / 1e6
