"""Any table, with a map of its columns, to the table that a cohort is read from."""

from __future__ import annotations

import csv
import difflib
import zlib
from collections.abc import Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from henaw.model.biomarkers import INDEX, NAMES, PANEL, Biomarker
from henaw.model.configuration import OTHER_CAUSE
from henaw.model.errors import CohortError, PanelError
from henaw.model.layout import BiomarkerColumn, find_separator
from henaw.model.units import Unit
from henaw.training.readers.column_map import CauseColumn, ColumnMap
from henaw.training.readers.table import (
    code_causes,
    count_implausible,
    count_missing,
    order_columns,
)
from henaw.training.table_checks import LONGEST_MONTHS

_MONTHS_PER = {"days": 12 / 365.25, "months": 1.0, "years": 12.0}
_MOST_IMPLAUSIBLE = 0.5


def build_table(path: Path, columns: ColumnMap) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Build a cohort table from a CSV or Parquet file.

    Rows without an identifier, an age or a sex are left out and counted. Values outside
    the accepted range stay and are counted: a fit takes them as missing; where that is
    most of a biomarker's, the unit is wrong and the table is refused. A value without a
    unit is in that of all others, and counted, where no other unit is possible.

    Returns:
        The table, in the panel's units, and the report, in counts.

    Raises:
        CohortError: a column is not there, or holds what the map does not say; all of
            it is listed.
    """
    if columns.participant_id is None:
        raise CohortError(str(path), ["expected participant_id in the map, however: none"])
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
    """The mapped columns as text, and what is wrong with them."""

    def __init__(self, path: Path, columns: ColumnMap) -> None:
        self.problems: list[str] = []
        self.assumed: dict[str, dict[str, Any]] = {}
        self._text = {
            str(name): _write_text(column, columns.missing)
            for name, column in _read_columns(path, columns).items()
        }

    def read_text(self, column: str) -> pd.Series[str]:
        """Trimmed text, missing where there is no value: (n,)."""
        return self._text[column]

    def read_numbers(self, column: str) -> pd.Series[float]:
        """Numbers, NaN where there is no value: (n,)."""
        text = self._text[column]
        numbers: pd.Series[float] = pd.to_numeric(text, errors="coerce").astype(float)
        numbers = numbers.where(np.isfinite(numbers))
        self._note(column, "numbers", text, numbers.isna() & text.notna())
        return numbers

    def read_dates(self, column: str) -> pd.Series[pd.Timestamp]:
        """Days: (n,)."""
        text = self._text[column]
        # The day as it was written: follow-up is in days, whatever the hour and its zone.
        days = text.str.replace(r"(?<=\d)[T ]\d\d:\d\d.*$", "", regex=True)
        dates = pd.to_datetime(days, format="ISO8601", errors="coerce")
        self._note(column, "dates, YYYY-MM-DD", text, dates.isna() & text.notna())
        return dates

    def read_codes(
        self, column: str, codes: Mapping[str, tuple[str, ...]], answers: tuple[int, int]
    ) -> pd.Series[float]:
        """One number for each group of codes, NaN where there is no value: (n,)."""
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
                f"column {column!r} must hold {expected}, however: {int(wrong.sum())} rows do "
                f"not, first row {row + 1}: {text.iloc[row]!r}; list it under missing if it "
                "means that there is no value"
            )


def _read_columns(path: Path, columns: ColumnMap) -> pd.DataFrame:
    there = [str(name) for name in _open(path, columns, rows=0).columns]
    absent = [name for name in columns.columns if name not in there]
    if absent:
        raise CohortError(str(path), [_explain_absent(name, there) for name in absent])
    return _open(path, columns)


def _open(path: Path, columns: ColumnMap, *, rows: int | None = None) -> pd.DataFrame:
    """The mapped columns; with ``rows`` 0 no row, but every column."""
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
        raise CohortError(str(path), ["expected a CSV or Parquet file, found none"]) from error
    except (ValueError, OSError, EOFError, zlib.error, pa.ArrowException) as error:
        raise CohortError(str(path), [f"the file cannot be read: {error}"]) from error
    return table


def _find_separator(path: Path) -> str:
    # Read as pandas reads the rest, whatever the file is packed with.
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


def _explain_absent(name: str, there: list[str]) -> str:
    near = difflib.get_close_matches(name, there, n=1)
    return f"expected the column {name!r}, however there is none" + (
        f": is it {near[0]!r}?" if near else ""
    )


def _write_text(column: pd.Series[Any], missing: tuple[str, ...]) -> pd.Series[str]:
    # A whole number becomes 1.0 wherever some rows of its column have none.
    text = column.astype(str).str.strip().str.replace(r"^(-?\d+)\.0+$", r"\1", regex=True)
    cleaned: pd.Series[str] = text.mask(column.isna() | text.isin(missing))
    return cleaned


def _convert(raw: _Raw, mapped: BiomarkerColumn) -> pd.Series[float]:
    biomarker = PANEL[INDEX[mapped.name]]
    values = raw.read_numbers(mapped.column)
    if mapped.unit is not None:
        unit = biomarker.find_unit(mapped.unit)
        whole: pd.Series[float] = (values - unit.offset) * unit.factor
        return whole
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
        converted[rows] = (values[rows] - unit.offset) * unit.factor
    alone = values.notna() & units.isna()
    if len(seen) == 1:
        (unit,) = seen
        told = alone & _find_told(values, biomarker, unit)
        converted[told] = (values[told] - unit.offset) * unit.factor
        if told.any():
            name = next(name for name in biomarker.units if biomarker.find_unit(name) == unit)
            raw.assumed[biomarker.name] = {"unit": name, "values": int(told.sum())}
        alone &= ~told
    unknown = int(alone.sum())
    if unknown:
        raw.problems.append(
            f"column {mapped.unit_column!r} must have a unit for every value of {mapped.name}, "
            f"however: {unknown} have none"
        )
    return converted


def _find_told(values: pd.Series[float], biomarker: Biomarker, unit: Unit) -> pd.Series[bool]:
    """Where a value can be in this one of the biomarker's units only: (n,)."""
    told: pd.Series[bool] = pd.Series(True, values.index)
    for other in map(biomarker.find_unit, biomarker.units):
        converted = (values - other.offset) * other.factor
        told &= converted.between(biomarker.minimum, biomarker.maximum) == (other == unit)
    return told


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
                f"column {mapped.column!r}: expected one cause for {code!r}, however: {causes}"
            )
        codes[code] = coded[causes[0] if causes else OTHER_CAUSE]
    result: pd.Series[float] = text.map(codes).astype(float)
    return result


