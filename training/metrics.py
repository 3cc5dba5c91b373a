"""How well a score ranks people by when they die, by age band."""

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
"""The first age within a band, and the first age beyond it."""
OLDEST_EVALUATED_YEARS = 84.0
"""Ages are top-coded at 85 in the surveys reported on."""


def compute_c_index(score: npt.ArrayLike, cohort: Cohort, *, decimals: int = 4) -> dict[str, float]:
    """Harrell's C for death within 10 years, by age band.

    C is the share of comparable pairs in which the person who dies first has the higher
    score; ties of the score count half. Follow-up is cut at 10 years.

    Shape:
        score: (n,)

    Args:
        score: a higher score means an earlier death.
        cohort: the same n people.
        decimals: C is rounded to so many.

    Returns:
        C by band, 0 to 1; a band without a comparable pair is left out.

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
    """The complete people up to the oldest evaluated age: (n,) bool."""
    return cohort.complete & (cohort.age_years <= OLDEST_EVALUATED_YEARS)
