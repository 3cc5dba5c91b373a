"""``henaw evaluate``: how well a checkpoint does on a cohort."""

from __future__ import annotations

from pathlib import Path

import click
from henaw.cli.options import FOLDER, PATH, cohort_option
from tqdm import tqdm


@click.command()
@click.argument("checkpoint", type=PATH)
@cohort_option
@click.option(
    "--out", type=FOLDER, required=True, help="Folder for report.html and evaluation.json."
)
@click.option(
    "--surveys",
    multiple=True,
    help="Evaluate only the people of this survey; may be repeated. Default: everyone.",
)
@click.option(
    "--draws",
    type=click.IntRange(min=100),
    default=1000,
    help="Bootstrap samples for the interval of each C-index.",
)
@click.option("--seed", type=click.IntRange(min=0), default=1)
@click.option(
    "--own-profile",
    is_flag=True,
    help="First correct each survey by its own laboratory profile, as `henaw calibrate` makes it.",
)
def evaluate(
    checkpoint: Path,
    *,
    cohort_path: Path,
    out: Path,
    surveys: tuple[str, ...],
    draws: int,
    seed: int,
    own_profile: bool,
) -> None:
    """Measure a checkpoint on a cohort and write a report of aggregates."""
    from henaw.model.checkpoint import load_checkpoint
    from henaw.training.cohorts.cohort import read_cohort
    from henaw.training.evaluation.comparison import CLOCKS
    from henaw.training.evaluation.evaluation import SECTIONS
    from henaw.training.evaluation.evaluation import evaluate as run
    from henaw.training.evaluation.report.page import write_report
    from henaw.training.evaluation.scored_people import read_cohort_configuration, read_older

    model = load_checkpoint(checkpoint)
    configuration = read_cohort_configuration(model)
    cohort = read_cohort(cohort_path, configuration, clocks=CLOCKS)
    older = read_older(cohort_path, configuration)
    with tqdm(total=len(SECTIONS), unit="section") as bar:

        def advance(section: str) -> None:
            bar.set_postfix_str(section, refresh=False)
            bar.update()

        evaluation = run(
            model,
            cohort,
            surveys=surveys,
            older=older,
            own_profile=own_profile,
            draws=draws,
            seed=seed,
            progress=advance,
        )
    for path in write_report(evaluation, out):
        click.echo(f"{path}: {path.stat().st_size} bytes")
    for row in evaluation["c_index"]:
        if row["shown"] and row["group"] in ("all", "20-49", "40-69", "65+"):
            c = row["c"]["mortality_10y"]
            click.echo(
                f"C-index, {row['group']}: {c['value']:.4f} ({c['low']:.4f} to {c['high']:.4f})"
            )
    overall = evaluation["follow_up"]["groups"][0]
    if overall["shown"]:
        ratio = overall["ratio"]
        click.echo(
            f"observed over expected deaths, own follow-up: {ratio['value']:.2f} "
            f"({ratio['low']:.2f} to {ratio['high']:.2f})"
        )
