"""``henaw check``: a copy of the ONNX file, proven by the golden people."""

from __future__ import annotations

import sys
from pathlib import Path

import click
from henaw.cli.options import FILE, PATH


@click.command()
@click.argument("path", metavar="FILE", type=PATH)
@click.option(
    "--golden",
    type=FILE,
    help="golden.json of its export. Default: the one beside FILE; for the shipped model, the "
    "shipped one.",
)
@click.option("--device", default="cpu", help="auto, cpu, cuda or cuda:N.")
def check(path: Path, golden: Path | None, device: str) -> None:
    """Prove that FILE, an ONNX file of `henaw export`, is complete and answers as at export.

    Exit status: 0 it does; 1 it does not, or it cannot be checked.
    """
    from henaw.scoring.jobs.check import check_file

    found = check_file(path, golden=golden, device=device)
    click.echo(f"{path}: {found.model}, content as exported")
    click.echo(f"{found.people} people of {found.golden} on {found.device}, largest difference:")
    for one in found.comparisons:
        verdict = "ok" if one.holds else f"NOT within {one.tolerance:g}, person {one.row}"
        click.echo(f"  {one.output:<20} {one.worst_absolute:<10.2g} {verdict}")
    shifts = ", ".join(f"to {name} by up to {by:.2g}" for name, by in found.rounded_years.items())
    click.echo(
        f"Use float32 only. Rounding the values alone moves a biological age, in years: {shifts}. "
        "Computing in such a format moves it further."
    )
    sys.exit(0 if found.holds else 1)
