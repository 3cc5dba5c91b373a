"""Comparison of each later blood draw of a person with the first, written to a file."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from henaw.intake.person_table import DRAWN
from henaw.intake.tables.layout import Layout
from henaw.model.biomarkers import NAMES
from henaw.model.change import compare_draws
from henaw.model.errors import ScoringError
from henaw.model.files import write_whole
from henaw.model.reliability import count_codes, find_codes
from henaw.scoring.answering.columns import (
    REASON,
    WITHHELD,
    check_unreliable,
    find_flagged,
    write_codes,
)
from henaw.scoring.answering.summary import Summary
from henaw.scoring.henaw import Henaw
from henaw.scoring.jobs.sinks import check_sink, open_sink
from henaw.scoring.reading.inputs import Inputs, write_reasons, write_words
from henaw.scoring.reading.sources import Source

_BLOCK = 65_536
_NUMBERS = (
    *("years_between", "biological_age_first", "biological_age", "change"),
    *("gap_change", "gap_change_low", "gap_change_high"),
)


class _Draws(NamedTuple):
    """All draws in the order of the source, as arrays of equal length."""

    person: npt.NDArray[np.object_]
    day: npt.NDArray[np.object_]
    inputs: Inputs


def score_change(
    model: Henaw, source: Source, layout: Layout, out: Path, *, unreliable: str
) -> tuple[Summary, int]:
    """Compare each later draw of a person with the first, one row per later draw.

    Both draws are scored with the biomarkers that both have, so that a biomarker measured only
    once does not count as a change.

    Args:
        model: the model that scores.
        source: one row per draw: results by day, or a table with several rows per person.
        layout: the meaning of each column.
        out: .parquet, .csv, .arrow or .ndjson; it appears when it is complete.
        unreliable: "withhold" leaves numbers empty if one of the two draws is not reliable.

    Returns:
        Counts of the comparisons, and the number of people with only one draw.

    Raises:
        ScoringError: there is no identifier, or ``out`` cannot be written.
    """
    check_sink(out)
    keep = check_unreliable(unreliable)
    draws = _read_draws(model, source, layout)
    first, later, lone = _pair(draws)
    batch, summary = _compare(model, draws, first, later, keep=keep)
    buffer = pa.BufferOutputStream()
    with open_sink(buffer, out.suffix, batch.schema) as sink:
        sink.write_batch(batch)
    try:
        write_whole(out, buffer.getvalue().to_pybytes())
    except OSError as error:
        raise ScoringError(str(out), [f"the file cannot be written: {error}"]) from error
    return summary, lone


def _read_draws(model: Henaw, source: Source, layout: Layout) -> _Draws:
    if layout.participant_id is None:
        raise ScoringError(
            "--change",
            ["IN must have a column such as participant_id, which names the person of each row"],
        )
    people, days, parts = [], [], []
    for _, batch in source.read_chunks(layout, ()):
        if batch is None:
            continue
        people += batch.column(layout.participant_id).to_pylist()
        none = pa.nulls(batch.num_rows, pa.string())
        days += (batch.column(DRAWN) if source.from_results else none).to_pylist()
        parts.append(model.read(batch, layout))
    if not parts:
        raise ScoringError("--change", ["IN has no rows"])
    joined = Inputs(*(np.concatenate(part) for part in zip(*parts, strict=True)))
    return _Draws(np.array(people, object), np.array(days, object), joined)


def _pair(
    draws: _Draws,
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], int]:
    """Return the rows of first and later draws, by age, and how many people have only one."""
    known = np.array([person is not None for person in draws.person], np.bool_)
    rows = np.flatnonzero(known)
    codes: dict[object, int] = {}
    person = np.array([codes.setdefault(one, len(codes)) for one in draws.person[rows]], np.int64)
    # The sort is stable: draws of one day keep the order of the source.
    order = np.lexsort((draws.inputs.age[rows], person))
    rows, person = rows[order], person[order]
    starts = np.flatnonzero(np.diff(person, prepend=-1))
    first = np.repeat(rows[starts], np.diff(starts, append=len(rows)))
    is_later = first != rows
    lone = len(starts) - len(np.unique(person[is_later]))
    return first[is_later], rows[is_later], lone


def _compare(
    model: Henaw,
    draws: _Draws,
    first: npt.NDArray[np.int64],
    later: npt.NDArray[np.int64],
    *,
    keep: bool,
) -> tuple[pa.RecordBatch, Summary]:
    before, after = draws.inputs.select(first), draws.inputs.select(later)
    shared = np.isfinite(before.biomarkers) & np.isfinite(after.biomarkers)
    ages, sds = [], []
    codes = np.zeros(len(first), np.uint8)
    flagged = np.zeros(len(first), np.bool_)
    for part in (before, after):
        known = np.where(shared, part.biomarkers, np.float32(np.nan))
        age, sd, code, flags = _score(model, part._replace(biomarkers=known))
        ages.append(age)
        sds.append(sd)
        codes |= code
        flagged |= flags
    years = (after.age - before.age).astype(np.float64)
    told = compare_draws(*ages, years=years, sd_before=sds[0], sd_after=sds[1])
    reasons = before.reasons | after.reasons
    other_sex = (before.sex != after.sex) & (reasons == 0)
    scored = (reasons == 0) & ~other_sex
    codes = np.where(scored, codes, np.uint8(0))
    shown = scored if keep else scored & (codes == 0)
    numbers = (years, *ages, told.change, told.gap_change, told.low, told.high)
    compared = (shared << np.arange(len(NAMES))).sum(axis=1)
    why = write_reasons(reasons)
    if other_sex.any():
        why = pa.array(
            [
                "the sex differs between the draws" if other else reason
                for other, reason in zip(other_sex, why.to_pylist(), strict=True)
            ],
            pa.string(),
        )
    batch = pa.RecordBatch.from_pydict(
        {
            "participant_id": pa.array([str(one) for one in draws.person[later]], pa.string()),
            "drawn_first": pa.array(draws.day[first], pa.string()),
            DRAWN: pa.array(draws.day[later], pa.string()),
            **{
                name: pa.array(column.astype(np.float32), mask=~shown)
                for name, column in zip(_NUMBERS, numbers, strict=True)
            },
            "within_noise": pa.array(told.within_noise, mask=~shown),
            "compared": write_words(
                compared, lambda bits: ";".join(n for p, n in enumerate(NAMES) if bits >> p & 1)
            ),
            WITHHELD: write_codes(codes),
            REASON: why,
        }
    )
    summary = Summary(
        rows=len(first),
        scored=int(scored.sum()),
        flagged=int(flagged[scored].sum()),
        withheld=int((codes != 0).sum()),
        with_imputed=int((~shared[scored]).any(axis=1).sum()),
        devices=Counter({model.device: len(first)}),
        reasons=Counter(reason for reason in why.to_pylist() if reason is not None),
        unreliable=Counter(count_codes(codes)),
    )
    return batch, summary


def _score(
    model: Henaw, people: Inputs
) -> tuple[
    npt.NDArray[np.float64],
    npt.NDArray[np.float64],
    npt.NDArray[np.uint8],
    npt.NDArray[np.bool_],
]:
    """Return biological age and draw_sd in years, reliability codes and flags: (n,) each."""
    count = len(people.age)
    age, sd, codes = np.empty(count), np.empty(count), np.zeros(count, np.uint8)
    flagged = np.zeros(count, np.bool_)
    for start in range(0, count, _BLOCK):
        block = slice(start, start + _BLOCK)
        outputs = model.run(people.select(block))
        age[block], sd[block] = outputs["biological_age"], outputs["draw_sd"]
        codes[block] = find_codes(outputs)
        flagged[block] = find_flagged(outputs)
    return age, sd, codes, flagged
