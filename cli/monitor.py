"""``henaw monitor``."""

from __future__ import annotations

import signal
from pathlib import Path

import click
from henaw.cli.options import FOLDER, server_config_option


@click.command()
@server_config_option
@click.option(
    "--folder",
    type=FOLDER,
    envvar="HENAW_MONITOR_FOLDER",
    help="Folder with the state of the workers. Default: the configured folder.",
)
@click.option(
    "--port",
    type=click.IntRange(1, 65535),
    envvar="HENAW_MONITOR_PORT",
    help="Port to listen on. Default: the configured port.",
)
def monitor(configuration: Path, folder: Path | None, port: int | None) -> None:
    """Publish a server's metrics and readiness until stopped.

    `henaw serve` starts a monitor itself. Run this beside a TorchServe that was started in
    another way, in the same folder.
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
            f"the monitor cannot listen on {watched.address}:{watched.port}: {error}"
        ) from error
    # Like Ctrl-C: end without a traceback.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    click.echo(f"http://{watched.address}:{server.server_port}/metrics and /ready")
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        server.server_close()
