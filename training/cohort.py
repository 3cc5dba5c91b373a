"""Reading a cohort table into arrays that a fit can use.

The table has one row a participant and these columns: ``participant_id``, ``age``
(years), ``sex`` (0 female, 1 male), the nine biomarkers of the panel in its units,
``death`` (1 dead, 0 alive at the end of follow-up, empty: not followed),
``followup_months`` (from examination), ``ucod_leading`` (code of the underlying cause),
and, where they exist, ``survey`` (the wave a person was examined in) and ``pregnant``
(1 yes). Other columns are left alone.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from henaw.model.biomarkers import NAMES, PANEL, suggest_name
from henaw.model.errors import CohortError
from henaw.training.configuration import CohortConfiguration

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]

REQUIRED_COLUMNS: tuple[str, ...] = (
    "participant_id",
    "age",
    "sex",
    *NAMES,
    "death",
    "followup_months",
    "ucod_leading",
)
SHORTEST_FOLLOW_UP_YEARS = 0.5 / 12
"""A death in the month of the examination happened on average half a month in."""


@dataclass(frozen=True, kw_only=True)
class Cohort:
    """People with raw values and follow-up.

    Attributes:
        biomarkers: (n, 9) float32, the panel's units, NaN = missing.
        age_years: (n,) float32.
        sex: (n,) int64, 0 female, 1 male.
        time_years: (n,) float64, follow-up from the examination.
        event: (n,) bool, died at the end of it.
        cause: (n,) int64, place among the configuration's ``cause_names`` and then "other",
            -1 where alive or unknown.
        survey: (n,) text.
        digest: SHA-256 of the file.
        report: what was dropped and why, in counts.
        clocks: other clocks' ages, (n,) float64 years by column, NaN = not known; only
            those that the reader was asked for.
        shifts: what was taken off each survey's biomarkers to harmonise them: of the
            logarithm of the log-scaled, of the others in the panel's unit.
    """

    biomarkers: FloatArray
    age_years: FloatArray
    sex: IntArray
    time_years: npt.NDArray[np.float64]
    event: npt.NDArray[np.bool_]
    cause: IntArray
    survey: npt.NDArray[np.str_]
    digest: str
    report: dict[str, int]
    clocks: Mapping[str, npt.NDArray[np.float64]] = field(default_factory=dict)
    shifts: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.age_years)

    def select(self, rows: npt.NDArray[np.bool_]) -> Cohort:
        """The people where ``rows`` is true: (n,) bool."""
        return replace(
            self,
            biomarkers=self.biomarkers[rows],
            age_years=self.age_years[rows],
            sex=self.sex[rows],
            time_years=self.time_years[rows],
            event=self.event[rows],
            cause=self.cause[rows],
            survey=self.survey[rows],
            clocks={name: ages[rows] for name, ages in self.clocks.items()},
        )

    @property
    def complete(self) -> npt.NDArray[np.bool_]:
        """(n,) bool, true where all nine biomarkers are there."""
        return np.asarray(~np.isnan(self.biomarkers).any(1))


def read_table(path: Path) -> pd.DataFrame:
    """Read a Parquet or CSV table whole.

    Raises:
        CohortError: the file is not there or is neither.
    """
    if not path.is_file():
        raise CohortError(str(path), ["expected a Parquet or CSV file, found none"])
    try:
        if path.suffix == ".parquet":
            return pd.read_parquet(path)
        if path.name.endswith((".csv", ".csv.gz")):
            return pd.read_csv(path)
    except (ValueError, OSError, EOFError, zlib.error) as error:
        raise CohortError(str(path), [f"the file cannot be read: {error}"]) from error
    raise CohortError(
        str(path), [f"expected .parquet, .csv or .csv.gz, however: {path.suffix or path.name}"]
    )


def read_cohort(
    path: Path, configuration: CohortConfiguration, *, clocks: tuple[str, ...] = ()
) -> Cohort:
    """Read a cohort and keep the people whom a fit can use.

    Kept: age within the configuration, not pregnant, followed up, at least one
    biomarker. A biomarker outside its accepted range is a recording error and is taken
    as missing.

    Args:
        path: Parquet or CSV.
        configuration: who is kept.
        clocks: columns of other clocks' ages to keep, where the table has them.

    Raises:
        CohortError: a column is missing or holds what it must not; all are listed.
    """
    table = read_table(path)
    clocks = tuple(name for name in clocks if name in table)
    _check_columns(table, path, clocks)
    report = {"rows": len(table)}

    measured = table[list(NAMES)].apply(pd.to_numeric, errors="coerce")
    # Copied: pandas 3 hands out arrays that may not be written.
    numbers = measured.to_numpy(np.float64, copy=True)
    low = np.array([biomarker.minimum for biomarker in PANEL])
    high = np.array([biomarker.maximum for biomarker in PANEL])
    with np.errstate(invalid="ignore"):
        implausible = (numbers < low) | (numbers > high)
    report["values_outside_accepted_range"] = int(implausible.sum())
    numbers[implausible | ~np.isfinite(numbers)] = np.nan

    age = table["age"].to_numpy(np.float64)
    death = table["death"].to_numpy(np.float64)
    months = table["followup_months"].to_numpy(np.float64)
    pregnant = (
        table["pregnant"].to_numpy(np.float64) == 1
        if "pregnant" in table
        else np.zeros(len(table), bool)
    )
    keep = np.ones(len(table), bool)
    survey = table["survey"].astype(str) if "survey" in table else pd.Series("all", table.index)
    top_coded = np.zeros(len(table), bool)
    for code in configuration.top_codes:
        top_coded |= (survey == code.survey).to_numpy() & (age >= code.age)
    for reason, kept in {
        "age_not_fitted": (age >= configuration.minimum_age) & (age <= configuration.maximum_age),
        "age_top_coded": ~top_coded,
        "pregnant": ~pregnant,
        "not_followed": np.isfinite(death) & np.isfinite(months),
        "no_biomarker": np.isfinite(numbers).any(1),
    }.items():
        report[reason] = int((keep & ~kept).sum())
        keep &= kept
    report["kept"] = int(keep.sum())
    if not keep.any():
        raise CohortError(str(path), [f"no row can be used, however: {report}"])

    dead = death == 1
    return Cohort(
        biomarkers=numbers.astype(np.float32),
        age_years=age.astype(np.float32),
        sex=table["sex"].to_numpy(np.int64),
        time_years=np.maximum(months / 12.0, SHORTEST_FOLLOW_UP_YEARS),
        event=dead,
        cause=_code_causes(table["ucod_leading"].to_numpy(np.float64), dead, configuration),
        survey=survey.to_numpy(np.str_),
        digest=hashlib.sha256(path.read_bytes()).hexdigest(),
        report=report,
        clocks={name: table[name].to_numpy(np.float64) for name in clocks},
    ).select(keep)


def _check_columns(table: pd.DataFrame, path: Path, clocks: tuple[str, ...]) -> None:
    problems = []
    columns = [str(column) for column in table.columns]
    for name in REQUIRED_COLUMNS:
        if name not in columns:
            near = suggest_name(name, columns)
            problems.append(
                f"missing column {name!r}" + (f": is it {near!r}?" if near is not None else "")
            )
    if not problems:
        problems += _check_values(table, clocks)
    if problems:
        raise CohortError(str(path), problems)


def _check_values(table: pd.DataFrame, clocks: tuple[str, ...]) -> list[str]:
    problems = []
    twice = table["participant_id"].duplicated()
    if twice.any():
        first = table["participant_id"][twice].iloc[0]
        problems.append(
            f"participant_id must be unique, however: {int(twice.sum())} repeated, first {first!r}"
        )
    optional = [name for name in ("pregnant", *clocks) if name in table]
    for name in ("age", "death", "followup_months", "ucod_leading", *NAMES, *optional):
        column = table[name]
        if not pd.api.types.is_numeric_dtype(column) and column.notna().any():
            bad = column[pd.to_numeric(column, errors="coerce").isna() & column.notna()]
            if len(bad):
                problems.append(
                    f"{name} must hold numbers, however: row {bad.index[0]} is {bad.iloc[0]!r}"
                )
    problems += _check_codes(table, "sex", {0, 1}, empty=False)
    problems += _check_codes(table, "death", {0, 1}, empty=True)
    if table["age"].isna().any():
        problems.append(f"age must be there, however: {int(table['age'].isna().sum())} are empty")
    months = pd.to_numeric(table["followup_months"], errors="coerce")
    if (months < 0).any():
        problems.append(f"followup_months must be >= 0, however: {months.min()}")
    return problems


def _check_codes(table: pd.DataFrame, name: str, codes: set[int], *, empty: bool) -> list[str]:
    seen: set[Any] = set(table[name].dropna().unique())
    problems = []
    if not seen <= codes:
        wrong = sorted(map(str, seen - codes))[:5]
        problems.append(f"{name} must be one of {sorted(codes)}, however: {', '.join(wrong)}")
    if not empty and table[name].isna().any():
        problems.append(f"{name} must be there, however: {int(table[name].isna().sum())} are empty")
    return problems


def _code_causes(
    codes: npt.NDArray[np.float64],
    dead: npt.NDArray[np.bool_],
    configuration: CohortConfiguration,
) -> IntArray:
    names = configuration.cause_names
    causes = np.full(len(codes), -1, np.int64)
    # Where no cause has a name, all deaths are of one kind, known or not.
    causes[dead & (np.isfinite(codes) | (not names))] = len(names)
    for place, name in enumerate(names):
        causes[dead & np.isin(codes, configuration.causes[name])] = place
    return causes
