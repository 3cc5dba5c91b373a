"""``henaw archive``: what TorchServe loads."""

from __future__ import annotations

import tempfile
from pathlib import Path

import click
from henaw.cli.options import FILE, FOLDER, find_installed

_CHECKPOINT = Path("model/weights/henaw-nhanes.safetensors")
_MODEL_CONFIG = Path("serve_config/model-config.yaml")
"""Used in a clone; elsewhere the installed files of the same names."""


@click.command()
@click.option(
    "--checkpoint",
    type=FILE,
    help=f"Checkpoint to export and check first. Default: {_CHECKPOINT}, or the installed one.",
)
@click.option("--exported", type=FOLDER, help="Folder of henaw export, instead of a checkpoint.")
@click.option(
    "--model-config",
    type=FILE,
    help=f"Settings of batches and workers. Default: {_MODEL_CONFIG}, or the installed one.",
)
@click.option(
    "--out", type=FOLDER, default=Path("model_store"), help="Folder to write henaw.mar into."
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
