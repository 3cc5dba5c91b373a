"""The people of an evaluation: who they are, what the model answers, how they fared."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from henaw.model.biomarkers import NAMES
from henaw.model.checkpoint import Checkpoint
from henaw.model.configuration import read_configuration
from henaw.model.errors import CohortError
from henaw.model.runtime import Outputs, TorchRuntime
from henaw.training.cohort import Cohort, read_cohort
from henaw.training.configuration import CohortConfiguration
from henaw.training.evaluation.measures.estimates import FEWEST_DEATHS, FEWEST_SHOWN, Array, Rows
from henaw.training.evaluation.measures.follow_up import Hazard, compute_hazard
from henaw.training.metrics import AGE_BANDS, HORIZON_YEARS, OLDEST_EVALUATED_YEARS

FEWEST_PEOPLE = 5 * FEWEST_SHOWN


@dataclass(frozen=True, kw_only=True)
class Evaluated:
    """People, answers and follow-up.

    Attributes:
        people: n people.
        answers: outputs by name.
        time_years: (n,) float64, as followed.
        cut_years: (n,) float64, cut at the horizon.
        event: (n,) bool, died at the end of follow-up.
        dead: (n,) bool, died by the horizon.
        age_years: (n,) float64.
        hazard: of each, under the model.
    """

    people: Cohort
    answers: Outputs
    time_years: Array
    cut_years: Array
    event: Rows
    dead: Rows
    age_years: Array
    hazard: Hazard

    def score(self, name: str) -> Array:
        """An output as float64: (n,)."""
        return np.asarray(self.answers[name], np.float64)

    @property
    def groups(self) -> dict[str, Rows]:
        """Everyone, each age band and each sex, and bands within sexes: (n,) each."""
        age, sex = self.age_years, self.people.sex
        bands = {name: (age >= low) & (age < high) for name, (low, high) in AGE_BANDS.items()}
        groups = dict(bands)
        for code, name in enumerate(("women", "men")):
            for band, rows in bands.items():
                groups[name if band == "all" else f"{name} {band}"] = rows & (sex == code)
        return groups


def read_cohort_configuration(checkpoint: Checkpoint) -> CohortConfiguration:
    """Who the checkpoint's fit kept, and its codes of causes of death.

    Raises:
        ConfigurationError: the checkpoint's header does not say.
    """
    configuration = checkpoint.training.get("configuration", {})
    return read_configuration(
        CohortConfiguration,
        configuration.get("cohort", {}),
        subject=f"{checkpoint.name}: training.configuration.cohort of its header",
    )


def read_older(path: Path, configuration: CohortConfiguration) -> Cohort:
    """People too old for the evaluation: beyond its last age, or of a top-coded age.

    A fit leaves the top-coded out: their age is known only as at least the survey's highest.

    Args:
        path: the cohort.
        configuration: whose ``top_codes`` these are; otherwise the same people as a fit's.

    Raises:
        CohortError: as :func:`read_cohort`.
    """
    everyone = read_cohort(path, replace(configuration, top_codes=()))
    older = everyone.age_years > OLDEST_EVALUATED_YEARS
    for code in configuration.top_codes:
        older |= (everyone.survey == code.survey) & (everyone.age_years >= code.age)
    return everyone.select(older)


def select_surveys(cohort: Cohort, surveys: tuple[str, ...]) -> Cohort:
    """The people of some surveys, or all.

    Raises:
        CohortError: listing each survey that is not there.
    """
    there = sorted(set(map(str, cohort.survey)))
    absent = [
        f"expected surveys among {', '.join(there)}, however: {survey}"
        for survey in surveys
        if survey not in there
    ]
    if absent:
        raise CohortError("surveys", absent)
    return cohort.select(np.isin(cohort.survey, surveys)) if surveys else cohort


def answer_people(checkpoint: Checkpoint, people: Cohort) -> Evaluated:
    """Ask the model about people."""
    runtime = TorchRuntime(checkpoint.build_network(), name="eager")
    answers = runtime.predict(people.biomarkers, people.age_years, people.sex)
    biological_age = np.asarray(answers["biological_age"], np.float64)
    return Evaluated(
        people=people,
        answers=answers,
        time_years=people.time_years,
        cut_years=np.minimum(people.time_years, HORIZON_YEARS),
        event=people.event,
        dead=people.event & (people.time_years <= HORIZON_YEARS),
        age_years=people.age_years.astype(np.float64),
        hazard=compute_hazard(biological_age, people.sex, checkpoint.tensors),
    )


def check_people(people: Cohort, usable: Cohort) -> None:
    """Refuse people whose figures would say nothing or would tell of single people.

    Args:
        people: those with all nine biomarkers.
        usable: those and the ones with some missing.

    Raises:
        CohortError: listing what is too small.
    """
    deaths = int((people.event & (people.time_years <= HORIZON_YEARS)).sum())
    problems = []
    if len(people) < FEWEST_PEOPLE:
        never = [name for i, name in enumerate(NAMES) if np.isnan(usable.biomarkers[:, i]).all()]
        reason = f"; nobody has {', '.join(never)}" if never and len(usable) else ""
        problems.append(
            f"expected at least {FEWEST_PEOPLE} people of at most {OLDEST_EVALUATED_YEARS:g} "
            f"years with all nine biomarkers, however: {len(people)} of {len(usable)}{reason}"
        )
    if deaths < FEWEST_DEATHS or len(people) - deaths < FEWEST_SHOWN:
        problems.append(
            f"expected at least {FEWEST_DEATHS} deaths within {HORIZON_YEARS:g} years and "
            f"{FEWEST_SHOWN} people without, however: {deaths} deaths among {len(people)}; "
            "take more surveys, or wait for follow-up"
        )
    if problems:
        raise CohortError("evaluation", problems)


def describe_seen(checkpoint: Checkpoint, people: Cohort) -> str:
    """Whether the model was fitted on these people: "yes", "no" or "not known"."""
    if checkpoint.training.get("data_sha256") != people.digest:
        return "not known"
    left_out = set(checkpoint.training.get("left_out", ()))
    return "no" if set(map(str, people.survey)) <= left_out else "yes"


def is_followed(time_years: Array) -> bool:
    """Whether enough people were followed to the horizon for a risk to be observed at it."""
    return int((time_years >= HORIZON_YEARS).sum()) >= FEWEST_SHOWN
