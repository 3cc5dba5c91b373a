"""Build a cohort table from any CSV or Parquet file and a map of its columns."""

from __future__ import annotations

import csv
import zlib
from collections.abc import Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from henaw.intake.tables.layout import BiomarkerColumn, find_separator
from henaw.model.biomarkers import INDEX, NAMES, PANEL, Biomarker
from henaw.model.configuration import OTHER_CAUSE
from henaw.model.errors import CohortError, PanelError
from henaw.model.panel.units import Unit
from henaw.training.cohorts.table_checks import LONGEST_MONTHS
from henaw.training.readers.column_map import CauseColumn, ColumnMap
from henaw.training.readers.table import (
    code_causes,
    count_implausible,
    count_missing,
    count_others,
    explain_absent,
    order_columns,
)

_MONTHS_PER = {"days": 12 / 365.25, "months": 1.0, "years": 12.0}
_MOST_IMPLAUSIBLE = 0.5


def build_table(path: Path, columns: ColumnMap) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Build a cohort table from a CSV or Parquet file.

    Rows without an identifier, an age or a sex are left out and counted. Values outside
    the accepted range stay and are counted: a fit takes them as missing. Where most values of
    a biomarker are outside, the unit is wrong and the table is refused. A value without a unit
    takes the unit of all others, and is counted, where no other unit is possible.

    Args:
        path: the file.
        columns: which column has what, in which unit.

    Returns:
        The table, in the panel's units, and a report of counts.

    Raises:
        CohortError: a column is absent, or has values that the map does not describe; all
            problems are listed.
    """
    if columns.participant_id is None:
        raise CohortError(str(path), ["the column map has no participant_id; add it"])
    raw = _Raw(path, columns)
    table = pd.DataFrame({"participant_id": raw.read_text(columns.participant_id)})
    table["survey"] = (
        columns.survey
        if columns.survey_column is None
        else raw.read_text(columns.survey_column).fillna("unknown")
    )
    table["age"] = raw.read_numbers(columns.age)
    sex = columns.sex
    table["sex"] = raw.read_codes(sex.column, {"female": sex.female, "male": sex.male}, (0, 1))
    for biomarker in columns.biomarkers:
        table[biomarker.name] = _convert(raw, biomarker)
    unmapped = [name for name in NAMES if name not in table]
    for name in unmapped:
        table[name] = np.nan
    _add_follow_up(table, raw, columns)
    if columns.pregnant is not None:
        codes = columns.pregnant.pregnant
        table["pregnant"] = raw.read_text(columns.pregnant.column).isin(codes).astype(float)

    dropped = {
        "without_participant_id": table["participant_id"].isna(),
        "without_age": table["age"].isna(),
        "without_sex": table["sex"].isna(),
    }
    report: dict[str, Any] = {"rows": len(table)}
    keep = pd.Series(True, table.index)
    for reason, rows in dropped.items():
        report[reason] = int((keep & rows).sum())
        keep &= ~rows
    table = table[keep].reset_index(drop=True)
    raw.problems += _check(table, columns)
    if raw.problems:
        raise CohortError(str(path), raw.problems)
    report |= {
        "kept": len(table),
        "followed": int((table["death"].notna() & table["followup_months"].notna()).sum()),
        "deaths": int((table["death"] == 1).sum()),
        "not_mapped": unmapped,
        "unit_assumed": raw.assumed,
        "missing": count_missing(table),
        "outside_accepted_range": count_implausible(table),
    }
    if columns.cause is not None:
        report["ucod_leading"] = code_causes(columns.cause.codes)
    return order_columns(table.astype({"sex": "int8"})), report


class _Raw:
    """The mapped columns as text, and the problems found in them."""

    def __init__(self, path: Path, columns: ColumnMap) -> None:
        self.problems: list[str] = []
        self.assumed: dict[str, dict[str, Any]] = {}
        self._text = {
            str(name): _write_text(column, columns.missing)
            for name, column in _read_columns(path, columns).items()
        }

    def read_text(self, column: str) -> pd.Series[str]:
        """Read trimmed text, missing where there is no value: (n,)."""
        return self._text[column]

    def read_numbers(self, column: str) -> pd.Series[float]:
        """Read numbers, NaN where there is no value: (n,)."""
        text = self._text[column]
        numbers: pd.Series[float] = pd.to_numeric(text, errors="coerce").astype(float)
        numbers = numbers.where(np.isfinite(numbers))
        self._note(column, "numbers", text, numbers.isna() & text.notna())
        return numbers

    def read_dates(self, column: str) -> pd.Series[pd.Timestamp]:
        """Read dates, without the time of day: (n,)."""
        text = self._text[column]
        # Follow-up is counted in days, so that the hour and its time zone do not matter.
        days = text.str.replace(r"(?<=\d)[T ]\d\d:\d\d.*$", "", regex=True)
        dates = pd.to_datetime(days, format="ISO8601", errors="coerce")
        self._note(column, "dates, YYYY-MM-DD", text, dates.isna() & text.notna())
        return dates

    def read_codes(
        self, column: str, codes: Mapping[str, tuple[str, ...]], answers: tuple[int, int]
    ) -> pd.Series[float]:
        """Read codes as one number per group, NaN where there is no value: (n,)."""
        text = self._text[column]
        known = {
            code: answer
            for answer, group in zip(answers, codes.values(), strict=True)
            for code in group
        }
        numbers: pd.Series[float] = text.map(known).astype(float)
        listed = ", ".join(f"{name} {list(group)}" for name, group in codes.items())
        self._note(column, f"codes of {listed}", text, numbers.isna() & text.notna())
        return numbers

    def _note(
        self, column: str, expected: str, text: pd.Series[str], wrong: pd.Series[bool]
    ) -> None:
        if wrong.any():
            row = int(wrong.to_numpy().argmax())
            self.problems.append(
                f"column {column!r} must have {expected}; got {text.iloc[row]!r} in row {row + 1}"
                f"{count_others(int(wrong.sum()))}. If that means no value, add it to missing"
            )


def _read_columns(path: Path, columns: ColumnMap) -> pd.DataFrame:
    there = [str(name) for name in _open(path, columns, rows=0).columns]
    absent = [name for name in columns.columns if name not in there]
    if absent:
        problems = [explain_absent("column", name, there) for name in absent]
        raise CohortError(str(path), problems)
    return _open(path, columns)


def _open(path: Path, columns: ColumnMap, *, rows: int | None = None) -> pd.DataFrame:
    """Read the mapped columns; with ``rows`` 0, every column and no row."""
    wanted = None if rows == 0 else list(columns.columns)
    table: pd.DataFrame
    try:
        if path.suffix != ".parquet":
            table = pd.read_csv(
                path,
                usecols=wanted,
                nrows=rows,
                sep=columns.separator or _find_separator(path),
                dtype=str,
                keep_default_na=False,
                encoding="utf-8-sig",
            )
        elif rows == 0:
            table = pd.DataFrame(columns=pq.read_schema(path).names)
        else:
            table = pd.read_parquet(path, columns=wanted)
    except FileNotFoundError as error:
        raise CohortError(str(path), ["there is no such file"]) from error
    except (ValueError, OSError, EOFError, zlib.error, pa.ArrowException) as error:
        raise CohortError(str(path), [f"the file cannot be read: {error}"]) from error
    return table


def _find_separator(path: Path) -> str:
    # pandas reads the header as it reads the rest, also from a compressed file.
    header = pd.read_csv(
        path,
        sep="\0",
        header=None,
        nrows=1,
        dtype=str,
        quoting=csv.QUOTE_NONE,
        encoding="utf-8-sig",
    )
    return find_separator(str(header.iloc[0, 0]))


def _write_text(column: pd.Series[Any], missing: tuple[str, ...]) -> pd.Series[str]:
    # pandas writes a whole number as 1.0 where some rows of its column have no value.
    text = column.astype(str).str.strip().str.replace(r"^(-?\d+)\.0+$", r"\1", regex=True)
    cleaned: pd.Series[str] = text.mask(column.isna() | text.isin(missing))
    return cleaned


def _take_to_si(values: pd.Series[float], unit: Unit) -> pd.Series[float]:
    """Values in the panel's unit: (n,)."""
    converted: pd.Series[float] = (values - unit.offset) * unit.factor
    return converted


