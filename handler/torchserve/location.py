"""Where a worker finds the operator's files, whatever started the server.

A worker runs in the unpacked archive; the paths that an operator writes are relative
to the working directory of the server, its parent process.
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
    """Return the handler's configuration, or None where there is none.

    Named by ``HENAW_HANDLER_CONFIG``, else beside the server's ``config.properties``.
    """
    named = os.environ.get(CONFIGURATION_VARIABLE)
    if named:
        return Path(named)
    server = _read_server()
    if server is None:
        return None
    folder, arguments = server
    # TorchServe hands its front end the file as "-f FILE", however it was told of it.
    for flag, value in itertools.pairwise(arguments):
        if flag == "-f":
            beside = (folder / value).parent / CONFIGURATION_NAME
            return beside if beside.is_file() else None
    return None


def find_store(configured: str) -> Path:
    """Return the throttle's file: named by ``HENAW_THROTTLE_STORE``, else as configured."""
    return _find(STORE_VARIABLE, configured)


def find_monitor_folder(configured: str) -> Path:
    """Return where workers tell how they are: ``HENAW_MONITOR_FOLDER``, else as configured."""
    return _find(MONITOR_VARIABLE, configured)


def find_pairs(configured: str | None) -> Path | None:
    """Return the file in which answers are paired, as configured; None is nowhere."""
    return None if configured is None else _find_folder() / configured


def find_lab_profile(configured: str | None) -> Path | None:
    """Return the file of the laboratory's profile, as configured; None is nowhere."""
    return None if configured is None else _find_folder() / configured


def find_log_folder() -> Path:
    """Return where TorchServe logs: ``LOG_LOCATION``, else its working directory's ``logs``."""
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
