"""Checks of a cohort table before a fit; each problem is listed with its likely fix."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from henaw.model.biomarkers import INDEX, PANEL, suggest_name
from henaw.model.panel.entry import Biomarker

ALWAYS_NEEDED: tuple[str, ...] = ("participant_id", "age", "sex", "death", "followup_months")
LONGEST_MONTHS = 1200.0
"""No one is followed for more than a hundred years."""
MOST_IMPLAUSIBLE = 0.5
"""If more than this share of values is outside the accepted range, the unit is wrong."""
CLOSE, DOUBTFUL, IMPOSSIBLE = 2.5, 4.0, 20.0
"""Limits for the ratio of a cohort's median to the usual value, or its inverse. Up to the first,
the unit is right. Above the second, it is probably another unit. No cohort is above the third."""
USUAL_INTERCEPT, USUAL_SLOPE = -10.0, 0.09
"""Gompertz law of a present-day population: log hazard per year at age 0, and per year of age."""
FEWEST_DEATHS = 20
MANY_TIMES, FEW_TIMES = 8.0, 1.0 / 12.0
"""Limits of deaths over those expected by the law; years or days read as months give 12 or 1/30."""
_LOGGER = logging.getLogger(__name__)


def list_table_problems(
    table: pd.DataFrame, panel: Sequence[str], clocks: Sequence[str]
) -> list[str]:
    """What is wrong with the columns of a table or, if none is missing, with their values.

    Args:
        table: the table, as read.
        panel: the biomarkers that the model uses.
        clocks: columns with ages by other clocks, all in the table.
    """
    columns = [str(column) for column in table.columns]
    problems = []
    for name in (*ALWAYS_NEEDED, *panel):
        if name not in columns:
            near = suggest_name(name, columns)
            guess = f". Is it {near!r}?" if near is not None else ""
            if name in INDEX and near is None:
                guess = f". If no one has it, leave {name} out of network.panel"
            problems.append(f"missing column {name!r}{guess}")
    return problems or [*_list_value_problems(table, panel, clocks)]


def _list_value_problems(
    table: pd.DataFrame, panel: Sequence[str], clocks: Sequence[str]
) -> Iterator[str]:
    twice = table["participant_id"].duplicated()
    if twice.any():
        first = table["participant_id"][twice].iloc[0]
        yield (f"participant_id must be unique; got {int(twice.sum())} repeated, first {first!r}")
    optional = [name for name in ("ucod_leading", "pregnant", *clocks) if name in table]
    for name in ("age", "death", "followup_months", *panel, *optional):
        column = table[name]
        if not pd.api.types.is_numeric_dtype(column) and column.notna().any():
            bad = column[pd.to_numeric(column, errors="coerce").isna() & column.notna()]
            if len(bad):
                yield f"{name} must be numbers; got {bad.iloc[0]!r} in row {bad.index[0]}"
    yield from _check_codes(table, "sex", {0, 1}, empty=False)
    yield from _check_codes(table, "death", {0, 1}, empty=True)
    if table["age"].isna().any():
        yield f"age must be given in every row; {int(table['age'].isna().sum())} are empty"
    yield from _check_months(pd.to_numeric(table["followup_months"], errors="coerce"))
    for name in panel if len(table) else ():
        values = pd.to_numeric(table[name], errors="coerce").to_numpy(np.float64)
        yield from _check_unit(PANEL[INDEX[name]], values[np.isfinite(values)])


def _check_codes(table: pd.DataFrame, name: str, codes: set[int], *, empty: bool) -> Iterator[str]:
    seen: set[Any] = set(table[name].dropna().unique())
    if not seen <= codes:
        wrong = sorted(map(str, seen - codes))[:5]
        yield f"{name} must be one of {sorted(codes)}; got {', '.join(wrong)}"
    if not empty and table[name].isna().any():
        yield f"{name} must be given in every row; {int(table[name].isna().sum())} are empty"


def _check_months(months: pd.Series[float]) -> Iterator[str]:
    if (months < 0).any():
        yield f"followup_months must be >= 0; got {months.min()}"
    long = months > LONGEST_MONTHS
    if not long.any():
        return
    fix = "Correct the dates that these times come from"
    if long.mean() > MOST_IMPLAUSIBLE:
        fix = "If these are days, divide them by 30.4375; `henaw data table` does so by a unit"
    yield (
        f"followup_months must be at most {LONGEST_MONTHS:.0f}, a hundred years; got "
        f"{int(long.sum())} of {len(months)} longer, the longest {months.max() / 12:.0f} years. "
        f"{fix}"
    )


def _check_unit(biomarker: Biomarker, values: npt.NDArray[np.float64]) -> Iterator[str]:
    """Problems of a biomarker's values, (n,) finite, if they are probably in another unit."""
    name, unit = biomarker.name, biomarker.unit
    if not len(values):
        return
    outside = (values < biomarker.minimum) | (values > biomarker.maximum)
    factor = _compare(biomarker, float(np.median(values)))
    other = _find_other_unit(biomarker, values)
    advice = (
        f"They look like {other}. Convert them to {unit}; `henaw data table` does so by a unit"
        if other is not None
        else "; ".join(
            ["Are they in another unit, or of another test?", *biomarker.refused_units.values()]
        )
    )
    if outside.mean() > MOST_IMPLAUSIBLE:
        yield (
            f"{name} must be {biomarker.minimum:g} to {biomarker.maximum:g} {unit}; got "
            f"{int(outside.sum())} of {len(values)} values outside. {advice}"
        )
    elif other is not None and factor > IMPOSSIBLE:
        yield (
            f"{name} has a median of {np.median(values):.3g} {unit}; {biomarker.typical:.3g} "
            f"{unit} is usual. {advice}"
        )
    elif other is not None and factor > DOUBTFUL:
        _LOGGER.warning(
            "%s has a median of %.3g %s; %.3g is usual. Are the values in %s?",
            *(name, np.median(values), unit, biomarker.typical, other),
        )


def _find_other_unit(biomarker: Biomarker, values: npt.NDArray[np.float64]) -> str | None:
    """The unit in which the median would be usual, or None."""
    for spelling in biomarker.other_units:
        converted = biomarker.find_unit(spelling).to_si(float(np.median(values)))
        if converted > 0.0 and _compare(biomarker, converted) < CLOSE:
            return spelling
    return None


def _compare(biomarker: Biomarker, value: float) -> float:
    """Ratio of a value to the usual one, or its inverse: at least 1."""
    if value <= 0.0:
        return math.inf
    return math.exp(abs(math.log(value / biomarker.typical)))


def warn_of_times(
    age: npt.NDArray[np.float64],
    time_years: npt.NDArray[np.float64],
    event: npt.NDArray[np.bool_],
) -> None:
    """Warn if so many or so few people died that the times must be in another unit.

    Args:
        age: (n,) years.
        time_years: (n,) years of follow-up.
        event: (n,) whether the person died.
    """
    hazard = np.exp(USUAL_INTERCEPT + USUAL_SLOPE * age)
    usual = float((hazard * np.expm1(USUAL_SLOPE * time_years) / USUAL_SLOPE).sum())
    deaths = int(event.sum())
    if max(deaths, usual) < FEWEST_DEATHS:
        return
    if deaths > MANY_TIMES * usual:
        asked = "Are they years? Give months, 12 times as many"
    elif deaths < FEW_TIMES * usual:
        asked = "Are they days? Give months, 30.4375 times fewer. Or are deaths missing?"
    else:
        return
    _LOGGER.warning(
        "%d people died; %.0f would be usual at their ages in the times of followup_months. %s",
        *(deaths, usual, asked),
    )
