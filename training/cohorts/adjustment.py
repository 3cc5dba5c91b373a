"""Covariates of the hazard that a fit adjusts for and the model does not contain.

With the same values, people die at other rates if they were examined in another year, or if
some of their blood could not be measured. A fit estimates coefficients for both, so that
neither biases the gap or the baseline. The model does not contain them: it answers for a
person with all values measured, in the year that the configuration names.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch
from henaw.model.errors import CohortError
from henaw.training.cohorts.cohort import Cohort
from henaw.training.configuration import TrainingConfiguration
from torch import Tensor

MEASURED_SHARE = 0.5
"""If a smaller share of a survey's people has a biomarker, the survey did not measure it; its
absence says nothing about a person."""
DECADE = 10.0


def count_adjustments(period: float | None) -> int:
    """The number of columns of :func:`describe_adjustments`."""
    return 1 if period is None else 3


def describe_adjustments(cohort: Cohort, period: float | None) -> Tensor:
    """Adjustment covariates of the hazard, all 0 when the model scores.

    Columns: 1 where a biomarker that the survey measured is missing; with a period, also the
    decades from the period to the survey, and their square.

    Shape:
        result: (n, 1) or, with a period, (n, 3) float64

    Args:
        cohort: the people.
        period: the year that the baseline is for; None fits no trend.

    Raises:
        CohortError: a period is given, and a survey's name contains no years.
    """
    columns = [_find_incomplete(cohort)]
    if period is not None:
        decades = (_list_years(cohort) - period) / DECADE
        columns += [decades, decades**2]
    return torch.from_numpy(np.column_stack(columns))


def describe_cause_adjustments(
    cohort: Cohort, period: float | None, follow_up_years: float
) -> Tensor:
    """Adjustment covariates of the causes' shares of the deaths.

    Columns: 1 where a biomarker that the survey measured is missing; with a period, also the
    decades from the period to the survey. Shares are known only for surveys with complete
    follow-up; a later period takes the shares of the last such survey.

    Shape:
        result: (n, 1) or, with a period, (n, 2) float64
    """
    columns = [_find_incomplete(cohort)]
    if period is not None:
        years = _list_years(cohort)
        last = years[select_followed(cohort, follow_up_years)].max()
        columns.append((years - min(period, last)) / DECADE)
    return torch.from_numpy(np.column_stack(columns))


def select_followed(cohort: Cohort, follow_up_years: float) -> npt.NDArray[np.bool_]:
    """People of the surveys with complete follow-up, or everyone if there is none: (n,) bool.

    With shorter follow-up, causes that kill late, such as dementia, are missed more often
    than others.
    """
    long = cohort.survey[cohort.time_years >= follow_up_years]
    followed: npt.NDArray[np.bool_] = np.isin(cohort.survey, long)
    return followed if followed.any() else ~followed


def _list_years(cohort: Cohort) -> npt.NDArray[np.float64]:
    """Middle of each person's survey: (n,) years."""
    names, place = np.unique(cohort.survey, return_inverse=True)
    return np.array(read_years(names.tolist()))[place]


def _find_incomplete(cohort: Cohort) -> npt.NDArray[np.float64]:
    """1 where a biomarker that the survey measured is missing, else 0: (n,)."""
    names, place = np.unique(cohort.survey, return_inverse=True)
    incomplete = np.zeros(len(cohort))
    missing = np.isnan(cohort.biomarkers)
    for index in range(len(names)):
        rows = place == index
        measured = missing[rows].mean(0) < MEASURED_SHARE
        incomplete[rows] = missing[rows][:, measured].any(1)
    return incomplete


def move_period(
    configuration: TrainingConfiguration, surveys: Iterable[str]
) -> TrainingConfiguration:
    """The same fit with its period at the mean year of the surveys that it is tested on.

    A configuration without a period is returned unchanged.

    Raises:
        CohortError: a period is given, and a survey's name contains no years.
    """
    if configuration.fit.period is None:
        return configuration
    period = float(np.mean(read_years(sorted(set(surveys)))))
    return replace(configuration, fit=replace(configuration.fit, period=period))


def read_years(surveys: list[str]) -> list[float]:
    """Middle of the years in each survey's name, such as "1999-2000" or "2012".

    Raises:
        CohortError: a name contains no years.

    Example:
        >>> read_years(["1988-1994", "2012"])
        [1991.5, 2012.5]
    """
    years = []
    for survey in surveys:
        found = re.fullmatch(r"(\d{4})(?:-(\d{4}))?", survey)
        if found is None:
            raise CohortError(
                "fit.period",
                [
                    'a trend over surveys needs surveys named by their years, as "1999-2000"; '
                    f"got {survey!r}. Leave fit.period out"
                ],
            )
        first, last = int(found[1]), int(found[2] or found[1])
        years.append((first + last + 1) / 2)
    return years
