"""The management address, on loopback: the operator adds, removes and switches versions.

A page in a browser on this machine could send requests here too. So a request is refused if its
Host is not this machine's, or if it comes from a page.
"""

from __future__ import annotations

import hmac
import json
import re
import shutil
from collections.abc import Iterable
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from henaw.handler.contract.types import SERVED_NAME
from henaw.handler.native.models import copy_model
from henaw.handler.native.supervisor import Supervisor
from henaw.model.errors import HenawError

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

_LOCAL_HOST = re.compile(r"(127\.0\.0\.1|localhost|\[::1\])(:[0-9]+)?")
_NAME_BYTES = 255
"""The most bytes that file systems allow for a name."""

_PREFIX = f"/models/{SERVED_NAME}"


class _RefusedError(Exception):
    """A request is refused.

    Args:
        status: of HTTP.
        detail: for the operator.
    """

    def __init__(self, status: HTTPStatus, detail: str) -> None:
        super().__init__(detail)
        self.status = status


class ManagementApp:
    """A WSGI application with TorchServe's paths for versions.

    Args:
        supervisor: of the workers.
        folder: takes the files of added versions.
        store: the only folder that archives are added from.
        key: the operator's, expected in ``X-API-Key``; None requires none.
    """

    def __init__(
        self, supervisor: Supervisor, *, folder: Path, store: Path, key: str | None
    ) -> None:
        self._key = key
        self._supervisor = supervisor
        self._folder = folder
        self._store = store

    def __call__(
        self, environment: WSGIEnvironment, start_response: StartResponse
    ) -> Iterable[bytes]:
        """Answer one request."""
        try:
            refuse_strangers(environment)
            self._refuse_keyless(environment)
            status, document = HTTPStatus.OK, self._answer(environment)
        except _RefusedError as error:
            status, document = error.status, {"message": str(error)}
        except HenawError as error:
            status, document = HTTPStatus.CONFLICT, {"message": str(error)}
        headers = [("Content-Type", "application/json"), ("Cache-Control", "no-store")]
        start_response(f"{status.value} {status.phrase}", headers)
        return [json.dumps(document, indent=1).encode()]

    def _refuse_keyless(self, environment: WSGIEnvironment) -> None:
        shown = environment.get("HTTP_X_API_KEY", "")
        if self._key is not None and not hmac.compare_digest(shown.encode(), self._key.encode()):
            raise _RefusedError(
                HTTPStatus.UNAUTHORIZED, "send the server's operator key in X-API-Key"
            )

    def _answer(self, environment: WSGIEnvironment) -> Any:
        method, path = environment["REQUEST_METHOD"], environment["PATH_INFO"]
        query = parse_qs(environment.get("QUERY_STRING", ""))
        match method, path.split("/")[1:]:
            case "POST", ["models"]:
                return self._add(query.get("url", [""])[0])
            case "GET", ["models", name] | ["models", name, "all"] if name == SERVED_NAME:
                return self._describe(customized=query.get("customized") == ["true"])
            case "PUT", ["models", name, version, "set-default"] if name == SERVED_NAME:
                self._find(version)
                self._supervisor.set_default(version)
                return {"status": f"{version} is the default version"}
            case "DELETE", ["models", name, version] if name == SERVED_NAME:
                self._find(version)
                self._supervisor.remove(version)
                shutil.rmtree(self._folder / version)
                return {"status": f"{version} is removed"}
        raise _RefusedError(
            HTTPStatus.NOT_FOUND,
            f"this address answers GET {_PREFIX}, POST /models?url=ARCHIVE, "
            f"PUT {_PREFIX}/VERSION/set-default and DELETE {_PREFIX}/VERSION",
        )

    def _add(self, name: str) -> Any:
        # Only a name: a path could lead to any file of the machine.
        is_name = Path(name).name == name and name not in ("", "..") and "\0" not in name
        if not is_name or len(name.encode()) > _NAME_BYTES:
            raise _RefusedError(
                HTTPStatus.BAD_REQUEST, f"url must be the name of a file in {self._store}"
            )
        try:
            model = copy_model(self._store / name, self._folder)
        except OSError as error:
            raise _RefusedError(
                HTTPStatus.INSUFFICIENT_STORAGE,
                f"the version's files could not be copied to {self._folder}: {error.strerror}",
            ) from error
        try:
            self._supervisor.add(model)
        except HenawError:
            shutil.rmtree(model.folder)
            raise
        return {"status": f"{model.version} answers at /predictions/{SERVED_NAME}/{model.version}"}

    def _find(self, version: str) -> None:
        if version not in self._supervisor.models:
            raise _RefusedError(HTTPStatus.NOT_FOUND, f"version {version} is not served")

    def _describe(self, *, customized: bool) -> list[dict[str, Any]]:
        """Return all versions in TorchServe's form, the default one first."""
        ready = self._supervisor.count_ready()
        models = self._supervisor.models
        order = sorted(models, key=lambda version: version != self._supervisor.default)
        return [
            {
                "modelName": SERVED_NAME,
                "modelVersion": version,
                "modelUrl": models[version].source,
                "workers": [{"id": str(n), "status": "READY"} for n in range(ready)],
                **(
                    {"customizedMetadata": json.loads(self._supervisor.describe(version))}
                    if customized
                    else {}
                ),
            }
            for version in order
        ]


def refuse_strangers(environment: WSGIEnvironment) -> None:
    """Refuse a request from a page in a browser, whose host name may point here.

    Raises:
        _RefusedError: the Host is not this machine's loopback, or the request has an origin.
    """
    host = environment.get("HTTP_HOST", "")
    if not _LOCAL_HOST.fullmatch(host.lower()):
        raise _RefusedError(HTTPStatus.FORBIDDEN, "the Host must be this machine's loopback")
    if "HTTP_ORIGIN" in environment or environment.get("HTTP_SEC_FETCH_SITE", "none") != "none":
        raise _RefusedError(HTTPStatus.FORBIDDEN, "pages in a browser may not ask here")
