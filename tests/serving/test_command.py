"""``henaw serve`` and ``henaw stop``, as they are typed."""

import json
import re
import shutil
import socket
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from henaw.export.archive import build_archive
from henaw.handler.schema import ANSWER_FIELDS

Command = Callable[..., "subprocess.CompletedProcess[str]"]
MODEL_CONFIG = Path(__file__).resolve().parents[2] / "serve_config" / "model-config.yaml"


@pytest.fixture(scope="module")
def shipped(artifacts: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_archive(artifacts, MODEL_CONFIG, tmp_path_factory.mktemp("shipped"))


def list_family(pid: int) -> list[psutil.Process]:
    process = psutil.Process(pid)
    return [process, *process.children(recursive=True)]


def read_pid(run: Path) -> int:
    return int(json.loads((run / "server.json").read_text())["pid"])


def test_serve_prints_a_line_that_works_and_stop_stops_only_its_own(
    henaw: Command, shipped: Path, tmp_path: Path, server: Any
) -> None:
    served = henaw("serve", "--archive", str(shipped))
    assert served.returncode == 0, served.stderr
    line = next(line for line in served.stdout.splitlines() if line.startswith("curl "))
    printed = json.loads(served.stdout[served.stdout.index("{\n") : served.stdout.rindex("}") + 1])
    if shutil.which("curl"):
        pasted = subprocess.run(["sh", "-c", line], capture_output=True, text=True, check=True)
        assert json.loads(pasted.stdout) == printed
    assert tuple(printed) == ANSWER_FIELDS

    family = list_family(read_pid(tmp_path / "run"))
    assert len(family) >= 2
    again = henaw("serve", "--archive", str(shipped))
    assert again.returncode == 1
    assert "a server runs already" in again.stderr

    stopped = henaw("stop")
    assert stopped.returncode == 0
    assert re.match(r"stopped http://127\.0\.0\.1:\d+ \(pid \d+\)", stopped.stdout)
    assert not [process for process in family if process.is_running()]
    assert all(process.is_running() for process in server.list_processes())
    assert henaw("stop").stdout == "no server runs\n"


def test_a_taken_port_is_named(henaw: Command, shipped: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        refused = henaw("serve", "--archive", str(shipped), HENAW_PORT=str(port))
    assert refused.returncode == 1
    assert f"port {port} (inference_address) is taken" in refused.stderr


def test_a_changed_archive_is_refused_with_the_reason(
    henaw: Command, shipped: Path, tmp_path: Path
) -> None:
    changed = tmp_path / "henaw.mar"
    with zipfile.ZipFile(shipped) as source, zipfile.ZipFile(changed, "w") as target:
        for name in source.namelist():
            content = source.read(name)
            target.writestr(name, content + b" " if name == "henaw.json" else content)
    before = {process.pid for process in psutil.process_iter()}
    refused = henaw("serve", "--archive", str(changed))
    assert refused.returncode == 1
    assert "henaw.json was changed after the archive was made" in refused.stderr
    assert "answers on" not in refused.stdout
    left = [
        process
        for process in psutil.process_iter(["pid", "cmdline"])
        if process.pid not in before and str(tmp_path) in " ".join(process.info["cmdline"] or [])
    ]
    assert not left
