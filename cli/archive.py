"""``henaw archive``: what TorchServe loads."""

from __future__ import annotations

import tempfile
from pathlib import Path

import click


@click.command()
@click.option(
    "--checkpoint",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("model/weights/henaw-nhanes.safetensors"),
    show_default=True,
    help="Exported first, with its proof of parity.",
)
@click.option(
    "--exported",
    type=click.Path(path_type=Path, file_okay=False),
    help="A folder that henaw export wrote, instead of a checkpoint.",
)
@click.option(
    "--model-config",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("serve_config/model-config.yaml"),
    show_default=True,
    help="Batching and workers.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("model_store"),
    show_default=True,
    help="Folder for henaw.mar.",
)
def archive(checkpoint: Path, exported: Path | None, model_config: Path, out: Path) -> None:
    """Pack the exported model and the code that serves it into henaw.mar."""
    from henaw.export.archive import build_archive
    from henaw.export.export import export_checkpoint

    with tempfile.TemporaryDirectory(prefix="henaw-export-") as temporary:
        if exported is None:
            exported = Path(temporary) / "exported"
            export_checkpoint(checkpoint, exported)
        path = build_archive(exported, model_config, out)
    click.echo(f"{path}: {path.stat().st_size} bytes")
