"""``henaw export``: checkpoint to TorchScript and ONNX."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="Folder to write; an existing folder is replaced.",
)
def export(checkpoint: Path, out: Path) -> None:
    """Validate a checkpoint, convert it and prove that every runtime agrees."""
    from henaw.export.export import export_checkpoint

    parity = export_checkpoint(checkpoint, out)
    for path in sorted(out.iterdir()):
        click.echo(f"{path}: {path.stat().st_size} bytes")
    click.echo(
        f"parity over {parity['people']} people: biological age differs by at most "
        f"{parity['worst_biological_age_years']:.2g} years"
    )
