"""``henaw serve`` and ``henaw stop`` on the command line."""

import datetime
import json
import os
import re
import shutil
import socket
import subprocess
import time
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests
import trustme
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from henaw.export.archive import build_archive
from henaw.handler.request.instances import ANSWER_FIELDS
from henaw.model.profile import LabProfile

SERVE_CONFIG = Path(__file__).resolve().parents[2] / "serve_config"

Command = Callable[..., "subprocess.CompletedProcess[str]"]
MODEL_CONFIG = SERVE_CONFIG / "model-config.yaml"


@pytest.fixture(scope="module")
def shipped(artifacts: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_archive(artifacts, MODEL_CONFIG, tmp_path_factory.mktemp("shipped"))


@pytest.fixture
def production(tmp_path: Path) -> Path:
    """The production configuration with a certificate for a name that no machine here has."""
    folder = Path(shutil.copytree(SERVE_CONFIG / "production", tmp_path / "production"))
    certificate = trustme.CA().issue_cert("henaw.example", key_type=trustme.KeyType.RSA)
    certificate.cert_chain_pems[0].write_to_path(folder / "tls.crt")
    key = load_pem_private_key(certificate.private_key_pem.bytes(), None)
    (folder / "tls.key").touch(mode=0o600)
    (folder / "tls.key").write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    )
    for name in ("config.properties", "handler.yaml"):
        text = (folder / name).read_text()
        (folder / name).write_text(text.replace("/etc/henaw", str(folder)))
    return folder


def list_family(pid: int) -> list[psutil.Process]:
    process = psutil.Process(pid)
    return [process, *process.children(recursive=True)]


def is_answered(url: str) -> bool:
    try:
        return requests.get(url, timeout=10).ok
    except requests.ConnectionError:
        return False


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


def test_the_server_runs_on_when_nobody_reads_what_serve_prints(
    henaw: Command, shipped: Path, tmp_path: Path
) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    served = henaw("serve", "--archive", str(shipped), stdout=writer)
    os.close(writer)
    assert (served.returncode, served.stderr) == (0, "")
    assert psutil.Process(read_pid(tmp_path / "run")).is_running()


@pytest.mark.skipif(shutil.which("script") is None, reason="script opens the terminal")
def test_a_closed_terminal_stops_the_server_in_it(
    henaw: Command, shipped: Path, tmp_path: Path, wait_until: Callable[..., None]
) -> None:
    record = tmp_path / "run" / "server.json"
    with ThreadPoolExecutor() as pool:
        served = pool.submit(
            henaw, "serve", "--foreground", "--archive", str(shipped), in_terminal=True
        )
        wait_until(record.exists, 60)
        url = json.loads(record.read_text())["url"]
        wait_until(lambda: is_answered(f"{url}/ping"), 60)
        family = list_family(read_pid(tmp_path / "run"))
        (terminal,) = (p for p in psutil.Process().children() if p.name() == "script")
        terminal.kill()
        served.result()
    wait_until(lambda: not record.exists(), 60)
    assert not psutil.wait_procs(family, timeout=10)[1]


def test_production_is_served_asked_managed_examined_and_stopped(
    henaw: Command, engine: str, shipped: Path, production: Path, tmp_path: Path
) -> None:
    model_and_configuration = ("--archive", str(shipped), "--config", str(production))
    served = henaw("serve", *model_and_configuration)
    assert served.returncode == 0, served.stderr
    if engine == "native":
        keys = [(tmp_path / "run" / "operator.key").read_text()]
    else:
        held = json.loads((tmp_path / "run" / "key_file.json").read_text())
        keys = [one["key"] for one in held.values()]
    assert not any(key in served.stdout + served.stderr for key in keys)
    line = next(line for line in served.stdout.splitlines() if "curl " in line)
    printed = json.loads(served.stdout[served.stdout.index("{\n") : served.stdout.rindex("}") + 1])
    if shutil.which("curl"):
        pasted = subprocess.run(["sh", "-c", line], capture_output=True, text=True, check=False)
        assert pasted.stdout, line
        assert json.loads(pasted.stdout) == printed

    assert henaw("versions", "list").stdout.startswith("default ")
    examined = henaw("doctor", "--json", *model_and_configuration)
    findings = json.loads(examined.stdout)
    # No key is issued yet.
    unsound = {f["check"] for f in findings if f["status"] != "ok"}
    assert unsound == ({"keys"} if engine == "native" else set())
    assert examined.returncode == 0
    seen = {finding["check"] for finding in findings}
    assert seen >= {"certificate", "permissions", "ping", "ready", "server"}
    assert {"keys", "tokens"} & seen
    assert henaw("stop").stdout.startswith("stopped https://0.0.0.0:")


