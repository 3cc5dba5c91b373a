"""The level of mortality of a country, from its life table.

As in SCORE2 for regions of Europe, the risk of an average person is set by the country's own
death rates. A person's difference from the average, the age gap, stays the same.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from henaw.model.biomarkers import SEXES
from henaw.model.errors import ScoringError
from henaw.scoring.description import explain_damage
from henaw.scoring.henaw import Henaw

Array = npt.NDArray[np.float64]
Table = dict[str, dict[int, float]]
"""Probability of death within a year, by sex and age."""

DEVELOPMENT_RATIO = 0.99
"""Deaths of the fitted people over those that their own country's life tables expect.

2 166 deaths within ten years, 2 181 expected by the period tables of their sex, age and
calendar year (27 182 people with nine values, under 80 at the examination; 0.97 to 1.02 in
each survey but the last, whose 65 deaths give 0.89). Source: Human Mortality Database,
United States, 1x1 period tables, edition of 16 February 2017.
"""
HORIZON_YEARS = 10
LEVEL_AGES = range(40, 81)
"""Ages that a level is fitted at; younger people mostly die of causes that blood does not show."""
CENTRE_YEARS, SCALE_YEARS = 60.0, 15.0
"""The graph centres and scales age by these."""
_SEX_WORDS: Mapping[str, str] = {
    **dict.fromkeys(("0", "f", "female", "females", "women"), SEXES[0]),
    **dict.fromkeys(("1", "m", "male", "males", "men"), SEXES[1]),
}
_HMD_HEADER = re.compile(r"Life tables \(period 1x1\), (Males|Females)", re.IGNORECASE)
_HMD_COLUMNS = ("Year", "Age", "mx", "qx")


def read_life_tables(paths: Sequence[Path]) -> Table:
    """Read the life table of a country for both sexes.

    Args:
        paths: ``mltper_1x1.txt`` and ``fltper_1x1.txt`` of the Human Mortality Database, of
            which the last year is taken, or one CSV with the columns age, sex and qx.

    Returns:
        Probability of death within a year, by sex and age.

    Raises:
        ScoringError: a file cannot be read, or an age is missing.
    """
    table: Table = {}
    for path in paths:
        try:
            lines = path.read_text(encoding="utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise ScoringError(str(path), [f"the file cannot be read: {error}"]) from error
        header = _HMD_HEADER.search(lines[0]) if lines else None
        found = _read_csv(path, lines) if header is None else _read_hmd(path, lines, header)
        for sex, column in found.items():
            if sex in table:
                raise ScoringError(str(path), [f"there is a second table for {sex}"])
            table[sex] = column
    needed = range(LEVEL_AGES.start, LEVEL_AGES.stop + HORIZON_YEARS - 1)
    problems = []
    for sex in SEXES:
        absent = [str(age) for age in needed if age not in table.get(sex, {})]
        if absent:
            problems.append(
                f"{sex}: ages {needed[0]} to {needed[-1]} are needed; {absent[0]} is missing"
            )
    if problems:
        raise ScoringError("life table", problems)
    return table


def fit_level(table: Table, model: Henaw) -> dict[str, list[float]]:
    """Fit how far a country's mortality is from that of the fitted people, by sex.

    At each age the fitted people's hazards are multiplied by one factor, so that their mean
    ten-year risk equals that of the life table, times the ratio of the fitted people's deaths
    to those of their own life table. A straight line over age is fitted to the logarithms of
    these factors.

    Args:
        table: of :func:`read_life_tables`.
        model: the model to adjust.

    Returns:
        By sex, the line's value at 60 years and its change in 15 years.

    Raises:
        ScoringError: properties of the model are damaged.

    Source:
        SCORE2 working group (2021), Eur Heart J 42:2439-2454 (rates of a region).
    """
    reference = model.description["reference"]
    with explain_damage("percentiles", "reference"):
        shares = np.array(json.loads(model.description["percentiles"]), np.float64) / 100.0
        risks, gap_tables = (
            {sex: np.array(reference[sex][name], np.float64) for sex in SEXES}
            for name in ("mortality_10y", "gap_percentiles")
        )
    ages = np.array(LEVEL_AGES)
    level = {}
    for sex in SEXES:
        hazard = -np.log1p(-np.interp(ages, reference["age"], risks[sex]))
        # The typical person's gap is 0, so that the log hazard is a line over age.
        slope = float(np.polyfit(ages, np.log(hazard), 1)[0])
        gaps = gap_tables[sex]
        ratios = []
        for age, typical in zip(ages.tolist(), hazard.tolist(), strict=True):
            row = gaps[reference["age"].index(age)]
            years = np.array([table[sex][age + year] for year in range(HORIZON_YEARS)])
            deaths = -np.expm1(DEVELOPMENT_RATIO * np.log1p(-years).sum())
            ratios.append(_match_risk(typical * np.exp(slope * row), shares, float(deaths)))
        change, value = np.polyfit((ages - CENTRE_YEARS) / SCALE_YEARS, np.log(ratios), 1)
        level[sex] = [round(float(value), 4), round(float(change), 4)]
    return level


def _match_risk(hazards: Array, shares: Array, risk: float) -> float:
    """Find the factor of people's hazards that makes their mean risk equal ``risk``.

    Args:
        hazards: ten-year hazards at the percentiles.
        shares: share of people below each percentile.
        risk: probability of death within ten years.
    """
    edges = np.concatenate([[0.0], (shares[1:] + shares[:-1]) / 2, [1.0]])
    weights = np.diff(edges)
    low, high = -7.0, 7.0
    for _ in range(60):
        middle = (low + high) / 2
        mean = float(weights @ -np.expm1(-hazards * np.exp(middle)))
        low, high = (middle, high) if mean < risk else (low, middle)
    return float(np.exp((low + high) / 2))


def _read_hmd(path: Path, lines: list[str], header: re.Match[str]) -> Table:
    """Read the last year of a 1x1 period table of the Human Mortality Database."""
    sex = _SEX_WORDS[header.group(1).lower()]
    by_year: dict[int, dict[int, float]] = {}
    columns: list[str] = []
    for line in lines[1:]:
        words = line.split()
        if not words:
            continue
        if words[0] == "Year":
            columns = words
            continue
        if not columns or len(words) != len(columns):
            raise ScoringError(
                str(path), [f"the columns must be {', '.join(_HMD_COLUMNS)}; got {line.strip()!r}"]
            )
        row = dict(zip(columns, words, strict=True))
        age = _read_number(path, row["Age"].rstrip("+"))
        by_year.setdefault(int(_read_number(path, row["Year"])), {})[int(age)] = _read_probability(
            path, row["qx"]
        )
    if not by_year:
        raise ScoringError(str(path), ["the table has no year"])
    return {sex: by_year[max(by_year)]}


def _read_csv(path: Path, lines: list[str]) -> Table:
    rows = csv.DictReader(lines)
    names = [name.strip().lower() for name in rows.fieldnames or ()]
    absent = [name for name in ("age", "sex", "qx") if name not in names]
    if absent:
        raise ScoringError(
            str(path),
            [
                "the file must be a period table 1x1 of the Human Mortality Database, or a CSV "
                f"with the columns age, sex and qx; {', '.join(absent)} is missing"
            ],
        )
    rows.fieldnames = names
    table: Table = {}
    for row in rows:
        sex = _SEX_WORDS.get(str(row["sex"]).strip().lower())
        if sex is None:
            raise ScoringError(str(path), [f"sex must be {' or '.join(SEXES)}; got {row['sex']!r}"])
        age = int(_read_number(path, str(row["age"]).strip().rstrip("+")))
        table.setdefault(sex, {})[age] = _read_probability(path, str(row["qx"]))
    return table


def _read_number(path: Path, text: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise ScoringError(
            str(path), [f"ages, years and qx must be numbers; got {text!r}"]
        ) from error


def _read_probability(path: Path, text: str) -> float:
    value = _read_number(path, text)
    if not 0.0 <= value <= 1.0:
        raise ScoringError(
            str(path), [f"qx must be 0 to 1, a probability of death within one year; got {text}"]
        )
    return min(value, 1.0 - 1e-9)


def describe_level(level: Mapping[str, Sequence[float]]) -> list[str]:
    """Describe a level of mortality, one line a sex.

    Example:
        >>> describe_level({"female": [-0.3, 0.0], "male": [0.1, 0.1]})[0]
        'female: the hazard is multiplied by 0.74 at 45 years, 0.74 at 60 and 0.74 at 75'
    """

    def at(line: Sequence[float], age: float) -> Any:
        value, change = line
        return np.exp(value + change * (age - CENTRE_YEARS) / SCALE_YEARS)

    return [
        f"{sex}: the hazard is multiplied by {at(line, 45):.2f} at 45 years, {at(line, 60):.2f} "
        f"at 60 and {at(line, 75):.2f} at 75"
        for sex, line in level.items()
    ]
