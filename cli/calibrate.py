"""``henaw calibrate``: a laboratory's profile from a few hundred of its people."""

from __future__ import annotations

import json
from pathlib import Path

import click
from henaw.cli.layouts import choose_file_layout
from henaw.cli.options import FILE, PATH, columns_option, model_option, visit_option
from henaw.cli.preflight import accept_option


@click.command()
@click.argument("people", type=PATH)
@click.option("--out", type=FILE, required=True, help="Profile to write, JSON.")
@click.option("--name", help="The laboratory's name in answers. Default: the file name of --out.")
@model_option
@columns_option
@visit_option
@accept_option
@click.option(
    "--export", "export_path", type=FILE, help="Also write the ONNX file with the profile in it."
)
@click.option(
    "--life-table",
    "life_tables",
    type=PATH,
    multiple=True,
    metavar="FILE",
    help="Life table of the laboratory's country, which sets the level of the risks: "
    "mltper_1x1.txt and fltper_1x1.txt of the Human Mortality Database (give both), or one CSV "
    "of age, sex, qx.",
)
@click.option(
    "--figure", "figure_path", type=FILE, help="Draw the values before and after: .png or .html."
)
def calibrate(
    people: Path,
    *,
    out: Path,
    name: str | None,
    model_path: Path | None,
    map_path: Path | None,
    visit: int | None,
    accepted: tuple[str, ...],
    export_path: Path | None,
    life_tables: tuple[Path, ...],
    figure_path: Path | None,
) -> None:
    """Estimate how a laboratory's values differ from those that the model was fitted on.

    PEOPLE is a file that `henaw score` reads: 500 or more unselected people of the laboratory
    with age, sex and values. No follow-up is needed.

    Use the profile with `henaw score --lab`, `Henaw.load(..., lab=...)` or lab_profile in the
    server's handler.yaml. Or use the file of --export in place of henaw.onnx.
    """
    from henaw.model.files import write_whole
    from henaw.model.profile import set_profile
    from henaw.scoring import Henaw
    from henaw.scoring.calibration import calibrate_people, list_lines

    if figure_path is not None:
        from henaw.scoring.calibration.figure import check_figure

        check_figure(figure_path)
    model = Henaw.load(model_path)
    calibration = calibrate_people(
        people,
        model=model,
        name=name or out.stem,
        layout=choose_file_layout(people, map_path, visit),
        life_tables=life_tables,
        accept=accepted,
    )
    profile = calibration.profile
    changed = None if export_path is None else set_profile(model.content, profile)
    if figure_path is not None:
        from henaw.scoring.calibration.figure import write_figure

        write_figure(calibration, figure_path)
    if export_path is not None and changed is not None:
        write_whole(export_path, changed)
    write_whole(out, (json.dumps(profile.describe(), indent=1) + "\n").encode())
    for line in list_lines(calibration):
        click.echo(line)
    for note in calibration.notes:
        click.echo(f"note: {note}", err=True)
    for path, words in (
        (out, "the profile"),
        (export_path, "the model with the profile"),
        (figure_path, "the figure"),
    ):
        if path is not None:
            click.echo(f"{path}: {words}", err=True)
