"""Names as people and laboratories write them, folded so that spellings of one name are equal."""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Callable
from typing import Concatenate, Final, Literal, ParamSpec, TypeVar

_P = ParamSpec("_P")
_R = TypeVar("_R")
_WORDS: Final = (("%", " pct "), ("#", " count "), ("\u03b3", "gamma"))
_MARKS: Final = "\u0f73\u0f75\u0f81"
"""The characters that are no combining marks, but are decomposed into nothing else."""
_LONGEST: Final = 100
"""Longer texts are not kept: thousands of them, which a client may send, would fill the memory."""


def remember(
    places: int,
) -> Callable[[Callable[Concatenate[str, _P], _R]], Callable[Concatenate[str, _P], _R]]:
    """Keep the results of a function of a text, as people write it; of the newest short texts.

    Args:
        places: how many results are kept.

    Example:
        >>> @remember(2)
        ... def measure(text: str) -> int:
        ...     print("measured")
        ...     return len(text)
        >>> measure("mg"), measure("mg")
        measured
        (2, 2)
    """

    def wrap(function: Callable[Concatenate[str, _P], _R]) -> Callable[Concatenate[str, _P], _R]:
        keep = functools.lru_cache(maxsize=places)(function)

        @functools.wraps(function)
        def ask(text: str, /, *others: _P.args, **named: _P.kwargs) -> _R:
            if len(text) > _LONGEST:
                return function(text, *others, **named)
            # The arguments of all these functions are texts and numbers, so they can be keys.
            return keep(text, *others, **named)  # type: ignore[arg-type]

        return ask

    return wrap


def normalize(form: Literal["NFKC", "NFKD"], text: str) -> str:
    """Normalize a text as Unicode defines it; a long one without its combining marks.

    A run of marks is sorted in quadratic time: 40 000 of them take a second.
    """
    if len(text) > _LONGEST:
        text = "".join(c for c in text if not unicodedata.combining(c) and c not in _MARKS)
    return unicodedata.normalize(form, text)


@remember(65_536)
def fold_name(name: str) -> str:
    """Remove case, accents, spaces and punctuation; percent and number signs become words.

    Example:
        >>> fold_name("Cr\u00e9atinine (S\u00e9rum)"), fold_name("\u03b3-GT"), fold_name("LYM%")
        ('creatinineserum', 'gammagt', 'lympct')
    """
    folded = name.casefold()
    for sign, word in _WORDS:
        folded = folded.replace(sign, word)
    plain = normalize("NFKD", folded)
    return re.sub(r"[^a-z0-9]", "", plain)
