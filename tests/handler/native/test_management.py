"""Requests to the management address that are refused; no worker runs."""

import io
import json
import socket
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import quote
from wsgiref.util import setup_testing_defaults

import pytest
from henaw.handler.configuration import HandlerConfiguration
from henaw.handler.native.control import WorkerSetup
from henaw.handler.native.management import ManagementApp
from henaw.handler.native.supervisor import Supervisor

Ask = Callable[..., tuple[int, Any]]


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A model store whose parent has the files of a model."""
    made = tmp_path / "parent" / "store"
    made.mkdir(parents=True)
    for name in ("henaw.onnx", "henaw.json", "golden.json"):
        (made.parent / name).write_text("{}")
    return made


@pytest.fixture
def ask(store: Path, tmp_path: Path) -> Ask:
    setup = WorkerSetup(
        **{"number": 0, "listener": -1, "control": -1, "models": [], "default": "1.0"},
        **{"run": "", "logs": "", "store": "", "states": "", "keys": ""},
        configuration=HandlerConfiguration(),
        operator_keys=[],
    )
    with socket.socket() as listener:
        supervisor = Supervisor(
            listener,
            setup,
            workers=1,
            patience_s=1.0,
            find_hung=lambda _: set(),
            report=lambda _: None,
        )
    app = ManagementApp(supervisor, folder=tmp_path / "models", store=store, key=None)

    def send(method: str, path: str, *, host: str = "127.0.0.1:8081", query: str = "") -> Any:
        environment: dict[str, Any] = {
            **{"REQUEST_METHOD": method, "PATH_INFO": path, "QUERY_STRING": query},
            **{"HTTP_HOST": host, "wsgi.input": io.BytesIO()},
        }
        setup_testing_defaults(environment)
        statuses: list[str] = []

        def start_response(status: str, *_: Any) -> Callable[[bytes], object]:
            statuses.append(status)
            return io.BytesIO().write

        body = b"".join(app(environment, start_response))
        return int(statuses[0][:3]), json.loads(body)

    return send


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../model", "/etc/passwd", "a/", "\0", "henaw\0.mar", "a" * 5_000]
)
def test_only_the_name_of_a_file_is_added(ask: Ask, store: Path, name: str) -> None:
    status, document = ask("POST", "/models", query=f"url={quote(name)}")
    assert status == HTTPStatus.BAD_REQUEST
    assert document == {"message": f"url must be the name of a file in {store}"}


@pytest.mark.parametrize("name", ["none.mar", "a" * 255, "ä" * 127])
def test_a_file_that_is_not_in_the_store_is_named(ask: Ask, store: Path, name: str) -> None:
    status, document = ask("POST", "/models", query=f"url={quote(name)}")
    assert status == HTTPStatus.CONFLICT
    assert str(store / name) in document["message"]


def test_a_version_that_cannot_be_copied_is_explained(
    ask: Ask, store: Path, tmp_path: Path
) -> None:
    (tmp_path / "models").write_text("a file where the folder should be")
    status, document = ask("POST", "/models", query="url=henaw.mar")
    assert status == HTTPStatus.INSUFFICIENT_STORAGE
    assert f"could not be copied to {tmp_path / 'models'}: File exists" in document["message"]


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1", 200),
        ("127.0.0.1:8081", 200),
        ("LOCALHOST:8081", 200),
        ("[::1]", 200),
        ("[::1]:8081", 200),
        ("127.0.0.1:evil.com", 403),
        ("127.0.0.1:", 403),
        ("127.0.0.1:80:80", 403),
        ("evil.com:8081", 403),
        ("evil.com:[::1]", 403),
        ("::1", 403),
        ("", 403),
    ],
)
def test_the_host_is_this_machine_and_a_port(ask: Ask, host: str, status: int) -> None:
    assert ask("GET", "/models/henaw", host=host)[0] == status


@pytest.mark.parametrize(
    "path", ["/models/henawXYZ", "/models", "/models/henaw/models", "/models/henaw/all/all"]
)
def test_only_its_own_paths_are_answered(ask: Ask, path: str) -> None:
    assert ask("GET", path)[0] == HTTPStatus.NOT_FOUND
    assert ask("POST", f"/models/henaw{path}", query="url=a.mar")[0] == HTTPStatus.NOT_FOUND
