"""Units, FHIR and CSV in the page's JavaScript, held to what Python says of the same."""

import json
import re
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from henaw.handler.wording import describe_implausible
from henaw.model.biomarkers import PANEL
from henaw.model.errors import PanelError
from playwright.sync_api import Browser, Error, Page

FHIR_CASES = sorted((Path(__file__).parents[1] / "fhir").glob("*.json"))
SPELLINGS = (
    *("mg/L", "MG/DL", "µmol/L", "\u03bcmol/l", "umol / L", "IU/L", "[iU]/L", "ukat/l", "percent"),
    *("10*9/L", "10^9/L", "x10\u2079/L", "G/L", "fL", "cells/uL", "mmol/mol", "fraction", "", "g"),
    *("gm/dL", "g%", "g/100 mL", "gm/L", "% of total Hgb", "% (NGSP)", "%{HbA1c}", "% (JDS)"),
    *("mmol/mol Hb", "mmol/mol{Hb}", "mmol mol\u207b\u00b9", "ug/mL", "mcg/mL", "nmol/L", "mg/L."),
    *(
        "Units/L",
        "units per liter",
        "E/L",
        "mIU/mL",
        "nkat/L",
        "\u03bckat/l",
        "U\u00b7L\u207b\u00b9",
    ),
    *("L/L", "1", "{ratio}", "10*-2", "10\u207b\u00b2", "% of WBC", "{cells}/uL", "umol/(min.L)"),
)

Call = Callable[..., Any]


@pytest.fixture(scope="module")
def blank(browser: Browser, site: str) -> Iterator[Page]:
    """A page to call the modules in."""
    page = browser.new_page()
    page.goto(site)
    yield page
    page.close()


@pytest.fixture
def call(blank: Page) -> Call:
    """Call a function of a module with the sidecar and more arguments."""

    def call(module: str, function: str, *arguments: Any) -> Any:
        return blank.evaluate(
            """async ([module, name, values]) => {
                const sidecar = await (await import("./sidecar.js")).loadSidecar();
                return (await import(`./${module}.js`))[name](sidecar, ...values);
            }""",
            [module, function, arguments],
        )

    return call


def describe_panel_entry(index: int) -> dict[str, Any]:
    biomarker = PANEL[index]
    return {
        "name": biomarker.name,
        "unit": biomarker.unit,
        "units": list(biomarker.units),
        "minimum": biomarker.minimum,
        "maximum": biomarker.maximum,
    }


def find_refusal(index: int, spelling: str) -> str | None:
    try:
        PANEL[index].find_unit(spelling)
    except PanelError as error:
        return error.problems[0]
    return None


@pytest.mark.parametrize("index", range(len(PANEL)), ids=lambda index: PANEL[index].name)
def test_unit_spellings(call: Call, index: int) -> None:
    for spelling in SPELLINGS:
        refusal = find_refusal(index, spelling)
        if refusal is None:
            found = call("units", "findUnit", describe_panel_entry(index), spelling)
            assert PANEL[index].find_unit(found) == PANEL[index].find_unit(spelling)
        else:
            with pytest.raises(Error, match=re.escape(refusal)):
                call("units", "findUnit", describe_panel_entry(index), spelling)


@pytest.mark.parametrize("index", range(len(PANEL)), ids=lambda index: PANEL[index].name)
def test_implausible_values(call: Call, index: int) -> None:
    biomarker = PANEL[index]
    for unit in biomarker.units:
        conversion = biomarker.find_unit(unit)
        for panel_value in (biomarker.minimum, biomarker.maximum):
            # The bounds themselves, rounded, may fall to either side.
            inside = conversion.from_si(panel_value * (0.9 if panel_value > 1 else 1.1))
            if biomarker.minimum <= conversion.to_si(inside) <= biomarker.maximum:
                entry = describe_panel_entry(index)
                assert call("units", "describeImplausible", entry, inside, unit) is None
        for value in (0, 0.9, 5.4, -3, 20000, 1e7):
            si = conversion.to_si(value)
            seen = call("units", "describeImplausible", describe_panel_entry(index), value, unit)
            if biomarker.minimum <= si <= biomarker.maximum:
                assert seen is None
                continue
            given = None if unit == biomarker.unit else unit
            message, hint = describe_implausible(biomarker, value, given=given)
            if given is None:
                assert seen.split("; ")[0] == message.replace("2e+04", "20000")
            assert seen.split("; ")[1:] == ([] if hint is None else [hint.rsplit(": ", 1)[0]])


def test_example_of_the_design(call: Call) -> None:
    seen = call("units", "describeImplausible", describe_panel_entry(2), 0.9, "umol/L")
    assert seen == "0.9 umol/L is outside 5 to 2000; as mg/dL it would be 79.6 umol/L"


