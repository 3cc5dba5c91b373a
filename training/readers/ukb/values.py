"""The meaning of a UK Biobank cell, exported as a code or spelled out.

Sources: data-coding 9 (sex), 8 (month), 10 (assessment centre), 4917 (reportability) and
the Showcase pages of the fields. Centres: 11004 Glasgow and 11005 Edinburgh are in
Scotland, 11003 Cardiff, 11022 Swansea and 11023 Wrexham in Wales, the others in England.
"""

from __future__ import annotations

import calendar
from collections.abc import Mapping, Sequence
from types import MappingProxyType

import polars as pl
from henaw.intake.words.ukb_names import Kind

NATIONS: tuple[str, ...] = ("england", "scotland", "wales")
"""A nation's code is its index here."""

BELOW_LIMIT, REPORTED, ABOVE_LIMIT = -1, 0, 1

_CENTRES: Mapping[str, tuple[tuple[int, str], ...]] = MappingProxyType(
    {
        "england": (
            (10003, "Stockport (pilot)"),
            (11001, "Manchester"),
            (11002, "Oxford"),
            (11006, "Stoke"),
            (11007, "Reading"),
            (11008, "Bury"),
            (11009, "Newcastle"),
            (11010, "Leeds"),
            (11011, "Bristol"),
            (11012, "Barts"),
            (11013, "Nottingham"),
            (11014, "Sheffield"),
            (11016, "Liverpool"),
            (11017, "Middlesborough"),
            (11018, "Hounslow"),
            (11020, "Croydon"),
            (11021, "Birmingham"),
            (11024, "Cheadle (revisit)"),
            (11025, "Cheadle (imaging)"),
            (11026, "Reading (imaging)"),
            (11027, "Newcastle (imaging)"),
            (11028, "Bristol (imaging)"),
        ),
        "scotland": ((11004, "Glasgow"), (11005, "Edinburgh")),
        "wales": ((11003, "Cardiff"), (11022, "Swansea"), (11023, "Wrexham")),
    }
)

_MEANINGS: Mapping[Kind, Mapping[str, int]] = MappingProxyType(
    {
        "sex": {"0": 0, "female": 0, "f": 0, "1": 1, "male": 1, "m": 1},
        "month": {
            spelling: number
            for number in range(1, 13)
            for spelling in (
                str(number),
                f"{number:02d}",
                calendar.month_name[number].casefold(),
                calendar.month_abbr[number].casefold(),
            )
        },
        "centre": {
            spelling: NATIONS.index(nation)
            for nation, centres in _CENTRES.items()
            for code, name in centres
            for spelling in (str(code), name.casefold())
        }
        | {"middlesbrough": NATIONS.index("england")},
        "limit": {
            "1": REPORTED,
            "reportable at assay and after aliquot correction, if attempted": REPORTED,
            "2": BELOW_LIMIT,
            "reportable at assay but not reportable after any corrections (too low)": BELOW_LIMIT,
            "3": ABOVE_LIMIT,
            "reportable at assay but not reportable after any corrections (too high)": ABOVE_LIMIT,
            "4": BELOW_LIMIT,
            "not reportable at assay (too low)": BELOW_LIMIT,
            "5": ABOVE_LIMIT,
            "not reportable at assay (too high)": ABOVE_LIMIT,
        },
        # "Unsure" counts as pregnant, since a fit leaves pregnant people out.
        "yes": {"0": 0, "no": 0, "1": 1, "yes": 1, "2": 1, "unsure": 1},
    }
)

_DAY = r"\d{4}[/-]\d\d?[/-]\d\d?|\d\d?/\d\d?/\d{4}|\d\d?-?[A-Za-z]{3}-?\d{4}"
_DATE_FORMATS = ("%Y-%m-%d", "%Y/%m/%d", "%d/%m/%Y", "%d%b%Y", "%d-%b-%Y")

