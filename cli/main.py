"""The ``henaw`` command; one module a subcommand."""

from __future__ import annotations

import sys

import click
from henaw.cli.archive import archive
from henaw.cli.card import card
from henaw.cli.compare import compare
from henaw.cli.contract import contract
from henaw.cli.data import data
from henaw.cli.doctor import doctor
from henaw.cli.evaluate import evaluate
from henaw.cli.export import export
from henaw.cli.monitor import monitor
from henaw.cli.score import score
from henaw.cli.serve import serve, stop
from henaw.cli.simulate import simulate
from henaw.cli.train import train
from henaw.cli.tune import tune
from henaw.cli.versions import versions
from henaw.model.errors import HenawError


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="henaw")
def commands() -> None:
    """HENAW: biological age from nine routine blood values, age and sex."""


commands.add_command(train)
commands.add_command(tune)
commands.add_command(data)
commands.add_command(simulate)
commands.add_command(evaluate)
commands.add_command(card)
commands.add_command(export)
commands.add_command(archive)
commands.add_command(score)
commands.add_command(compare)
commands.add_command(contract)
commands.add_command(serve)
commands.add_command(stop)
commands.add_command(versions)
commands.add_command(monitor)
commands.add_command(doctor)


def main() -> None:
    """Run a subcommand; an error of HENAW's own is a message, not a trace."""
    try:
        commands()
    except ModuleNotFoundError as error:
        name = error.name or ""
        if name.partition(".")[0] == "henaw":
            raise
        click.echo(
            f"error: expected the Python package {name!r}, found none: in a clone of HENAW, "
            "pip install '.[score]' for tables, '.[train]' for cohorts, fits and reports, "
            "'.[serve]' for the server",
            err=True,
        )
        sys.exit(1)
    except HenawError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(1)
