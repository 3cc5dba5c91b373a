"""A job from people in FHIR to a file of answers in FHIR."""

from __future__ import annotations

import collections
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from henaw.intake.fhir.answers import (
    AnsweringModel,
    Resource,
    answer_people,
    list_notes,
    make_bundle,
)
from henaw.intake.fhir.reader import FhirPeople
from henaw.model.errors import ScoringError
from henaw.model.reliability import find_codes
from henaw.scoring.answering.columns import check_unreliable, find_flagged
from henaw.scoring.answering.summary import Summary, summarise
from henaw.scoring.henaw import Henaw
from henaw.scoring.jobs.sinks import check_sink
from henaw.scoring.reading.inputs import Inputs
from henaw.scoring.reading.sources import ResultsSource, Source

FHIR_SUFFIXES: tuple[str, ...] = (".json", ".fhir.ndjson")
"""A Bundle, or one resource a line."""

_CHUNK = 4096


def is_fhir_name(path: Path) -> bool:
    """Return whether answers in a file of this name are FHIR."""
    return path.name.lower().endswith(FHIR_SUFFIXES)


def find_suffix(form: str | None, source: Source, *, change: bool) -> str:
    """Return the suffix that stands for the format of standard output.

    Args:
        form: csv, ndjson, parquet, arrow, fhir or fhir-ndjson; None is FHIR for people in FHIR,
            else CSV.
        source: the people.
        change: whether draws are compared, which gives a table.
    """
    if form is None:
        is_fhir = isinstance(source, ResultsSource) and source.fhir is not None and not change
        form = "fhir" if is_fhir else "csv"
    return {"fhir": ".json", "fhir-ndjson": ".fhir.ndjson"}.get(form, f".{form}")


def write_fhir(model: Henaw, people: FhirPeople, out: Path, *, unreliable: str) -> Summary:
    """Score everyone and write a Bundle, or one resource a line.

    Args:
        model: the model that scores.
        people: people in FHIR; unused data becomes an OperationOutcome.
        out: .json or .fhir.ndjson; it appears when it is complete.
        unreliable: "withhold" or "keep", as ``Henaw.predict`` takes it.

    Raises:
        ScoringError: ``out`` cannot be written.
    """
    check_sink(out, FHIR_SUFFIXES)
    summary = Summary()
    used, _, _ = people.table.to_arrays(model.description["reference"])
    people = people._replace(notes=people.notes + people.table.describe_limits(used))
    resources = _answer(model, people, summary, keep=check_unreliable(unreliable))
    lines: Iterator[str]
    if out.name.lower().endswith(".ndjson"):
        lines = (json.dumps(one) + "\n" for one in (*list_notes(people.notes), *resources))
    else:
        lines = make_bundle(resources, people.notes)
    try:
        with tempfile.NamedTemporaryFile(
            "w", encoding="utf-8", dir=out.parent, prefix=f".{out.name}.", delete=False
        ) as file:
            try:
                file.writelines(lines)
                file.flush()
                os.fsync(file.fileno())
                os.chmod(file.name, 0o644)
                os.replace(file.name, out)
            except BaseException:
                os.unlink(file.name)
                raise
    except OSError as error:
        raise ScoringError(str(out), [f"the file cannot be written: {error}"]) from error
    return summary


def describe_answering(model: Henaw) -> AnsweringModel:
    """Return the description of the model that answers contain."""
    said = model.description
    return AnsweringModel(
        said["name"], said["version"], model.sha256, model.lab, said["cause_names"]
    )


def _answer(
    model: Henaw, people: FhirPeople, summary: Summary, *, keep: bool
) -> Iterator[Resource]:
    count = len(people.patients)
    reference = model.description["reference"]
    for start in range(0, count, _CHUNK):
        rows = np.arange(start, min(start + _CHUNK, count))
        chunk = FhirPeople(
            people.table.select(rows), [people.patients[row] for row in rows], people.notes
        )
        biomarkers, age, sex = chunk.table.to_arrays(reference)
        nothing = np.zeros(len(rows), np.int64)
        inputs = Inputs(biomarkers, age, sex, nothing, nothing)
        outputs = model.run(inputs)
        problems = chunk.table.find_problems()
        good = np.array([not found for found in problems], np.bool_)
        summary.add(
            summarise(
                biomarkers,
                scored=good,
                flagged=find_flagged(outputs),
                codes=find_codes(outputs),
                device=model.device,
                reasons=collections.Counter(text for found in problems for text in found),
                notes={},
            )
        )
        resources = answer_people(
            chunk,
            outputs,
            model.find_reasons(inputs, outputs),
            describe_answering(model),
            keep=keep,
        )
        if start:
            # The Device is written once.
            next(resources)
        yield from resources
