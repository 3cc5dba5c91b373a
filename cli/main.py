"""The ``henaw`` command; one module a subcommand, imported only when it is asked for.

Each needs other packages, and an installation has those of what it is for: so that one
subcommand cannot keep another from starting, nor help from being shown.
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
        "calibrate": "Make a laboratory's profile from some hundred of its people.",
        "card": "Write the model card of a checkpoint from its evaluations.",
        "check": "Prove that a copy of the ONNX file answers as it was exported.",
        "compare": "Score a table by two models, and say how far they differ.",
        "contract": "Write the OpenAPI document and the JSON Schema of a request.",
        "data": "Build a cohort table: NHANES, UK Biobank or any other.",
        "doctor": "Check a deployment, and say what to do.",
        "evaluate": "Measure a checkpoint on a cohort and write a report.",
        "export": "Convert a checkpoint, and prove that every runtime agrees.",
        "monitor": "Answer metrics and readiness of a server, until ended.",
        "score": "Score a table, a workbook or FHIR R4.",
        "serve": "Start a server and wait until the model answers.",
        "shadow": "Say how far a shadow's answers are from the stable version's.",
        "simulate": "Draw synthetic participants from a model, as a cohort table.",
        "stop": "Stop the server that `henaw serve` started, and no other.",
        "train": "Fit a model on a cohort and write its checkpoint.",
        "tune": "Choose settings by cross-validation inside the training surveys.",
        "versions": "Hold several versions in one running server, and switch.",
    }
)
"""What ``henaw --help`` says of each, without its module."""

_REFUSED_BY_THE_MACHINE = {
    getattr(errno, name)
    for name in ("ENOSPC", "EDQUOT", "EFBIG", "EROFS", "EACCES", "EPERM", "EIO")
    if hasattr(errno, name)
}
"""A full disk and the like: no fault of the program, so that no trace is shown."""

_MODULES: Mapping[str, str] = MappingProxyType({"stop": "serve"})
"""Of subcommands that are not in a module of their own name."""


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
    context_settings={"help_option_names": ["-h", "--help"]},
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
    """Run a subcommand; an error of HENAW's own is a message, not a trace."""
    try:
        commands()
    except ModuleNotFoundError as error:
        name = error.name or ""
        if name.partition(".")[0] == "henaw":
            raise
        click.echo(
            f"error: the Python package {name!r} is not installed: {suggest_install('train')} for "
            f"cohorts, fits, reports and simulations, {suggest_install('serve')} for the server, "
            f"{suggest_install('torchserve')} for TorchServe, exports and archives",
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
        click.echo(f"error: {where}stopped by the machine: {error.strerror}", err=True)
        sys.exit(1)
