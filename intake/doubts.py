"""Whether values look like what they were taken for, or much more like something else.

Each value has a density p among people of that age and sex. It mixes the density f of the fitted
people with the density g of a share s of sick people, whose values may lie anywhere on the side
to which diseases move them:

    p(ln x) = (1 - s) f(ln x) + s g(ln x)

s is 30 % where another value of the person is worse than 99 % of the fitted people's, else 2 %.
Under an alternative, such as another unit, a value has another density, a. The value is doubted
if a is much larger than p. A column is doubted if it is much likelier with a share r of values
that are something else than without, each with its best s:

    max over r, s of prior(s) product((1 - r) p + r a)  against  max over s of prior(s) product(p)
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from henaw.intake.alternatives import Alternative, list_alternatives
from henaw.intake.reference import Reference
from henaw.model.biomarkers import INDEX, PANEL, Biomarker
from henaw.model.panel.units import Unit

Array = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

_SICK = {0.02: 0.0, 0.2: -2.0, 0.5: -3.0, 0.9: -4.0}
"""Shares of sick people in a table, and the logarithm of the prior of each share."""
_USUAL_SHARE = 0.02
_SHARES: tuple[float, ...] = (0.05, 0.1, 0.2, 0.5, 0.9, 0.98)
_ALMOST_ALL: tuple[float, ...] = (0.9, 0.98)
"""Shares of values that may be something else. A smaller share is reported, but stops nothing. If
an alternative also explains sick people's values, almost all values must be something else."""
_SICK_SHARE_OF_ILL = 0.3
_ONE_IN_A_HUNDRED = 2.33
"""Normal score of the 99 % mark."""
_HARMLESS = 0.05
"""Share of sick people's values that lie on the side to which no disease moves them."""
_FAR, _FAR_IF_COMMON = math.log(1000.0), math.log(100.0)
"""Least log likelihood ratio to believe an alternative, and to believe a common mistake."""
_LEAST_GAIN, _LEAST_GAIN_OF_SOME = 0.25, 1.0
"""Least mean gain per value that is something else: if almost all values are, and if only some
are. Laboratories differ in their tails too."""
_ENOUGH_TO_FIT, _MOST_MISFIT = 20, 0.5
"""Least number of values to judge a distribution, and how far below the expected value their
mean log density may be."""
_LEAST_DENSITY = math.log(0.05)
"""If a value is unusual under an alternative too, the alternative does not explain it."""
_HIGHEST_DENSITY = 2.5
"""The logarithm of density is lower than this for every alternative."""
_LEAST_NAMED = 0.002
"""Share of values below which a doubt is not reported: the fitted people have such values too."""
MOST_IMPOSSIBLE = 0.5
"""The whole column is doubted if at least this share of its values is outside the accepted range
and explained by an alternative. Such values are not scored."""
ENOUGH_VALUES = 4096
"""More values give no further information."""
_NEVER = -30.0
_TINY = 1e-30
_HALF_LOG_TAU = 0.5 * math.log(2.0 * math.pi)


@dataclass(frozen=True, kw_only=True)
class Doubt:
    """An alternative to what values were taken for.

    Attributes:
        what: what the values may be.
        fix: what to do then.
        values: number of values for which this is much likelier.
        is_whole: whether the whole column is doubted, not only some of its values.
        example: one of the values, in its assumed unit.
        converted: the example in the panel's unit; None where it cannot be converted.
    """

    what: str
    fix: str
    values: int
    is_whole: bool
    example: float
    converted: float | None


