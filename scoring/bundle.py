"""A FHIR Bundle as a table to score, one row a Patient."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from henaw.intake.preflight import Report
from henaw.model.biomarkers import NAMES, SEXES
from henaw.model.errors import ScoringError
from henaw.model.files import write_whole
from henaw.model.layout import find_layout
from henaw.scoring.answers import REASON, WITHHOLD
from henaw.scoring.fhir import Reading, read_bundle
from henaw.scoring.henaw import Henaw
from henaw.scoring.preflight import look_over
from henaw.scoring.sinks import check_sink, open_sink


def score_bundle(
    model: Henaw,
    path: Path,
    out: Path,
    *,
    outputs: Sequence[str],
    unreliable: str = WITHHOLD,
) -> tuple[Reading, list[list[str]]]:
    """Score every Patient of a Bundle; written whole or not at all.

    The table has ``participant_id`` (the Patient's id), ``drawn`` (the day of the newest
    value), ``age``, ``sex`` and the values in the panel's units before the answers, and
    ``limits`` after them: biomarkers that stand for a limit of the assay; then ``old``:
    those that are more than a year older than ``drawn``. A row with a ``reason`` has no
    answers.

    Returns:
        The people, and what was not used with the reasons; for each of the people, in
        sentences, why the numbers are not reliable.

    Raises:
        ScoringError: it is no Bundle, holds no Patient, or ``out`` cannot be written.
    """
    check_sink(out)
    reading = read_people(path, model)
    table = tabulate(reading)
    layout = find_layout(table.schema.names)
    answers, _ = model.score(table, layout, outputs, unreliable=unreliable)
    withheld = model.find_withheld(table, layout=layout)
    reasons = pa.array(
        ["; ".join(p.problems.values()) or None for p in reading.people], pa.string()
    )
    columns = dict(zip(table.schema.names, table.columns, strict=True))
    # The table alone would score a row of age and sex; a Patient none of whose results could
    # be used has results, and the average of others is not an answer to them.
    columns |= {
        name: column
        if name in columns
        else pc.if_else(reasons.is_null(), column, pa.scalar(None, column.type))
        for name, column in zip(answers.schema.names, answers.columns, strict=True)
    }
    columns["limits"] = pa.array(
        [" ".join(f"{k} {v}" for k, v in p.limits.items()) or None for p in reading.people],
        pa.string(),
    )
    columns["old"] = pa.array(
        [" ".join(f"{k} {v}" for k, v in p.old.items()) or None for p in reading.people],
        pa.string(),
    )
    # What the Bundle says is nearer to its cause than what the table says of it.
    columns[REASON] = pc.coalesce(reasons, columns.pop(REASON))
    batch = pa.RecordBatch.from_pydict(columns)
    buffer = pa.BufferOutputStream()
    with open_sink(buffer, out.suffix, batch.schema) as sink:
        sink.write_batch(batch)
    write_whole(out, buffer.getvalue().to_pybytes())
    return reading, [
        [] if person.problems else sentences
        for person, sentences in zip(reading.people, withheld, strict=True)
    ]


def look_over_bundle(model: Henaw, path: Path) -> Report:
    """What a Bundle's values look like, as :func:`look_over`.

    Raises:
        ScoringError: it is no Bundle, or holds no Patient.
    """
    table = tabulate(read_people(path, model))
    layout = find_layout(table.schema.names)
    return look_over(model, [(table, model.read(table, layout))], layout, table.schema.names)


def read_people(path: Path, model: Henaw) -> Reading:
    """The Patients of a Bundle.

    Raises:
        ScoringError: it is no Bundle, or holds no Patient.
    """
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise ScoringError(str(path), [f"expected a Bundle in JSON, however: {error}"]) from error
    return read_bundle(content, model.description["reference"])


def tabulate(reading: Reading) -> pa.RecordBatch:
    """People as a table by the panel's own names; values in its units."""
    people = reading.people
    return pa.RecordBatch.from_pydict(
        {
            "participant_id": pa.array([person.patient for person in people], pa.string()),
            "drawn": pa.array([person.drawn for person in people], pa.string()),
            "age": pa.array(
                [None if math.isnan(person.age_years) else person.age_years for person in people],
                pa.float64(),
            ),
            "sex": pa.array(
                [SEXES[person.sex] if person.sex >= 0 else None for person in people], pa.string()
            ),
            **{
                name: pa.array([person.biomarkers.get(name) for person in people], pa.float64())
                for name in NAMES
            },
        }
    )
