"""``henaw monitor``."""

from __future__ import annotations

import signal
from pathlib import Path

import click
from henaw.cli.options import LOCAL_CONFIGURATION, find_installed


@click.command()
@click.option(
    "--config",
    "configuration",
    type=click.Path(path_type=Path, file_okay=False),
    default=lambda: find_installed(LOCAL_CONFIGURATION),
    show_default=f"{LOCAL_CONFIGURATION}, or the one that is installed",
    help="Folder with handler.yaml.",
)
@click.option(
    "--folder",
    type=click.Path(path_type=Path, file_okay=False),
    envvar="HENAW_MONITOR_FOLDER",
    help="Where workers tell how they are, instead of the one configured.",
)
@click.option(
    "--port",
    type=click.IntRange(1, 65535),
    envvar="HENAW_MONITOR_PORT",
    help="Instead of the one configured.",
)
def monitor(configuration: Path, folder: Path | None, port: int | None) -> None:
    """Answer metrics and readiness of a server, until ended.

    henaw serve starts one by itself; a torchserve that was started otherwise wants it
    beside it, in the same folder.
    """
    import dataclasses

    from henaw.handler.configuration import load_configuration
    from henaw.handler.observe.monitor import make_monitor
    from henaw.model.errors import RuntimeUnavailableError

    watched = load_configuration(configuration / "handler.yaml").monitor
    if port is not None:
        watched = dataclasses.replace(watched, port=port)
    try:
        server = make_monitor(watched, folder or Path(watched.folder))
    except OSError as error:
        raise RuntimeUnavailableError(
            f"expected to listen on {watched.address}:{watched.port}, however: {error}"
        ) from error
    # As Ctrl-C: end without a trace.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    click.echo(f"http://{watched.address}:{server.server_port}/metrics and /ready")
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        server.server_close()