def _convert(raw: _Raw, mapped: BiomarkerColumn) -> pd.Series[float]:
    biomarker = PANEL[INDEX[mapped.name]]
    values = raw.read_numbers(mapped.column)
    if mapped.unit is not None:
        unit = biomarker.find_unit(mapped.unit)
        return _take_to_si(values, unit)
    units = raw.read_text(str(mapped.unit_column))
    converted: pd.Series[float] = pd.Series(np.nan, values.index)
    seen = set()
    for spelling in units[values.notna()].dropna().unique():
        rows = units == spelling
        try:
            unit = biomarker.find_unit(spelling)
        except PanelError as error:
            raw.problems += [
                f"column {mapped.unit_column!r}, {int(rows.sum())} rows: {problem}"
                for problem in error.problems
            ]
            continue
        seen.add(unit)
        converted[rows] = _take_to_si(values[rows], unit)
    alone = values.notna() & units.isna()
    if len(seen) == 1:
        (unit,) = seen
        certain = alone & _find_certain(values, biomarker, unit)
        converted[certain] = _take_to_si(values[certain], unit)
        if certain.any():
            name = next(name for name in biomarker.units if biomarker.find_unit(name) == unit)
            raw.assumed[biomarker.name] = {"unit": name, "values": int(certain.sum())}
        alone &= ~certain
    unknown = int(alone.sum())
    if unknown:
        raw.problems.append(
            f"column {mapped.unit_column!r} must have a unit for every value of {mapped.name}; "
            f"values without one: {unknown}"
        )
    return converted


