"""The versions of the model that one worker has, and which one is the default."""

from __future__ import annotations

import time
from collections.abc import Callable

from henaw.handler.assembly import Companions
from henaw.handler.native.models import ModelVersion
from henaw.handler.service import Service

Assemble = Callable[[ModelVersion, Companions], Service]
_LAST_BATCH_S = 30.0


class Versions:
    """Services by version.

    Args:
        assemble: checks a model and returns its service; it adds the service's threads to a
            list.
    """

    def __init__(self, assemble: Assemble) -> None:
        self._assemble = assemble
        self._services: dict[str, tuple[Service, Companions]] = {}
        self._default: str | None = None

    def add(self, model: ModelVersion) -> None:
        """Check a model and add its service; may run in a thread beside requests.

        Raises:
            HenawError: the model's files or its answers are wrong.
        """
        companions: Companions = []
        self._services[model.version] = self._assemble(model, companions), companions

    def set_default(self, version: str) -> None:
        """Let a version answer requests that name no version."""
        self._default = version

    def remove(self, version: str) -> None:
        """Remove a version; in a thread beside requests, which waits for its last batch."""
        service, companions = self._services.pop(version, (None, []))
        until_s = time.monotonic() + _LAST_BATCH_S
        while service is not None and service.is_busy and time.monotonic() < until_s:
            time.sleep(0.01)
        _stop(companions)

    def has(self, version: str | None) -> bool:
        """Return whether there is this version; for None, whether there is a default one."""
        return (version or self._default) in self._services

    def find(self, version: str | None) -> Service | None:
        """Return the service of a version; for None, that of the default one."""
        service, _ = self._services.get(version or self._default or "", (None, []))
        return service

    def stop(self) -> None:
        """End the threads of all services: Python must not exit while a runtime is in use."""
        for _, companions in self._services.values():
            _stop(companions)


def _stop(companions: Companions) -> None:
    for thread in companions:
        thread.stop()
