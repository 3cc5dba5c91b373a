"""PhenoAge, the comparator that a table carries where its inputs are there.

Source: Levine et al. 2018 (Aging 10:573-591, doi:10.18632/aging.101414), with the
coefficients to the digits that its authors use.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

_INTERCEPT = -19.90667
_COEFFICIENTS = {
    "albumin": -0.03359355,
    "creatinine": 0.009506491,
    "glucose_mmol": 0.1953192,
    "lymphocyte_pct": -0.01199984,
    "mcv": 0.02676401,
    "rdw": 0.3306156,
    "alp": 0.001868778,
    "wbc": 0.05542406,
    "age": 0.08035356,
}
_LOG_CRP = 0.09536762
_CRP_MG_PER_DL = 0.1


def compute_phenoage(table: pd.DataFrame) -> pd.Series[float]:
    """PhenoAge in years, NaN where an input is missing or the age has no finite value.

    Args:
        table: columns albumin (g/L), creatinine (umol/L), glucose_mmol (mmol/L), crp
            (mg/L), lymphocyte_pct (%), mcv (fL), rdw (%), alp (U/L), wbc (10^9/L) and
            age (years); (n,) each.

    Returns:
        (n,) years.

    Example:
        >>> row = dict(albumin=47.0, creatinine=72.5, glucose_mmol=4.5, crp=2.0, age=40.0,
        ...            lymphocyte_pct=28.0, mcv=92.0, rdw=13.0, alp=64.0, wbc=6.0)
        >>> round(float(compute_phenoage(pd.DataFrame([row]))[0]), 2)
        31.78
    """
    crp = table["crp"].where(table["crp"] > 0)
    score = _INTERCEPT + _LOG_CRP * np.log(crp * _CRP_MG_PER_DL)
    for name, coefficient in _COEFFICIENTS.items():
        score = score + coefficient * table[name]
    # -ln(1 - M), M the 10-year mortality of the paper, without forming 1 - M: that
    # rounds to 0 for the very ill.
    cumulative = 1.51714 * np.exp(score) / 0.007692696
    age = 141.50225 + np.log(0.0055305 * cumulative) / 0.090165
    finite: pd.Series[float] = age.where(np.isfinite(age))
    return finite