@pytest.mark.parametrize(
    ("text", "number"),
    [
        *(("12.5", 12.5), (" 12,5 ", 12.5), ("+3", 3), (".5", 0.5), ("1,2345", 1.2345)),
        # A group of thousands does not start with a 0.
        *(("0,367", 0.367), ("0,244", 0.244), ("+0,050", 0.05), ("5.", 5)),
    ],
)
def test_numbers(blank: Page, text: str, number: float) -> None:
    read = "async (text) => (await import('./units.js')).parseNumber(text)"
    assert blank.evaluate(read, text) == number


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("1,200", "1,200 could be 1.200 or 1200"),
        ("<0.3", "is a limit"),
        ("high", "expected a number"),
        ("1e3", "expected a number"),
        ("1.2.3", "expected a number"),
    ],
)
def test_what_is_no_number(blank: Page, text: str, reason: str) -> None:
    with pytest.raises(Error, match=reason):
        blank.evaluate("async (text) => (await import('./units.js')).parseNumber(text)", text)


@pytest.mark.parametrize("path", FHIR_CASES, ids=lambda path: path.stem)
def test_shared_case_of_fhir(call: Call, path: Path) -> None:
    case = json.loads(path.read_text(encoding="utf-8"))
    # The page's own rule of which result is the newest differs in these.
    expected = case.get("page", case["expected"])
    if "error" in expected:
        with pytest.raises(Error, match="bundle_error: expected"):
            call("fhir", "readBundle", case["bundle"])
        return
    seen = call("fhir", "readBundle", case["bundle"])
    for person, wanted in zip(seen["people"], expected["people"], strict=True):
        assert set(person.pop("given")) == set(person["biomarkers"])
        assert set(person.pop("days")) == set(person["biomarkers"])
        assert person.pop("biomarkers") == pytest.approx(wanted.pop("biomarkers"), rel=1e-9)
        assert person.pop("age_years") == pytest.approx(
            float(wanted.pop("age_years") or "nan"), rel=1e-9, nan_ok=True
        )
        assert person | {"problems": list(person["problems"])} == {"old": {}} | wanted

    def sort(refusals: Any) -> list[tuple[str, ...]]:
        return sorted((row["observation"], row["biomarker"], row["code"]) for row in refusals)

    assert sort(seen["refusals"]) == sort(expected["refusals"])


def test_one_patient_at_a_time(call: Call) -> None:
    case = json.loads((FHIR_CASES[0].parent / "subjects.json").read_text(encoding="utf-8"))
    with pytest.raises(Error, match="expected one Patient, however: 2"):
        call("report", "readReport", json.dumps(case["bundle"]))


@pytest.mark.parametrize(("days", "used"), [(0, True), (1, True), (2, False)])
def test_tomorrow_is_somewhere_today(call: Call, days: int, used: bool) -> None:
    case = json.loads((FHIR_CASES[0].parent / "lone_patient.json").read_text(encoding="utf-8"))
    day = datetime.now(timezone.utc).date() + timedelta(days=days)
    case["bundle"]["entry"][1]["resource"]["effectiveDateTime"] = day.isoformat()
    (person,) = call("fhir", "readBundle", case["bundle"])["people"]
    assert ("alt" in person["biomarkers"]) is used


def test_nothing_in_a_bundle_breaks_the_reader(blank: Page) -> None:
    """Junk in every place of two Bundles, one place at a time."""
    junk = [None, 0, -1, True, "", "x", [], {}, [None], 1e308, "2024", {"toString": 1}]
    cases = [
        json.loads((FHIR_CASES[0].parent / f"{name}.json").read_text(encoding="utf-8"))
        for name in ("limits", "withdrawn")
    ]
    tried = blank.evaluate(
        """async ([bundles, junk]) => {
            const sidecar = await (await import("./sidecar.js")).loadSidecar();
            const { BundleError, readBundle } = await import("./fhir.js");
            let tried = 0;
            function walk(bundle, node) {
                for (const [key, part] of Object.entries(node)) {
                    for (const value of junk) {
                        node[key] = value;
                        try {
                            for (const person of readBundle(sidecar, bundle).people)
                                for (const { name, minimum, maximum } of sidecar.panel) {
                                    const value = person.biomarkers[name] ?? minimum;
                                    if (!(minimum <= value && value <= maximum))
                                        throw new Error(`${name} is ${value}`);
                                }
                        } catch (error) {
                            if (!(error instanceof BundleError)) throw error;
                        }
                        tried++;
                    }
                    node[key] = part;
                    if (typeof part === "object" && part !== null) walk(bundle, part);
                }
            }
            for (const bundle of bundles) walk(bundle, bundle);
            return tried;
        }""",
        [[case["bundle"] for case in cases], junk],
    )
    assert tried > 2000


