"""The installed distribution of HENAW: ``henaw``, or ``henaw-gpu`` with ONNX Runtime for CUDA."""

from __future__ import annotations

import contextlib
import importlib.metadata
from collections.abc import Mapping
from types import MappingProxyType

RUNTIMES: Mapping[str, str] = MappingProxyType(
    {"henaw": "onnxruntime", "henaw-gpu": "onnxruntime-gpu"}
)
"""The distributions of this source, and the ONNX Runtime that each one requires."""


def find_versions(names: Mapping[str, str] | tuple[str, ...]) -> dict[str, str]:
    """Versions of the installed ones of some distributions, by name."""
    found = {}
    for name in names:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


def find_distribution() -> str:
    """Name of the installed distribution; henaw where both are installed.

    Raises:
        PackageNotFoundError: none is installed; the source is on the path without one.
    """
    found = find_versions(RUNTIMES)
    if not found:
        raise importlib.metadata.PackageNotFoundError("henaw")
    return next(iter(found))


def read_version() -> str:
    """Version of the installed distribution.

    Raises:
        PackageNotFoundError: none is installed.
    """
    return importlib.metadata.version(find_distribution())


def suggest_install(extra: str) -> str:
    """Command that installs what an extra needs.

    Example:
        >>> suggest_install("plot")
        "pip install 'henaw[plot]'"
    """
    return f"pip install '{next(iter(find_versions(RUNTIMES)), 'henaw')}[{extra}]'"