_LEADING_CAUSES: Mapping[int, tuple[tuple[str, str], ...]] = MappingProxyType(
    {
        1: (("I00", "I09"), ("I11", "I11"), ("I13", "I13"), ("I20", "I51")),
        2: (("C00", "C97"),),
        3: (("J40", "J47"),),
        4: (("V01", "X59"), ("Y85", "Y86")),
        5: (("I60", "I69"),),
        6: (("G30", "G30"),),
        7: (("E10", "E14"),),
        8: (("J09", "J18"),),
        9: (("N00", "N07"), ("N17", "N19"), ("N25", "N27")),
    }
)
"""The nine leading causes of the NCHS recode of 113 causes, UCOD_LEADING, by ICD-10.

National Vital Statistics Reports 64(10), table C: 1 diseases of heart, 2 malignant
neoplasms, 3 chronic lower respiratory diseases, 4 accidents, 5 cerebrovascular diseases,
6 Alzheimer's disease, 7 diabetes mellitus, 8 influenza and pneumonia, 9 nephritis,
nephrotic syndrome and nephrosis.
"""
_OTHER_CAUSE = 10
_DEMENTIA_CODE = 6
_OTHER_DEMENTIA = ("F00", "F03")
"""Dementia that is not certified as Alzheimer's disease: vascular, unspecified, other.

The Office for National Statistics counts it with Alzheimer's disease as one leading cause of
death (F01, F03, G30), and most British certificates of dementia have these codes.
"""


def parse_values(column: str, kind: Kind) -> pl.Expr:
    """Parse a column of text; values that cannot be read become null.

    Args:
        column: name of a text column; its missing values are null.
        kind: of the field.

    Returns:
        float64 for a number; int32 for an integer or a month; date; the three characters of the
        ICD-10 category for a cause; int8 for sex, centre (index in NATIONS), limit and yes.

    Example:
        >>> frame = pl.DataFrame({"x": ["01/03/2008", "2008-03-01", "x", None]})
        >>> frame.select(parse_values("x", "date"))["x"].dt.year().to_list()
        [2008, 2008, None, None]
    """
    text = pl.col(column)
    if kind in ("number", "integer"):
        number = text.cast(pl.Float64, strict=False)
        number = pl.when(number.is_finite()).then(number)
        return number if kind == "number" else number.round().cast(pl.Int32, strict=False)
    if kind == "date":
        # A time of day may follow. Years of two digits are refused: their century is not known.
        day = text.str.extract(rf"^({_DAY})(?:[T ][0-9:.]+)?Z?$")
        return pl.coalesce(
            day.str.to_date(form, strict=False, exact=True) for form in _DATE_FORMATS
        ).alias(column)
    if kind == "cause":
        return text.str.to_uppercase().str.extract(r"^([A-Z]\d\d)")
    spelled = text.str.to_lowercase().str.replace(r"^(\d+)\.0+$", "$1")
    dtype = pl.Int32 if kind == "month" else pl.Int8
    return spelled.replace_strict(_MEANINGS[kind], default=None, return_dtype=dtype)


def find_short_year(column: str) -> pl.Expr:
    """Whether a date in a column of text has a year of two digits: bool.

    Example:
        >>> dates = pl.DataFrame({"x": ["01/03/08", "1-Mar-08", "01/03/2008", None]})
        >>> dates.select(find_short_year("x"))["x"].to_list()
        [True, True, False, False]
    """
    short = pl.col(column).str.contains(r"^\d\d?[/-](?:\d\d?|[A-Za-z]{3})[/-]\d\d$")
    return short.fill_null(value=False)


def code_cause(column: str, *, other_dementia: bool) -> pl.Expr:
    """Convert ICD-10 categories to NHANES's codes of the underlying cause of death.

    Args:
        column: name of a column of three characters each, such as ``I21``.
        other_dementia: whether F00 to F03 count under 6, with Alzheimer's disease.

    Returns:
        int8: 1 to 9 for the leading causes, 10 for any other, null for none.

    Example:
        >>> causes = pl.DataFrame({"x": ["I21", "C34", "F03", "U07", None]})
        >>> causes.select(code_cause("x", other_dementia=True))["x"].to_list()
        [1, 2, 6, 10, None]
    """
    category = pl.col(column)
    code = pl.when(category.is_not_null()).then(pl.lit(_OTHER_CAUSE, pl.Int8))
    expression: pl.Expr = code
    for number, ranges in _LEADING_CAUSES.items():
        extra: Sequence[tuple[str, str]] = (
            (_OTHER_DEMENTIA,) if number == _DEMENTIA_CODE and other_dementia else ()
        )
        listed = pl.any_horizontal(
            category.is_between(pl.lit(low), pl.lit(high)) for low, high in (*ranges, *extra)
        )
        expression = pl.when(listed).then(pl.lit(number, pl.Int8)).otherwise(expression)
    return expression.alias(column)
