"""What else a column of values may be: in another unit, or another quantity of the same name."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from henaw.model.biomarkers import INDEX, PANEL
from henaw.model.panel.units import Unit


@dataclass(frozen=True, kw_only=True)
class Alternative:
    """Something that a column may be instead of what it was taken for.

    A quantity that cannot be converted is compared with its own usual values, ``usual``. Any other
    is converted to the panel's unit by ``unit``.

    Attributes:
        what: what the values may be, as the end of a sentence.
        fix: what to do then.
        unit: of the values; None where they cannot be converted.
        usual: limits of 95 % of adults, in the values as they are; None where ``unit`` is given.
        is_common: whether people often make this mistake.
        only_outside: whether it explains only impossible values, because sick people have values
            like the others.
    """

    what: str
    fix: str
    unit: Unit | None = None
    usual: tuple[float, float] | None = None
    is_common: bool = False
    only_outside: bool = False

    @property
    def lognormal(self) -> tuple[float, float]:
        """Mean and standard deviation of the logarithm of the values, from ``usual``.

        Example:
            >>> numbers = Alternative(what="", fix="", usual=(1.0, 4.0)).lognormal
            >>> [round(number, 3) for number in numbers]
            [0.693, 0.354]
        """
        low, high = map(math.log, self.usual or (1.0, 1.0))
        return (low + high) / 2, (high - low) / 3.92


_SHARE = "lymphocyte_pct is a share of the leukocytes: count / leukocytes x 100"
_LOOK_ALIKES: Mapping[str, tuple[Alternative, ...]] = MappingProxyType(
    {
        "hba1c": (
            Alternative(
                what="fractions on the NGSP scale",
                fix="multiply by 100 and give the unit %",
                unit=Unit(factor=100 / 0.09148, offset=0.02152),
            ),
            Alternative(
                # 28.7 A1c - 46.7: Nathan et al. 2008, Diabetes Care 31:1473-1478.
                what="estimated average glucose in mg/dL",
                fix="give HbA1c itself",
                unit=Unit(factor=1 / 28.7 / 0.09148, offset=2.152 * 28.7 - 46.7),
            ),
        ),
        "creatinine": (
            Alternative(
                what="in mmol/L", fix="multiply by 1000, to umol/L", unit=Unit(factor=1000.0)
            ),
        ),
        "albumin": (
            Alternative(what="in mg/dL", fix="divide by 100, to g/L", unit=Unit(factor=0.01)),
            # 66.4 kg/mol.
            Alternative(
                what="in umol/L", fix="multiply by 0.0664, to g/L", unit=Unit(factor=0.0664)
            ),
        ),
        "lymphocyte_pct": (
            # The usual counts of adults that laboratories print.
            Alternative(what="a count in 10*9/L", fix=_SHARE, usual=(1.0, 4.0), is_common=True),
            Alternative(
                what="a count per microlitre", fix=_SHARE, usual=(1000.0, 4000.0), is_common=True
            ),
        ),
        "rdw": (
            # As printed: 35 to 46 or 39 to 46 fL, by the analyser.
            Alternative(
                what="RDW-SD in fL",
                fix="give RDW-CV in %: the two cannot be converted",
                usual=(36.0, 52.0),
                is_common=True,
            ),
            Alternative(what="fractions", fix="multiply by 100, to %", unit=Unit(factor=100.0)),
        ),
    }
)


@functools.lru_cache(maxsize=256)
def list_alternatives(name: str, stated: str) -> tuple[Alternative, ...]:
    """What values of a biomarker may be instead of values in a unit.

    Args:
        name: of the biomarker.
        stated: the unit that they were taken to be in, as people spell it.

    Example:
        >>> for other in list_alternatives("crp", "mg/L"):
        ...     print(other.what, other.only_outside)
        in mg/dL False
        ten times too low True
        ten times too high True
    """
    biomarker = PANEL[INDEX[name]]
    unit = biomarker.find_unit(stated)
    found = [
        Alternative(
            what="fractions" if other == "fraction" else f"in {other}",
            fix=f"give the unit {other}",
            unit=conversion,
            is_common=other == "fraction",
        )
        for other in biomarker.units
        if (conversion := biomarker.find_unit(other)) != unit
    ]
    found += _LOOK_ALIKES.get(name, ())
    found += [
        Alternative(
            what=f"ten times too {word}",
            fix="look for a lost decimal mark",
            unit=Unit(factor=unit.factor * factor, offset=unit.offset / factor),
            only_outside=True,
        )
        for word, factor in (("low", 10.0), ("high", 0.1))
    ]
    return tuple(found)
