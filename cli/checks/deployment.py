"""All checks of a deployment, in order."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from henaw.cli.checks.credentials import (
    check_certificate,
    check_client_keys,
    check_pair,
    check_secrets,
    check_tokens,
)
from henaw.cli.checks.devices import check_devices
from henaw.cli.checks.results import CheckResult, fail, note, warn
from henaw.cli.checks.services import ask_monitor, check_ports, check_redis, ping
from henaw.cli.checks.software import (
    check_archive,
    check_java,
    check_lab_profile,
    check_model,
    check_versions,
)
from henaw.cli.server.inference import find_own_address
from henaw.cli.server.monitor import read_monitor_port
from henaw.cli.server.properties import are_tokens_asked_for, read_properties
from henaw.cli.server.record import Engine, find_server
from henaw.cli.server.tokens import FILE_NAME
from henaw.cli.server.torchserve import find_drain, find_taken_ports, list_taken_ports
from henaw.handler.configuration import HandlerConfiguration, load_configuration
from henaw.handler.native.engine import OPERATOR_KEY_NAME
from henaw.model.errors import HenawError

_LEAST_FREE_BYTES = 2 * 1024**3
"""Logs take up to 1.2 GB, and a start unpacks the archive."""

_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_REQUEST_SIZE = "6553500"
"""TorchServe's default."""


@dataclass(frozen=True, kw_only=True)
class Deployment:
    """A server's configuration, model and folder.

    Attributes:
        configuration: a folder with ``handler.yaml`` and, for TorchServe, ``config.properties``.
        archive: the model.
        run: the server's folder.
        engine: native or torchserve.
        pod: whether the server runs in a Kubernetes pod. There, addresses other than loopback
            are usual: the NetworkPolicy restricts access, the ingress has the certificate, and
            a mounted Secret belongs to the pod's group.
    """

    configuration: Path
    archive: Path
    run: Path
    engine: Engine = "torchserve"
    pod: bool = False


def is_in_pod() -> bool:
    """Return whether this process runs in a Kubernetes pod, by the kubelet's variable."""
    return "KUBERNETES_SERVICE_HOST" in os.environ


def examine(deployment: Deployment) -> Iterator[CheckResult]:
    """Yield the result of every check, those of the machine first."""
    if deployment.engine == "native":
        yield from _examine_native(deployment)
        return
    yield from check_versions("torchserve", "torch", "torchserve")
    yield check_java()
    yield from check_devices(deployment.archive)
    yield check_archive(deployment.archive)
    try:
        properties = read_properties(deployment.configuration, deployment.archive)
        handler = load_configuration(deployment.configuration / "handler.yaml")
    except HenawError as error:
        yield fail("configuration", str(error), "correct the file; serve_config/ has complete ones")
        return
    yield from _check_properties(properties, handler, pod=deployment.pod)
    yield from check_certificate(properties)
    secrets = [Path(properties[n]) for n in ("private_key_file", "keystore") if properties.get(n)]
    yield from _check_files(deployment, handler, [*secrets, deployment.run / FILE_NAME])
    yield from _check_server(deployment, properties, handler)


def _examine_native(deployment: Deployment) -> Iterator[CheckResult]:
    yield from check_versions("serve")
    yield check_model(deployment.archive)
    try:
        handler = load_configuration(deployment.configuration / "handler.yaml")
    except HenawError as error:
        yield fail("configuration", str(error), "correct the file; serve_config/ has complete ones")
        return
    native = handler.native
    yield note("configuration", f"predictions on {native.address}:{native.port}")
    if native.certificate is not None and native.key is not None:
        yield from check_pair(Path(native.certificate), Path(native.key))
    elif native.address not in _LOOPBACK and not deployment.pod:
        yield warn(
            "certificate",
            f"{native.address}:{native.port} answers without TLS",
            "terminate TLS at an ingress or nginx, or set native.certificate and native.key",
        )
    secrets = [] if native.key is None else [Path(native.key)]
    yield from _check_files(deployment, handler, [*secrets, deployment.run / OPERATOR_KEY_NAME])
    record = find_server(deployment.run)
    if record is None:
        addresses = [(native.address, native.port, "native.port")]
        addresses.append((handler.monitor.address, handler.monitor.port, "monitor"))
        if native.management_port is not None:
            addresses.append(("127.0.0.1", native.management_port, "native.management_port"))
        yield from check_ports(find_taken_ports(addresses), deployment.run)
        return
    yield note("server", f"{record.url}, pid {record.pid}")
    yield ping(deployment.run)
    host = find_own_address(handler.monitor.address)
    host = f"[{host}]" if ":" in host else host
    yield ask_monitor(
        f"http://{host}:{record.monitor_port or handler.monitor.port}/ready",
        "see console.log in the run folder; a worker that hangs is replaced automatically",
    )


