"""Reading a cohort table into arrays that a fit can use.

The table has one row per participant and these columns: ``participant_id``, ``age`` (years),
``sex`` (0 female, 1 male), the biomarkers of the panel in its units, ``death`` (1 dead,
0 alive at the end of follow-up, empty: not followed) and ``followup_months`` (from the
examination). Optional are ``ucod_leading`` (code of the underlying cause of death),
``survey`` (the survey in which a person was examined) and ``pregnant`` (1 yes). Other columns are
ignored.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from henaw.model.biomarkers import INDEX, NAMES, PANEL
from henaw.model.errors import CohortError
from henaw.training.cohorts.table_checks import list_table_problems, warn_of_times
from henaw.training.configuration import CohortConfiguration
from torch import Tensor

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]

SHORTEST_FOLLOW_UP_YEARS = 0.5 / 12
"""A death in the month of the examination happened on average half a month after it."""
_EVERYONE = slice(None)


@dataclass(frozen=True, kw_only=True)
class Cohort:
    """People with raw values and follow-up.

    Attributes:
        biomarkers: (n, 9) float32, the panel's units, NaN = missing.
        age_years: (n,) float32.
        sex: (n,) int64, 0 female, 1 male.
        time_years: (n,) float64, follow-up from the examination.
        event: (n,) bool, true where the follow-up ended in death.
        cause: (n,) int64, position in the configuration's ``cause_names`` and then "other";
            -1 if alive or unknown.
        survey: (n,) text.
        digest: SHA-256 of the file.
        report: number of rows left out, by reason.
        clocks: ages by other clocks, (n,) float64 years by column, NaN = unknown; only the
            columns named to the reader.
        shifts: what was subtracted from each survey's biomarkers to harmonise them: from the
            logarithm if the biomarker is log-scaled, else in the panel's unit.
        panel: the biomarkers used; every value of the others is NaN.
        laboratory_sd: standard deviation of laboratories' shifts, where the configuration
            gives it.
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
    panel: Sequence[str] = NAMES
    laboratory_sd: Mapping[str, float] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.age_years)

    def select(self, rows: npt.NDArray[np.bool_]) -> Cohort:
        """The people where ``rows`` is true: (n,) bool."""
        columns: dict[str, Any] = {
            name: value[rows] for name, value in vars(self).items() if isinstance(value, np.ndarray)
        }
        clocks = {name: ages[rows] for name, ages in self.clocks.items()}
        return replace(self, clocks=clocks, **columns)

    def take(self, panel: Sequence[str]) -> Cohort:
        """The same people with only the values of the biomarkers in ``panel``."""
        biomarkers = self.biomarkers.copy()
        biomarkers[:, [name not in panel for name in NAMES]] = np.nan
        return replace(self, biomarkers=biomarkers, panel=panel)

    def take_inputs(self, rows: slice = _EVERYONE) -> tuple[Tensor, Tensor, Tensor]:
        """The network's inputs for some of the people: biomarkers, age and sex."""
        return (
            torch.from_numpy(self.biomarkers[rows]),
            torch.from_numpy(self.age_years[rows]),
            torch.from_numpy(self.sex[rows]),
        )

    @property
    def complete(self) -> npt.NDArray[np.bool_]:
        """True where every biomarker of the panel is known: (n,) bool."""
        columns = [INDEX[name] for name in self.panel]
        return np.asarray(~np.isnan(self.biomarkers[:, columns]).any(1))


def read_table(path: Path) -> pd.DataFrame:
    """Read a whole Parquet or CSV table.

    Raises:
        CohortError: the file does not exist, cannot be read, or is neither.
    """
    if not path.is_file():
        raise CohortError(str(path), ["there is no such file; a Parquet or CSV file is needed"])
    try:
        if path.suffix == ".parquet":
            return pd.read_parquet(path)
        if path.name.endswith((".csv", ".csv.gz")):
            return pd.read_csv(path)
    except (ValueError, OSError, EOFError, zlib.error) as error:
        raise CohortError(str(path), [f"the file cannot be read: {error}"]) from error
    raise CohortError(
        str(path),
        [f"the file name must end in .parquet, .csv or .csv.gz; got {path.suffix or path.name}"],
    )


def read_cohort(
    path: Path, configuration: CohortConfiguration, *, clocks: tuple[str, ...] = ()
) -> Cohort:
    """Read a cohort and keep the people that a fit can use.

    These are the people with an age within the configuration, not pregnant, followed up, and
    with at least one biomarker. A value outside its accepted range is a recording error and
    counts as missing.

    Args:
        path: Parquet or CSV.
        configuration: which people are kept.
        clocks: columns with ages by other clocks to keep, if the table has them.

    Raises:
        CohortError: a column is missing or has wrong values; all problems are listed.
    """
    table = read_table(path)
    clocks = tuple(name for name in clocks if name in table)
    problems = list_table_problems(table, configuration.panel, clocks)
    if problems:
        raise CohortError(str(path), problems)
    report = {"rows": len(table)}

    measured = table.reindex(columns=list(NAMES)).apply(pd.to_numeric, errors="coerce")
    # Copied, because pandas 3 returns arrays that cannot be written to.
    numbers = measured.to_numpy(np.float64, copy=True)
    numbers[:, [name not in configuration.panel for name in NAMES]] = np.nan
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
    given = configuration.laboratories
    if not keep.any():
        raise CohortError(str(path), [f"no row can be used. Rows left out, by reason: {report}"])

    dead = death == 1
    causes = (
        table["ucod_leading"].to_numpy(np.float64)
        if "ucod_leading" in table
        else np.full(len(table), np.nan)
    )
    cohort = Cohort(
        biomarkers=numbers.astype(np.float32),
        age_years=age.astype(np.float32),
        sex=table["sex"].to_numpy(np.int64),
        time_years=np.maximum(months / 12.0, SHORTEST_FOLLOW_UP_YEARS),
        event=dead,
        cause=_code_causes(causes, dead, configuration),
        survey=survey.to_numpy(np.str_),
        digest=hashlib.sha256(path.read_bytes()).hexdigest(),
        report=report,
        clocks={name: table[name].to_numpy(np.float64) for name in clocks},
        panel=configuration.panel,
        laboratory_sd=dict(given.standard_deviation) if given is not None else {},
    ).select(keep)
    warn_of_times(cohort.age_years.astype(np.float64), cohort.time_years, cohort.event)
    return cohort


def _code_causes(
    codes: npt.NDArray[np.float64],
    dead: npt.NDArray[np.bool_],
    configuration: CohortConfiguration,
) -> IntArray:
    names = configuration.cause_names
    causes = np.full(len(codes), -1, np.int64)
    # Without named causes every death has the same cause, known or not.
    causes[dead & (np.isfinite(codes) | (not names))] = len(names)
    for place, name in enumerate(names):
        causes[dead & np.isin(codes, configuration.causes[name])] = place
    return causes
