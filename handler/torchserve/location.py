"""The paths of the operator's files, as one of TorchServe's workers finds them.

A worker runs in the unpacked archive, but the operator's paths are relative to the working
directory of the server, which is its parent process.
"""

from __future__ import annotations

import itertools
import os
from pathlib import Path

import psutil

CONFIGURATION_NAME = "handler.yaml"
CONFIGURATION_VARIABLE = "HENAW_HANDLER_CONFIG"
STORE_VARIABLE = "HENAW_THROTTLE_STORE"
MONITOR_VARIABLE = "HENAW_MONITOR_FOLDER"
LOGS_VARIABLE = "LOG_LOCATION"
"""TorchServe's own."""


def find_configuration() -> Path | None:
    """Return the path of the handler's configuration; None without one.

    ``HENAW_HANDLER_CONFIG`` names it; else it is beside the server's ``config.properties``.
    """
    named = os.environ.get(CONFIGURATION_VARIABLE)
    if named:
        return Path(named)
    server = _read_server()
    if server is None:
        return None
    folder, arguments = server
    # TorchServe always passes the file to its front end as "-f FILE".
    for flag, value in itertools.pairwise(arguments):
        if flag == "-f":
            beside = (folder / value).parent / CONFIGURATION_NAME
            return beside if beside.is_file() else None
    return None


def find_store(configured: str) -> Path:
    """Return the throttle's file: ``HENAW_THROTTLE_STORE``, else as configured."""
    return _find(STORE_VARIABLE, configured)


def find_monitor_folder(configured: str) -> Path:
    """Return the folder of workers' states: ``HENAW_MONITOR_FOLDER``, else as configured."""
    return _find(MONITOR_VARIABLE, configured)


def find_optional(configured: str | None) -> Path | None:
    """Return a path as configured, relative to the server's folder; None where none is."""
    return None if configured is None else _find_folder() / configured


def find_log_folder() -> Path:
    """Return the folder of TorchServe's logs: ``LOG_LOCATION``, else ``logs``."""
    return _find(LOGS_VARIABLE, "logs")


def _find(variable: str, configured: str) -> Path:
    named = os.environ.get(variable)
    if named:
        return Path(named)
    return _find_folder() / configured


def _find_folder() -> Path:
    """Return the server's working directory."""
    server = _read_server()
    return server[0] if server else Path.cwd()


def _read_server() -> tuple[Path, list[str]] | None:
    """Return the parent process's working directory and command line."""
    try:
        parent = psutil.Process().parent()
        return None if parent is None else (Path(parent.cwd()), parent.cmdline())
    except psutil.Error:
        return None
