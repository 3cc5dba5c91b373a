"""Two versions of the model, and a server of each."""

import concurrent.futures
import dataclasses
import http.server
import json
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import psutil
import pytest
import requests
import trustme
import yaml
from henaw.cli.server.example_request import wait_for_answer
from henaw.cli.server.record import Record
from henaw.export.archive import build_archive
from henaw.export.export import export_checkpoint
from henaw.model.checkpoint import Checkpoint, save_checkpoint

SERVE_CONFIG = Path(__file__).resolve().parents[3] / "serve_config"
CANDIDATE = "99.0.0"
PERSON = {"age": 54, "sex": 0, "biomarkers": {"crp": 30.0}}


@dataclasses.dataclass(frozen=True)
class Version:
    """A server of one version."""

    record: Record
    run: Path
    version: str

    @property
    def management(self) -> str:
        """The address that manages versions."""
        host, _, port = self.record.url.rpartition(":")
        return f"{host}:{int(port) + 1}"


@pytest.fixture(scope="session")
def candidate_archive(checkpoint: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The reference model but for weights a tenth larger, as another version."""
    folder = tmp_path_factory.mktemp("candidate")
    tensors = {**checkpoint.tensors, "weight": checkpoint.tensors["weight"] * 1.1}
    save_checkpoint(
        dataclasses.replace(checkpoint, version=CANDIDATE, tensors=tensors), folder / "c"
    )
    export_checkpoint(folder / "c", folder / "exported")
    return build_archive(folder / "exported", SERVE_CONFIG / "model-config.yaml", folder)


@pytest.fixture(scope="session")
def stable_archive(artifacts: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped archive."""
    folder = tmp_path_factory.mktemp("stable")
    return build_archive(artifacts, SERVE_CONFIG / "model-config.yaml", folder)


@pytest.fixture(scope="package")
def start_version(
    start_engine: Callable[..., Record],
    stop_engine: Callable[[Path], None],
    free_ports: Callable[[], int],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Callable[[Path], Version]]:
    """Start a server of an archive in the local configuration, and wait until it answers."""
    started: list[Path] = []

    def start(archive: Path) -> Version:
        run = tmp_path_factory.mktemp("version")
        started.append(run)
        folder = shutil.copytree(SERVE_CONFIG / "local", run / "config")
        handler = yaml.safe_load((folder / "handler.yaml").read_text())
        # A slow machine is not overload.
        handler["limits"]["batch_s"] = 60
        # Beside both servers' folders.
        handler["monitor"] = {"pairs": "../pairs.sqlite3"}
        (folder / "handler.yaml").write_text(yaml.safe_dump(handler))
        record = start_engine(
            configuration=folder, archive=archive, run=run, first_port=free_ports()
        )
        answer: dict[str, Any] = wait_for_answer(record, run)
        return Version(record, run, answer["model"]["version"])

    yield start
    for run in started:
        stop_engine(run)


@pytest.fixture(scope="package")
def stable(start_version: Callable[[Path], Version], stable_archive: Path) -> Version:
    """A server of the shipped version."""
    return start_version(stable_archive)


@dataclass(frozen=True)
class Proxy:
    """A running nginx."""

    url: str
    authority: str
    folder: Path

    def post(
        self, body: Any = PERSON, path: str = "/predictions/henaw", **options: Any
    ) -> requests.Response:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = {"Content-Type": "application/json", **options.pop("headers", {})}
        return requests.post(
            self.url + path,
            data=data,
            headers=headers,
            verify=self.authority,
            timeout=60,
            **options,
        )

    def find_version(self, **headers: str) -> str:
        """Return the version that answers; underscores in names are hyphens."""
        response = self.post(headers={k.replace("_", "-"): v for k, v in headers.items()})
        assert response.status_code == 200, response.text
        return str(response.json()["model"]["version"])

    def ask_all(self, header: str, keys: list[str]) -> dict[str, str]:
        """Return the version that answers each key of a header."""
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            seen = pool.map(lambda key: self.find_version(**{header: key}), keys)
            return dict(zip(keys, seen, strict=True))


@pytest.fixture(scope="package")
def candidate(start_version: Callable[[Path], Any], candidate_archive: Path) -> Any:
    return start_version(candidate_archive)


@pytest.fixture
def serve(
    stable: Any, candidate: Any, free_ports: Callable[[], int], tmp_path: Path
) -> Iterator[Callable[..., Proxy]]:
    """Start nginx with the shipped files, but for ports, paths and what a test changes."""
    started = []

    def start(*changes: tuple[str, str], stable_port: int = 0, candidate_port: int = 0) -> Proxy:
        folder = tmp_path / f"nginx{len(started)}"
        folder.mkdir()
        authority = trustme.CA()
        authority.cert_pem.write_to_path(folder / "ca.pem")
        certificate = authority.issue_cert("127.0.0.1")
        certificate.private_key_pem.write_to_path(folder / "tls.key")
        certificate.cert_chain_pems[0].write_to_path(folder / "tls.crt")
        port = free_ports()
        moved = [
            *changes,
            ("listen 443", f"listen 127.0.0.1:{port}"),
            (":8079", f":{port + 1}"),
            (":8080", f":{stable_port or stable.record.url.rpartition(':')[2]}"),
            (":8090", f":{candidate_port or candidate.record.url.rpartition(':')[2]}"),
            ("/etc/henaw", str(folder)),
            ("/var/log/nginx", str(folder)),
            ("/run/henaw-nginx.pid", str(folder / "pid")),
            # Debian's own folders belong to root.
            ("http {", "http {\n" + "".join(
                f"{kind}_temp_path {folder / kind};\n"
                for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))),
        ]  # fmt: skip
        texts = {path.name: path.read_text() for path in (SERVE_CONFIG / "nginx").glob("*.conf")}
        for before, after in moved:
            assert any(before in text for text in texts.values()), before
            texts = {name: text.replace(before, after) for name, text in texts.items()}
        for name, text in texts.items():
            (folder / name).write_text(text)
        command = ["nginx", "-e", str(folder / "start.log"), "-c", str(folder / "nginx.conf")]
        subprocess.run([*command, "-t"], check=True, capture_output=True)
        started.append(subprocess.Popen([*command, "-g", "daemon off;"]))
        for _ in range(100):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        return Proxy(f"https://127.0.0.1:{port}", str(folder / "ca.pem"), folder)

    yield start
    for process in started:
        process.terminate()
        process.wait(timeout=30)


@pytest.fixture
def closed_port() -> Iterator[int]:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


@pytest.fixture
def stopped(candidate: Any) -> Iterator[None]:
    """The candidate accepts connections and answers nothing."""
    front = psutil.Process(candidate.record.pid)
    family = [front, *front.children(recursive=True)]
    for process in family:
        process.suspend()
    yield
    for process in family:
        process.resume()


class Upstream(http.server.BaseHTTPRequestHandler):
    """Answers as TorchServe does by itself, or as the handler does under overload."""

    protocol_version = "HTTP/1.1"
    answers: ClassVar[list[tuple[int, dict[str, str], bytes]]] = []
    seen: ClassVar[list[dict[str, str]]] = []

    def do_POST(self) -> None:
        self.seen.append({name.lower(): value for name, value in self.headers.items()})
        self.rfile.read(int(self.headers["Content-Length"]))
        status, headers, body = self.answers[(len(self.seen) - 1) % len(self.answers)]
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def upstream() -> Iterator[type[Upstream]]:
    """A server whose answers a test chooses."""
    kind = type("Chosen", (Upstream,), {"answers": [], "seen": []})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), kind) as server:
        kind.port = server.server_port
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield kind
        server.shutdown()
