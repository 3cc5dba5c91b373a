"""Cells as people and laboratories write them: numbers, limits, and words for a missing value."""

from __future__ import annotations

import re
from typing import NamedTuple

from henaw.model.panel.folding import fold_name, remember

NO_VALUE = (
    *("NA", "N/A", "#N/A", "NaN", "nan", "NULL", "None", "nil", "missing", "unknown", "not known"),
    *("n.d.", "nd", "not done", "not determined", "not performed", "test not performed", "TNP"),
    *("not tested", "not measured", "not available", "not reported", "no result", "no value"),
    *("no sample", "sample missing", "no specimen", "insufficient", "insufficient sample"),
    *("quantity not sufficient", "QNS", "clotted", "pending", "to follow", "cancelled"),
    *("canceled", "rejected", "invalid", "error", "see comment", "see note", "repeat"),
    *("haemolysed", "hemolysed", "hemolyzed", "haemolyzed", "haemolytic", "hemolytic"),
    *("haemolysis", "hemolysis", "lipaemic", "lipemic", "icteric", "unsuitable", "contaminated"),
    *("h\u00e4molytisch", "lip\u00e4misch", "ikterisch", "nicht bestimmt", "nicht bestimmbar"),
    *("nicht messbar", "n.b.", "k.A.", "keine Angabe", "kein Material", "Material fehlt", "folgt"),
    *("entf\u00e4llt", "storniert", "fehlt", "zu wenig Material", "nicht auswertbar", "geronnen"),
    *("h\u00e9molys\u00e9", "non fait", "non r\u00e9alis\u00e9", "non dos\u00e9", "en cours"),
    *("ininterpr\u00e9table", "pr\u00e9l\u00e8vement insuffisant", "non disponible", "annul\u00e9"),
    *("hemolizado", "hemolizada", "no realizado", "no disponible", "sin muestra", "pendiente"),
    *("muestra insuficiente", "emolizzato", "non eseguito", "non disponibile", "in corso"),
    *("campione insufficiente", "gehemolyseerd", "hemolytisch", "niet bepaald", "niet gemeten"),
    *("niet beschikbaar", "volgt", "geen materiaal", "onvoldoende materiaal", "vervallen"),
)
_WORDS = frozenset(map(fold_name, NO_VALUE))

SIGNS = {
    **dict.fromkeys(("<", "\u2039", "less than", "below", "under", "kleiner", "unter"), "<"),
    **dict.fromkeys(("menor de", "menor que", "inf\u00e9rieur \u00e0", "minore di"), "<"),
    **dict.fromkeys(("<=", "=<", "\u2264", "\u2a7d"), "<="),
    **dict.fromkeys(
        (">", "\u203a", "greater than", "more than", "above", "over", "gr\u00f6\u00dfer"), ">"
    ),
    **dict.fromkeys(
        ("mayor de", "mayor que", "sup\u00e9rieur \u00e0", "maggiore di", "\u00fcber"), ">"
    ),
    **dict.fromkeys((">=", "=>", "\u2265", "\u2a7e"), ">="),
    **dict.fromkeys(("", "="), ""),
}
_COMPARATOR_CODES = {"lt": "<", "le": "<=", "gt": ">", "ge": ">=", "eq": ""}
_SIGN = "|".join(re.escape(sign) for sign in sorted(filter(None, SIGNS), key=len, reverse=True))
_CELL = re.compile(
    rf"(?P<sign>{_SIGN}|)\s*"
    r"(?P<number>[+-]?(?:\d[\d.,'\u2019\u00a0\u202f ]*|[.,]\d+)(?:e[+-]?\d+)?)"
    r"(?P<rest>.*)",
    re.IGNORECASE | re.DOTALL,
)
# Flags of analysers behind a value that is high, low or checked: "13.4 H", "7.2*", "45 (L)".
_FLAG = re.compile(
    r"[\[(]?(?:h{1,2}|l{1,2}|\*+|!+|\++|\u2191+|\u2193+|high|low|abn|a)[\])]?", re.IGNORECASE
)


class Cell(NamedTuple):
    """The content of a cell.

    Attributes:
        comparator: "", "<", "<=", ">" or ">=".
        value: the number; None without one.
        unit: the text behind the number.
        is_absent: whether the cell is empty or says that there is no value.
    """

    comparator: str = ""
    value: float | None = None
    unit: str = ""
    is_absent: bool = False


