"""TorchServe's ``config.properties``: the configured one and the effective one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from henaw.model.errors import ConfigurationError
from henaw.model.files import write_whole

NAME = "config.properties"

ADDRESSES = {
    "inference_address": "http://127.0.0.1:8080",
    "management_address": "http://127.0.0.1:8081",
    "metrics_address": "http://127.0.0.1:8082",
}
"""TorchServe's defaults."""
GRPC_ADDRESSES = {
    "grpc_inference_address": "127.0.0.1",
    "grpc_management_address": "127.0.0.1",
}
"""gRPC cannot be turned off; by default only this machine reaches it."""
GRPC_PORTS = {"grpc_inference_port": "7070", "grpc_management_port": "7071"}

_FILES = ("certificate_file", "private_key_file", "keystore")


def read_properties(
    configuration: Path, archive: Path, first_port: int | None = None
) -> dict[str, str]:
    """Read ``config.properties``; make paths absolute: TorchServe runs in another folder."""
    missing = [
        f"there is no {configuration / name}"
        for name in (NAME, "handler.yaml", "log4j2.xml")
        if not (configuration / name).is_file()
    ]
    if missing:
        raise ConfigurationError(str(configuration), missing)
    properties = {**ADDRESSES, **GRPC_ADDRESSES, **GRPC_PORTS, **_read(configuration / NAME)}
    for name in _FILES:
        if properties.get(name):
            properties[name] = str(Path(properties[name]).absolute())
    properties["model_store"] = str(archive.parent)
    properties["load_models"] = archive.name
    properties["vmargs"] = " ".join(
        [
            word
            for word in properties.get("vmargs", "").split()
            if not word.startswith("-Dlog4j.configurationFile=")
        ]
        + [f"-Dlog4j.configurationFile={configuration / 'log4j2.xml'}"]
    )
    if first_port is not None:
        for offset, key in enumerate(ADDRESSES):
            parts = urlsplit(properties[key])
            properties[key] = f"{parts.scheme}://{parts.hostname}:{first_port + offset}"
        for offset, key in enumerate(GRPC_PORTS, start=len(ADDRESSES)):
            properties[key] = str(first_port + offset)
    return properties


def write_effective_properties(run: Path, properties: Mapping[str, str]) -> Path:
    """Write the properties that a server starts with into its folder; return the file."""
    path = run / NAME
    write_whole(path, "".join(f"{k}={v}\n" for k, v in properties.items()).encode(), mode=0o600)
    return path


def read_effective_properties(run: Path) -> dict[str, str]:
    """Return the properties that the server of a folder was started with.

    Raises:
        OSError: there is no such file.
    """
    return _read(run / NAME)


def are_tokens_asked_for(properties: Mapping[str, str]) -> bool:
    """Return whether TorchServe answers only requests with a token."""
    return properties.get("disable_token_authorization", "false").lower() != "true"


def _read(path: Path) -> dict[str, str]:
    properties = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        key, separator, value = line.strip().partition("=")
        if separator and not key.startswith("#"):
            properties[key.strip()] = value.strip()
    return properties
