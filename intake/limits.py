"""Limits of an assay, such as "CRP below 5 mg/L", and which of them can be used."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from henaw.model.biomarkers import AGE_MAXIMUM_YEARS, AGE_MINIMUM_YEARS, INDEX, PANEL, SEXES


def find_useful(
    name: str,
    values: npt.NDArray[np.floating[Any]],
    side: npt.NDArray[np.int8],
    *,
    age: npt.NDArray[np.floating[Any]],
    sex: npt.NDArray[np.int64],
    reference: Mapping[str, Any],
) -> npt.NDArray[np.bool_]:
    """Find which values can be used: numbers, and limits on their side of the median.

    "CRP below 5 mg/L" is true of most people and says almost nothing. A limit is used as a value
    only if it is below the median of that age and sex (or above it, for "above"). Without an
    age and a sex it cannot be judged.

    Args:
        name: the biomarker's name.
        values: (n,) in the panel's unit.
        side: (n,) -1 below the value, 1 above it, 0 the value itself.
        age: (n,) years.
        sex: (n,) 0 female, 1 male, else neither.
        reference: medians by age and sex, the model's ``reference``.

    Example:
        >>> medians = {"crp": [1.0, 2.0]}
        >>> find_useful("crp", np.array([0.3, 20.0]), np.array([-1, -1], np.int8),
        ...     age=np.array([50.0, 50.0]), sex=np.array([0, 0]),
        ...     reference={"age": [20, 80], "female": medians, "male": medians})
        array([ True, False])
    """
    useful: npt.NDArray[np.bool_] = side == 0
    if useful.all():
        return useful
    accepted = (age >= AGE_MINIMUM_YEARS) & (age <= AGE_MAXIMUM_YEARS)
    for code, group in enumerate(SEXES):
        medians = np.interp(age, reference["age"], reference[group][name])
        informs = np.where(side < 0, values <= medians, values >= medians)
        useful |= (sex == code) & accepted & informs
    return useful


def pass_critical(
    name: str, values: npt.NDArray[np.floating[Any]], side: npt.NDArray[np.int8]
) -> npt.NDArray[np.floating[Any]]:
    """Move a limit that is a critical limit too to its critical side: above 300 is not 300.

    Args:
        name: the biomarker's name.
        values: (n,) in the panel's unit.
        side: (n,) -1 below the value, 1 above it, 0 the value itself.

    Example:
        >>> values = pass_critical("crp", np.array([300.0, 300.0]), np.array([0, 1], np.int8))
        >>> values > 300
        array([False,  True])
    """
    biomarker = PANEL[INDEX[name]]
    for limit, sign in ((biomarker.critical_low, -1), (biomarker.critical_high, 1)):
        if limit is not None and limit.value is not None:
            beyond = np.nextafter(np.float32(limit.value), np.float32(sign * np.inf))
            values = np.where((side == sign) & (values == limit.value), beyond, values)
    return values
