"""``henaw data ukb``: the cohort table of a UK Biobank extract."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from henaw.cli.options import FILE, PATH
from tqdm import tqdm


@click.command()
@click.argument("source", type=PATH)
@click.option(
    "--out",
    type=FILE,
    required=True,
    help="Table to write (.parquet). A report of counts is written next to it.",
)
@click.option(
    "--config",
    "config_path",
    type=PATH,
    help="YAML: visit, censoring, beyond_limit, limits, dementia.",
)
@click.option(
    "--visit",
    type=click.IntRange(0, 3),
    help="0 first assessment, 1 repeat, 2 and 3 imaging. Default: the first with a biomarker.",
)
@click.option(
    "--mix-visits",
    is_flag=True,
    help="Take each biomarker from the first visit that has it; follow-up starts at the latest.",
)
@click.option(
    "--censor",
    "censor",
    multiple=True,
    metavar="NATION=YYYY-MM-DD",
    help="Last day of follow-up in england, scotland or wales; may be repeated.",
)
@click.option(
    "--withdrawn",
    type=PATH,
    multiple=True,
    help="File of participants to leave out; may be repeated.",
)
@click.option(
    "--only",
    type=PATH,
    multiple=True,
    help="File of participants to keep, such as those with retinal images; may be repeated.",
)
def ukb(
    *,
    source: Path,
    out: Path,
    config_path: Path | None,
    visit: int | None,
    mix_visits: bool,
    censor: tuple[str, ...],
    withdrawn: tuple[Path, ...],
    only: tuple[Path, ...],
) -> None:
    """Build a cohort table from UK Biobank CSV, TSV or Parquet, in SOURCE or below it.

    Nothing leaves this machine. The table contains individuals; the report contains counts only.
    """
    from henaw.training.readers.ukb.build import build_ukb_table
    from henaw.training.readers.ukb.configuration import read_ukb_configuration

    configuration = read_ukb_configuration(
        config_path, visit=visit, mix_visits=mix_visits, censor=censor
    )
    with tqdm(unit=" rows", unit_scale=True, disable=None) as bar:

        def advance(rows: int) -> None:
            bar.update(rows)

        report = build_ukb_table(
            source, out, configuration, withdrawn=withdrawn, only=only, progress=advance
        )
    for part in ("participants", "follow_up", "deaths", "values_not_readable"):
        _print_counts(part, report[part])
    for name, counts in report["biomarkers"].items():
        _print_counts(name, counts)
    for warning in report["warnings"]:
        click.echo(f"warning: {warning}", err=True)
    click.echo(f"{out}: {out.stat().st_size} bytes")
    click.echo(f"{out.with_suffix('.report.json')}: the report")


def _print_counts(title: str, counts: dict[str, Any]) -> None:
    shown = [f"{name.replace('_', ' ')} {value}" for name, value in counts.items() if value]
    if shown:
        click.echo(f"{title.replace('_', ' ')}: {', '.join(shown)}")
