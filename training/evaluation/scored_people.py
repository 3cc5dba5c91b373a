"""The people of an evaluation, the model's outputs for them, and their follow-up."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from henaw.model.biomarkers import NAMES
from henaw.model.checkpoint import Checkpoint
from henaw.model.configuration import read_configuration
from henaw.model.errors import CohortError
from henaw.model.runtime import Outputs, TorchRuntime
from henaw.training.cohorts.cohort import Cohort, read_cohort
from henaw.training.configuration import CohortConfiguration
from henaw.training.evaluation.measures.estimates import (
    FEWEST_DEATHS,
    FEWEST_SHOWN,
    Array,
    Rows,
    describe_group,
)
from henaw.training.evaluation.measures.follow_up import Hazard, compute_hazard
from henaw.training.metrics import AGE_BANDS, HORIZON_YEARS, OLDEST_EVALUATED_YEARS

FEWEST_PEOPLE = 5 * FEWEST_SHOWN


@dataclass(frozen=True, kw_only=True)
class ScoredPeople:
    """People, the model's outputs for them, and their follow-up.

    Attributes:
        people: n people.
        outputs: the model's outputs by name, n rows each.
        hazard: each person's hazard under the model.
    """

    people: Cohort
    outputs: Outputs
    hazard: Hazard

    def __len__(self) -> int:
        return len(self.people)

    @property
    def age_years(self) -> Array:
        """Age at the blood draw: (n,)."""
        return self.people.age_years.astype(np.float64)

    @property
    def time_years(self) -> Array:
        """Follow-up, not cut: (n,)."""
        return self.people.time_years

    @property
    def event(self) -> Rows:
        """Died at the end of follow-up: (n,)."""
        return self.people.event

    @property
    def cut_years(self) -> Array:
        """Follow-up, cut at the horizon: (n,)."""
        return np.minimum(self.time_years, HORIZON_YEARS)

    @property
    def dead(self) -> Rows:
        """Died by the horizon: (n,)."""
        return self.event & (self.time_years <= HORIZON_YEARS)

    def output(self, name: str) -> Array:
        """One of the outputs as float64: (n,)."""
        return np.asarray(self.outputs[name], np.float64)

    def select(self, rows: Rows) -> ScoredPeople:
        """The people where ``rows`` is true: (n,) bool."""
        return ScoredPeople(
            people=self.people.select(rows),
            outputs={name: values[rows] for name, values in self.outputs.items()},
            hazard=self.hazard.select(rows),
        )

    def describe_group(self, name: str) -> dict[str, Any]:
        """Counts of these people under a name, and whether figures about them may be shown."""
        return {"group": name, **describe_group(len(self), int(self.dead.sum()))}

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
    """Which people the checkpoint's fit kept, and its codes of causes of death.

    Raises:
        ConfigurationError: the checkpoint's header has no valid ``cohort``.
    """
    configuration = checkpoint.training.get("configuration", {})
    return read_configuration(
        CohortConfiguration,
        configuration.get("cohort", {}),
        subject=f"{checkpoint.name}: training.configuration.cohort of its header",
    )


def read_older(path: Path, configuration: CohortConfiguration) -> Cohort:
    """People too old for the evaluation: above its highest age, or with a top-coded age.

    A top-coded age is known only to be at least the survey's highest. A fit leaves these people
    out.

    Args:
        path: the cohort.
        configuration: which people a fit keeps, and the ``top_codes`` of the surveys.

    Raises:
        CohortError: as :func:`read_cohort`.
    """
    everyone = read_cohort(path, replace(configuration, top_codes=()))
    older = everyone.age_years > OLDEST_EVALUATED_YEARS
    for code in configuration.top_codes:
        older |= (everyone.survey == code.survey) & (everyone.age_years >= code.age)
    return everyone.select(older)


def select_surveys(cohort: Cohort, surveys: tuple[str, ...]) -> Cohort:
    """The people of some surveys; of all where none is named.

    Raises:
        CohortError: a survey is not in the cohort; all such surveys are listed.
    """
    there = sorted(set(map(str, cohort.survey)))
    absent = [
        f"survey must be one of {', '.join(there)}; got {survey}"
        for survey in surveys
        if survey not in there
    ]
    if absent:
        raise CohortError("surveys", absent)
    return cohort.select(np.isin(cohort.survey, surveys)) if surveys else cohort


def score_people(checkpoint: Checkpoint, people: Cohort) -> ScoredPeople:
    """Compute the model's outputs for people."""
    runtime = TorchRuntime(checkpoint.build_network(), name="eager")
    outputs = runtime.predict(people.biomarkers, people.age_years, people.sex)
    biological_age = np.asarray(outputs["biological_age"], np.float64)
    return ScoredPeople(
        people=people,
        outputs=outputs,
        hazard=compute_hazard(biological_age, people.sex, checkpoint.tensors),
    )


def check_people(people: Cohort, usable: Cohort) -> None:
    """Refuse a group so small that figures would say nothing, or would reveal single people.

    Args:
        people: those with all nine biomarkers.
        usable: these people and those with some biomarkers missing.

    Raises:
        CohortError: there are too few people or deaths.
    """
    deaths = int((people.event & (people.time_years <= HORIZON_YEARS)).sum())
    problems = []
    if len(people) < FEWEST_PEOPLE:
        never = [name for i, name in enumerate(NAMES) if np.isnan(usable.biomarkers[:, i]).all()]
        reason = f"; no one has {', '.join(never)}" if never and len(usable) else ""
        problems.append(
            f"an evaluation needs at least {FEWEST_PEOPLE} people of at most "
            f"{OLDEST_EVALUATED_YEARS:g} years with all nine biomarkers; got {len(people)} of "
            f"{len(usable)}{reason}"
        )
    if deaths < FEWEST_DEATHS or len(people) - deaths < FEWEST_SHOWN:
        problems.append(
            f"an evaluation needs at least {FEWEST_DEATHS} deaths within {HORIZON_YEARS:g} years "
            f"and {FEWEST_SHOWN} other people; got {deaths} deaths among {len(people)} people. "
            "Add surveys, or wait for more follow-up"
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
    """Whether enough people were followed to the horizon to observe a risk there: (n,)."""
    return int((time_years >= HORIZON_YEARS).sum()) >= FEWEST_SHOWN
