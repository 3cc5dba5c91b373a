"""``henaw contract``: the API's contract as files for clients' tools."""

from __future__ import annotations

from pathlib import Path

import click
from henaw.cli.options import FOLDER


@click.command()
@click.option(
    "--out",
    type=FOLDER,
    default=Path("docs"),
    help="Folder for openapi.json and request.schema.json.",
)
def contract(out: Path) -> None:
    """Write the OpenAPI document and the JSON Schema of a request."""
    import msgspec
    from henaw.handler.contract.openapi import write_openapi, write_request_schema
    from henaw.model.checkpoint import write_whole

    documents = {"openapi.json": write_openapi(), "request.schema.json": write_request_schema()}
    for name, document in documents.items():
        write_whole(out / name, msgspec.json.format(msgspec.json.encode(document)) + b"\n")
        click.echo(out / name)
