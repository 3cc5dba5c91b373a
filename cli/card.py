"""``henaw card``: the model card, from a checkpoint and its evaluations."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import click
from henaw.cli.options import FILE, PATH


@click.command()
@click.argument("checkpoint", type=PATH)
@click.option(
    "--unseen",
    "unseen_paths",
    type=PATH,
    multiple=True,
    required=True,
    help="evaluation.json of people kept out of the fit; may be repeated, the main one first.",
)
@click.option(
    "--reference",
    "reference_path",
    type=PATH,
    required=True,
    help="evaluation.json of the people that CHECKPOINT was fitted on, for the centre of the gap.",
)
@click.option(
    "--out", type=FILE, required=True, help="Markdown file to write, such as docs/model-card.md."
)
@click.option(
    "--embed",
    is_flag=True,
    help="Also write a summary of the card into CHECKPOINT; exports contain it.",
)
def card(
    checkpoint: Path,
    *,
    unseen_paths: tuple[Path, ...],
    reference_path: Path,
    out: Path,
    embed: bool,
) -> None:
    """Write the model card of a checkpoint from its evaluations."""
    from henaw.model.checkpoint import load_checkpoint, save_checkpoint, write_whole
    from henaw.training.evaluation.report.card import read_evaluation, render_card, summarise_card

    model = load_checkpoint(checkpoint)
    unseen = [read_evaluation(path) for path in unseen_paths]
    reference = read_evaluation(reference_path)
    text = render_card(model, unseen, reference)
    if embed:
        metrics = {**model.metrics, "card": summarise_card(unseen[0])}
        save_checkpoint(dataclasses.replace(model, metrics=metrics), checkpoint)
        # The card names the checkpoint by its digest, which has just changed.
        text = render_card(load_checkpoint(checkpoint), unseen, reference)
    write_whole(out, text.encode())
    click.echo(f"{out}: {len(text)} characters")
