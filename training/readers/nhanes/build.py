"""Build a cohort table from the public files of NHANES."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from henaw.model.biomarkers import INDEX, NAMES, PANEL
from henaw.model.errors import CohortError
from henaw.training.readers.nhanes.download import Patience, Progress, Source, fetch_files
from henaw.training.readers.nhanes.files import read_file
from henaw.training.readers.nhanes.phenoage import compute_phenoage
from henaw.training.readers.nhanes.survey import Measure, Sites, Survey, SurveyFile
from henaw.training.readers.nhanes.surveys import SURVEYS
from henaw.training.readers.table import count_implausible, count_missing, order_columns

ADULT_YEARS = 20
_GLUCOSE_MMOL_PER_MG = 0.0555
_ELIGIBLE, _MALE, _FEMALE, _PREGNANT = 1, 1, 2, 1


def choose_surveys(names: Sequence[str] = (), *, external: bool = False) -> tuple[Survey, ...]:
    """Choose the surveys to read.

    Args:
        names: of the surveys; empty: all of the group.
        external: choose among the surveys reserved for external validation, instead of those
            for fitting.

    Raises:
        CohortError: a name is unknown, or belongs to the other group.
    """
    group = {survey.name: survey for survey in SURVEYS if survey.external == external}
    other = {survey.name for survey in SURVEYS if survey.external != external}
    problems = []
    for name in names:
        if name in other and not external:
            problems.append(
                f"{name} is reserved for external validation and must not be in a table for "
                "fitting; --external-validation reads such surveys, and only those"
            )
        elif name in other:
            problems.append(f"{name} is for fitting and must not be in a table for validation")
        elif name not in group:
            problems.append(f"survey must be one of {', '.join(group)}; got {name!r}")
    if problems:
        raise CohortError("surveys", problems)
    return tuple(survey for name, survey in group.items() if not names or name in names)


def build_nhanes_table(
    surveys: Sequence[Survey],
    folder: Path,
    *,
    sites: Sites | None = None,
    patience: Patience | None = None,
    progress: Progress = lambda *_: None,
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Fetch the files that are not in ``folder`` yet, and build the table.

    Args:
        surveys: from :func:`choose_surveys`.
        folder: where the public files are kept, in one folder a survey.
        sites: where they are fetched from.
        patience: how long to try a site that fails.
        progress: see :data:`henaw.training.readers.nhanes.download.Progress`.

    Returns:
        The table, in the panel's units, and a report: counts by survey, and the digest of
        every file.

    Raises:
        DownloadError: files cannot be fetched; all are listed.
        CohortError: files do not have what their codebooks describe; all problems are listed.
    """
    addresses = sites or Sites()
    sources = {
        folder / survey.name / file.name: addresses.locate(file)
        for survey in surveys
        for file in survey.files
    }
    digests = fetch_files(
        [Source(url=url, path=path) for path, url in sources.items()],
        patience=patience,
        progress=progress,
    )
    tables, report, problems = [], {}, []
    for survey in surveys:
        try:
            table, counts = read_survey(survey, folder / survey.name)
        except CohortError as error:
            problems += [f"{error.subject}: {problem}" for problem in error.problems]
            continue
        tables.append(table)
        report[survey.name] = counts
    if problems:
        raise CohortError("NHANES", problems)
    files = {
        str(path.relative_to(folder)): {"sha256": digests[path], "url": url}
        for path, url in sources.items()
    }
    return pd.concat(tables, ignore_index=True), {"surveys": report, "files": files}