def find_doubts(
    biomarkers: npt.NDArray[np.float32],
    age: npt.NDArray[np.float32],
    sex: npt.NDArray[np.int64],
    reference: Reference,
    units: Mapping[str, str],
) -> dict[str, Doubt]:
    """Find the likeliest alternative to what each biomarker's values were taken for.

    Args:
        biomarkers: (n, 9) as they were taken, in the panel's units, NaN = missing.
        age: (n,) years.
        sex: (n,) 0 or 1.
        reference: the fitted people.
        units: the assumed unit of the values, by biomarker; other biomarkers are not judged.

    Returns:
        The doubt of each biomarker that is doubted.
    """
    location, scale = reference.look_up(age, sex)
    columns = {
        name: _Column(PANEL[INDEX[name]], biomarkers, location, scale, reference)
        for name in units
        if np.isfinite(biomarkers[:, INDEX[name]]).any()
    }
    # A column that is often mistaken says nothing about a person's other values.
    proves = {
        name: not any(other.is_common for other in list_alternatives(name, units[name]))
        for name in columns
    }
    bad = np.zeros(len(age), np.int64)
    for name, column in columns.items():
        bad[column.rows[column.is_bad]] += proves[name]
    found = {}
    for name, column in columns.items():
        others = bad[column.rows] - (column.is_bad & proves[name])
        doubt = _judge(column, others > 0, units[name])
        if doubt is not None:
            found[name] = doubt
    return found


