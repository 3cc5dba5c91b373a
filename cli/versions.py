"""``henaw versions``: several versions of the model in one running server."""

from __future__ import annotations

import contextlib
import json
import re
import zipfile
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from henaw.cli.options import FILE, run_option
from henaw.cli.server.properties import are_tokens_asked_for, read_effective_properties
from henaw.cli.server.record import ServerError, find_server
from henaw.cli.server.tokens import read_api_key, read_token
from henaw.cli.server.torchserve import find_refusal, measure_model_log, read_log_tail
from henaw.handler.native.engine import OPERATOR_KEY_NAME
from henaw.model.errors import ArtifactError
from henaw.model.files import write_whole

if TYPE_CHECKING:
    from collections.abc import Mapping

_MODEL = "/models/henaw"
_TIMEOUT_S = 180.0
"""A version is added after its worker has checked it, which may take as long as a start."""


class _FixedError(ServerError):
    """The server's configuration fixes its versions."""


class Management:
    """The management API of the server that ``henaw serve`` started.

    Args:
        run: the server's folder.

    Raises:
        ServerError: no server runs there.
    """

    def __init__(self, run: Path) -> None:
        record = find_server(run)
        if record is None:
            raise ServerError(f"no server runs in {run}. Start one with henaw serve")
        self.engine = record.engine
        self._headers: dict[str, str] = {}
        if record.engine == "native":
            if record.management is None or record.store is None:
                raise ServerError(
                    "this server has no management address. Set native.management_port in "
                    "handler.yaml, and restart it"
                )
            self.store, self._url = Path(record.store), record.management
            if record.needs_key:
                key = (run / OPERATOR_KEY_NAME).read_text(encoding="ascii")
                self._headers["X-API-Key"] = key
            return
        properties = read_effective_properties(run)
        self.store = Path(properties["model_store"])
        self._url = properties["management_address"]
        if are_tokens_asked_for(properties):
            token = read_token(run, "management")
            if token.is_expired():
                # It is useless by now, so a new one takes nothing from another client.
                self._headers["Authorization"] = f"Bearer {read_api_key(run)}"
                self.ask("GET", "/token", {"type": "management"})
                token = read_token(run, "management")
            self._headers = token.write_header()

    def ask(self, method: str, path: str, parameters: Mapping[str, str] | None = None) -> Any:
        """Return the answer's JSON.

        Raises:
            ServerError: the server refused; the message is its own.
        """
        import requests

        try:
            response = requests.request(
                method,
                self._url + path,
                params=parameters,
                headers=self._headers,
                timeout=_TIMEOUT_S,
            )
        except requests.RequestException as error:
            raise ServerError(
                f"the management API at {self._url} did not answer within {_TIMEOUT_S:g} s: "
                f"{type(error).__name__}. Run henaw doctor"
            ) from error
        if response.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
            raise _FixedError(
                "this server loads its versions only at its start. List archives as load_models in "
                "config.properties, or set enable_model_api=true there, and restart it"
            )
        if not response.ok:
            raise ServerError(f"the server refused: {response.json()['message']}")
        # The answer to a request for a new token is empty: TorchServe writes it into its file.
        return response.json() if response.text.strip() else None

    def describe(self) -> dict[str, dict[str, Any]]:
        """Return the server's description of each version, the default one first."""
        default = self.ask("GET", _MODEL)[0]["modelVersion"]
        by_version = {one["modelVersion"]: one for one in self.ask("GET", f"{_MODEL}/all")}
        return {default: by_version.pop(default), **by_version}


@click.group()
def versions() -> None:
    """Load several versions into one running server and switch between them.

    Each version answers at /predictions/henaw/VERSION, the default one also at
    /predictions/henaw.
    """


@versions.command("list")
@run_option
def list_versions(run: Path) -> None:
    """List the versions, the default one first."""
    for place, (version, one) in enumerate(Management(run.resolve()).describe().items()):
        mark = "default" if place == 0 else "       "
        click.echo(f"{mark} {version}: {_count_ready(one)} workers ready, {one['modelUrl']}")


@versions.command()
@click.argument("archive", type=FILE)
@run_option
def add(archive: Path, run: Path) -> None:
    """Load ARCHIVE as one more version; the default version stays.

    It is first copied into the model store as henaw-VERSION.mar.
    """
    management = Management(run.resolve())
    version = _read_version(archive)
    if version in management.describe():
        raise ServerError(
            f"version {version} is loaded already. Fit the candidate under another version"
        )
    copy = management.store / f"henaw-{version}.mar"
    write_whole(copy, archive.read_bytes())
    since = measure_model_log(run.resolve())
    try:
        management.ask("POST", "/models", {"url": copy.name, "synchronous": "true"})
    except _FixedError:
        raise
    except ServerError as error:
        if management.engine == "native":
            copy.unlink()
            raise
        # TorchServe may or may not remove a version whose workers did not start.
        with contextlib.suppress(ServerError):
            management.ask("DELETE", f"{_MODEL}/{version}")
        why = find_refusal(run.resolve(), since) or read_log_tail(run.resolve())
        raise ServerError(f"{error}\n{why}") from error
    click.echo(f"{version} answers at /predictions/henaw/{version}")


@versions.command()
@click.argument("version")
@run_option
def default(version: str, run: Path) -> None:
    """Make VERSION the default; the previous default stays loaded."""
    management = Management(run.resolve())
    held = management.describe()
    if version not in held or not _count_ready(held[version]):
        raise ServerError(
            f"VERSION must have a ready worker; got {version!r}. The server has {', '.join(held)}"
        )
    before = next(iter(held))
    management.ask("PUT", f"{_MODEL}/{version}/set-default")
    click.echo(f"{version} is the default now. To switch back: henaw versions default {before}")


@versions.command()
@click.argument("version")
@run_option
def remove(version: str, run: Path) -> None:
    """Unload VERSION, unless it is the default. Its archive stays in the model store."""
    management = Management(run.resolve())
    if version == next(iter(management.describe())):
        raise ServerError(
            f"{version!r} is the default version, which cannot be removed. Switch first: henaw "
            "versions default VERSION"
        )
    management.ask("DELETE", f"{_MODEL}/{version}")
    click.echo(f"{version} is removed")


def _count_ready(version: Mapping[str, Any]) -> int:
    return sum(worker["status"] == "READY" for worker in version["workers"])


def _read_version(archive: Path) -> str:
    try:
        with zipfile.ZipFile(archive) as file:
            model = json.loads(file.read("MAR-INF/MANIFEST.json"))["model"]
            version = str(model["modelVersion"])
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise ArtifactError(
            str(archive), [f"it must be an archive of `henaw archive`: {error}"]
        ) from error
    # It becomes a part of a file's name.
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._+-]*", version):
        raise ArtifactError(str(archive), [f"its version must look like '1.2.0'; got {version!r}"])
    return version