def read_survey(survey: Survey, folder: Path) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Build one survey's part of the table from its files in ``folder``.

    Everyone interviewed at 20 years of age or over has a row, examined or not.

    Returns:
        The rows, and counts of what was read, left out and set to missing.

    Raises:
        CohortError: the files do not have what the survey's codebooks describe; all problems
            are listed.
    """
    problems: list[str] = []

    def read(file: SurveyFile) -> pd.DataFrame:
        try:
            return read_file(folder / file.name, file, survey.list_variables(file))
        except CohortError as error:
            problems.extend(f"{error.subject}: {problem}" for problem in error.problems)
            nothing: pd.DataFrame = pd.DataFrame()
            return nothing

    files = {file: read(file) for file in survey.files}
    if problems:
        raise CohortError(survey.name, problems)

    people = files[survey.people]
    problems = _check_people(people, survey)
    if problems:
        raise CohortError(survey.name, problems)
    adults = people[people[survey.age] >= ADULT_YEARS].sort_index()
    counts: dict[str, Any] = {
        "interviewed": len(people),
        "under_20_years": len(people) - len(adults),
        "rows": len(adults),
    }
    table = pd.DataFrame(index=adults.index)
    table["participant_id"] = [f"{survey.name}-{number}" for number in adults.index]
    table["survey"] = survey.name
    table["age"] = adults[survey.age]
    table["sex"] = (adults[survey.sex] == _MALE).astype("int8")
    table["pregnant"] = _code_pregnancy(survey, files, table.index)
    blanked = {}
    for measure in survey.measures:
        values = files[measure.file][measure.variable].reindex(table.index)
        if measure.fasting_hours and survey.fasting is not None:
            holder, variable = survey.fasting
            fasted = files[holder][variable].reindex(table.index) >= measure.fasting_hours
            blanked[measure.column] = int((values.notna() & ~fasted).sum())
            values = values.where(fasted)
        table[measure.column] = convert_measure(values, measure)
    _add_follow_up(table, files[survey.mortality])
    unmeasured = [name for name in NAMES if name not in table]
    for name in unmeasured:
        table[name] = np.nan
    table["phenoage"] = compute_phenoage(table)
    return order_columns(table), counts | {
        "followed": int(table["death"].notna().sum()),
        "deaths": int((table["death"] == 1).sum()),
        "not_measured": unmeasured,
        "not_fasted_blanked": blanked,
        "missing": count_missing(table),
        "outside_accepted_range": count_implausible(table),
    }


def _check_people(people: pd.DataFrame, survey: Survey) -> list[str]:
    problems = []
    sexes = set(people[survey.sex].unique())
    if not sexes <= {_MALE, _FEMALE}:
        problems.append(
            f"{survey.sex} must be {_MALE} or {_FEMALE}; got {', '.join(sorted(map(str, sexes)))}"
        )
    if people[survey.age].isna().any():
        problems.append(
            f"{survey.age} must not be empty; empty rows: {int(people[survey.age].isna().sum())}"
        )
    return [f"{survey.people.name}: {problem}" for problem in problems]


def _code_pregnancy(
    survey: Survey, files: Mapping[SurveyFile, pd.DataFrame], people: pd.Index[int]
) -> pd.Series[float]:
    """1 pregnant, 0 not known to be pregnant; missing for people who are not in the file."""
    holder, variable = survey.pregnancy
    status = files[holder][variable]
    coded: pd.Series[float] = (status == _PREGNANT).astype(float).reindex(people)
    return coded


def convert_measure(values: pd.Series[float], measure: Measure) -> pd.Series[float]:
    """Convert values (n,) from the unit of a survey's file to the table's unit."""
    intercept, slope = measure.calibration
    calibrated: pd.Series[float] = intercept + slope * values
    if measure.column in INDEX:
        unit = PANEL[INDEX[measure.column]].find_unit(measure.unit)
        calibrated = (calibrated - unit.offset) * unit.factor
    elif measure.column == "glucose_mmol":
        calibrated = calibrated * _GLUCOSE_MMOL_PER_MG
    return calibrated


def _add_follow_up(table: pd.DataFrame, mortality: pd.DataFrame) -> None:
    """Add death, months from the examination, and cause; empty for people NCHS did not link."""
    linked = mortality[mortality["ELIGSTAT"] == _ELIGIBLE].reindex(table.index)
    table["death"] = linked["MORTSTAT"]
    table["followup_months"] = linked["PERMTH_EXM"]
    table["ucod_leading"] = linked["UCOD_LEADING"]
