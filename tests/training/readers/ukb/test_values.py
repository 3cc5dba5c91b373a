from datetime import date

import polars as pl
import pytest
from henaw.training.readers.ukb.values import NATIONS, code_cause, parse_values


def parse(kind, *texts):
    frame = pl.DataFrame({"x": list(texts)}, schema={"x": pl.String})
    return frame.select(parse_values("x", kind)).to_series().to_list()


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2008-03-01", date(2008, 3, 1)),
        ("2008/03/01", date(2008, 3, 1)),
        ("13/03/2008", date(2008, 3, 13)),
        ("01/03/2008", date(2008, 3, 1)),
        ("01mar2008", date(2008, 3, 1)),
        ("01-Mar-2008", date(2008, 3, 1)),
        ("2008-03-01T00:00:00", date(2008, 3, 1)),
        ("2008-03-01 10:15:00.000", date(2008, 3, 1)),
        ("03/25/2008", None),
        ("2008-02-30", None),
        ("soon", None),
        ("2008", None),
    ],
)
def test_dates(text, value):
    assert parse("date", text) == [value]


def test_codes_and_their_spellings():
    spelled = ("0", "1", "0.0", "1.0", "Female", "Male", "F", "m", "2", "unknown")
    assert parse("sex", *spelled) == [0, 1, 0, 1, 0, 1, 0, 1, None, None]
    assert parse("month", "6", "06", "June", "jun", "13", "6.0") == [6, 6, 6, 6, None, 6]
    assert parse("yes", "0", "No", "1", "Yes", "2", "Unsure", "-3") == [0, 0, 1, 1, 1, 1, None]
    assert parse("limit", "1", "2", "3", "4", "5", "6") == [0, -1, 1, -1, 1, None]
    low, high = "Not reportable at assay (too low)", "Not reportable at assay (too high)"
    assert parse("limit", low, high) == [-1, 1]


def test_centres_are_in_their_nations():
    centres = ("11004", "Edinburgh", "11003", "Swansea", "Wrexham", "11012", "Barts", "11025")
    nations = [None if n is None else NATIONS[n] for n in parse("centre", *centres, "99999")]
    assert nations == ["scotland"] * 2 + ["wales"] * 3 + ["england"] * 3 + [None]


def test_numbers():
    assert parse("number", "1.5", "-2", "1e2", "inf", "nan", "<0.08") == [
        1.5,
        -2.0,
        100.0,
        None,
        None,
        None,
    ]
    assert parse("integer", "1950", "1950.0", "x") == [1950, 1950, None]


def test_causes_are_cut_to_their_category():
    texts = ("I219", "I21.9", "i21", "I21.9 Acute myocardial infarction, unspecified", "219")
    assert parse("cause", *texts) == ["I21", "I21", "I21", "I21", None]


@pytest.mark.parametrize(
    ("code", "categories"),
    [
        (1, "I00 I09 I11 I13 I20 I25 I51"),
        (2, "C00 C34 C97"),
        (3, "J40 J44 J47"),
        (4, "V01 W19 X59 Y85 Y86"),
        (5, "I60 I64 I69"),
        (6, "G30"),
        (7, "E10 E11 E14"),
        (8, "J09 J12 J18"),
        (9, "N00 N07 N17 N19 N25 N27"),
        (10, "I10 I12 I15 I52 I70 C98 D00 E15 J39 J48 X60 N08 N20 U07 G31 F04 E09"),
    ],
)
def test_causes_follow_the_leading_cause_recode(code, categories):
    frame = pl.DataFrame({"x": categories.split()})
    for other_dementia in (True, False):
        found = frame.select(code_cause("x", other_dementia=other_dementia)).to_series()
        assert found.to_list() == [code] * frame.height


def test_counting_other_dementia_is_an_option():
    frame = pl.DataFrame({"x": ["F00", "F01", "F03", None]})
    for other_dementia, code in ((True, 6), (False, 10)):
        found = frame.select(code_cause("x", other_dementia=other_dementia)).to_series()
        assert found.to_list() == [code, code, code, None]
