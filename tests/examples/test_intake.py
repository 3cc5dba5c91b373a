"""Reports in six languages, read by the page's modules; tables as the package reads them."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from henaw.cli.score import score
from henaw.model.biomarkers import INDEX, NAMES, PANEL
from henaw.model.runtime import OnnxRuntime

REPORTS = Path(__file__).resolve().parents[1] / "reports"
EXPECTED = json.loads((REPORTS / "expected.json").read_text(encoding="utf-8"))
SEXES = ("female", "male")


def read(call: Any, text: str) -> Any:
    return call("lib/intake", "readReport", "sidecar", text)


def list_values(person: Any) -> dict[str, list[Any]]:
    return {reading["name"]: [reading["value"], reading["unit"]] for reading in person["readings"]}


@pytest.mark.parametrize("name", EXPECTED)
def test_reports_of_six_languages(call: Any, name: str) -> None:
    report = read(call, (REPORTS / name).read_text(encoding="utf-8"))
    seen = [
        {
            "age": int(person["age"]),
            "sex": SEXES[person["sex"]],
            "drawn": person["drawn"],
            "values": list_values(person),
        }
        for person in report["people"]
    ]
    assert seen == EXPECTED[name]


@pytest.mark.parametrize("name", [name for name in EXPECTED if name.endswith(".csv")])
def test_tables_are_read_as_the_package_does(name: str, onnx: OnnxRuntime, tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    command = [str(REPORTS / name), str(out), "--outputs", "biological_age"]
    done = CliRunner().invoke(score, command)
    assert done.exit_code == 0, done.output
    with out.open(encoding="utf-8") as file:
        ages = [float(row["biological_age"]) for row in csv.DictReader(file)]
    people = EXPECTED[name]
    rows = np.full((len(people), len(NAMES)), np.nan, np.float32)
    for row, person in zip(rows, people, strict=True):
        for biomarker, (value, unit) in person["values"].items():
            row[INDEX[biomarker]] = PANEL[INDEX[biomarker]].find_unit(unit).to_si(value)
    years = np.float32([person["age"] for person in people])
    sexes = np.int64([SEXES.index(person["sex"]) for person in people])
    assert ages == pytest.approx(onnx.predict(rows, years, sexes)["biological_age"], abs=1e-3)


def test_what_is_not_used_has_a_reason(call: Any) -> None:
    report = read(
        call,
        "Test,Result,Units,Specimen,Date\n"
        "Creatinine,14.2,mg/dL,urine,2024-03-05\n"
        "Creatinine,0.9,mg/dL,serum,2024-03-01\n"
        "Lymphocytes,2.1,10*9/L,blood,2024-03-01\n"
        "RDW,42,fL,blood,2024-03-01\n"
        "AST,haemolysed,U/L,serum,2024-03-01\n"
        "ALT,high,U/L,serum,2024-03-01\n"
        "GGT,22,furlong,serum,2024-03-01\n"
        "CRP,1.2,mg/L,serum,2999-03-01\n"
        "HbA1c,5.4,%,blood,2023-03-01\n"
        "HbA1c,5.6,%,blood,2024-03-01\n"
        "Sodium,140,mmol/L,serum,2024-03-01\n",
    )
    (person,) = report["people"]
    assert list_values(person) == {"creatinine": [0.9, "mg/dL"], "hba1c": [5.6, "%"]}
    codes = {row["label"]: row["code"] for row in person["unused"]}
    assert codes == {
        "Creatinine": "specimen",
        "Lymphocytes": "count",
        "RDW": "unit",
        "AST": "no_value",
        "ALT": "not_a_number",
        "GGT": "unit",
        "CRP": "future",
        "HbA1c": "older",
    }
    assert [row["label"] for row in report["unused"]] == ["Sodium"]


@pytest.mark.parametrize("date", ["3/1/2024", "01.03.24", "31.02.2024", "last spring", ""])
def test_which_is_the_newest_is_not_guessed(call: Any, date: str) -> None:
    table = f"test,value,unit,date\ncrp,9,mg/L,2024-01-01\ncrp,7,mg/L,{date}\nalt,20,U/L,{date}\n"
    (person,) = read(call, table)["people"]
    # Of one result the date decides nothing.
    assert list_values(person) == {"alt": [20, "U/L"]}
    assert [row["code"] for row in person["unused"]] == ["which_is_newest"] * 2


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("01.03.2024", "15.02.2024"),
        ("1.3.2024", "2024-02-15"),
        ("01.03.2024 07:30", "01.03.2024 07:10"),
        ("3/1/2024", "2/15/2024"),
        ("1 mars 2024", "15 février 2024"),
        ("2024-03-01 08:15:30+01:00", "2024-03-01 08:15:20+01:00"),
    ],
)
def test_the_newest_of_a_table(call: Any, first: str, second: str) -> None:
    for rows in (((first, 9), (second, 7)), ((second, 7), (first, 9))):
        lines = [f'crp,mg/L,"{day}",{value}' for day, value in rows]
        (person,) = read(call, "\n".join(["test,unit,date,value", *lines]))["people"]
        assert list_values(person) == {"crp": [9, "mg/L"]}


def test_limits_stand_for_a_value_where_they_say_enough(call: Any) -> None:
    table = "test,value,unit\nage,54,\nsex,female,\ncrp,<0.3,mg/L\nggt,<400,U/L\n"
    (person,) = read(call, table)["people"]
    assert list_values(person) == {"crp": [0.3, "mg/L"]}
    assert person["readings"][0]["doubts"] == ["limit_used"]
    assert [row["code"] for row in person["unused"]] == ["limit"]
    (nobody,) = read(call, "test,value,unit\ncrp,<0.3,mg/L\nalt,20,U/L\n")["people"]
    assert list(list_values(nobody)) == ["alt"]


def test_a_comparator_is_never_lost(call: Any) -> None:
    for value in ("< 0,3", "<0,3", "\u2039 0,3", "unter 0,3", "less than 0.3", "\u2264 0,3"):
        line = f"CRP quantitativ {value} mg/l"
        (person,) = read(call, f"Alter: 54\nGeschlecht: weiblich\n{line}\nGGT 22 U/l\n")["people"]
        sides = {reading["name"]: reading["side"] for reading in person["readings"]}
        assert sides == {"crp": "below", "ggt": ""}, line


def test_a_guess_is_marked(call: Any) -> None:
    (person,) = read(call, "HbA1c 5,4\nKreatinin 0,9\n")["people"]
    assert list_values(person) == {"hba1c": [5.4, "%"], "creatinine": [0.9, "mg/dL"]}
    assert [reading["doubts"] for reading in person["readings"]] == [["unit_guessed"]] * 2


def test_other_quantities_are_not_taken_for_the_panel(call: Any) -> None:
    report = read(
        call,
        "Creatinine, Urine 140 mg/dL\nAlbumin/Globulin Ratio 1.6\nBUN/Creatinine Ratio 15\n"
        "Microalbumin 12 mg/L\nAbsolute Lymphocytes 1800 cells/uL\nRDW-SD 42 fL\nGGT 22 U/L\n",
    )
    (person,) = report["people"]
    assert list_values(person) == {"ggt": [22, "U/L"]}


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("crp;alt\n0,3;20\n", {"crp": [0.3, "mg/L"], "alt": [20, "U/L"]}),
        ("sep=;\ncrp;alt\n0,3;20\n", {"crp": [0.3, "mg/L"], "alt": [20, "U/L"]}),
        ("age|crp_unit|crp\n54|mg/dL|0.2\n", {"crp": [0.2, "mg/dL"]}),
        ("Lymphocytes (%)\tRDW\n29\t13.1\n", {"lymphocyte_pct": [29, "%"], "rdw": [13.1, "%"]}),
        (
            "test,value\n4548-4,5.4\nLOINC: 2160-0,0.9\n",
            {"hba1c": [5.4, "%"], "creatinine": [0.9, "mg/dL"]},
        ),
    ],
)
def test_forms_of_tables(call: Any, text: str, values: Any) -> None:
    (person,) = read(call, text)["people"]
    assert list_values(person) == values


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (" ", "empty"),
        ("{", "broken_json"),
        ('{"resourceType": "Bundle"}', "fhir"),
        ("[]", "fhir"),
        ("weight,height\n70,180", "nothing_found"),
        ("Dear Sir or Madam", "nothing_found"),
    ],
)
def test_what_is_no_report(call: Any, text: str, code: str) -> None:
    with pytest.raises(Exception) as caught:  # noqa: PT011
        read(call, text)
    assert getattr(caught.value, "code", None) == code


def test_apple_health_says_who_the_person_is(call: Any) -> None:
    report = read(
        call,
        '<?xml version="1.0"?><HealthData locale="en_US"><Me HKCharacteristicTypeIdentifier'
        'DateOfBirth="1970-03-14" HKCharacteristicTypeIdentifierBiologicalSex="HKBiological'
        'SexFemale"/></HealthData>',
    )
    (person,) = report["people"]
    assert person["sex"] == 0
    assert person["age"] > 50
    assert [row["code"] for row in report["unused"]] == ["health_records"]


def test_a_wide_header_takes_no_time(call: Any) -> None:
    header = "crp" + " " * 100_000 + "x"
    (person,) = read(call, f"alt,ast,{header}\n20,24,1")["people"]
    assert list_values(person) == {"ast": [24, "U/L"], "alt": [20, "U/L"]}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *(("12.5", 12.5), (" 12,5 ", 12.5), ("+3", 3), (".5", 0.5), ("0,367", 0.367)),
        *(("1'079.6", 1079.6), ("1.079,6", 1079.6), ("13.4 H", 13.4), ("7.2*", 7.2), ("5.", 5)),
        *(("1,200", None), ("high", None), ("1.2.3", None), ("", None)),
    ],
)
def test_numbers(call: Any, text: str, value: float | None) -> None:
    assert call("lib/numbers", "readCell", "sidecar", text)["value"] == value


def test_a_number_that_may_be_two_is_neither(call: Any) -> None:
    assert call("lib/numbers", "readCell", "sidecar", "1,200")["readings"] == [1.2, 1200]
    assert call("lib/numbers", "readCell", "sidecar", "1,200", ",")["value"] == 1.2
    assert call("lib/numbers", "readCell", "sidecar", "1,200", ".")["value"] == 1200
