"""Cells as laboratories write them."""

import pytest
from henaw.intake.words.cells import read_cell


@pytest.mark.parametrize(
    ("text", "comparator", "value", "unit"),
    [
        ("1.2", "", 1.2, ""),
        ("<0.3", "<", 0.3, ""),
        # https://github.com/fastenhealth/fasten-onprem/issues/441
        ("<10 IntlUnit/mL", "<", 10, "IntlUnit/mL"),
        # https://github.com/MIT-LCP/mimic-code/issues/749
        ("LESS THAN 10", "<", 10, ""),
        ("Greater than 200", ">", 200, ""),
        ("gr\u00f6\u00dfer 5", ">", 5, ""),
        ("\u2264 5", "<=", 5, ""),
        ("=<5", "<=", 5, ""),
        (">= 60", ">=", 60, ""),
        ("< 0,3", "<", 0.3, ""),
        ("5.4 %", "", 5.4, "%"),
        ("22 U/l", "", 22, "U/l"),
        ("13.4 H", "", 13.4, ""),
        # https://github.com/i2b2/i2b2-webclient-classic/pull/10
        ("13.4 [H]", "", 13.4, ""),
        ("7.2*", "", 7.2, ""),
        ("45 (L)", "", 45, ""),
        ("1 079,6", "", 1079.6, ""),
        ("1'079.6", "", 1079.6, ""),
        ("1,079.6", "", 1079.6, ""),
        ("1.2e1", "", 12, ""),
        (" 45\u00a0", "", 45, ""),
        ('"45"', "", 45, ""),
        (".5", "", 0.5, ""),
    ],
)
def test_a_number_is_read(text: str, comparator: str, value: float, unit: str) -> None:
    cell = read_cell(text)
    assert (cell.comparator, cell.value, cell.unit) == (comparator, value, unit)


@pytest.mark.parametrize(
    "text",
    [
        *("", ".", "-", "--", "*", "NA", "N/A", "#N/A", "NULL", "null", "None", "nan", "n.d."),
        # https://github.com/MIT-LCP/mimic-code/issues/1282
        *("ND", "not done", "TNP", "QNS", "haemolysed", "Hemolyzed", "HEMOLYSIS", "pending"),
        *("h\u00e4molytisch", "nicht bestimmbar", "k.A.", "Material fehlt", "folgt"),
        *("h\u00e9molys\u00e9", "non fait", "hemolizado", "emolizzato", "niet bepaald"),
    ],
)
def test_a_word_means_no_value(text: str) -> None:
    cell = read_cell(text)
    assert cell.value is None
    assert cell.is_absent


@pytest.mark.parametrize("text", ["ok", "positive", "1-2", "1/2", "12:30", "1,079", "5 to 6 x"])
def test_other_text_is_not_guessed(text: str) -> None:
    cell = read_cell(text)
    assert not cell.is_absent
    assert cell.value is None or cell.unit