def _judge(column: _Column, is_ill: Mask, stated: str) -> Doubt | None:
    biomarker, values = column.biomarker, column.values
    unit = biomarker.find_unit(stated)
    raw = values / unit.factor + unit.offset
    outside = column.outside
    sick = np.where(outside, _NEVER, column.sick)
    least = np.where(is_ill, _SICK_SHARE_OF_ILL, _USUAL_SHARE)
    usual = _mix(column.density, sick, least)
    if np.maximum(_HIGHEST_DENSITY - usual, 0.0).sum() < _FAR_IF_COMMON:
        return None  # No alternative can be much likelier, as for most single people.
    inside = ~outside
    priors = np.array(list(_SICK.values()))
    stated_as = np.array(
        [np.exp(_mix(column.density, sick, np.maximum(least, share)))[inside] for share in _SICK]
    )
    best, most = None, -math.inf
    for other in list_alternatives(biomarker.name, stated):
        density = column.find_other(other, raw)
        if other.only_outside:
            density = np.where(outside, density, _NEVER)
        enough = _FAR_IF_COMMON if other.is_common else _FAR
        far = (density - usual > enough) & (density > _LEAST_DENSITY)
        others = np.exp(_mix(density, sick, _USUAL_SHARE))[inside]
        shares = _SHARES
        if not other.is_common and not _reads_too_well(other, unit, column):
            shares = _ALMOST_ALL if column.looks_fitted(density[inside]) else ()
        gains = inside.any() and _gains(stated_as, priors, others, shares=shares, enough=enough)
        weight = float(density.sum())
        is_some = far.mean() >= _LEAST_NAMED
        if (is_some or gains) and weight > most:
            most = weight
            rows = np.flatnonzero(far if far.any() else inside)
            example = float(np.sort(raw[rows])[len(rows) // 2])
            best = Doubt(
                what=other.what,
                fix=other.fix,
                values=int(far.sum()),
                is_whole=bool(gains or (far & outside).mean() >= MOST_IMPOSSIBLE),
                example=example,
                converted=None if other.unit is None else other.unit.to_si(example),
            )
    return best


def _reads_too_well(other: Alternative, unit: Unit, column: _Column) -> bool:
    """Whether the values look healthier as stated than under the alternative."""
    if other.unit is None:
        return False
    return (other.unit.factor > unit.factor) == ("high" in column.biomarker.harmful)


def _gains(
    stated: Array, priors: Array, other: Array, *, shares: tuple[float, ...], enough: float
) -> bool:
    """Whether k values are much likelier if one of the shares of them is something else.

    Args:
        stated: (s, k) densities as stated, for each share of sick people.
        priors: (s,) logarithms of the prior of each share.
        other: (k,) densities under the alternative.
        shares: of the values that may be something else.
        enough: least gain in the log likelihood of all values.
    """
    alone = (np.log(stated).sum(1) + priors).max()
    for part in shares:
        together = (np.log((1.0 - part) * stated + part * other).sum(1) + priors).max()
        each = _LEAST_GAIN if part in _ALMOST_ALL else _LEAST_GAIN_OF_SOME
        if together - alone > max(enough, each * part * len(other)):
            return True
    return False


def _mix(density: Array, sick: Array, share: float | Array) -> Array:
    mixed: Array = np.logaddexp(density + np.log1p(-share), sick + np.log(share))
    return mixed


class _Column:
    """The values of a biomarker, with their densities.

    Attributes:
        rows: (k,) the rows of the people whose value is known.
        values: (k,) in the panel's unit.
        outside: (k,) whether the value is outside the accepted range.
        density: (k,) log density of the value's logarithm among the fitted people.
        sick: (k,) the same among sick people.
        is_bad: (k,) whether the value is accepted, and worse than 99 % of the fitted people's.
    """

    def __init__(
        self,
        biomarker: Biomarker,
        biomarkers: npt.NDArray[np.float32],
        location: Array,
        scale: Array,
        reference: Reference,
    ) -> None:
        place = INDEX[biomarker.name]
        self.biomarker = biomarker
        self.rows = np.flatnonzero(np.isfinite(biomarkers[:, place]))
        self.values = biomarkers[self.rows, place].astype(np.float64)
        self._location, self._scale = location[self.rows, place], scale[self.rows, place]
        self._scores, self._margin = reference.scores, reference.margin[place]
        self.outside = (self.values < biomarker.minimum) | (self.values > biomarker.maximum)
        self.density, score = self._find_density(self.values)
        self.sick = self._find_sick()
        high = (score > _ONE_IN_A_HUNDRED) & ("high" in biomarker.harmful)
        low = (score < -_ONE_IN_A_HUNDRED) & ("low" in biomarker.harmful)
        self.is_bad = (high | low) & ~self.outside

    def find_other(self, other: Alternative, raw: Array) -> Array:
        """(k,) log densities of the values' logarithms under an alternative."""
        if other.unit is not None:
            return self._find_density((raw - other.unit.offset) * other.unit.factor)[0]
        mean, sd = other.lognormal
        log = np.log(np.maximum(raw, _TINY))
        return np.maximum(-0.5 * ((log - mean) / sd) ** 2 - _HALF_LOG_TAU - math.log(sd), _NEVER)

    def looks_fitted(self, densities: Array) -> bool:
        """Whether the densities fit values that are distributed like the fitted people's.

        The values of many sick people spread more widely.
        """
        if len(densities) < _ENOUGH_TO_FIT:
            return False
        ends = np.array([math.erf(score / math.sqrt(2.0)) / 2.0 for score in self._scores])
        steps = np.maximum(np.diff(self._margin), 1e-3)
        slope = np.diff(self._scores) / steps
        expected = float(np.diff(ends) @ np.log(slope)) - 0.5 - _HALF_LOG_TAU
        expected -= float(np.log(self._scale).mean())
        if not self.biomarker.log_scaled:
            expected += float(np.log(self._location).mean())
        return expected - float(densities.mean()) < _MOST_MISFIT

    def _find_density(self, values: Array) -> tuple[Array, Array]:
        """(k,) log densities of the values' logarithms, and normal scores of the values."""
        logged = self.biomarker.log_scaled
        log = np.log(np.maximum(values, _TINY))
        standardised = ((log if logged else values) - self._location) / self._scale
        steps = np.maximum(np.diff(self._margin), 1e-3)
        part = np.clip(np.searchsorted(self._margin, standardised) - 1, 0, len(steps) - 1)
        slope = np.diff(self._scores)[part] / steps[part]
        score = self._scores[part] + (standardised - self._margin[part]) * slope
        density = -0.5 * score**2 - _HALF_LOG_TAU + np.log(slope / self._scale)
        if not logged:
            density = density + log
        return np.maximum(np.where(values > 0, density, _NEVER), _NEVER), score

    def _find_sick(self) -> Array:
        """(k,) log densities among the sick: uniform in the logarithm, on the harmful sides."""
        b = self.biomarker
        median = self._location if b.log_scaled else np.log(self._location)
        above = np.log(np.maximum(self.values, _TINY)) > median
        up, down = math.log(b.maximum) - median, median - math.log(b.minimum)
        if b.harmful == {"low", "high"}:
            return np.asarray(-np.log(up + down))
        share = np.where(above == ("high" in b.harmful), 1.0 - _HARMLESS, _HARMLESS)
        return np.asarray(np.log(share / np.where(above, up, down)))