def _find_certain(values: pd.Series[float], biomarker: Biomarker, unit: Unit) -> pd.Series[bool]:
    """Where a value can only be in this one of the biomarker's units: (n,)."""
    certain: pd.Series[bool] = pd.Series(True, values.index)
    for other in map(biomarker.find_unit, biomarker.units):
        converted = _take_to_si(values, other)
        certain &= converted.between(biomarker.minimum, biomarker.maximum) == (other == unit)
    return certain


def _add_follow_up(table: pd.DataFrame, raw: _Raw, columns: ColumnMap) -> None:
    table["death"] = table["followup_months"] = table["ucod_leading"] = np.nan
    if columns.death is None:
        return
    death = columns.death
    table["death"] = raw.read_codes(
        death.column, {"alive": death.alive, "dead": death.dead}, (0, 1)
    )
    if columns.follow_up is not None:
        times = raw.read_numbers(columns.follow_up.column)
        table["followup_months"] = times * _MONTHS_PER[columns.follow_up.unit]
    elif columns.dates is not None:
        start, end = (raw.read_dates(name) for name in (columns.dates.start, columns.dates.end))
        table["followup_months"] = (end - start).dt.days * _MONTHS_PER["days"]
    if columns.cause is not None:
        table["ucod_leading"] = _code_causes(raw, columns.cause).where(table["death"] == 1)


def _code_causes(raw: _Raw, mapped: CauseColumn) -> pd.Series[float]:
    text = raw.read_text(mapped.column)
    coded = code_causes(mapped.codes)
    codes = {}
    for code in text.dropna().unique():
        causes = [
            cause
            for cause, patterns in mapped.codes.items()
            if any(fnmatchcase(code, pattern) for pattern in patterns)
        ]
        if len(causes) > 1:
            raw.problems.append(
                f"column {mapped.column!r}: {code!r} must belong to one cause; got {causes}"
            )
        codes[code] = coded[causes[0] if causes else OTHER_CAUSE]
    result: pd.Series[float] = text.map(codes).astype(float)
    return result


def _check(table: pd.DataFrame, columns: ColumnMap) -> list[str]:
    problems = []
    if table.empty:
        problems.append("no row has an identifier, an age and a sex")
    repeated = int(table["participant_id"].duplicated().sum())
    if repeated:
        problems.append(
            f"column {columns.participant_id!r} must be different in every row; rows that "
            f"repeat another: {repeated}"
        )
    early = int((table["followup_months"] < 0).sum())
    if early:
        problems.append(f"follow-up must be at least 0; rows with less: {early}")
    long = int((table["followup_months"] > LONGEST_MONTHS).sum())
    if long:
        problems.append(
            f"follow-up must be at most a hundred years; {long} of {len(table)} rows are longer. "
            "Check follow_up.unit and the dates"
        )
    for mapped in columns.biomarkers:
        problems += _check_unit(table[mapped.name], PANEL[INDEX[mapped.name]], mapped)
    return problems


def _check_unit(
    values: pd.Series[float], biomarker: Biomarker, mapped: BiomarkerColumn
) -> list[str]:
    """Report a wrong unit where most values are outside the accepted range."""
    known = values.dropna()
    outside = ((known < biomarker.minimum) | (known > biomarker.maximum)).mean()
    if known.empty or outside <= _MOST_IMPLAUSIBLE:
        return []
    return [
        f"{mapped.name} must be {biomarker.minimum:g} to {biomarker.maximum:g} {biomarker.unit}; "
        f"{outside:.0%} of values are outside, with the median {known.median():g}. Check whether "
        f"{mapped.unit or mapped.unit_column!r} is the unit of {mapped.column!r}; accepted units: "
        f"{', '.join(biomarker.units)}"
    ]
