"""``henaw data table``: make a cohort table from any CSV or Parquet file."""

from __future__ import annotations

from pathlib import Path

import click
from henaw.cli.options import FILE, PATH
from henaw.cli.preflight import accept_option, stop_if_doubtful


@click.command()
@click.argument("file", type=PATH)
@click.option(
    "--columns",
    "map_path",
    type=PATH,
    required=True,
    help="YAML file that names the columns and their units.",
)
@click.option(
    "--out",
    type=FILE,
    required=True,
    help="Table to write (.parquet). A report (.report.json) is written next to it.",
)
@accept_option
def table(file: Path, map_path: Path, out: Path, accepted: tuple[str, ...]) -> None:
    """Build a cohort table from any CSV or Parquet FILE.

    The report lists missing, unmapped and implausible values. If values are much more likely to be
    in another unit, nothing is written and the exit status is 2.
    """
    import numpy as np
    from henaw.intake.doubts import ENOUGH_VALUES
    from henaw.intake.preflight import judge_values
    from henaw.intake.reference import read_shipped_reference
    from henaw.model.biomarkers import INDEX, NAMES, PANEL
    from henaw.training.readers.column_map import read_column_map
    from henaw.training.readers.columns import build_table
    from henaw.training.readers.table import check_table_path, write_table

    check_table_path(out)
    columns = read_column_map(map_path)
    built, report = build_table(file, columns)
    some = built.iloc[:: -(-len(built) // ENOUGH_VALUES)]
    findings = judge_values(
        some[list(NAMES)].to_numpy(np.float32),
        some["age"].to_numpy(np.float32),
        some["sex"].to_numpy(np.int64),
        read_shipped_reference(),
        {one.name: one.unit or PANEL[INDEX[one.name]].unit for one in columns.biomarkers},
    )
    stop_if_doubtful(findings, accepted)
    beside = write_table(built, report, out)
    click.echo(f"{out}: {report['kept']} people of {report['rows']} rows; {beside}")
    for reason in ("without_participant_id", "without_age", "without_sex"):
        if report[reason]:
            click.echo(f"left out, {reason.replace('_', ' ')}: {report[reason]}")
    click.echo(f"followed: {report['followed']}, died: {report['deaths']}")
    if report["not_mapped"]:
        click.echo(f"not mapped: {', '.join(report['not_mapped'])}")
    for name, assumed in report["unit_assumed"].items():
        click.echo(
            f"{name}: {assumed['values']} values without a unit are taken to be in "
            f"{assumed['unit']}, the only possible unit"
        )
    for name, count in report["missing"].items():
        outside = report["outside_accepted_range"][name]
        if name not in report["not_mapped"] and (count or outside):
            click.echo(f"{name}: {count} missing, {outside} outside the accepted range")
