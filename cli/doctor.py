"""``henaw doctor``."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Literal

import click
from henaw.cli.checks.devices import check_devices
from henaw.cli.checks.results import fail
from henaw.cli.options import (
    ARCHIVE,
    PATH,
    SHIPPED,
    engine_option,
    find_installed,
    run_option,
    server_config_option,
)
from henaw.model.distribution import suggest_install

_MARKS = {"ok": "ok     ", "warning": "WARNING", "problem": "PROBLEM"}


@click.command()
@engine_option
@server_config_option
@click.option(
    "--archive", "archive_path", type=PATH, help="The model. Default: the same as henaw serve."
)
@run_option
@click.option(
    "--pod/--no-pod",
    default=None,
    help="Apply the rules for a Kubernetes pod. Default: only inside a pod.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the findings as one JSON array.")
@click.pass_context
def doctor(
    context: click.Context,
    engine: Literal["native", "torchserve"],
    configuration: Path,
    archive_path: Path | None,
    run: Path,
    *,
    pod: bool | None,
    as_json: bool,
) -> None:
    """Check a deployment and say what to do; exit with 1 if there is a problem."""
    archive_path = archive_path or (ARCHIVE if engine == "torchserve" else find_installed(SHIPPED))
    try:
        from henaw.cli.checks.deployment import Deployment, examine, is_in_pod
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] == "henaw":
            raise
        findings = [
            *check_devices(archive_path),
            fail(
                "packages",
                f"{error.name} is not installed, so there is no server to check",
                f"{suggest_install('serve')}; henaw score does not need it",
            ),
        ]
    else:
        deployment = Deployment(
            configuration=configuration,
            archive=archive_path.resolve(),
            run=run,
            engine=engine,
            pod=is_in_pod() if pod is None else pod,
        )
        findings = list(examine(deployment))
    if as_json:
        click.echo(json.dumps([dataclasses.asdict(finding) for finding in findings], indent=1))
    else:
        for finding in findings:
            click.echo(f"{_MARKS[finding.status]} {finding.check}: {finding.seen}")
            if finding.advice:
                click.echo(f"        -> {finding.advice}")
    context.exit(any(finding.status == "problem" for finding in findings))
