"""Synthetic cohorts: people drawn from a model's reference, in tables marked as synthetic."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
import pandas as pd
from henaw.intake.words.ukb_names import (
    AGE_AT_VISIT,
    BIOMARKER_FIELDS,
    CAUSE_OF_DEATH,
    CENTRE,
    DATE_OF_DEATH,
    DATE_OF_VISIT,
    SEX,
)
from henaw.model.biomarkers import INDEX, NAMES
from henaw.model.checkpoint import Checkpoint
from henaw.model.configuration import OTHER_CAUSE
from henaw.model.errors import CohortError
from henaw.model.files import write_whole
from henaw.model.network import HORIZON_YEARS
from henaw.model.synthetic import draw_follow_up, draw_synthetic_people
from henaw.training.readers.table import check_table_path, code_causes, order_columns
from henaw.training.readers.ukb.configuration import CensoringDates

WORD = "synthetic"
Layout = Literal["cohort", "ukb"]
_FIRST_VISIT, _VISITING_DAYS = "2006-04-01", 1645
_LONGEST_YEARS = 30.0
"""Longer than to any censoring date."""
_CENTRES = (11012, 11004, 11003)
"""Barts, Glasgow and Cardiff: one of each nation."""
_ICD10: Mapping[str, str] = MappingProxyType(
    {
        **{"cardiovascular": "I219", "cancer": "C349", "diabetes": "E119", "dementia": "G309"},
        OTHER_CAUSE: "R99",
    }
)
"""An ICD-10 code of each cause, as on a death certificate."""


def check_synthetic_path(out: Path, layout: Layout = "cohort") -> None:
    """Refuse a file name that does not say that the people are synthetic.

    Raises:
        CohortError: the name does not contain "synthetic", or does not end in .parquet (of
            an extract, in .csv).
    """
    if WORD not in out.stem.lower():
        raise CohortError(
            str(out),
            [
                f"the file name must contain {WORD!r}, so that drawn people are never taken for "
                f"real data; got {out.name!r}. Try {WORD}-{out.name}"
            ],
        )
    if layout == "cohort":
        check_table_path(out)
    elif out.suffix != ".csv":
        raise CohortError(str(out), [f"the file name must end in .csv; got {out.name!r}"])


def simulate_table(
    checkpoint: Checkpoint, count: int, seed: int, *, years: float = HORIZON_YEARS
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Draw people, values and follow-up from a model.

    Ages are uniform over the fitted range, and the sexes equally frequent. Given age and
    sex, the nine biomarkers follow the model's reference with its correlations; none is
    missing. Deaths follow the model's hazard, and causes their shares.

    Args:
        checkpoint: the model.
        count: how many people.
        seed: the same seed gives the same table.
        years: end of follow-up.

    Returns:
        The table, (count,) rows, in the panel's units, and the report.
    """
    people = draw_synthetic_people(checkpoint, count, seed)
    follow_up = draw_follow_up(checkpoint, people, seed, years=years)
    # The last code, NaN, is for people without a cause: their place is -1.
    coded = code_causes(checkpoint.network.causes)
    codes = np.array([*coded.values(), np.nan])
    table = pd.DataFrame(
        {
            "participant_id": [f"{WORD}-{number}" for number in range(1, count + 1)],
            "survey": WORD,
            "age": people.age,
            "sex": people.sex.astype(np.int8),
            **{name: people.biomarkers[:, i] for i, name in enumerate(NAMES)},
            "death": follow_up.event.astype(np.float64),
            "followup_months": follow_up.time_years * 12.0,
            "ucod_leading": codes[follow_up.cause],
            "pregnant": 0.0,
            WORD: True,
        }
    )
    report = {
        **_describe(checkpoint, seed, count),
        "deaths": int(follow_up.event.sum()),
        "follow_up_years": years,
        "ucod_leading": coded,
    }
    return order_columns(table), report


def simulate_ukb_extract(
    checkpoint: Checkpoint, count: int, seed: int
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Draw people in the layout of a UK Biobank extract, which ``henaw data ukb`` reads.

    They visit between 2006 and 2010, at the ages that the model is fitted on. A person who
    dies after :class:`CensoringDates` is alive in the extract.

    Args:
        checkpoint: the model.
        count: how many people.
        seed: the same seed gives the same extract.

    Returns:
        The table, (count,) rows, with columns by field (``30710-0.0``), and the report.

    Raises:
        CohortError: the model has a cause of death without an ICD-10 code in this module.
    """
    unknown = [name for name in checkpoint.network.causes if name not in _ICD10]
    if unknown:
        raise CohortError(
            "UK Biobank's layout",
            [f"causes must be some of {', '.join(_ICD10)}; got {', '.join(unknown)}"],
        )
    people = draw_synthetic_people(checkpoint, count, seed)
    generator = np.random.default_rng([seed, 2])
    visit = pd.Timestamp(_FIRST_VISIT) + pd.to_timedelta(
        generator.integers(0, _VISITING_DAYS, count), unit="D"
    )
    follow_up = draw_follow_up(checkpoint, people, seed, years=_LONGEST_YEARS)
    died = visit + pd.to_timedelta(np.ceil(follow_up.time_years * 365.25), unit="D")
    dead = follow_up.event & (died <= pd.Timestamp(CensoringDates().england))
    codes = np.array([*(_ICD10[name] for name in checkpoint.network.cause_classes), ""])
    table = pd.DataFrame(
        {
            "eid": np.arange(1, count + 1),
            _name_field(SEX): people.sex,
            _name_field(DATE_OF_VISIT): visit.strftime("%Y-%m-%d"),
            _name_field(CENTRE): generator.choice(_CENTRES, count),
            _name_field(AGE_AT_VISIT): np.floor(people.age).astype(np.int64),
            **{
                _name_field(field): people.biomarkers[:, INDEX[name]].round(4)
                for name, field in BIOMARKER_FIELDS.items()
            },
            _name_field(DATE_OF_DEATH): died.strftime("%Y-%m-%d").where(dead, ""),
            _name_field(CAUSE_OF_DEATH): np.where(dead, codes[follow_up.cause], ""),
            WORD: True,
        }
    )
    return table, {**_describe(checkpoint, seed, count), "deaths": int(dead.sum())}


def write_ukb_extract(table: pd.DataFrame, report: dict[str, Any], out: Path) -> Path:
    """Write an extract as CSV, and its report as ``NAME.report.json`` beside it.

    Each is written whole or not at all.

    Returns:
        The path of the report.
    """
    beside = out.with_suffix(".report.json")
    write_whole(beside, f"{json.dumps(report, indent=2)}\n".encode())
    write_whole(out, table.to_csv(index=False).encode())
    return beside


def _describe(checkpoint: Checkpoint, seed: int, count: int) -> dict[str, Any]:
    return {
        WORD: True,
        "about": "drawn from a model: no row is a person",
        "model": f"{checkpoint.name} {checkpoint.version}",
        "model_sha256": checkpoint.sha256,
        "seed": seed,
        "rows": count,
    }


def _name_field(number: int) -> str:
    """The column of a field's first instance and array, as ukbconv names it."""
    return f"{number}-0.0"
