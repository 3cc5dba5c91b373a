"""The versions that one worker holds, and which one answers where none is named."""

from __future__ import annotations

from collections.abc import Callable

from henaw.handler.native.models import Model
from henaw.handler.observe.heartbeat import Pulse
from henaw.handler.observe.shadow import Pairing
from henaw.handler.service import Service

Beside = list[Pulse | Pairing]
Assemble = Callable[[Model, Beside], Service]


class Versions:
    """Services by version.

    Args:
        assemble: proves a model and returns its service, with the threads beside it in a list.
    """

    def __init__(self, assemble: Assemble) -> None:
        self._assemble = assemble
        self._held: dict[str, tuple[Service, Beside]] = {}
        self._default: str | None = None

    def add(self, model: Model) -> None:
        """Prove a model and hold it; may run in a thread beside requests.

        Raises:
            HenawError: it is not right.
        """
        beside: Beside = []
        self._held[model.version] = self._assemble(model, beside), beside

    def set_default(self, version: str) -> None:
        """Have a version answer where none is named."""
        self._default = version

    def remove(self, version: str) -> None:
        """Let a version go, once its last batch is answered."""
        _, beside = self._held.pop(version, (None, []))
        for thread in beside:
            thread.stop()

    def has(self, version: str | None) -> bool:
        """Tell whether there is a version, or for None a default one."""
        return (version or self._default) in self._held

    def find(self, version: str | None) -> Service | None:
        """Return the service of a version, or for None of the default one."""
        service, _ = self._held.get(version or self._default or "", (None, []))
        return service

    def stop(self) -> None:
        """End what runs beside the services: Python must not exit while a runtime is at work."""
        for version in list(self._held):
            self.remove(version)
