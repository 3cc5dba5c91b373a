"""``henaw data``: build the cohort table that a fit reads."""

from __future__ import annotations

import click
from henaw.cli.data_nhanes import nhanes
from henaw.cli.data_table import table
from henaw.cli.data_ukb import ukb


@click.group()
def data() -> None:
    """Build a cohort table: one row per participant, the panel's units, follow-up.

    Every subcommand writes Parquet that ``henaw train`` and ``henaw evaluate`` read.
    """


data.add_command(nhanes)
data.add_command(table)
data.add_command(ukb)
