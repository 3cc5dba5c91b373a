"""The installed distribution of HENAW: ``henaw``, or ``henaw-gpu`` with ONNX Runtime for CUDA."""

from __future__ import annotations

import contextlib
import importlib.metadata
from collections.abc import Mapping
from types import MappingProxyType

RUNTIMES: Mapping[str, str] = MappingProxyType(
    {"henaw": "onnxruntime", "henaw-gpu": "onnxruntime-gpu"}
)
"""Each distribution of the one source, and the ONNX Runtime that it brings."""


def find_versions(names: Mapping[str, str] | tuple[str, ...]) -> dict[str, str]:
    """The versions of those distributions that are installed, by name."""
    found = {}
    for name in names:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


def find_distribution() -> str:
    """The name of the distribution that is installed: henaw where both are.

    Raises:
        PackageNotFoundError: none is: the source is on the path without an installation.
    """
    found = find_versions(RUNTIMES)
    if not found:
        raise importlib.metadata.PackageNotFoundError("henaw")
    return next(iter(found))


def read_version() -> str:
    """The version of HENAW that is installed.

    Raises:
        PackageNotFoundError: none is.
    """
    return importlib.metadata.version(find_distribution())


def suggest_install(extra: str) -> str:
    """The command that installs what an extra needs.

    Example:
        >>> suggest_install("plot")
        "pip install 'henaw[plot]'"
    """
    return f"pip install '{next(iter(find_versions(RUNTIMES)), 'henaw')}[{extra}]'"
