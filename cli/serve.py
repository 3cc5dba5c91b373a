"""``henaw serve`` and ``henaw stop``."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click
from henaw.cli.options import (
    ARCHIVE,
    FOLDER,
    PATH,
    SHIPPED,
    engine_option,
    find_installed,
    run_option,
    server_config_option,
)

if TYPE_CHECKING:
    from henaw.cli.server.record import Record


@click.command()
@engine_option
@server_config_option
@click.option(
    "--archive",
    "archive_path",
    type=PATH,
    help="The model: an archive of henaw archive or, for native, a folder of henaw export. "
    f"Default: for native the shipped model; for torchserve {ARCHIVE}, which is made from the "
    "shipped checkpoint if it does not exist.",
)
@run_option
@click.option(
    "--store",
    type=FOLDER,
    default=ARCHIVE.parent,
    help="Folder that henaw versions copies archives to (native engine).",
)
@click.option(
    "--port",
    type=click.IntRange(1, 65530),
    envvar="HENAW_PORT",
    help="First of six consecutive ports, instead of the configured ones.",
)
@click.option(
    "--foreground",
    is_flag=True,
    help="Stay in the foreground until the server ends, as in a container.",
)
def serve(  # noqa: PLR0917 -- click passes by name
    engine: Literal["native", "torchserve"],
    configuration: Path,
    archive_path: Path | None,
    run: Path,
    store: Path,
    port: int | None,
    foreground: bool,
) -> None:
    """Start a server and wait until the model answers.

    The log options apply to this command alone. The server writes its own logs into the run
    folder.
    """
    if engine == "native":
        _serve_native(
            configuration.resolve(),
            archive_path or find_installed(SHIPPED),
            run.resolve(),
            store.resolve(),
            port,
            foreground=foreground,
        )
    else:
        _serve_torchserve(
            configuration.resolve(), archive_path, run.resolve(), port, foreground=foreground
        )


def _serve_native(
    configuration: Path,
    source: Path,
    run: Path,
    store: Path,
    port: int | None,
    *,
    foreground: bool,
) -> None:
    from henaw.cli.server.native import serve_here, start_native, stop_native
    from henaw.cli.server.record import ServerError

    if not source.exists():
        raise ServerError(
            f"there is no model at {source}. Correct the path, or make one with henaw archive"
        )
    started_s = time.monotonic()
    if foreground:
        serve_here(
            configuration=configuration,
            source=source.resolve(),
            store=store,
            run=run,
            first_port=port,
            when_ready=lambda record: _greet(record, run, started_s),
        )
        return
    record = start_native(
        configuration=configuration, source=source.resolve(), store=store, run=run, first_port=port
    )
    try:
        _greet(record, run, started_s)
    except BaseException:
        stop_native(record, run)
        raise
    _print("\nThe server runs in the background. Stop it with henaw stop.")


def _serve_torchserve(
    configuration: Path, archive_path: Path | None, run: Path, port: int | None, *, foreground: bool
) -> None:
    from henaw.cli.archive import archive
    from henaw.cli.server.record import ServerError
    from henaw.cli.server.torchserve import (
        read_log_tail,
        start_server,
        stop_server,
        wait_for_exit,
    )

    if archive_path is None:
        archive_path = ARCHIVE
        if not archive_path.is_file():
            click.get_current_context().invoke(archive, out=archive_path.parent)
    elif not archive_path.is_file():
        # A named archive is never replaced by the shipped model.
        raise ServerError(
            f"there is no archive at {archive_path}. Correct the path, or make one with "
            "henaw archive"
        )
    started_s = time.monotonic()
    record = start_server(
        configuration=configuration, archive=archive_path.resolve(), run=run, first_port=port
    )
    ending = [signal.SIGTERM, signal.SIGINT]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        ending.append(signal.SIGHUP)
    if foreground:
        # Containers end a process with SIGTERM, a closed terminal with SIGHUP.
        for number in ending:
            signal.signal(number, signal.default_int_handler)
    try:
        _greet(record, run, started_s)
    except BaseException:
        stop_server(run)
        raise
    if not foreground:
        _print("\nThe server runs in the background. Stop it with henaw stop.")
        return
    try:
        wait_for_exit(record, run)
    except ServerError:
        stop_server(run)
        raise
    except KeyboardInterrupt:
        # A second signal is ignored: interrupted here, the server would run on without a parent.
        for number in ending:
            signal.signal(number, signal.SIG_IGN)
        stop_server(run)
    else:
        raise ServerError("the server ended unexpectedly:\n" + read_log_tail(run))


def _greet(record: Record, run: Path, started_s: float) -> None:
    """Wait until the server answers an example; print its address and a request."""
    from henaw.cli.server.example_request import wait_for_answer, write_curl

    answer = wait_for_answer(record, run)
    took_s = time.monotonic() - started_s
    _print(
        f"henaw answers on {record.url} (pid {record.pid}, {took_s:.1f} s). Try:\n\n"
        f"{write_curl(record, run)}\n\n{json.dumps(answer, indent=2)}"
    )


def _print(text: str) -> None:
    """Print a text; a reader that has left, as in `henaw serve | head`, must not end the server."""
    try:
        click.echo(text)
    except BrokenPipeError:
        # Else Python would fail once more when it ends.
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), sys.stdout.fileno())


@click.command()
@run_option
def stop(run: Path) -> None:
    """Stop the server that `henaw serve` started in the folder RUN."""
    from henaw.cli.server.native import stop_native
    from henaw.cli.server.record import find_server
    from henaw.cli.server.torchserve import stop_server

    run = run.resolve()
    record = find_server(run)
    if record is not None and record.engine == "native":
        stop_native(record, run)
    else:
        record = stop_server(run)
    click.echo("no server runs" if record is None else f"stopped {record.url} (pid {record.pid})")
