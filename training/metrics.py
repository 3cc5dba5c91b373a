"""How well a score orders deaths, by age band."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from henaw.training.cohorts.cohort import Cohort
from lifelines.utils import concordance_index

HORIZON_YEARS = 10.0
AGE_BANDS: dict[str, tuple[float, float]] = {
    "all": (0, 200),
    "20-49": (20, 50),
    "40-69": (40, 70),
    "65+": (65, 200),
}
"""First age within, first age beyond."""
OLDEST_EVALUATED_YEARS = 84.0
"""Ages are top-coded at 85 in the surveys reported on."""


def compute_c_index(score: npt.ArrayLike, cohort: Cohort, *, decimals: int = 4) -> dict[str, float]:
    """Harrell's C for death within 10 years, by age band.

    Args:
        score: (n,), higher dies sooner.
        cohort: the same n people.
        decimals: C is rounded to these.

    Returns:
        C by band; bands without a comparable pair are left out.

    Source:
        Harrell FE et al. (1996), Stat Med 15:361-387.
    """
    scores = np.asarray(score, np.float64)
    event = cohort.event & (cohort.time_years <= HORIZON_YEARS)
    time = np.minimum(cohort.time_years, HORIZON_YEARS)
    result = {}
    for band, (low, high) in AGE_BANDS.items():
        rows = (cohort.age_years >= low) & (cohort.age_years < high)
        first = time[rows][event[rows]].min(initial=np.inf)
        if (time[rows] > first).any() or (~event[rows] & (time[rows] == first)).any():
            value = concordance_index(time[rows], -scores[rows], event[rows])
            result[band] = round(float(value), decimals)
    return result


def select_evaluated(cohort: Cohort) -> npt.NDArray[np.bool_]:
    """(n,) bool: complete rows up to the oldest evaluated age."""
    return cohort.complete & (cohort.age_years <= OLDEST_EVALUATED_YEARS)