def test_as_many_results_as_a_stack_has_not_room_for(blank: Page) -> None:
    case = json.loads((FHIR_CASES[0].parent / "lone_patient.json").read_text(encoding="utf-8"))
    people = blank.evaluate(
        """async (bundle) => {
            const sidecar = await (await import("./sidecar.js")).loadSidecar();
            const [patient, result] = bundle.entry;
            const entry = [patient, ...new Array(150_000).fill(result)];
            return (await import("./fhir.js")).readBundle(sidecar, { ...bundle, entry }).people;
        }""",
        case["bundle"],
    )
    assert people[0]["biomarkers"] == {"alt": 20}


def test_one_patient_twice_is_one_person(call: Call) -> None:
    """In whatever order the keys are; but not one id on two servers."""
    name = [{"family": "A", "given": ["B"]}, {"text": "C", "use": "old"}]
    patient = {"resourceType": "Patient", "id": "1", "gender": "male", "name": name}
    turned = {
        key: [dict(reversed(part.items())) for part in value] if key == "name" else value
        for key, value in reversed(patient.items())
    }
    entries = [{"resource": patient}, {"resource": turned}]
    read = call("fhir", "readBundle", {"resourceType": "Bundle", "entry": entries})
    assert [person["patient"] for person in read["people"]] == ["1"]
    for entry, server in zip(entries, "ab", strict=True):
        entry["fullUrl"] = f"https://{server}.org/fhir/Patient/1"
    with pytest.raises(Error, match="expected each Patient once"):
        call("fhir", "readBundle", {"resourceType": "Bundle", "entry": entries})


def test_dates_of_a_report_are_told(call: Call) -> None:
    case = json.loads((FHIR_CASES[0].parent / "old.json").read_text(encoding="utf-8"))
    read = call("report", "readReport", json.dumps(case["bundle"]))
    assert read["dates"] == {
        "2024-03-01": ["Glycated haemoglobin"],
        "2023-03-01": ["Alanine aminotransferase"],
        "2023-02-28": ["Aspartate aminotransferase"],
        "2009-05-01": ["C-reactive protein"],
    }
    old = [note for note in read["notes"] if "more than a year older" in note]
    assert [note.split(" is of ")[0] for note in old] == [
        "C-reactive protein",
        "Aspartate aminotransferase",
    ]
    table = "test,value,date\ncrp,1.2,01.05.2009\nalt,20,2024-03-01 08:00\nast,30,\nggt,22,soon\n"
    read = call("report", "readReport", table)
    assert read["dates"] == {
        "2024-03-01": ["Alanine aminotransferase"],
        "2009-05-01": ["C-reactive protein"],
    }
    assert any("C-reactive protein is of 2009-05-01" in note for note in read["notes"])
    assert any("ggt has a date that cannot be used: soon" in note for note in read["notes"])


def test_an_age_that_is_refused_is_not_rounded_to_one_that_is_not(call: Call) -> None:
    case = json.loads((FHIR_CASES[0].parent / "birthdays.json").read_text(encoding="utf-8"))
    entries = case["bundle"]["entry"]
    wanted = {"b": "17.997", "d": "18.0", "g": "120.003"}
    for key, age in wanted.items():
        mine = [entry for entry in entries if entry["resource"]["id"] == key]
        bundle = {"resourceType": "Bundle", "entry": mine}
        assert call("report", "readReport", json.dumps(bundle))["filling"]["age"] == age


LONG = """Test,Result,Units,Date
C-reactive protein,"0.12",mg/dL,2024-01-05
crp,9,mg/L,2023-01-05
4548-4,5.4,%,2024-01-05
Sodium,140,mmol/L,2024-01-05
rdw,42,fL,2024-01-05
alt,,U/L,2024-01-05
age,54,,
sex,F,,
"""
WIDE = "Alter;age;sex;Creatinine [mg/dL];hba1c (%);albumin\r\nx;54,5;male;0,9;5,4;45\r\n"


def test_a_line_a_test(call: Call) -> None:
    seen = call("csv", "readCsv", LONG)
    assert (seen["age"], seen["sex"]) == (54, 0)
    assert seen["given"] == {
        "crp": {"value": 0.12, "unit": "mg/dL"},
        "hba1c": {"value": 5.4, "unit": "%"},
    }
    notes = {note["label"]: note["message"] for note in seen["notes"]}
    assert "not one of the nine" in notes["Sodium"]
    assert "RDW-SD" in notes["rdw"]


