"""The cohort table that every reader builds: columns, counts for the report, writing."""

from __future__ import annotations

import difflib
import io
import itertools
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pandas as pd
from henaw.model.biomarkers import NAMES, PANEL
from henaw.model.checkpoint import write_whole
from henaw.model.configuration import OTHER_CAUSE
from henaw.model.errors import CohortError

COLUMNS: tuple[str, ...] = (
    *("participant_id", "survey", "age", "sex", *NAMES),
    *("death", "followup_months", "ucod_leading", "pregnant"),
)
"""The columns that a cohort is read from, in order."""

_ATTRIBUTE = "henaw"

CAUSE_CODES: Mapping[str, int] = MappingProxyType(
    {"cardiovascular": 1, "cancer": 2, "diabetes": 7, "dementia": 6, "other": 10}
)
"""``ucod_leading`` of the shipped model's causes: codes of the NCHS for the leading underlying
causes of death, as the shipped configuration reads them."""
_FIRST_OWN_CODE = 101
"""First code of causes that the NCHS has no code for."""


def code_causes(names: Iterable[str]) -> dict[str, int]:
    """Give each named cause a code for ``ucod_leading``, "other" last.

    Example:
        >>> code_causes(["cancer", "liver", "lung"])
        {'cancer': 2, 'liver': 101, 'lung': 102, 'other': 10}
    """
    own = itertools.count(_FIRST_OWN_CODE)
    codes = {name: CAUSE_CODES[name] if name in CAUSE_CODES else next(own) for name in names}
    return codes | {OTHER_CAUSE: CAUSE_CODES[OTHER_CAUSE]}


def order_columns(table: pd.DataFrame) -> pd.DataFrame:
    """Put COLUMNS first, in their order, and any others after them."""
    known = [name for name in COLUMNS if name in table]
    ordered: pd.DataFrame = table[[*known, *(name for name in table if name not in known)]]
    return ordered


def count_missing(table: pd.DataFrame) -> dict[str, int]:
    """Count rows without a value, by biomarker."""
    return {name: int(table[name].isna().sum()) for name in NAMES}


def count_implausible(table: pd.DataFrame) -> dict[str, int]:
    """Count values outside the accepted range, by biomarker; a fit takes them as missing."""
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
    """Refuse a wrong file name before the table is built.

    Raises:
        CohortError: the name does not end in .parquet.
    """
    if out.suffix != ".parquet":
        raise CohortError(str(out), [f"the name must end in .parquet; got {out.name!r}"])


def explain_absent(kind: str, name: str, there: Sequence[str]) -> str:
    """Say that a column or variable is absent, and which name is close.

    Example:
        >>> explain_absent("column", "year", ["years", "sex"])
        "there is no column 'year'; did you mean 'years'?"
    """
    near = difflib.get_close_matches(name, there, n=1)
    return f"there is no {kind} {name!r}" + (f"; did you mean {near[0]!r}?" if near else "")


def count_others(rows: int) -> str:
    """Say in how many rows a problem occurs besides the one that is quoted.

    Example:
        >>> count_others(1), count_others(3)
        ('', ' and in 2 more rows')
    """
    return "" if rows == 1 else f" and in {rows - 1} more row{'s' if rows > 2 else ''}"


def write_table(table: pd.DataFrame, report: Mapping[str, Any], out: Path) -> Path:
    """Write the table as Parquet, and its report as ``NAME.report.json`` beside it.

    Each file is written completely or not at all. The report, which has counts and digests and
    nothing of one person, also goes into the Parquet file's metadata; pandas reads it as
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
