"""``henaw serve`` and ``henaw stop``."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path

import click
from click.core import ParameterSource
from henaw.cli.archive import archive
from henaw.cli.options import LOCAL_CONFIGURATION, find_installed, run_option


@click.command()
@click.option(
    "--config",
    "configuration",
    type=click.Path(path_type=Path, file_okay=False),
    default=lambda: find_installed(LOCAL_CONFIGURATION),
    show_default=f"{LOCAL_CONFIGURATION}, or the one that is installed",
    help="Folder with config.properties, handler.yaml and log4j2.xml.",
)
@click.option(
    "--archive",
    "archive_path",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("model_store/henaw.mar"),
    show_default=True,
    help="The model; this one is made from the shipped checkpoint if it is not there.",
)
@run_option
@click.option(
    "--port",
    type=click.IntRange(1, 65530),
    envvar="HENAW_PORT",
    help="Six ports from here on instead of those configured.",
)
@click.option("--foreground", is_flag=True, help="Stay until the server ends, as in a container.")
@click.pass_context
def serve(  # noqa: PLR0917 -- click passes by name
    context: click.Context,
    configuration: Path,
    archive_path: Path,
    run: Path,
    port: int | None,
    foreground: bool,
) -> None:
    """Start TorchServe and wait until the model answers.

    The log options are for what this command itself says; the server writes its own logs
    into the run folder, as log4j2.xml of its configuration says.
    """
    from henaw.cli.example_request import wait_for_answer, write_curl
    from henaw.cli.torchserve_process import (
        ServerError,
        read_log_tail,
        start_server,
        stop_server,
        wait_for_exit,
    )

    if not archive_path.is_file():
        # Whoever names another wants that one, not the shipped model in its place.
        if context.get_parameter_source("archive_path") is not ParameterSource.DEFAULT:
            raise ServerError(
                f"expected an archive at {archive_path}, found none:"
                " mend the path, or make one by henaw archive"
            )
        context.invoke(archive, out=archive_path.parent)
    started_s = time.monotonic()
    run = run.resolve()
    record = start_server(
        configuration=configuration.resolve(),
        archive=archive_path.resolve(),
        run=run,
        first_port=port,
    )
    if foreground:
        # Containers end a process with SIGTERM.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        answer = wait_for_answer(record, run)
    except BaseException:
        stop_server(run)
        raise
    took_s = time.monotonic() - started_s
    click.echo(f"henaw answers on {record.url} (pid {record.pid}, {took_s:.1f} s). Try:\n")
    click.echo(write_curl(record, run) + "\n")
    click.echo(json.dumps(answer, indent=2))
    if not foreground:
        click.echo("\nIt goes on in the background: henaw stop ends it.")
        return
    try:
        wait_for_exit(record)
    except KeyboardInterrupt:
        # Who asks twice waits no less: cut off, it would go on without anybody to end it.
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        stop_server(run)
    else:
        raise ServerError("the server ended by itself:\n" + read_log_tail(run))


@click.command()
@run_option
def stop(run: Path) -> None:
    """Stop the server that ``henaw serve`` started, and no other."""
    from henaw.cli.torchserve_process import stop_server

    record = stop_server(run.resolve())
    click.echo("no server runs" if record is None else f"stopped {record.url} (pid {record.pid})")
