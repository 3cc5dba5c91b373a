"""Units as people and laboratories spell them, and their conversion.

The rules are data, so that programs in other languages can read them from the model's sidecar.
:func:`fold_unit` folds a spelling, rewrites it by :data:`UNIT_REWRITES`, in order, and looks it
up in :data:`UNIT_ALIASES`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from henaw.model.panel.folding import normalize, remember


@dataclass(frozen=True, kw_only=True)
class Unit:
    """A unit that is converted to the panel's by ``si = (value - offset) * factor``.

    Example:
        >>> Unit(factor=88.42).to_si(0.9), Unit(factor=88.42).from_si(88.42)
        (79.578, 1.0)
    """

    factor: float
    offset: float = 0.0

    def to_si(self, value: float) -> float:
        """Return ``value``, given in this unit, in the panel's unit."""
        return (value - self.offset) * self.factor

    def from_si(self, value: float) -> float:
        """Return ``value``, given in the panel's unit, in this unit."""
        return value / self.factor + self.offset


UNIT_REWRITES: tuple[tuple[str, str], ...] = (
    # Remove brackets but keep their content: [IU]/L, % (NGSP), umol/(min.L).
    (r"[{}()\[\]]", ""),
    (r"\.$", ""),
    (r"per(?!cent)", "/"),
    # Words.
    (r"percent(age)?|pct", "%"),
    (r"^%(of)?(total)?", "%"),
    (r"(international|enzyme)?units?", "u"),
    (r"micro(?=g|mol|kat|l)", "u"),
    (r"milli(?=g|mol|kat|l)", "m"),
    (r"nano(?=g|mol|kat|l)", "n"),
    (r"deci(?=l)", "d"),
    (r"gram(me)?s?", "g"),
    (r"lit(er|re)s?|ltr?(?![a-z])", "l"),
    (r"katals?", "kat"),
    (r"moles?(?![a-z])", "mol"),
    # Old and local symbols.
    (r"mc(?=g|mol|kat|cat|l)", "u"),
    (r"cat(?=/)", "kat"),
    (r"gms?(?=[/%.]|$)", "g"),
    (r"mgs(?=[/%.]|$)", "mg"),
    (r"/(100(ml|cc)|0\.1l)", "/dl"),
    (r"/cc$", "/ml"),
    (r"^([mun]?g)%$", "$1/dl"),
    (r"^(m?)(iu|ui|eu|ie|e)/", "$1u/"),
    (r"^u/[i1]$", "u/l"),
    # Exponents: U L-1, mmol.mol-1.
    (r"^ul\*?-1$", "u/l"),
    (r"[.*]?([dmu]?l|mol|min|s)\*?-1", "/$1"),
)
"""Patterns and their replacements, in the syntax that Python and JavaScript share."""

UNIT_ALIASES: Mapping[str, str] = MappingProxyType(
    {
        **dict.fromkeys(("ug/ml", "ng/ul"), "mg/l"),
        **dict.fromkeys(("mg/ml", "ug/ul"), "g/l"),
        **dict.fromkeys(("nmol/ml", "pmol/ul", "um"), "umol/l"),
        **dict.fromkeys(("mu/ml", "umol/min/l", "umol/min.l", "umol/l/min", "umol/l.min"), "u/l"),
        **dict.fromkeys(("umol/s/l", "umol/s.l", "umol/l/s", "umol/l.s"), "ukat/l"),
        **dict.fromkeys(("nmol/s/l", "nmol/s.l", "nmol/l/s", "nmol/l.s"), "nkat/l"),
        **dict.fromkeys(("10*-2", "10-2", "10e-2", "1e-2", "x10*-2", "/100", "1/100"), "%"),
    }
)
"""Spellings that mean the same unit for every biomarker, after rewriting."""

UNIT_ANNOTATION = r"\{[^{}]*\}|\([^()]*\)|\[[^\[\]]*\]"
"""Text in brackets has no meaning in UCUM; it is dropped where the spelling is not known."""

COUNT_PER_VOLUME = re.compile(
    r"[x\u00d7*]?(1|10|1\.0)?(\*|e|exp)*\d{0,2}"  # 10*9, 10e9, 1e9, x10*3, 109 (superscript)
    r"(#|k|th|thou|giga|gpt|mio|cells?)?"
    r"((/|per)([dmunp]?l|mm\*?3|cu?mm)|[dmunp]?l\*?-1)"
)

_REWRITES = tuple(
    (re.compile(pattern), replacement.replace("$", "\\")) for pattern, replacement in UNIT_REWRITES
)


@remember(4096)
def fold_unit(spelling: str) -> str:
    """Fold the spellings of one unit: micro signs, case, spaces, words, IU for U.

    Folding case is safe here: no two units of the panel differ by case alone.

    Example:
        >>> fold_unit("\u00b5mol / L"), fold_unit("gm/100 mL"), fold_unit("Units per liter")
        ('umol/l', 'g/dl', 'u/l')
    """
    # NFKC turns one of the two micro signs into the other, and superscripts into digits.
    folded = normalize("NFKC", spelling).replace("\u03bc", "u")
    folded = folded.replace("\u2212", "-").replace("\u00b7", ".").replace("\u22c5", ".")
    folded = folded.replace("^", "*").replace("**", "*")
    folded = "".join(folded.split()).casefold()
    for pattern, replacement in _REWRITES:
        folded = pattern.sub(replacement, folded)
    return UNIT_ALIASES.get(folded, folded)


def drop_annotations(spelling: str) -> str:
    """Return a spelling without text in brackets; an annotation alone is the unit 1.

    Example:
        >>> drop_annotations("%{HemoglobinA1C}"), drop_annotations("{ratio}")
        ('%', '1')
    """
    return re.sub(UNIT_ANNOTATION, "", spelling).strip() or "1"
