"""``henaw tune``: choose the hyperparameters of a fit by nested cross-validation."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import Literal

import click
from henaw.cli.bar import Bar
from henaw.cli.logs import say_once
from henaw.cli.options import FILE, PATH, cohort_option, config_option, device_option
from tqdm import tqdm


def _read_folds(_: click.Context, param: click.Parameter, value: str) -> str | int:
    """``survey``, a number of folds from 2, or, of the outer loop, ``none``."""
    words = ("survey", "none") if param.name == "outer" else ("survey",)
    if value in words:
        return value
    if value.isdecimal() and int(value) >= 2:
        return int(value)
    raise click.BadParameter(f"must be {', '.join(words)} or a number from 2; got {value!r}")


@click.command()
@config_option
@cohort_option
@click.option(
    "--study",
    type=FILE,
    required=True,
    help="SQLite file of the trials; if it exists, the search continues.",
)
@click.option(
    "--search",
    "search_path",
    type=PATH,
    help="YAML of the ranges to search. Default: those of henaw.training.search.",
)
@click.option(
    "--trials",
    type=click.IntRange(min=1),
    default=30,
    help="Trials of each inner loop; the first takes the configured settings.",
)
@click.option(
    "--folds",
    callback=_read_folds,
    default="survey",
    metavar="survey|K",
    help="Inner loop: leave out each survey in turn, or each of K parts of equal age, sex and "
    "deaths.",
)
@click.option(
    "--outer",
    callback=_read_folds,
    default="survey",
    metavar="survey|K|none",
    help="Outer loop, which measures the choice; none: only choose.",
)
@click.option(
    "--out",
    type=FILE,
    help="Configuration to write, next to its report. Default: the study's name with .yaml.",
)
@device_option
@click.option("--overwrite", is_flag=True, help="Replace --out if it exists.")
def tune(
    *,
    config_path: Path,
    cohort_path: Path,
    study: Path,
    search_path: Path | None,
    trials: int,
    folds: Literal["survey"] | int,
    outer: Literal["survey", "none"] | int,
    out: Path | None,
    device: str,
    overwrite: bool,
) -> None:
    """Choose hyperparameters by cross-validation inside the training surveys.

    Each fold of the outer loop is left out of one complete search and scored with the
    settings of that search. Then settings are chosen on everyone and written as a
    configuration for `henaw train`. If it is killed, the same command continues where it
    stopped.
    """
    from henaw.training.configuration import read_training_configuration
    from henaw.training.execution.execution import open_execution
    from henaw.training.search.space import DEFAULT_SEARCH, read_search_configuration
    from henaw.training.search.tuning import check_free, prepare_tuning, write_tuned

    target = out or study.with_suffix(".yaml")
    check_free(target, overwrite=overwrite)
    configuration = read_training_configuration(config_path)
    search = DEFAULT_SEARCH if search_path is None else read_search_configuration(search_path)
    tuning = prepare_tuning(
        configuration,
        search,
        cohort_path,
        trials=trials,
        inner=folds,
        outer=None if outer == "none" else outer,
    )
    click.echo(tuning.describe_plan(), err=True)
    with (
        open_execution(device, None) as execution,
        say_once("henaw.training.fit", "henaw.training.reference.reference"),
        Bar(tuning.count_fits(), "fit") as bar,
    ):
        forecast = _Forecast(tuning.count_fits())

        def advance(step: str, seconds: float | None) -> None:
            bar.advance(step)
            forecast.count(seconds)

        told = dataclasses.replace(execution, tick=bar.tell)
        tuned = tuning.run(study, progress=advance, execution=told)
    report = write_tuned(tuned, target, overwrite=overwrite)
    for trial in tuned.report["trials"]:
        if "failed" in trial:
            click.echo(f"failed, {trial['hyperparameters']}: {trial['failed']}")
    first = tuned.report["trials"][0]
    if "failed" not in first:
        click.echo(f"C-index, inner loop, as configured: {_format(first['c_index'])}")
    click.echo(f"C-index, inner loop, chosen: {_format(tuned.report['chosen']['c_index'])}")
    if tuned.report["outer"] is not None:
        for fold in tuned.report["outer"]["folds"]:
            for which in ("configured", "tuned"):
                name, bands = fold[which]["name"], fold[which]["c_index"]
                click.echo(f"C-index, {name} left out, {which}: {_format(bands)}")
        for which in ("configured", "tuned"):
            click.echo(f"C-index, outer loop, {which}: {_format(tuned.report['outer'][which])}")
    for name, value in tuned.report["chosen"]["hyperparameters"].items():
        click.echo(f"{name}: {value}")
    click.echo(f"{target}: the configuration; {report}: every trial")


class _Forecast:
    """Print once, after the first fit, how long the others take."""

    def __init__(self, left: int) -> None:
        self._left = left
        self._said = False

    def count(self, seconds: float | None) -> None:
        self._left -= 1
        if seconds is None or self._said:
            return
        self._said = True
        hours, minutes = divmod(round(self._left * seconds / 60), 60)
        tqdm.write(
            f"The first fit took {seconds:.1f} s. The remaining {self._left} take about "
            f"{hours} h {minutes} min.",
            file=sys.stderr,
        )


def _format(bands: dict[str, float]) -> str:
    return ", ".join(f"{band} {value:.4f}" for band, value in bands.items())
