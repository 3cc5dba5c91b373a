"""The part of TorchServe's ``Context`` that the entry uses."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from typing import Any, Protocol


class Context(Protocol):
    """The context that TorchServe gives a handler beside the data."""

    system_properties: Mapping[str, Any]
    request_ids: MutableMapping[int, str]
    """TorchServe answers these requests of the batch."""

    def get_request_id(self, idx: int = 0) -> str | None:
        """Return the id that TorchServe gave the request."""
        ...

    def get_all_request_header(self, idx: int) -> Mapping[str, Any]:
        """Return the request's headers, and the headers of its parts by part."""
        ...

    def set_response_status(self, code: int = 200, phrase: str = "", idx: int = 0) -> None:
        """Set one response's status."""
        ...

    def set_response_header(self, idx: int, key: str, value: str) -> None:
        """Set one header of one response."""
        ...