def _check_files(
    deployment: Deployment, handler: HandlerConfiguration, secrets: list[Path]
) -> Iterator[CheckResult]:
    throttle = handler.throttle
    secrets = [*secrets, deployment.run / "throttle.sqlite3"]
    if throttle.redis is not None and _has_password(throttle.redis):
        secrets.append(Path(throttle.redis_file or deployment.configuration / "handler.yaml"))
    yield from check_secrets(secrets, pod=deployment.pod)
    if deployment.engine == "native":
        yield from check_client_keys(handler)
    if throttle.redis is not None:
        yield check_redis(throttle.redis)
    if handler.lab_profile is not None:
        yield from check_lab_profile(deployment.run / handler.lab_profile)
    yield from _check_folders(deployment.run)


def _has_password(url: str) -> bool:
    parts = urlsplit(url)
    return bool(parts.password) or "password=" in parts.query


def _check_properties(
    properties: dict[str, str], handler: HandlerConfiguration, *, pod: bool
) -> Iterator[CheckResult]:
    problems = []
    addresses = {"management": urlsplit(properties["management_address"]).hostname}
    if not pod:
        addresses["metrics"] = urlsplit(properties["metrics_address"]).hostname
        addresses["monitor"] = handler.monitor.address
    problems += [
        f"the {name} address must be loopback, such as 127.0.0.1; got {host}"
        for name, host in addresses.items()
        if host not in _LOOPBACK
    ]
    inference = urlsplit(properties["inference_address"])
    if inference.hostname not in _LOOPBACK and not pod:
        if inference.scheme != "https":
            problems.append("inference_address must be https, as it is not loopback")
        if not are_tokens_asked_for(properties):
            problems.append(
                "disable_token_authorization must be false, as inference_address is not loopback"
            )
    if properties.get("decode_input_request") != "false":
        problems.append("decode_input_request must be false: the handler reads bodies strictly")
    size = properties.get("max_request_size", _REQUEST_SIZE)
    if not size.isdecimal() or int(size) <= handler.limits.body_bytes:
        problems.append(
            f"max_request_size must be above body_bytes, {handler.limits.body_bytes} bytes; got "
            f"{size}"
        )
    if problems:
        yield fail("configuration", "; ".join(problems), "compare with serve_config/production")
    else:
        where = ", in a pod" if pod else ""
        yield note("configuration", f"inference on {properties['inference_address']}{where}")


def _check_folders(run: Path) -> Iterator[CheckResult]:
    for folder in (run, run / "logs"):
        # A missing folder is made at the start, in its nearest existing parent.
        there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
        if there.is_dir() and os.access(there, os.W_OK | os.X_OK):
            yield note("folder", f"{folder} is writable")
        else:
            yield fail("folder", f"{there} is not writable", f"chown {there} to this user")
    free = shutil.disk_usage(next(p for p in (run, *run.absolute().parents) if p.exists())).free
    seen = f"{free / 1024**3:.1f} GB free for {run}"
    if free < _LEAST_FREE_BYTES:
        yield warn("disk", seen, "free 2 GB for logs and the unpacked archive")
    else:
        yield note("disk", seen)


def _check_server(
    deployment: Deployment, properties: dict[str, str], handler: HandlerConfiguration
) -> Iterator[CheckResult]:
    record = find_server(deployment.run)
    if record is None:
        yield from check_ports(list_taken_ports(properties, handler.monitor), deployment.run)
        return
    yield note("server", f"{record.url}, pid {record.pid}")
    drain = find_drain(deployment.run)
    if drain is not None:
        seen = f"{drain} exists, so the server refuses every request as it does before it stops"
        yield fail("drain", seen, f"if henaw stop is not running: rm -r {drain}")
    yield from check_tokens(deployment.run)
    yield ping(deployment.run)
    port = read_monitor_port(deployment.run) or handler.monitor.port
    yield ask_monitor(
        f"http://{handler.monitor.address}:{port}/ready",
        "see model_log.log; henaw stop, then henaw serve starts the workers again",
    )
