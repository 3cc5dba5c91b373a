"""Names as people and laboratories write them, folded so that spellings of one name are equal."""

from __future__ import annotations

import functools
import re
import unicodedata

_WORDS = (("%", " pct "), ("#", " count "), ("\u03b3", "gamma"))


@functools.lru_cache(maxsize=65_536)
def fold_name(name: str) -> str:
    """Remove case, accents, spaces and punctuation; percent and number signs become words.

    Example:
        >>> fold_name("Cr\u00e9atinine (S\u00e9rum)"), fold_name("\u03b3-GT"), fold_name("LYM%")
        ('creatinineserum', 'gammagt', 'lympct')
    """
    folded = name.casefold()
    for sign, word in _WORDS:
        folded = folded.replace(sign, word)
    plain = unicodedata.normalize("NFKD", folded)
    return re.sub(r"[^a-z0-9]", "", plain)
