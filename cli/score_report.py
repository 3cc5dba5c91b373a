"""What ``henaw score`` prints after a run."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from henaw.intake.tables.layout import Layout
    from henaw.scoring import Henaw
    from henaw.scoring.answering.summary import Summary
    from henaw.scoring.reading.sources import Source
    from pyspark.sql import SparkSession

NOT_ALL_SCORED = 3
"""Exit status: OUT is written, and some of its rows have a reason instead of answers."""

_FEW = 20
_UNRELIABLE_WORDS = {"withhold": "numbers withheld", "keep": "not reliable"}


def report_summary(
    summary: Summary, layout: Layout, model: str, out: Path, unreliable: str
) -> None:
    # There are two devices if one failed during the run, or if an earlier run used another.
    devices = [
        device if len(summary.devices) == 1 else f"{device} ({rows} rows)"
        for device, rows in summary.devices.items()
    ]
    where = f" on {', '.join(devices)}" if devices else ""
    click.echo(f"{out}: {summary.rows} rows, {summary.scored} scored by {model}{where}", err=True)
    if summary.resumed:
        click.echo(
            f"{summary.resumed} of these were scored by an earlier run that was stopped", err=True
        )
    if layout.absent:
        click.echo(f"no column, so imputed for all: {', '.join(layout.absent)}", err=True)
    for name, count in summary.imputed.items():
        if count and name not in layout.absent:
            click.echo(f"{name}: missing in {count}, imputed", err=True)
    for note, count in summary.notes.items():
        click.echo(f"{count} rows: {note}", err=True)
    click.echo(
        f"flagged: {summary.flagged} rows outside the fitted range; "
        f"{_UNRELIABLE_WORDS[unreliable]}: {summary.withheld}; with imputed values: "
        f"{summary.with_imputed}",
        err=True,
    )
    _report_unreliable(summary.unreliable, unreliable)
    for reason, count in summary.reasons.most_common():
        click.echo(f"not scored: {count} rows, {reason}", err=True)
    sys.exit(NOT_ALL_SCORED if summary.scored < summary.rows else 0)


def report_left_out(model: Henaw) -> None:
    """Say which values the model does not use."""
    if model.left_out:
        click.echo(f"not part of the model, so not used: {', '.join(model.left_out)}", err=True)


def report_few(model: Henaw, source: Source, unreliable: str) -> None:
    """Say which numbers of each person are not reliable, if IN has results of a few people."""
    from henaw.intake.tables.layout import find_layout

    if not source.from_results or not source.rows or source.rows > _FEW:
        return
    layout = find_layout(source.names)
    for _, batch in source.read_chunks(layout, ()):
        if batch is None:
            continue
        names = ["this person"] * batch.num_rows
        if layout.participant_id is not None:
            names = batch.column(layout.participant_id).to_pylist()
        withheld = model.find_withheld(batch, layout=layout)
        for name, sentences in zip(names, withheld, strict=True):
            for sentence in sentences:
                click.echo(f"{_UNRELIABLE_WORDS[unreliable]}: {name}: {sentence}", err=True)


def _report_unreliable(counts: Mapping[str, int], choice: str) -> None:
    """Say in how many rows numbers are not reliable, and why."""
    from henaw.model.reliability import WORDS

    for code, words in WORDS.items():
        if counts.get(code):
            click.echo(f"{_UNRELIABLE_WORDS[choice]}: {counts[code]} rows, {words}", err=True)


def report_spark(out: str, session: SparkSession, unreliable: str) -> None:
    written = session.read.parquet(out)
    rows, scored = written.count(), written.where("reason is null").count()
    click.echo(f"{out}: {rows} rows, {scored} scored", err=True)
    counts: Counter[str] = Counter()
    for row in written.where("withheld is not null").groupBy("withheld").count().collect():
        counts.update(dict.fromkeys(row["withheld"].split(";"), row["count"]))
    _report_unreliable(counts, unreliable)
    sys.exit(NOT_ALL_SCORED if scored < rows else 0)
