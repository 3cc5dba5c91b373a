"""What else bears on the hazard in a cohort, kept out of the model.

People examined in another year, or whose blood could not all be taken, die at other
rates with the same values. Each fit has coefficients for it, so that it does not leak
into the gap or the baseline; the network holds neither, and so answers for a person with
all values taken in the year that the configuration names.
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
"""A biomarker that fewer people of a survey have was not part of it; its absence says
nothing about a person."""
DECADE = 10.0


def count_adjustments(period: float | None) -> int:
    """Columns of :func:`describe_adjustments`."""
    return 1 if period is None else 3


def describe_adjustments(cohort: Cohort, period: float | None) -> Tensor:
    """Covariates of the hazard that scoring puts at 0: (n, 1) or (n, 3) float64.

    Columns: 1 where a biomarker that the survey measured is missing; and where a period
    is given, decades between it and the survey, and their square.

    Args:
        cohort: the people.
        period: year that the baseline is to hold for; None: no trend is fitted.

    Raises:
        CohortError: a period is given and a survey's name holds no years.
    """
    columns = [_find_incomplete(cohort)]
    if period is not None:
        decades = (_list_years(cohort) - period) / DECADE
        columns += [decades, decades**2]
    return torch.from_numpy(np.column_stack(columns))


def describe_cause_adjustments(
    cohort: Cohort, period: float | None, follow_up_years: float
) -> Tensor:
    """The same for the causes' shares of the deaths: (n, 1) or (n, 2) float64.

    Columns: 1 where a biomarker that the survey measured is missing; and where a period
    is given, decades between it and the survey. Shares are known up to the last survey
    that was followed to the end; a later period gets those of that survey.
    """
    columns = [_find_incomplete(cohort)]
    if period is not None:
        years = _list_years(cohort)
        last = years[select_followed(cohort, follow_up_years)].max()
        columns.append((years - min(period, last)) / DECADE)
    return torch.from_numpy(np.column_stack(columns))


def select_followed(cohort: Cohort, follow_up_years: float) -> npt.NDArray[np.bool_]:
    """People of surveys in which follow-up reaches its end, all people if none does: (n,).

    Where it does not, causes that kill late, as dementia does, are missed more often than
    others.
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
    """The same fit, for the years of surveys that it is to be tested on.

    A fit without a period, whose baseline is of no year, is returned as it is.

    Raises:
        CohortError: a period is given and a survey's name holds no years.
    """
    if configuration.fit.period is None:
        return configuration
    period = float(np.mean(read_years(sorted(set(surveys)))))
    return replace(configuration, fit=replace(configuration.fit, period=period))


def read_years(surveys: list[str]) -> list[float]:
    """Middle of the years that surveys are named by, "1999-2000" or "2012".

    Raises:
        CohortError: a name holds no years.

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
