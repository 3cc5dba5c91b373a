"""``henaw card``: the model card, from a checkpoint and its evaluations."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.option(
    "--unseen",
    "unseen_paths",
    type=click.Path(path_type=Path),
    multiple=True,
    required=True,
    help="evaluation.json on people kept from the fit; may be repeated, the main one first.",
)
@click.option(
    "--reference",
    "reference_path",
    type=click.Path(path_type=Path),
    required=True,
    help="evaluation.json of CHECKPOINT on the people it was fitted on, for the gap's centre.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="Markdown file to write, such as docs/model-card.md.",
)
def card(
    checkpoint: Path, *, unseen_paths: tuple[Path, ...], reference_path: Path, out: Path
) -> None:
    """Write the model card of a checkpoint from its evaluations."""
    from henaw.model.checkpoint import load_checkpoint, write_whole
    from henaw.training.evaluation.card import read_evaluation, render_card

    model = load_checkpoint(checkpoint)
    unseen = [read_evaluation(path) for path in unseen_paths]
    text = render_card(model, unseen, read_evaluation(reference_path))
    write_whole(out, text.encode())
    click.echo(f"{out}: {len(text)} characters")