def _check(table: pd.DataFrame, columns: ColumnMap) -> list[str]:
    problems = []
    if table.empty:
        problems.append("expected rows with identifier, age and sex, however: none")
    repeated = int(table["participant_id"].duplicated().sum())
    if repeated:
        problems.append(
            f"column {columns.participant_id!r} must differ in every row, however: {repeated} "
            "are repeated"
        )
    early = int((table["followup_months"] < 0).sum())
    if early:
        problems.append(f"follow-up must not be below 0, however: {early} rows are")
    long = int((table["followup_months"] > LONGEST_MONTHS).sum())
    if long:
        problems.append(
            f"follow-up must be at most a hundred years, however: {long} of {len(table)} rows are "
            "longer; is follow_up.unit right, or a date wrong?"
        )
    for mapped in columns.biomarkers:
        problems += _check_unit(table[mapped.name], PANEL[INDEX[mapped.name]], mapped)
    return problems


def _check_unit(
    values: pd.Series[float], biomarker: Biomarker, mapped: BiomarkerColumn
) -> list[str]:
    """Most values beyond what is possible: then it is the unit."""
    known = values.dropna()
    outside = ((known < biomarker.minimum) | (known > biomarker.maximum)).mean()
    if known.empty or outside <= _MOST_IMPLAUSIBLE:
        return []
    return [
        f"{mapped.name} must be in [{biomarker.minimum:g}, {biomarker.maximum:g}] "
        f"{biomarker.unit}, however: {outside:.0%} are not, with the median {known.median():g}; "
        f"is {mapped.unit or mapped.unit_column!r} the unit of {mapped.column!r}? Accepted: "
        f"{', '.join(biomarker.units)}"
    ]
