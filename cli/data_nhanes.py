"""``henaw data nhanes``: from the public NHANES files to a cohort table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from henaw.training.readers.nhanes.survey import MORTALITY_SITE, SURVEY_SITE, Sites


@click.command()
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="Table to write, .parquet; its report goes beside it, .report.json.",
)
@click.option(
    "--folder",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("nhanes"),
    show_default=True,
    help="Where the public files are kept; those that are there are not fetched again.",
)
@click.option(
    "--survey",
    "names",
    multiple=True,
    help="A survey, such as 2003-2004; can be given more than once. Default: 1988-1994, "
    "1999-2004 and 2011-2018.",
)
@click.option(
    "--external-validation",
    is_flag=True,
    help="Read the surveys 2005-2010, and only those: they are kept apart from fitting.",
)
@click.option("--survey-site", default=SURVEY_SITE, show_default=True, help="Site of the surveys.")
@click.option(
    "--mortality-site",
    default=MORTALITY_SITE,
    show_default=True,
    help="Site of the linked mortality files.",
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

    The files, some 0.4 GB with 1988-1994, come from the US National Center for Health
    Statistics. An interrupted download goes on where it stopped; each file's SHA-256 is
    kept beside it and checked whenever it is read again.
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
        f"{count} {name} of people who did not fast blanked"
        for name, count in counts["not_fasted_blanked"].items()
    ]
    return f"{survey}: {'; '.join(parts)}"
