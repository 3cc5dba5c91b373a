"""The ``henaw`` command: one module a subcommand, imported when it is called.

Subcommands need different packages, and an installation may have only some of them. A missing
package stops neither the other subcommands nor the help.
"""

from __future__ import annotations

import errno
import importlib
import sys
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import click
from henaw.cli.logs import add_logging_options, list_logging_options
from henaw.model.distribution import read_version, suggest_install
from henaw.model.errors import HenawError

SUBCOMMANDS: Mapping[str, str] = MappingProxyType(
    {
        "archive": "Pack the exported model and the code that serves it.",
        "calibrate": "Make a laboratory's profile from a few hundred of its people.",
        "card": "Write the model card of a checkpoint from its evaluations.",
        "check": "Prove that a copy of the ONNX file answers as it did at export.",
        "compare": "Score a table with two models and report how far they differ.",
        "contract": "Write the OpenAPI document and the JSON Schema of a request.",
        "data": "Build a cohort table: NHANES, UK Biobank or any other.",
        "doctor": "Check a deployment and say what to do.",
        "evaluate": "Measure a checkpoint on a cohort and write a report.",
        "export": "Convert a checkpoint and prove that every runtime agrees.",
        "monitor": "Publish a server's metrics and readiness until stopped.",
        "score": "Score a table, a workbook or FHIR R4.",
        "serve": "Start a server and wait until the model answers.",
        "shadow": "Report how much a shadow's answers differ from the stable version's.",
        "simulate": "Draw synthetic participants from a model as a cohort table.",
        "stop": "Stop the server that `henaw serve` started.",
        "train": "Fit a model on a cohort and write its checkpoint.",
        "tune": "Choose settings by cross-validation inside the training surveys.",
        "versions": "Load several versions into one running server and switch.",
    }
)
"""Help of each subcommand, shown without importing its module."""

_REFUSED_BY_THE_MACHINE = {
    getattr(errno, name)
    for name in ("ENOSPC", "EDQUOT", "EFBIG", "EROFS", "EACCES", "EPERM", "EIO")
    if hasattr(errno, name)
}
"""Such as a full disk. This is no fault of the program, so no traceback is shown."""

_MODULES: Mapping[str, str] = MappingProxyType({"stop": "serve"})
"""Modules of subcommands whose name differs."""


class _Subcommands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(SUBCOMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in SUBCOMMANDS:
            return None
        module: Any = importlib.import_module(f"henaw.cli.{_MODULES.get(cmd_name, cmd_name)}")
        command: click.Command = getattr(module, cmd_name)
        return add_logging_options(command)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(SUBCOMMANDS.items()))


def _show_version(context: click.Context, _option: click.Parameter, wanted: bool) -> None:
    if wanted:
        click.echo(f"henaw, version {read_version()}")
        context.exit()


@click.group(
    cls=_Subcommands,
    context_settings={"help_option_names": ["-h", "--help"], "show_default": True},
    params=list_logging_options(),
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_show_version,
    help="Show the version and exit.",
)
def commands(**_: object) -> None:
    """HENAW: biological age from routine blood values, age and sex."""


def main() -> None:
    """Run a subcommand; print an error of HENAW as a message without a traceback."""
    try:
        commands()
    except ModuleNotFoundError as error:
        name = error.name or ""
        if name.partition(".")[0] == "henaw":
            raise
        click.echo(
            f"error: the Python package {name!r} is not installed. For cohorts, fits, reports and "
            f"simulations: {suggest_install('train')}. For the server: {suggest_install('serve')}. "
            f"For TorchServe, exports and archives: {suggest_install('torchserve')}",
            err=True,
        )
        sys.exit(1)
    except HenawError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(1)
    except OSError as error:
        if error.errno not in _REFUSED_BY_THE_MACHINE:
            raise
        where = "" if error.filename is None else f"{error.filename}: "
        click.echo(f"error: {where}the system refused: {error.strerror}", err=True)
        sys.exit(1)
