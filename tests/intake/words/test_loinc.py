"""The mapping itself; bundles are read in tests/intake/fhir."""

import json

import pytest
from henaw.intake.words.loinc import CODES, describe_fhir
from henaw.model.biomarkers import INDEX, PANEL


def test_every_code_of_the_panel_is_its_biomarker() -> None:
    for biomarker in PANEL:
        for code in biomarker.loinc:
            assert CODES[code].biomarker == biomarker.name
            assert CODES[code].refused is None


def test_every_code_names_the_panel_and_its_units() -> None:
    for number, code in CODES.items():
        assert code.biomarker in INDEX, number
        assert set(code.units or ()) <= set(PANEL[INDEX[code.biomarker]].units), number


def test_check_digits_of_the_codes_hold() -> None:
    """LOINC's are of modulus 10 (Luhn): a slip of the pen would name another test."""
    for number in CODES:
        digits, check = number.split("-")
        odd = str(int(digits[::-1][::2][::-1]) * 2)
        even = digits[::-1][1::2]
        assert (-sum(map(int, odd + even))) % 10 == int(check), number


@pytest.mark.parametrize(
    ("ucum", "unit", "name"),
    [
        ("%{Hb}", "%", "hba1c"),
        ("%{Total}", "%", "rdw"),
        ("1", "fraction", "lymphocyte_pct"),
        ("{ratio}", "fraction", "lymphocyte_pct"),
        ("[IU]/L", "U/L", "ggt"),
        ("U/L{37C}", "U/L", "alt"),
        ("mg/dl", "mg/dL", "creatinine"),
    ],
)
def test_ucum_is_understood(ucum: str, unit: str, name: str) -> None:
    biomarker = PANEL[INDEX[name]]
    assert biomarker.find_unit(ucum) == biomarker.find_unit(unit)


def test_the_description_is_json() -> None:
    described = json.loads(json.dumps(describe_fhir(), allow_nan=False))
    assert described["codes"]["4548-4"] == {"biomarker": "hba1c"}
    assert described["codes"]["59261-8"]["units"] == ["mmol/mol"]
    assert "refused" in described["codes"]["21000-5"]
