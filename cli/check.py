"""``henaw check``: a copy of the ONNX file, proven by the golden people."""

from __future__ import annotations

import sys
from pathlib import Path

import click


@click.command()
@click.argument("path", metavar="FILE", type=click.Path(path_type=Path))
@click.option(
    "--golden",
    type=click.Path(path_type=Path, dir_okay=False),
    help="golden.json of its export. Default: the one beside FILE, or the shipped one where FILE "
    "is the shipped model.",
)
@click.option("--device", default="cpu", show_default=True, help="auto, cpu, cuda or cuda:N.")
def check(path: Path, golden: Path | None, device: str) -> None:
    """Prove that FILE, an ONNX file of `henaw export`, is whole and answers as it did then.

    Exit status: 0 it does, 1 it does not, or cannot be checked.
    """
    from henaw.scoring.jobs.check import check_file

    found = check_file(path, golden=golden, device=device)
    click.echo(f"{path}: {found.model}, its content is as exported")
    click.echo(f"{found.people} people of {found.golden} on {found.device}, worst difference:")
    for one in found.comparisons:
        verdict = "ok" if one.holds else f"NOT within {one.tolerance:g}, person {one.row}"
        click.echo(f"  {one.output:<20} {one.worst_absolute:<10.2g} {verdict}")
    shifts = ", ".join(f"to {name} by up to {by:.2g}" for name, by in found.rounded_years.items())
    click.echo(
        f"Use float32 alone. Rounded values move a biological age, in years: {shifts}. Sums in "
        "such formats move it further."
    )
    sys.exit(0 if found.holds else 1)
