"""The table that readers build: its columns in order, counts for the report, writing."""

from __future__ import annotations

import io
import itertools
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pandas as pd
from henaw.model.biomarkers import NAMES, PANEL
from henaw.model.checkpoint import write_whole
from henaw.model.configuration import OTHER_CAUSE
from henaw.model.errors import CohortError

_FIRST = ("participant_id", "survey", "age", "sex", *NAMES)
_FOLLOW_UP = ("death", "followup_months", "ucod_leading", "pregnant")
_ATTRIBUTE = "henaw"

CAUSE_CODES: Mapping[str, int] = MappingProxyType(
    {"cardiovascular": 1, "cancer": 2, "diabetes": 7, "dementia": 6, "other": 10}
)
"""``ucod_leading`` of the shipped model's causes: codes of the leading underlying causes of
death (NCHS), as the shipped configuration reads them."""
_FIRST_OWN_CODE = 101
"""Of causes that the NCHS recode does not have."""


def code_causes(names: Iterable[str]) -> dict[str, int]:
    """``ucod_leading`` by cause, "other" last, for tables whose causes come by name.

    Example:
        >>> code_causes(["cancer", "liver", "lung"])
        {'cancer': 2, 'liver': 101, 'lung': 102, 'other': 10}
    """
    own = itertools.count(_FIRST_OWN_CODE)
    codes = {name: CAUSE_CODES[name] if name in CAUSE_CODES else next(own) for name in names}
    return codes | {OTHER_CAUSE: CAUSE_CODES[OTHER_CAUSE]}


def order_columns(table: pd.DataFrame) -> pd.DataFrame:
    """Put the columns that a cohort is read from first, in their order."""
    known = [name for name in (*_FIRST, *_FOLLOW_UP) if name in table]
    ordered: pd.DataFrame = table[[*known, *(name for name in table if name not in known)]]
    return ordered


def count_missing(table: pd.DataFrame) -> dict[str, int]:
    """Rows without a value, by biomarker."""
    return {name: int(table[name].isna().sum()) for name in NAMES}


def count_implausible(table: pd.DataFrame) -> dict[str, int]:
    """Values outside the accepted range, by biomarker; a fit takes them as missing."""
    return {
        biomarker.name: int(
            (
                (table[biomarker.name] < biomarker.minimum)
                | (table[biomarker.name] > biomarker.maximum)
            ).sum()
        )
        for biomarker in PANEL
    }


def check_table_path(out: Path) -> None:
    """Refuse a name that is not Parquet's, before work is spent on the table.

    Raises:
        CohortError: the suffix is another.
    """
    if out.suffix != ".parquet":
        raise CohortError(
            str(out), [f"expected a name that ends in .parquet, however: {out.name!r}"]
        )


def write_table(table: pd.DataFrame, report: Mapping[str, Any], out: Path) -> Path:
    """Write the table as Parquet, and its report as ``NAME.report.json`` beside it.

    Each is written whole or not at all. The report, counts and digests without anything
    of one person, goes into the Parquet file's metadata too; pandas reads it back as
    ``table.attrs["henaw"]``.

    Returns:
        The path of the report.

    Raises:
        CohortError: ``out`` does not end in .parquet.
    """
    check_table_path(out)
    text = json.dumps(report, indent=2, allow_nan=False)
    described = table.copy(deep=False)
    described.attrs = {_ATTRIBUTE: json.loads(text)}
    buffer = io.BytesIO()
    described.to_parquet(buffer, index=False)
    beside = out.with_suffix(".report.json")
    write_whole(beside, f"{text}\n".encode())
    write_whole(out, buffer.getvalue())
    return beside
