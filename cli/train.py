"""``henaw train``: fit a checkpoint."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import click
from tqdm import tqdm


@click.command()
@click.option(
    "--config",
    "config_path",
    type=click.Path(path_type=Path),
    required=True,
    help="YAML configuration, such as training/configs/nhanes.yaml.",
)
@click.option(
    "--cohort",
    "cohort_path",
    type=click.Path(path_type=Path),
    required=True,
    help="Parquet or CSV table of participants.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Checkpoint to write; default: model/weights/NAME.safetensors.",
)
def train(config_path: Path, cohort_path: Path, out: Path | None) -> None:
    """Fit a model on a cohort and write its checkpoint."""
    from henaw.training.configuration import read_training_configuration
    from henaw.training.train import count_train_steps
    from henaw.training.train import train as run

    configuration = read_training_configuration(config_path)
    target = out or Path("model/weights") / f"{configuration.name}.safetensors"
    _check_writable(target.parent)
    began = time.monotonic()
    with tqdm(total=count_train_steps(configuration), unit="step") as bar:

        def advance(step: str) -> None:
            bar.set_postfix_str(step, refresh=False)
            bar.update()

        checkpoint = run(configuration, cohort_path, target, progress=advance)
    click.echo(
        f"{target}: {target.stat().st_size} bytes, {checkpoint.training['people']} people, "
        f"{time.monotonic() - began:.0f} s"
    )
    for score, bands in checkpoint.metrics.get("held_out", {}).get("c_index", {}).items():
        figures = ", ".join(f"{band} {value:.4f}" for band, value in bands.items())
        click.echo(f"C-index, held out, {score}: {figures}")


def _check_writable(folder: Path) -> None:
    """Refuse, before minutes of fitting, a folder that the checkpoint cannot go to."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise click.BadParameter(
            f"expected a folder that can be written to, however: {error}", param_hint="--out"
        ) from error
