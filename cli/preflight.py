"""What a command says about its input before it computes anything, and the options for it."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import click
from henaw.model.biomarkers import INDEX, suggest_name
from henaw.model.errors import ConfigurationError

if TYPE_CHECKING:
    from henaw.intake.preflight import Finding, Report
    from henaw.intake.tables.layout import Layout

STOPPED = 2
"""Exit status: the input looks wrong, and nothing was computed."""

Function = TypeVar("Function", bound=Callable[..., Any])

_ACCEPT = click.option(
    "--accept",
    "accepted",
    multiple=True,
    metavar="NAME",
    help="Accept NAME, such as crp, even if it looks wrong; NAME can be all. May be repeated.",
)
_UNIT = click.option(
    "--unit",
    "units",
    multiple=True,
    metavar="NAME=UNIT",
    help="Unit of a biomarker's column, such as crp=mg/dL; may be repeated.",
)


def preflight_options(function: Function) -> Function:
    """Give a command the options of a pre-flight."""
    for option in (
        click.option(
            "--json",
            "as_json",
            is_flag=True,
            help="Print the report on IN and, after a run, the counts as JSON.",
        ),
        click.option(
            "--dry-run", is_flag=True, help="Only report how IN is read; compute nothing."
        ),
        _UNIT,
        _ACCEPT,
    ):
        function = option(function)
    return function


accept_option = _ACCEPT


def set_units(layout: Layout, units: Sequence[str]) -> Layout:
    """Put the units of ``--unit`` into a layout.

    Raises:
        BadParameter: a biomarker, its column or its unit does not exist.
    """
    for given in units:
        name, _, unit = given.partition("=")
        matching = [mapped for mapped in layout.biomarkers if mapped.name == name]
        if not unit or name not in INDEX:
            near = suggest_name(name)
            hint = f"; did you mean {near}?" if near and near != name else ""
            raise click.BadParameter(f"--unit must look like crp=mg/dL; got {given!r}{hint}")
        if not matching:
            raise click.BadParameter(f"--unit {given}: {name} has no column")
        try:
            changed = [
                dataclasses.replace(mapped, unit=unit, unit_column=None)
                if mapped in matching
                else mapped
                for mapped in layout.biomarkers
            ]
        except ConfigurationError as error:
            raise click.BadParameter(f"--unit {given}: {'; '.join(error.problems)}") from error
        layout = dataclasses.replace(layout, biomarkers=tuple(changed))
    return layout


def report_preflight(
    report: Report, source: str, *, accepted: Sequence[str], is_dry: bool, as_json: bool
) -> None:
    """Print a pre-flight; exit if a finding stops it or it is a dry run."""
    stops = report.find_stops(accepted)
    if is_dry and not as_json:
        for line in report.list_lines():
            click.echo(line)
    elif not as_json:
        for line in report.taken:
            click.echo(f"{source}: {line}", err=True)
    if as_json and (is_dry or stops):
        click.echo(json.dumps({"preflight": report.describe(accepted)}, indent=1))
    stop_if_doubtful(report.findings, accepted)
    if is_dry:
        sys.exit(0)


def stop_if_doubtful(findings: Sequence[Finding], accepted: Sequence[str]) -> None:
    """Print findings; exit if one stops the run and is not accepted."""
    is_stopped = False
    for finding in findings:
        if not finding.stops:
            click.echo(f"note: {finding.message}", err=True)
        elif finding.is_accepted(accepted):
            click.echo(f"accepted: {finding.message}", err=True)
        else:
            is_stopped = True
            click.echo(
                f"stopped: {finding.message}. If this is right, give --accept {finding.name}",
                err=True,
            )
    if is_stopped:
        click.echo(
            'Nothing was computed. Give a unit in the column\'s name, such as "crp (mg/dL)", or '
            "use --unit crp=mg/dL or --columns.",
            err=True,
        )
        sys.exit(STOPPED)
