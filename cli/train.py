"""``henaw train``: fit a checkpoint."""

from __future__ import annotations

import dataclasses
import tempfile
import time
from pathlib import Path

import click
from henaw.cli.bar import Bar
from henaw.cli.options import FILE, FOLDER, cohort_option, config_option, device_option


@click.command()
@config_option
@cohort_option
@click.option(
    "--out", type=FILE, help="Checkpoint to write. Default: model/weights/NAME.safetensors."
)
@click.option(
    "--work",
    type=FOLDER,
    help="Folder for a cache of the cohort (data of individuals) and, if fit.method is "
    "minibatch, for states and records. A fit that was stopped continues from there.",
)
@device_option
def train(
    config_path: Path,
    cohort_path: Path,
    out: Path | None,
    work: Path | None,
    device: str,
) -> None:
    """Fit a model on a cohort and write its checkpoint.

    To share the work between several GPUs or hosts, start it with torchrun:
    torchrun --no-python --nproc-per-node 2 henaw train ...
    """
    from henaw.training.configuration import read_training_configuration
    from henaw.training.execution.execution import open_execution
    from henaw.training.train import count_train_steps
    from henaw.training.train import train as run

    configuration = read_training_configuration(config_path)
    target = out or Path("model/weights") / f"{configuration.name}.safetensors"
    _check_writable(target.parent)
    began = time.monotonic()
    with (
        open_execution(device, work) as execution,
        Bar(count_train_steps(configuration), "step", shown=execution.leads) as bar,
    ):
        checkpoint = run(
            configuration,
            cohort_path,
            target,
            progress=bar.advance,
            execution=dataclasses.replace(execution, tick=bar.tell),
        )
    if not execution.leads:
        return
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
            f"the folder must be writable: {error}", param_hint="--out"
        ) from error
