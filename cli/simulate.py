"""``henaw simulate``: people who do not exist, for trying things out."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.option("--n", "count", type=click.IntRange(min=1), required=True, help="How many people.")
@click.option(
    "--model",
    type=click.Path(path_type=Path),
    required=True,
    help="Checkpoint whose reference and hazard they follow.",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@click.option(
    "--follow-up-years",
    type=click.FloatRange(min=0, min_open=True, max=100),
    default=10.0,
    show_default=True,
    help="When follow-up ends for who is alive.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="Table to write, .parquet, with 'synthetic' in its name.",
)
def simulate(*, count: int, model: Path, seed: int, follow_up_years: float, out: Path) -> None:
    """Draw synthetic participants from a model, as a cohort table.

    By age and sex they are distributed as the model's reference says; they die by its
    hazard, of its causes. File name, columns and metadata say that they are synthetic.
    """
    from henaw.model.checkpoint import load_checkpoint
    from henaw.training.readers.table import write_table
    from henaw.training.simulation import check_synthetic_path, simulate_table

    check_synthetic_path(out)
    table, report = simulate_table(load_checkpoint(model), count, seed, years=follow_up_years)
    beside = write_table(table, report, out)
    click.echo(
        f"{out}: {report['rows']} synthetic people, {report['deaths']} deaths in "
        f"{follow_up_years:g} years; {beside}"
    )