def test_an_expired_certificate_is_named_immediately(
    henaw: Command, shipped: Path, production: Path
) -> None:
    past = datetime.datetime(2020, 1, 1, tzinfo=datetime.timezone.utc)
    certificate = trustme.CA().issue_cert(
        "henaw.example", not_before=past, not_after=past, key_type=trustme.KeyType.RSA
    )
    certificate.cert_chain_pems[0].write_to_path(production / "tls.crt")
    key = load_pem_private_key(certificate.private_key_pem.bytes(), None)
    (production / "tls.key").write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    )
    refused = henaw("serve", "--archive", str(shipped), "--config", str(production))
    assert refused.returncode == 1
    assert "certificate has expired" in refused.stderr
    assert henaw("stop").stdout == "no server runs\n"


def test_a_missing_archive_is_not_replaced_by_the_shipped_one(
    henaw: Command, tmp_path: Path
) -> None:
    missing = tmp_path / "other" / "henaw.mar"
    refused = henaw("serve", "--archive", str(missing))
    assert refused.returncode == 1
    assert str(missing) in refused.stderr
    assert "Correct the path" in refused.stderr
    assert not missing.parent.exists()


def test_a_taken_port_is_named(henaw: Command, shipped: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        refused = henaw("serve", "--archive", str(shipped), HENAW_PORT=str(port))
    assert refused.returncode == 1
    assert f"port {port} (" in refused.stderr
    assert "is taken" in refused.stderr


def test_a_profile_of_the_laboratory_is_used_or_refused_with_the_reason(
    henaw: Command, shipped: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(SERVE_CONFIG / "local", tmp_path / "local"))
    with (folder / "handler.yaml").open("a") as file:
        file.write("\nlab_profile: lab.json\n")
    arguments = ("serve", "--archive", str(shipped), "--config", str(folder))
    refused = henaw(*arguments)
    assert refused.returncode == 1
    assert "run/lab.json: 1 problem\n  - there is no such file" in refused.stderr
    assert "answers on" not in refused.stdout
    profile = LabProfile(name="north", shift={"rdw": 0.05}, standard_error={"rdw": 0.003})
    (tmp_path / "run" / "lab.json").write_text(json.dumps(profile.describe()))
    served = henaw(*arguments)
    assert served.returncode == 0, served.stderr
    assert '"lab": "north"' in served.stdout


@pytest.mark.parametrize("kept", [0, 0.5, 0.99])
def test_a_truncated_archive_is_refused_immediately(
    henaw: Command, shipped: Path, tmp_path: Path, kept: float
) -> None:
    content = shipped.read_bytes()
    cut = tmp_path / "henaw.mar"
    cut.write_bytes(content[: int(len(content) * kept)])
    begin_s = time.monotonic()
    refused = henaw("serve", "--archive", str(cut))
    assert time.monotonic() - begin_s < 10
    assert refused.returncode == 1
    assert "it is not a complete archive" in refused.stderr
    assert "henaw archive" in refused.stderr
    assert "Traceback" not in refused.stderr


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
    assert "henaw.json was changed after the archive was built" in refused.stderr
    assert "answers on" not in refused.stdout
    left = [
        process
        for process in psutil.process_iter(["pid", "cmdline"])
        if process.pid not in before and str(tmp_path) in " ".join(process.info["cmdline"] or [])
    ]
    assert not left
