"""``henaw versions`` on a real server, under load."""

import collections
import shutil
import subprocess
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests

CANDIDATE = "99.0.0"
PERSON = {"age": 54, "sex": 0, "biomarkers": {"crp": 30.0}}
CLIENTS = 4

Seen = collections.Counter[tuple[int, str]]


def ask(stable: Any, version: str = "") -> tuple[int, str]:
    """The status, and which version answered."""
    url = f"{stable.record.url}/predictions/henaw{version}"
    response = requests.post(url, json=PERSON, timeout=60)
    return response.status_code, response.json().get("model", {}).get("version", "")


@contextmanager
def load(stable: Any) -> Iterator[Callable[[], Seen]]:
    """Send requests without a pause; yield a function for the answers since its last call."""
    done, seen = threading.Event(), Seen()
    lock = threading.Lock()

    def go_on() -> None:
        while not done.is_set():
            try:
                answer = ask(stable)
            except requests.RequestException as error:
                answer = 0, type(error).__name__
            with lock:
                seen[answer] += 1

    def count() -> int:
        with lock:
            return seen.total()

    def take() -> Seen:
        # Each client has got at least one answer to a request after the call.
        enough = count() + 2 * CLIENTS
        while count() < enough:
            time.sleep(0.01)
        with lock:
            taken = Seen(seen)
            seen.clear()
            return taken

    clients = [threading.Thread(target=go_on) for _ in range(CLIENTS)]
    for client in clients:
        client.start()
    try:
        yield take
    finally:
        done.set()
        for client in clients:
            client.join()


@pytest.fixture
def versions(
    henaw: Callable[..., subprocess.CompletedProcess[str]], stable: Any
) -> Callable[..., str]:
    """Run ``henaw versions``, and return its output."""

    def run(*arguments: str, status: int = 0) -> str:
        result = henaw("versions", *arguments, HENAW_RUN=str(stable.run))
        assert result.returncode == status, result.stdout + result.stderr
        return result.stdout + result.stderr

    return run


def test_adding_switching_and_removing_versions_fails_no_request(
    stable: Any, candidate_archive: Path, versions: Callable[..., str]
) -> None:
    shipped = stable.version
    with load(stable) as take:
        versions("add", str(candidate_archive))
        assert ask(stable, f"/{CANDIDATE}") == (200, CANDIDATE)
        assert "is loaded already" in versions("add", str(candidate_archive), status=1)
        assert set(take()) == {(200, shipped)}

        said = versions("default", CANDIDATE)
        assert said.endswith(f"henaw versions default {shipped}\n")
        assert set(take()) == {(200, shipped), (200, CANDIDATE)}
        assert ask(stable, f"/{shipped}") == (200, shipped)
        listed = versions("list").splitlines()
        assert listed[0].startswith(f"default {CANDIDATE}: 1 workers ready")
        assert listed[1].strip().startswith(f"{shipped}: 1 workers ready")
        assert set(take()) == {(200, CANDIDATE)}

        assert "default version" in versions("remove", CANDIDATE, status=1)
        versions("default", shipped)
        versions("remove", CANDIDATE)
        assert set(take()) == {(200, shipped), (200, CANDIDATE)}
        assert ask(stable, f"/{CANDIDATE}")[0] == 404
        assert set(take()) == {(200, shipped)}


def test_a_version_that_cannot_become_the_default_is_refused(
    stable: Any, candidate_archive: Path, versions: Callable[..., str], tmp_path: Path
) -> None:
    changed = tmp_path / "changed.mar"
    with zipfile.ZipFile(candidate_archive) as source, zipfile.ZipFile(changed, "w") as target:
        for name in source.namelist():
            content = source.read(name)
            target.writestr(name, content + b" " if name == "henaw.json" else content)
    refused = versions("add", str(changed), status=1)
    assert refused.rstrip().endswith("- henaw.json was changed after the archive was built")
    versions("default", CANDIDATE, status=1)
    shutil.copyfile(Path(__file__), changed)
    assert "must be an archive" in versions("add", str(changed), status=1)
    assert versions("list").count("\n") == 1
    assert ask(stable) == (200, stable.version)


def test_an_archive_outside_the_model_store_is_refused(
    stable: Any, candidate_archive: Path
) -> None:
    for url in (f"file://{candidate_archive}", f"../{candidate_archive.name}"):
        refused = requests.post(f"{stable.management}/models", params={"url": url}, timeout=60)
        assert refused.status_code in (400, 404), refused.text


def test_no_server(henaw: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path) -> None:
    refused = henaw("versions", "list")
    assert refused.returncode == 1
    assert "no server runs in" in refused.stderr
