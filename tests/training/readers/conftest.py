"""A site of public files on this machine, and small synthetic files in their true layouts."""

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pandas as pd
import pyreadstat
import pytest


@dataclass
class Site:
    """What a server serves, what goes wrong in turn, and what it was asked for.

    ``faults`` maps a path to the faults of its next answers: a number is a status, a
    string is a page sent with status 200, ("cut", n) closes the connection after n bytes.
    """

    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    faults: dict[str, list[Any]] = field(default_factory=dict)
    asked: list[tuple[str, str | None]] = field(default_factory=list)
    version: str = '"1"'
    ranges: bool = True

    def count(self, path: str) -> int:
        return sum(asked == path for asked, _ in self.asked)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    site: Site

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        site, asked = self.site, self.headers.get("Range")
        site.asked.append((self.path, asked))
        fault = site.faults[self.path].pop(0) if site.faults.get(self.path) else None
        if isinstance(fault, int):
            self.answer(fault, b"busy")
        elif isinstance(fault, str):
            self.answer(200, fault.encode())
        elif self.path not in site.files:
            self.answer(404, b"not here")
        else:
            self.send_file(site.files[self.path], asked, fault)

    def send_file(self, content: bytes, asked: str | None, fault: Any) -> None:
        site, start, status = self.site, 0, 200
        if site.ranges and asked and self.headers.get("If-Range") == site.version:
            start = int(asked.removeprefix("bytes=").removesuffix("-"))
            status = 206
        if start >= len(content) > 0:
            self.answer(416, b"")
            return
        body = content[start:]
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        if site.version:
            self.send_header("ETag", site.version)
        if status == 206:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.end_headers()
        if fault:
            self.wfile.write(body[: fault[1]])
            self.close_connection = True
        else:
            self.wfile.write(body)

    def answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def site() -> Iterator[Site]:
    """A server on this machine that does what ``Site`` says."""
    served = Site()
    handler = type("SiteHandler", (Handler,), {"site": served})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    served.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield served
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="session")
def write_transport(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., bytes]:
    """A SAS transport file, version 5 as NCHS's are, from columns."""
    path = tmp_path_factory.mktemp("transport") / "synthetic.xpt"

    def write(columns: Mapping[str, Sequence[float | None]]) -> bytes:
        frame = pd.DataFrame({name: pd.Series(v, dtype=float) for name, v in columns.items()})
        pyreadstat.write_xport(frame, str(path), table_name="SYNTH", file_format_version=5)
        return path.read_bytes()

    return write


@pytest.fixture(scope="session")
def write_fixed() -> Callable[..., bytes]:
    """Lines of fixed width; sevens fill what no field covers, so that a shift is seen."""

    def write(
        width: int,
        places: Mapping[str, tuple[int, int]],
        rows: Sequence[Mapping[str, object]],
        *,
        end: str = "\r\n",
    ) -> bytes:
        lines = []
        for row in rows:
            line = ["7"] * width
            for name, (first, last) in places.items():
                text = str(row.get(name, "")).rjust(last - first + 1)
                assert len(text) == last - first + 1
                line[first - 1 : last] = text
            lines.append("".join(line) + end)
        return "".join(lines).encode("ascii")

    return write


@pytest.fixture
def wait_for() -> Callable[..., None]:
    """Wait until something is so."""

    def wait(so: Callable[[], bool], seconds: float = 120.0) -> None:
        deadline = time.monotonic() + seconds
        while not so():
            assert time.monotonic() < deadline, "it never came"
            time.sleep(0.01)

    return wait


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where files are kept."""
    return tmp_path / "files"


@pytest.fixture
def start() -> Iterator[Callable[..., "subprocess.Popen[str]"]]:
    """Start Python processes; whatever is left of them is killed."""
    processes: list[subprocess.Popen[str]] = []

    def run(program: str, *arguments: str) -> "subprocess.Popen[str]":
        processes.append(
            subprocess.Popen(
                [sys.executable, "-c", program, *arguments],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
        return processes[-1]

    yield run
    for process in processes:
        process.kill()
        process.communicate()


@pytest.fixture
def henaw(
    start: Callable[..., "subprocess.Popen[str]"],
) -> Callable[..., "subprocess.Popen[str]"]:
    """Start the command."""
    return lambda *arguments: start("from henaw.cli.main import main; main()", *arguments)
