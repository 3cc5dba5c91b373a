"""Synthetic people as a cohort."""

from collections.abc import Callable

import numpy as np
import pytest
from henaw.model.people import People
from henaw.training.cohorts.cohort import Cohort


@pytest.fixture(scope="session")
def as_cohort() -> Callable[[People], Cohort]:
    """Make a cohort of people who all live for a year."""

    def make(people: People) -> Cohort:
        count = len(people.age)
        return Cohort(
            biomarkers=people.biomarkers,
            age_years=people.age,
            sex=people.sex,
            time_years=np.ones(count),
            event=np.zeros(count, bool),
            cause=np.full(count, -1),
            survey=np.full(count, "synthetic"),
            digest="",
            report={},
        )

    return make