UNREADABLE = Cell()
"""A cell that is neither a number nor a word for a missing value."""


@remember(65_536)
def read_cell(text: str, decimal: str | None = None) -> Cell:
    """Read a cell.

    Args:
        text: the cell's text.
        decimal: the decimal mark of the file, "." or ","; None if it is not known. A number such as
            1,079 then cannot be read.

    Example:
        >>> read_cell("< 0,3 mg/l")
        Cell(comparator='<', value=0.3, unit='mg/l', is_absent=False)
        >>> read_cell("1.079,6").value, read_cell("1,079").value, read_cell("1,079", ".").value
        (1079.6, None, 1079.0)
        >>> read_cell("haemolysed").is_absent, read_cell("ok").is_absent
        (True, False)
    """
    text = text.strip().strip('"').strip()
    if is_no_value(text):
        return Cell(is_absent=True)
    match = _CELL.fullmatch(text)
    if match is None:
        return UNREADABLE
    value = _read_number(match["number"].strip(), decimal)
    if value is None:
        return UNREADABLE
    rest = match["rest"].strip()
    if _FLAG.fullmatch(rest):
        rest = ""
    return Cell(SIGNS[match["sign"].lower()], value, rest)


def read_comparator(text: str) -> str | None:
    """Read a comparator by its sign or PCORnet's code; None for any other text.

    Example:
        >>> read_comparator("\u2264"), read_comparator("EQ"), read_comparator("~")
        ('<=', '', None)
    """
    folded = text.strip().lower()
    return SIGNS.get(folded, _COMPARATOR_CODES.get(folded))


def is_no_value(text: str) -> bool:
    """Whether a cell is empty, or has a sign or a word for a missing value.

    Example:
        >>> is_no_value("n.d."), is_no_value("--"), is_no_value("0")
        (True, True, False)
    """
    folded = fold_name(text)
    return folded in _WORDS if folded else not any(map(str.isalnum, text))


_PLAIN = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.IGNORECASE)
_GROUPED = {
    ".": re.compile(r"[+-]?[1-9]\d{0,2}(,\d{3})+(\.\d+)?"),
    ",": re.compile(r"[+-]?\d{1,3}(\.\d{3})+(,\d+)?"),
}
_COMMA = re.compile(r"[+-]?(\d+|\d*),\d+(e[+-]?\d+)?", re.IGNORECASE)
_UNSURE = re.compile(r"[+-]?[1-9]\d{0,2}[,]\d{3}")


def _read_number(text: str, decimal: str | None) -> float | None:
    # Spaces and apostrophes may separate thousands: 1 079,6 and 1'079.6.
    joined = re.sub(r"(?<=\d)['\u2019\u00a0\u202f ](?=\d{3}(\D|$))", "", text)
    if decimal == "," and _GROUPED[","].fullmatch(joined):
        return float(joined.replace(".", "").replace(",", "."))
    if _PLAIN.fullmatch(joined):
        return float(joined)
    if decimal is None and _UNSURE.fullmatch(joined):
        return None
    if decimal != "," and _GROUPED["."].fullmatch(joined):
        return float(joined.replace(",", ""))
    if _COMMA.fullmatch(joined) and decimal != ".":
        return float(joined.replace(",", "."))
    if _GROUPED[","].fullmatch(joined) and "," in joined:
        return float(joined.replace(".", "").replace(",", "."))
    return None


def find_decimal(cells: list[str]) -> str:
    """Find the decimal mark of a file's cells: a comma if more numbers have one than a point.

    Example:
        >>> find_decimal(["1,2", "1.079", "54"]), find_decimal(["1.2", "1,079"])
        (',', '.')
    """
    commas = points = 0
    for cell in cells:
        match = _CELL.fullmatch(cell.strip())
        if match is None:
            continue
        number = match["number"].strip()
        is_comma = _COMMA.fullmatch(number) and not _UNSURE.fullmatch(number)
        if is_comma or (_GROUPED[","].fullmatch(number) and "," in number):
            commas += 1
        elif re.fullmatch(r"[+-]?\d*\.(\d{1,2}|\d{4,})", number):
            points += 1
    return "," if commas > points else "."
