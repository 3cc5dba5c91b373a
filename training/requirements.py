"""What a configuration needs from a cohort, and how it is adapted where something is missing."""

from __future__ import annotations

import dataclasses
import difflib
import logging
from collections.abc import Iterator

import numpy as np
from henaw.model.biomarkers import INDEX, SEXES
from henaw.model.errors import CohortError
from henaw.training.cohorts.cohort import Cohort
from henaw.training.configuration import CohortConfiguration, TrainingConfiguration
from henaw.training.reference.harmonisation import FEWEST_FOR_SHIFT

_LOGGER = logging.getLogger(__name__)


def adapt_to_cohort(
    configuration: TrainingConfiguration, cohort: Cohort
) -> tuple[TrainingConfiguration, Cohort]:
    """The same fit without the causes of death that do not occur in the cohort.

    Args:
        configuration: the fit.
        cohort: the people, as read with ``configuration.cohort``.

    Returns:
        The configuration, and the cohort with its causes numbered accordingly.

    Raises:
        CohortError: a survey, a biomarker or a sex that the fit needs is not in the cohort.
    """
    problems = [
        *_check_surveys(configuration.cohort, cohort),
        *_check_sexes(cohort),
        *(
            f"no one has a value of {name}. Leave {name} out of network.panel"
            for name in cohort.panel
            if np.isnan(cohort.biomarkers[:, INDEX[name]]).all()
        ),
    ]
    if problems:
        raise CohortError("cohort", problems)
    _warn_of_laboratories(configuration.cohort, cohort)
    return _drop_causes(configuration, cohort)


def _drop_causes(
    configuration: TrainingConfiguration, cohort: Cohort
) -> tuple[TrainingConfiguration, Cohort]:
    names, years = configuration.network.causes, configuration.fit.follow_up_years
    known = cohort.event & (cohort.time_years <= years) & (cohort.cause >= 0)
    if not names:
        _LOGGER.warning("cohort.causes is empty: the model gives no risks by cause")
        return configuration, cohort
    kept = [name for place, name in enumerate(names) if (known & (cohort.cause == place)).any()]
    if len(kept) == len(names):
        return configuration, cohort
    if known.any():
        _LOGGER.warning(
            "cohort.causes: no one died of %s within %g years, so the model gives no risk of "
            "it. Are its codes those of the column ucod_leading?",
            *(", ".join(name for name in names if name not in kept), years),
        )
    else:
        _LOGGER.warning(
            "no cause of death is known (column ucod_leading): the model gives no risks by cause"
        )
    causes = {name: configuration.cohort.causes[name] for name in kept}
    # A dropped cause becomes "other", which comes last.
    places = [kept.index(name) if name in kept else len(kept) for name in (*names, None)]
    cause = np.where(cohort.cause >= 0, np.array(places)[cohort.cause], -1)
    if not kept:
        cause = np.where(cohort.event, 0, -1)
    return (
        dataclasses.replace(
            configuration, cohort=dataclasses.replace(configuration.cohort, causes=causes)
        ),
        dataclasses.replace(cohort, cause=cause),
    )


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
                f"no one is {name}. A fit needs both sexes, because the reference and the "
                "baseline are by sex. Fit these people together with a cohort that has both, "
                "and give each cohort its own survey name"
            )


def _warn_of_laboratories(configuration: CohortConfiguration, cohort: Cohort) -> None:
    """Warn of biomarkers whose spread between laboratories is unknown."""
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
            "only one survey measured %s, so the spread between laboratories is unknown. The "
            "interval uses the assay's imprecision instead, which is less. Give the spread "
            "between laboratories in cohort.laboratories",
            ", ".join(alone),
        )
