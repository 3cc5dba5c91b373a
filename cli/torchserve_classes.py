"""Has the TorchServe that is started from here run a class with a few bytes replaced.

TorchServe's start script puts the working directory before its jar on the class path: a
copy of a class goes there, changed. Nothing that is installed is touched, and a TorchServe
that is started otherwise is as it was made.
"""

from __future__ import annotations

import importlib.util
import zipfile
from collections.abc import Mapping
from pathlib import Path

from henaw.model.errors import RuntimeUnavailableError
from henaw.model.files import write_whole


def write_text(text: str) -> bytes:
    """Return a class file's entry for a text constant: its tag, its length, the text."""
    return b"\x01" + len(text).to_bytes(2, "big") + text.encode("ascii")


def write_long(number: int) -> bytes:
    """Return a class file's entry for a long constant: its tag, then eight bytes."""
    return b"\x05" + number.to_bytes(8, "big")


def override_class(folder: Path, name: str, replacements: Mapping[bytes, bytes]) -> None:
    """Put a class into the folder that TorchServe will be started in.

    Args:
        folder: that one.
        name: the class's file in TorchServe's jar.
        replacements: bytes that are there once, such as a constant's entry, and what takes
            their places.

    Raises:
        RuntimeUnavailableError: the installed TorchServe is not the one this was made for.
    """
    spec = importlib.util.find_spec("ts")
    jar = Path(spec.origin if spec and spec.origin else "").parent / "frontend/model-server.jar"
    try:
        with zipfile.ZipFile(jar) as classes:
            content = classes.read(name)
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        raise RuntimeUnavailableError(f"expected TorchServe's {jar}, however: {error}") from error
    for before, after in replacements.items():
        if content.count(before) != 1:
            raise RuntimeUnavailableError(
                f"expected {name} of torchserve 0.12.0 in {jar}, found another: reinstall it"
            )
        content = content.replace(before, after)
    write_whole(folder / name, content)
