"""``henaw simulate``: a table of synthetic people."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
from henaw.cli.options import FILE, PATH

if TYPE_CHECKING:
    from henaw.training.simulation import Layout

_USUAL_YEARS = 10.0


@click.command()
@click.option("--n", "count", type=click.IntRange(min=1), required=True, help="How many people.")
@click.option(
    "--model",
    type=PATH,
    required=True,
    help="Checkpoint whose reference values and hazard they follow.",
)
@click.option("--seed", type=click.IntRange(min=0), default=0)
@click.option(
    "--follow-up-years",
    type=click.FloatRange(min=0, min_open=True, max=100),
    help="Follow-up of people who stay alive; default: 10. Not for --layout ukb, whose follow-up "
    "ends on one day.",
)
@click.option(
    "--layout",
    type=click.Choice(["cohort", "ukb"]),
    default="cohort",
    help="cohort: a cohort table; ukb: a UK Biobank extract for `henaw data ukb`.",
)
@click.option(
    "--out",
    type=FILE,
    required=True,
    help="Table to write (.parquet; for ukb .csv). Its name must contain 'synthetic'.",
)
def simulate(
    *,
    count: int,
    model: Path,
    seed: int,
    follow_up_years: float | None,
    layout: Layout,
    out: Path,
) -> None:
    """Draw synthetic participants from a model, as a cohort table or a UK Biobank extract.

    Their values follow the model's reference for their age and sex; their deaths follow its
    hazard and causes. File name, columns and metadata say that they are synthetic.
    """
    from henaw.model.checkpoint import load_checkpoint
    from henaw.training.readers.table import write_table
    from henaw.training.simulation import (
        check_synthetic_path,
        simulate_table,
        simulate_ukb_extract,
        write_ukb_extract,
    )

    check_synthetic_path(out, layout)
    checkpoint = load_checkpoint(model)
    if layout == "ukb":
        if follow_up_years is not None:
            raise click.UsageError(
                "--follow-up-years is not for --layout ukb, whose follow-up ends on one day."
            )
        table, report = simulate_ukb_extract(checkpoint, count, seed)
        beside = write_ukb_extract(table, report, out)
        during = "before the day of the extract"
    else:
        years = _USUAL_YEARS if follow_up_years is None else follow_up_years
        table, report = simulate_table(checkpoint, count, seed, years=years)
        beside = write_table(table, report, out)
        during = f"in {years:g} years"
    click.echo(
        f"{out}: {report['rows']} synthetic people, {report['deaths']} deaths {during}; {beside}"
    )
