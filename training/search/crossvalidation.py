"""Cross-validation: fit without some people and score on them, in turn.

Everything in a fit, the reference included, is estimated without the people left out. Only
aggregates leave this module.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from henaw.model.errors import CohortError
from henaw.training.cohorts.adjustment import move_period
from henaw.training.cohorts.cohort import Cohort
from henaw.training.configuration import TrainingConfiguration
from henaw.training.execution.execution import ALONE, Execution
from henaw.training.fit import fit
from henaw.training.metrics import AGE_BANDS, HORIZON_YEARS, compute_c_index, select_evaluated
from henaw.training.train import predict

Folds = Literal["survey"] | int
"""Leave out each survey in turn, or each of this many parts with similar people."""

Progress = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Fold:
    """People left out together.

    Attributes:
        name: the survey, or the number of the part.
        left_out: (n,) bool, true for these people of the cohort that was split.
    """

    name: str
    left_out: npt.NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class FoldScore:
    """How well a fit predicts for people it was not fitted on.

    Attributes:
        name: the fold's name.
        people: the number of complete people scored.
        deaths_10y: deaths among them within 10 years.
        expected_deaths_10y: the sum of their 10-year risks.
        c_index: C for death within 10 years by the 10-year risk, by age band.
    """

    name: str
    people: int
    deaths_10y: int
    expected_deaths_10y: float
    c_index: dict[str, float]


def list_surveys(cohort: Cohort) -> tuple[str, ...]:
    """Surveys that can be left out: with complete people followed for 10 years, and deaths."""
    scored = cohort.select(select_evaluated(cohort))
    dead = _select_deaths(scored)
    return tuple(
        str(survey)
        for survey in np.unique(scored.survey)
        if dead[rows := scored.survey == survey].any()
        and (scored.time_years[rows] >= HORIZON_YEARS).any()
    )


def split(
    cohort: Cohort, folds: Folds, *, surveys: Sequence[str] = (), seed: int = 0
) -> tuple[Fold, ...]:
    """Split a cohort into folds, which are left out in turn.

    Args:
        cohort: the people.
        folds: "survey", or the number of parts, which have similar age, sex and deaths.
        surveys: the surveys left out in turn; if empty, all that can be left out.
        seed: the seed for drawing the parts.

    Raises:
        CohortError: there are fewer than two folds, or C cannot be measured on one.
    """
    if folds == "survey":
        return _split_by_survey(cohort, surveys)
    return _split_alike(cohort, folds, seed)


def _split_by_survey(cohort: Cohort, surveys: Sequence[str]) -> tuple[Fold, ...]:
    possible = list_surveys(cohort)
    chosen = tuple(surveys) or possible
    unusable = [survey for survey in chosen if survey not in possible]
    there = sorted(set(map(str, cohort.survey)))
    if unusable or len(chosen) < 2:
        raise CohortError(
            "folds by survey",
            [
                "cross-validation by survey needs at least two surveys (three with an outer "
                f"loop) with deaths and complete people followed for {HORIZON_YEARS:g} years; of "
                f"{there} only {list(possible)} have them"
                + (f", and the search names {list(surveys)}" if surveys else "")
                + ". A number of folds needs no surveys"
            ],
        )
    return tuple(Fold(name=survey, left_out=cohort.survey == survey) for survey in chosen)


def _split_alike(cohort: Cohort, count: int, seed: int) -> tuple[Fold, ...]:
    dead = _select_deaths(cohort)
    scored_deaths = int((dead & select_evaluated(cohort)).sum())
    if not 2 <= count <= scored_deaths:
        raise CohortError(
            "folds",
            [
                f"folds must be 2 to {scored_deaths}, the number of complete people who died "
                f"within {HORIZON_YEARS:g} years; got {count}"
            ],
        )
    # Similar people are next to each other, in random order; each part takes every count-th person.
    chance = np.random.default_rng(seed).random(len(cohort))
    decade = cohort.age_years // 10
    order = np.lexsort((chance, cohort.sex, decade, dead, select_evaluated(cohort)))
    part = np.empty(len(cohort), np.int64)
    part[order] = np.arange(len(cohort)) % count
    return tuple(Fold(name=str(i + 1), left_out=part == i) for i in range(count))


def score_fold(
    cohort: Cohort,
    configuration: TrainingConfiguration,
    fold: Fold,
    *,
    execution: Execution = ALONE,
) -> FoldScore:
    """Fit without a fold and score on its complete people.

    Raises:
        CohortError: the rest cannot be fitted.
        FitError: the fit did not stay finite.
    """
    configuration = move_period(configuration, cohort.survey[fold.left_out])
    rest = cohort.select(~fold.left_out)
    tensors = fit(rest, configuration, members=False, execution=execution).tensors
    people = cohort.select(fold.left_out & select_evaluated(cohort))
    risk = predict(people, configuration, tensors)["mortality_10y"].double().numpy()
    return FoldScore(
        name=fold.name,
        people=len(people),
        deaths_10y=int(_select_deaths(people).sum()),
        expected_deaths_10y=round(float(risk.sum()), 2),
        c_index=compute_c_index(risk, people, decimals=6),
    )


def cross_validate(
    cohort: Cohort,
    configuration: TrainingConfiguration,
    folds: Iterable[Fold],
    *,
    progress: Progress = lambda _: None,
    execution: Execution = ALONE,
) -> tuple[FoldScore, ...]:
    """Score every fold in turn.

    Raises:
        CohortError: the rest of a fold cannot be fitted.
        FitError: a fit did not stay finite.
    """
    scores = []
    for fold in folds:
        scores.append(score_fold(cohort, configuration, fold, execution=execution))
        progress(fold.name)
    return tuple(scores)


def average(scores: Sequence[FoldScore]) -> dict[str, float]:
    """Mean C over folds by age band, weighted by the folds' deaths within 10 years.

    Returns:
        C by band; a band that some fold cannot measure is left out.

    Example:
        >>> score = FoldScore(
        ...     name="1", people=9, deaths_10y=3, expected_deaths_10y=2.0, c_index={"all": 0.8}
        ... )
        >>> other = FoldScore(
        ...     name="2", people=9, deaths_10y=1, expected_deaths_10y=2.0, c_index={"all": 0.6}
        ... )
        >>> average([score, other])
        {'all': 0.75}
    """
    weights = [score.deaths_10y for score in scores]
    return {
        band: round(float(np.average([s.c_index[band] for s in scores], weights=weights)), 6)
        for band in AGE_BANDS
        if all(band in score.c_index for score in scores)
    }


def _select_deaths(cohort: Cohort) -> npt.NDArray[np.bool_]:
    return np.asarray(cohort.event & (cohort.time_years <= HORIZON_YEARS))
