"""``henaw export``: checkpoint to TorchScript and ONNX."""

from __future__ import annotations

from pathlib import Path

import click
from henaw.cli.options import FOLDER, PATH


@click.command()
@click.argument("checkpoint", type=PATH)
@click.option(
    "--out", type=FOLDER, required=True, help="Folder to write; an existing folder is replaced."
)
def export(checkpoint: Path, out: Path) -> None:
    """Validate a checkpoint, convert it and prove that every runtime agrees."""
    from henaw.export.export import export_checkpoint

    parity = export_checkpoint(checkpoint, out)
    for path in sorted(out.iterdir()):
        click.echo(f"{path}: {path.stat().st_size} bytes")
    click.echo(
        f"the runtimes agree on {parity['people']} people: biological age differs by at most "
        f"{parity['worst_biological_age_years']:.2g} years"
    )
