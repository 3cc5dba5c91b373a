"""``henaw score``: biological age of everyone in a table or a FHIR Bundle."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import TYPE_CHECKING

import click
from henaw.cli.layouts import choose_layout, read_layout
from henaw.cli.options import PATH, columns_option, model_option, visit_option
from henaw.cli.preflight import preflight_options, report_preflight, set_units
from henaw.cli.score_report import report_few, report_left_out, report_spark, report_summary
from henaw.model.errors import ConfigurationError, ScoringError
from henaw.model.runtime import OUTPUT_NAMES
from tqdm import tqdm

if TYPE_CHECKING:
    from henaw.scoring import Henaw
    from henaw.scoring.answering.summary import Summary
    from henaw.scoring.reading.sources import Source


@click.command()
@click.argument("source", metavar="IN", type=click.Path())
@click.argument("out", metavar="OUT", type=click.Path(), required=False)
@model_option
@columns_option
@visit_option
@click.option(
    "--people",
    "people_path",
    type=PATH,
    help="If IN has one result per row and no ages: a table with one row per person, with "
    "identifier, birth date or age, and sex.",
)
@click.option(
    "--tests",
    "tests_path",
    type=PATH,
    help="If IN has one result per row or is FHIR: YAML of the laboratory's own test codes, such "
    "as CRPH: crp.",
)
@click.option(
    "--outputs",
    help="Comma-separated outputs of the model, such as biological_age,interval. Default: all.",
)
@click.option(
    "--unreliable",
    type=click.Choice(["withhold", "keep"]),
    default="withhold",
    help="Unreliable numbers: withhold leaves them empty, keep writes them. The column "
    '"withheld" says why in both cases.',
)
@click.option(
    "--lab",
    "lab_path",
    type=PATH,
    help="Profile of the laboratory that measured the values: a file of `henaw calibrate`.",
)
@click.option("--sheet", help="If IN is an Excel workbook with several sheets: the name of one.")
@click.option(
    "--change",
    is_flag=True,
    help="Compare each later blood draw of a person with the first: the difference, its 90 % "
    "interval, and whether it is within the noise of two draws. One row per later draw.",
)
@click.option(
    "--to",
    "form",
    type=click.Choice(["csv", "ndjson", "parquet", "arrow", "fhir", "fhir-ndjson"]),
    help="Format of standard output, if OUT is -. Default: fhir if IN is FHIR, else csv.",
)
@click.option("--threads", type=click.IntRange(1, 64), default=2)
@click.option(
    "--device",
    default="cpu",
    callback=lambda _context, _option, name: _check_device(name),
    help="auto, cpu, cuda or cuda:N. CUDA needs onnxruntime-gpu; if it cannot be used, the CPU "
    "scores, with a warning unless auto was given. Only the CPU gives the same numbers to the "
    "last bit.",
)
@click.option(
    "--engine",
    type=click.Choice(["local", "spark"]),
    default="local",
    help="spark: IN is CSV or TSV if its name ends so, such as 'people/*.csv', else Parquet, such "
    "as a folder; OUT is a new folder of Parquet. Both may be URIs, such as hdfs://host/people.",
)
@preflight_options
def score(
    source: str,
    out: str | None,
    *,
    model_path: Path | None,
    map_path: Path | None,
    visit: int | None,
    people_path: Path | None,
    tests_path: Path | None,
    outputs: str | None,
    unreliable: str,
    lab_path: Path | None,
    sheet: str | None,
    change: bool,
    form: str | None,
    threads: int,
    device: str,
    engine: str,
    accepted: tuple[str, ...],
    units: tuple[str, ...],
    dry_run: bool,
    as_json: bool,
) -> None:
    """Score IN, a table, an Excel workbook or FHIR R4, and write the answers to OUT.

    IN (.parquet, .csv, .tsv, .txt, .arrow, .xlsx, .ndjson; with .gz or not) has one row per
    person, or one result per row (person, test, value, unit, date). FHIR is a Bundle, a list or
    a resource (.json), one resource per line (.ndjson), or a folder of such files. Of several
    results, the newest usable one of each biomarker counts, within a year of the person's
    newest. - is standard input or output.

    IN is checked first. Values that are much more likely to be in another unit, and unused
    columns that look like a biomarker, stop the run. --dry-run does only this check.

    OUT (.parquet, .csv, .arrow, .ndjson) has one row per person, in the order of IN. If a row
    cannot be scored, its column "reason" says why. If an answer is not reliable, its numbers
    are empty and its column "withheld" says why. If the run is killed, the same command
    continues where it stopped. If OUT ends in .json or .fhir.ndjson, the answers are FHIR.

    Exit status: 0 all rows scored, 3 some were not, 2 the command line is wrong or IN looks
    wrong, 1 anything else. OUT is written only with 0 and 3.
    """
    if out is None and not dry_run:
        raise click.UsageError("OUT is missing. Name the file to write, or give --dry-run")
    from henaw.scoring import Henaw
    from henaw.scoring.answering.columns import check_outputs
    from henaw.scoring.reading.unpack import deliver_output, unpack_input

    names = OUTPUT_NAMES if outputs is None else [name.strip() for name in outputs.split(",")]
    chosen = check_outputs(names)
    mapped = read_layout(map_path)
    separator = None if mapped is None else mapped.separator
    look = functools.partial(report_preflight, accepted=accepted, is_dry=dry_run, as_json=as_json)
    if engine == "spark":
        if device != "cpu":
            raise click.UsageError("--device is for --engine local: Spark scores on the CPU")
        if change or sheet is not None or "-" in (source, out):
            raise click.UsageError("--change, --sheet and - are for --engine local")
        from henaw.intake.preflight import ALL
        from henaw.model.shipped import ONNX_FILE, find_shipped
        from henaw.scoring.spark import look_over_frame, read_frame, score_frame, write_frame

        people = read_frame(source, separator=separator)
        layout = set_units(choose_layout(people.columns, mapped, visit), units)
        onnx = find_shipped(ONNX_FILE) if model_path is None else model_path
        look(look_over_frame(Henaw.load(onnx, lab=lab_path), people, layout), source)
        scored = score_frame(
            people,
            onnx,
            layout=layout,
            outputs=chosen,
            unreliable=unreliable,
            lab=lab_path,
            accept=[ALL],
        )
        write_frame(scored, str(out))
        report_spark(str(out), people.sparkSession, unreliable)
        return
    from henaw.scoring.jobs.change import score_change
    from henaw.scoring.jobs.fhir import find_suffix, is_fhir_name
    from henaw.scoring.jobs.sinks import check_other
    from henaw.scoring.jobs.table import score_table
    from henaw.scoring.reading.input_files import take_states
    from henaw.scoring.reading.preflight import look_over_source
    from henaw.scoring.reading.sources import open_source

    model = Henaw.load(model_path, lab=lab_path, device=device)
    context = click.get_current_context()
    path = context.with_resource(unpack_input(Path(source), sheet=sheet))
    beside = [file for file in (people_path, tests_path) if file is not None]
    # An unpacked input is watched by the file that the user named.
    states = take_states((path if source == "-" else Path(source), *beside))
    table = open_source(
        path,
        threads=threads,
        separator=separator,
        people=people_path,
        tests=None if tests_path is None else _read_tests(tests_path),
        by_draw=change,
    )
    layout = set_units(choose_layout(table.names, mapped, visit), units)
    report = look_over_source(model, table, layout)
    look(report, path.name)
    report_left_out(model)
    suffix = find_suffix(form, table, change=change)
    target = context.with_resource(deliver_output(Path(str(out)), suffix))
    check_other(target, path)
    if is_fhir_name(target):
        summary = _score_to_fhir(model, table, path, target, unreliable)
    elif change:
        summary, lone = score_change(model, table, layout, target, unreliable=unreliable)
        if lone:
            click.echo(
                f"{lone} people have only one draw, so there is nothing to compare", err=True
            )
    else:
        with tqdm(total=table.rows, unit=" people", unit_scale=True, disable=None) as bar:
            summary = score_table(
                model,
                path,
                table,
                target,
                layout,
                outputs=chosen,
                unreliable=unreliable,
                threads=threads,
                beside=beside,
                states=states,
                progress=bar.update,
            )
    if as_json:
        described = {"preflight": report.describe(accepted), "summary": summary.describe()}
        click.echo(json.dumps(described, indent=1))
    report_few(model, table, unreliable)
    report_summary(summary, layout, model.full_name, Path(str(out)), unreliable)


def _score_to_fhir(model: Henaw, source: Source, path: Path, out: Path, unreliable: str) -> Summary:
    from henaw.scoring.jobs.fhir import write_fhir
    from henaw.scoring.reading.sources import ResultsSource

    people = source.fhir if isinstance(source, ResultsSource) else None
    if people is None:
        raise ScoringError(str(out), [f"FHIR answers need FHIR input, which {path.name} is not"])
    return write_fhir(model, people, out, unreliable=unreliable)


def _read_tests(path: Path) -> dict[str, str]:
    from henaw.intake.words.local_codes import read_local_codes

    return read_local_codes(path)


def _check_device(name: str) -> str:
    from henaw.model.onnx_session import check_device

    try:
        return check_device(name)
    except ConfigurationError as error:
        raise click.BadParameter("; ".join(error.problems)) from error
