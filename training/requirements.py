"""What a fit asks of a cohort, and what becomes of a fit whose cohort lacks some of it."""

from __future__ import annotations

import dataclasses
import difflib
import logging
from collections.abc import Iterator

import numpy as np
from henaw.model.biomarkers import INDEX, SEXES
from henaw.model.errors import CohortError
from henaw.training.cohort import Cohort
from henaw.training.configuration import CohortConfiguration, TrainingConfiguration
from henaw.training.reference import FEWEST_FOR_SHIFT

_LOGGER = logging.getLogger(__name__)


def settle(
    configuration: TrainingConfiguration, cohort: Cohort
) -> tuple[TrainingConfiguration, Cohort]:
    """The fit that a cohort allows: without risks by cause where no cause is known.

    Args:
        configuration: as asked for.
        cohort: as read by its ``cohort`` part.

    Raises:
        CohortError: a survey, cause or biomarker that the configuration names is not there,
            or one of the sexes.
    """
    dead = cohort.event & (cohort.time_years <= configuration.fit.follow_up_years)
    known = dead & (cohort.cause >= 0)
    if configuration.network.causes and not known.any():
        _LOGGER.warning(
            "no cause of death is known (column ucod_leading): the model answers no risks by cause"
        )
        configuration = dataclasses.replace(
            configuration, cohort=dataclasses.replace(configuration.cohort, causes={})
        )
        cohort = dataclasses.replace(cohort, cause=np.where(cohort.event, 0, -1))
    elif not configuration.network.causes:
        _LOGGER.warning("cohort.causes is empty: the model answers no risks by cause")
    problems = [
        *_check_surveys(configuration.cohort, cohort),
        *_check_sexes(cohort),
        *(
            f"{name} is empty for everybody: leave {name} out of network.panel"
            for name in cohort.panel
            if np.isnan(cohort.biomarkers[:, INDEX[name]]).all()
        ),
        *(
            f"cohort.causes.{name}: nobody died of it within "
            f"{configuration.fit.follow_up_years:g} years; leave {name} out, or correct its codes"
            for place, name in enumerate(configuration.network.causes)
            if not (known & (cohort.cause == place)).any()
        ),
    ]
    if problems:
        raise CohortError("cohort", problems)
    _warn_of_laboratories(configuration.cohort, cohort)
    return configuration, cohort


def _check_surveys(configuration: CohortConfiguration, cohort: Cohort) -> Iterator[str]:
    there = sorted(set(map(str, cohort.survey)))
    named = {
        "top_codes": [code.survey for code in configuration.top_codes],
        "detection_floors": [floor.survey for floor in configuration.detection_floors],
        "hold_out": configuration.hold_out,
    }
    for key, surveys in named.items():
        for survey in dict.fromkeys(surveys):
            if survey not in there:
                near = difflib.get_close_matches(survey, there, n=1)
                guess = f"; did you mean {near[0]!r}?" if near else ""
                yield (
                    f"cohort.{key}: survey {survey!r} is not in the cohort, whose surveys are "
                    f"{', '.join(map(repr, there))}{guess}"
                )


def _check_sexes(cohort: Cohort) -> Iterator[str]:
    for code, name in enumerate(SEXES):
        if not (cohort.sex == code).any():
            yield (
                f"expected people of both sexes, however: nobody is {name}. The reference and "
                "the baseline are of each sex; fit these people together with a cohort that "
                "has both, each under a survey name of its own"
            )


def _warn_of_laboratories(configuration: CohortConfiguration, cohort: Cohort) -> None:
    """Say where the interval knows of one laboratory alone."""
    given = configuration.laboratories
    known = () if given is None else given.standard_deviation
    measured = np.isfinite(cohort.biomarkers)
    for floor in configuration.detection_floors:
        measured[cohort.survey == floor.survey, INDEX[floor.biomarker]] = False
    surveys, place = np.unique(cohort.survey, return_inverse=True)
    counts = np.stack([measured[place == survey].sum(0) for survey in range(len(surveys))])
    several = (counts >= FEWEST_FOR_SHIFT).sum(0) > 1
    alone = [name for name in cohort.panel if name not in known and not several[INDEX[name]]]
    if alone:
        _LOGGER.warning(
            "one survey alone measured %s: how far laboratories differ is not known, and the "
            "interval holds the assay's imprecision in its place, which is less. Give the "
            "spread between laboratories in cohort.laboratories",
            ", ".join(alone),
        )
