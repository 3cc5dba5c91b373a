"""``henaw compare``: compare two versions of the model on a table, before one of them serves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

_COLUMNS = {
    "stable_mean": "stable",
    "candidate_mean": "candidate",
    "mean_difference": "difference",
    "mean_absolute": "absolute",
    "p99_absolute": "99 % below",
    "max_absolute": "largest",
}


@click.command()
@click.argument("stable", type=click.Path(path_type=Path))
@click.argument("candidate", type=click.Path(path_type=Path))
@click.argument("table", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="The report, JSON.")
def compare(stable: Path, candidate: Path, table: Path, out: Path | None) -> None:
    """Score TABLE by two ONNX files of `henaw export`, and say how far they differ.

    TABLE is what `henaw score` reads: .parquet, .csv or .arrow. `henaw simulate` makes one
    of people who do not exist.
    """
    from henaw.intake.tables.layout import find_layout
    from henaw.model.files import write_whole
    from henaw.scoring import Henaw
    from henaw.scoring.jobs.comparison import compare_models
    from henaw.scoring.reading.sources import open_source

    source = open_source(table)
    report = compare_models(
        Henaw.load(stable), Henaw.load(candidate), source, find_layout(source.names)
    )
    if out is not None:
        write_whole(out, (json.dumps(report, indent=1) + "\n").encode())
    click.echo(_write_text(report))


def _write_text(report: dict[str, Any]) -> str:
    lines = [
        f"stable {report['stable']['name']}, candidate {report['candidate']['name']}: "
        f"{report['people']} people, {report['refused']} refused by both",
        " " * 16 + "".join(f"{title:>12}" for title in _COLUMNS.values()),
    ]
    for name, row in report["outputs"].items():
        lines.append(f"{name:<16}" + "".join(f"{row[key]:>12.4g}" for key in _COLUMNS))
    shares = report["share_beyond_years"].items()
    lines.append(
        "biological age differs by more than "
        + ", ".join(f"{bound} years: {share:.1%}" for bound, share in shares)
    )
    lines.append(f"out of range by one version only: {report['flagged_by_one']} people")
    lines.append(f"reliable by one version only: {report['reliable_by_one']} people")
    if report["causes_of_one"]:
        lines.append(f"not compared, of one version only: {', '.join(report['causes_of_one'])}")
    return "\n".join(lines)