def test_a_column_a_test_with_decimal_commas(call: Call) -> None:
    seen = call("csv", "readCsv", WIDE)
    assert (seen["age"], seen["sex"]) == (54.5, 1)
    assert seen["given"] == {
        "creatinine": {"value": 0.9, "unit": "mg/dL"},
        "hba1c": {"value": 5.4, "unit": "%"},
        "albumin": {"value": 45, "unit": "g/L"},
    }
    assert {note["label"] for note in seen["notes"]} == {"Alter", "albumin"}


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("01.03.2024", "15.02.2024"),
        ("1.3.2024", "2024-02-15"),
        ("01.03.2024 07:30", "01.03.2024 07:10"),
        ("2024-03-01 08:15", "2024-02-15 09:00:10"),
        ("2024-03-01 08:15:30+01:00", "2024-03-01 08:15:20+01:00"),
    ],
)
def test_the_newest_of_a_table(call: Call, first: str, second: str) -> None:
    for rows in (f"{first},9\n{second},7", f"{second},7\n{first},9"):
        lines = [f"crp,mg/L,{row}" for row in rows.split("\n")]
        seen = call("csv", "readCsv", "\n".join(["test,unit,date,value", *lines]))
        assert seen["given"] == {"crp": {"value": 9, "unit": "mg/L"}}
        assert seen["notes"] == []


@pytest.mark.parametrize(
    "date", ["3/1/2024", "01.03.24", "31.02.2024", "last spring", "", "2999-01-01"]
)
def test_which_is_the_newest_is_not_guessed(call: Call, date: str) -> None:
    row = f"crp,7,mg/L,{date}\n"
    table = f"test,value,unit,date\ncrp,9,mg/L,2024-01-01\n{row}alt,20,U/L,{date}\n"
    seen = call("csv", "readCsv", table)
    # Of one result the date decides nothing.
    assert seen["given"] == {"alt": {"value": 20, "unit": "U/L"}}
    (note,) = [note for note in seen["notes"] if note["label"] == "crp"]
    assert "is given twice" in note["message"]
    assert (date or "none") in note["message"]


def test_a_wide_header_takes_no_time(blank: Page) -> None:
    header = "crp" + " " * 100_000 + "x"
    took = blank.evaluate(
        """async (header) => {
            const sidecar = await (await import("./sidecar.js")).loadSidecar();
            const { readCsv } = await import("./csv.js");
            const start = performance.now();
            const read = readCsv(sidecar, `alt,${header}\n20,1`);
            return [performance.now() - start, read.given];
        }""",
        header,
    )
    assert took[1] == {"alt": {"value": 20, "unit": "U/L"}}
    assert took[0] < 1000


def test_a_line_break_in_a_cell_is_told(call: Call) -> None:
    seen = call("csv", "readCsv", 'test,value\nalt,20\ncrp,"1\n2"\n')
    assert set(seen["given"]) == {"alt"}
    assert any("expected a number" in note["message"] for note in seen["notes"])


def test_limits_in_a_table(call: Call) -> None:
    table = "test,value,unit\nage,54,\nsex,female,\ncrp,<0.3,mg/L\nggt,<400,U/L\n"
    seen = call("csv", "readCsv", table)
    assert seen["given"] == {"crp": {"value": 0.3, "unit": "mg/L"}}
    assert any("says too little" in note["message"] for note in seen["notes"])
    nobody = call("csv", "readCsv", "test,value,unit\ncrp,<0.3,mg/L\nalt,20,U/L\n")
    assert set(nobody["given"]) == {"alt"}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "expected the text"),
        ("{", "JSON"),
        ("crp,alt", "expected a header and a line"),
        ("crp,alt\n1,2\n3,4", "expected one person, however: 2 lines"),
        ("weight,height\n70,180", "expected a test of the panel"),
    ],
)
def test_what_is_no_report(call: Call, text: str, reason: str) -> None:
    with pytest.raises(Error, match=reason):
        call("report", "readReport", text)


def test_example_of_the_documentation(call: Call) -> None:
    guide = Path(__file__).resolve().parents[2] / "docs" / "embedding.md"
    match = re.search(r"```\n(test,value.*?)```", guide.read_text(encoding="utf-8"), re.DOTALL)
    assert match is not None
    seen = call("csv", "readCsv", match[1])
    assert seen == {
        "age": 54,
        "sex": 0,
        "given": {
            "crp": {"value": 1.2, "unit": "mg/L"},
            "hba1c": {"value": 5.4, "unit": "%"},
        },
        "days": {"crp": "2024-03-01", "hba1c": "2024-03-01"},
        "notes": [],
    }
