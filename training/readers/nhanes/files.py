"""The public files of a survey as numbers: SAS transport, and text of fixed width."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from henaw.model.errors import CohortError
from henaw.training.readers.nhanes.survey import SurveyFile
from henaw.training.readers.table import count_others, explain_absent

_SMALLEST_NUMBER = 1e-70
_FEWEST_EIGHTS = 3
"""8 and 88 may be codes, so that only wider fields of eights are blank."""


def read_file(path: Path, file: SurveyFile, variables: Sequence[str]) -> pd.DataFrame:
    """Read the named variables of a file as numbers, one row per person.

    Returns:
        (n, len(variables) - 1) numbers, by SEQN, the number of the person in the survey.

    Raises:
        CohortError: the file has another format, lacks a variable, or repeats a person.
    """
    table = _read_fixed(path, file) if file.fields else _read_transport(path)
    columns = [str(column) for column in table.columns]
    absent = [name for name in variables if name not in columns]
    if absent:
        raise CohortError(path.name, [explain_absent("variable", name, columns) for name in absent])
    table = table[list(variables)]
    if table["SEQN"].isna().any() or table["SEQN"].duplicated().any():
        raise CohortError(
            path.name,
            [
                "SEQN must be present and different in every row; empty: "
                f"{int(table['SEQN'].isna().sum())}, repeated: "
                f"{int(table['SEQN'].duplicated().sum())}"
            ],
        )
    indexed: pd.DataFrame = table.astype({"SEQN": "int64"}).set_index("SEQN")
    return indexed


def _read_transport(path: Path) -> pd.DataFrame:
    try:
        table = pd.read_sas(path, format="xport", encoding="latin-1")
    except (ValueError, OSError, struct.error) as error:
        raise CohortError(path.name, [f"this is not a SAS transport file: {error}"]) from error
    numbers = table.select_dtypes("number")
    # pandas turns the zero of IBM floating point into 5.4e-79.
    cleaned: pd.DataFrame = numbers.where(numbers.abs().gt(_SMALLEST_NUMBER) | numbers.isna(), 0.0)
    return cleaned


def _read_fixed(path: Path, file: SurveyFile) -> pd.DataFrame:
    text = pd.read_fwf(
        path,
        colspecs=[(field.first - 1, field.last) for field in file.fields],
        names=[field.name for field in file.fields],
        header=None,
        dtype=str,
        encoding="latin-1",
    )
    table: pd.DataFrame = pd.DataFrame(index=text.index)
    problems = []
    for field in file.fields:
        column = text[field.name]
        # "." is SAS's missing value; a field full of eights is "blank but applicable".
        blank = column.isna() | (column == ".")
        if field.width >= _FEWEST_EIGHTS:
            blank |= column == "8" * field.width
        numbers = pd.to_numeric(column.mask(blank), errors="coerce")
        wrong = numbers.isna() & ~blank
        if wrong.any():
            row = int(wrong.argmax())
            problems.append(
                f"columns {field.first}-{field.last} ({field.name}) must have numbers; got "
                f"{column[row]!r} in row {row + 1}{count_others(int(wrong.sum()))}"
            )
        table[field.name] = numbers
    if problems:
        raise CohortError(path.name, problems)
    return table
