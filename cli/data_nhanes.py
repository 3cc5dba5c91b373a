"""``henaw data nhanes``: from the public NHANES files to a cohort table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from henaw.cli.options import FILE, FOLDER
from henaw.training.readers.nhanes.survey import MORTALITY_SITE, SURVEY_SITE, Sites


@click.command()
@click.option(
    "--out",
    type=FILE,
    required=True,
    help="Table to write (.parquet). A report (.report.json) is written next to it.",
)
@click.option(
    "--folder",
    type=FOLDER,
    default=Path("nhanes"),
    help="Folder of the public files; files that exist are not downloaded again.",
)
@click.option(
    "--survey",
    "names",
    multiple=True,
    help="Survey, such as 2003-2004; may be repeated. Default: 1988-1994, 1999-2004 and 2011-2018.",
)
@click.option(
    "--external-validation",
    is_flag=True,
    help="Read only the surveys 2005-2010, which are kept out of the fit.",
)
@click.option("--survey-site", default=SURVEY_SITE, help="Site of the surveys.")
@click.option(
    "--mortality-site", default=MORTALITY_SITE, help="Site of the linked mortality files."
)
def nhanes(
    *,
    out: Path,
    folder: Path,
    names: tuple[str, ...],
    external_validation: bool,
    survey_site: str,
    mortality_site: str,
) -> None:
    """Download the public NHANES files and build a cohort table from them.

    The files, about 0.4 GB with 1988-1994, come from the US National Center for Health
    Statistics. An interrupted download continues where it stopped. The SHA-256 of each file
    is stored beside it and checked at each later read.
    """
    from henaw.training.readers.nhanes.build import build_nhanes_table, choose_surveys
    from henaw.training.readers.table import check_table_path, write_table
    from tqdm import tqdm

    check_table_path(out)
    surveys = choose_surveys(names, external=external_validation)
    # Sizes are known only as files begin, so the bar is of the file that is coming in.
    with tqdm(unit="B", unit_scale=True, unit_divisor=1024) as bar:

        def show(name: str, there: int, size: int | None) -> None:
            bar.set_description(name, refresh=False)
            bar.total = size
            bar.n = there
            bar.refresh()

        table, report = build_nhanes_table(
            surveys,
            folder,
            sites=Sites(survey=survey_site, mortality=mortality_site),
            progress=show,
        )
    beside = write_table(table, report, out)
    for survey, counts in report["surveys"].items():
        click.echo(_summarise(survey, counts))
    click.echo(f"{out}: {len(table)} people; what was read and left out: {beside}")


def _summarise(survey: str, counts: dict[str, Any]) -> str:
    parts = [
        f"{counts['rows']} people of 20 and over",
        f"{counts['deaths']} deaths among {counts['followed']} followed",
    ]
    if counts["not_measured"]:
        parts.append(f"not measured: {', '.join(counts['not_measured'])}")
    parts += [
        f"{count} {name} removed from people who did not fast"
        for name, count in counts["not_fasted_blanked"].items()
    ]
    return f"{survey}: {'; '.join(parts)}"
