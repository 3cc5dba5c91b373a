"""The tokens that TorchServe writes into the server's folder when it starts."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Final, Literal, TypeVar

from henaw.cli.server.record import ServerError

FILE_NAME = "key_file.json"
"""The file is in TorchServe's working directory, which is the server's folder."""

TokenKind = Literal["inference", "management"]
TOKEN_KINDS: Final[tuple[TokenKind, ...]] = ("inference", "management")

_EXPIRES = "expiration time"
_SECONDS = len("2026-01-31T23:59:59")

_Read = TypeVar("_Read")


@dataclass(frozen=True, kw_only=True)
class Token:
    """The token of one of TorchServe's APIs.

    Attributes:
        key: for the header ``Authorization``, after ``Bearer``.
        expires: when it becomes invalid.
    """

    key: str
    expires: datetime

    def write_header(self) -> dict[str, str]:
        """Return the header that contains the token."""
        return {"Authorization": f"Bearer {self.key}"}

    def is_expired(self) -> bool:
        """Return whether the token has expired."""
        return self.expires <= datetime.now(timezone.utc)


def read_token(run: Path, kind: TokenKind) -> Token:
    """Return the token of one API.

    Args:
        run: the server's folder.
        kind: inference or management.

    Raises:
        ServerError: the file cannot be read or has no such token.
    """

    def read(document: Any) -> Token:
        one = document[kind]
        return Token(key=str(one["key"]), expires=_read_instant(one[_EXPIRES]))

    return _read(run, read)


def read_api_key(run: Path) -> str:
    """Return the key for requests of new tokens; it does not expire.

    Raises:
        ServerError: the file cannot be read or has no such token.
    """
    return _read(run, lambda document: str(document["API"]["key"]))


def _read(run: Path, read: Callable[[Any], _Read]) -> _Read:
    path = run / FILE_NAME
    try:
        return read(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ServerError(
            f"TorchServe's tokens cannot be read from {path}: {type(error).__name__}: {error}. Is "
            "the server still starting?"
        ) from error


def _read_instant(text: str) -> datetime:
    # Java writes a varying number of fractional digits, and a sign from the year 10000 on.
    if text.startswith("+"):
        return datetime.max.replace(tzinfo=timezone.utc)
    seconds = datetime.strptime(text[:_SECONDS], "%Y-%m-%dT%H:%M:%S")
    return seconds.replace(tzinfo=timezone.utc)
