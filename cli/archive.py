"""``henaw archive``: what TorchServe loads."""

from __future__ import annotations

import tempfile
from pathlib import Path

import click
from henaw.cli.options import find_installed

_CHECKPOINT = Path("model/weights/henaw-nhanes.safetensors")
_MODEL_CONFIG = Path("serve_config/model-config.yaml")
"""In a clone these are taken; elsewhere what is installed, under the same names."""


@click.command()
@click.option(
    "--checkpoint",
    type=click.Path(path_type=Path, dir_okay=False),
    help=f"Exported first, with its proof of parity. Default: {_CHECKPOINT}, or the one that "
    "is installed.",
)
@click.option(
    "--exported",
    type=click.Path(path_type=Path, file_okay=False),
    help="A folder that henaw export wrote, instead of a checkpoint.",
)
@click.option(
    "--model-config",
    type=click.Path(path_type=Path, dir_okay=False),
    help=f"Batching and workers. Default: {_MODEL_CONFIG}, or the one that is installed.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("model_store"),
    show_default=True,
    help="Folder for henaw.mar.",
)
def archive(
    checkpoint: Path | None, exported: Path | None, model_config: Path | None, out: Path
) -> None:
    """Pack the exported model and the code that serves it into henaw.mar."""
    from henaw.export.archive import build_archive
    from henaw.export.export import export_checkpoint

    model_config = model_config or find_installed(_MODEL_CONFIG)
    source = exported or checkpoint or find_installed(_CHECKPOINT)
    with tempfile.TemporaryDirectory(prefix="henaw-export-") as temporary:
        if exported is None:
            exported = Path(temporary) / "exported"
            export_checkpoint(source, exported)
        path = build_archive(exported, model_config, out)
    click.echo(f"{path}: {path.stat().st_size} bytes, of {source} and {model_config}")
