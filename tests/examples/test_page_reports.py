"""Reports that are pasted, dropped and chosen, and the screen on which they are checked."""

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
from henaw.model.runtime import OnnxRuntime
from playwright.sync_api import BrowserContext, Page, expect

TESTS = Path(__file__).resolve().parents[1]
REPORTS = TESTS / "reports"
ONE_LINE = "style='white-space: nowrap; font-size: 9pt'"
"""Fonts differ in width, and a name apart from its value is not read."""


def choose(page: Page, name: str, content: bytes, kind: str = "") -> None:
    file = {"name": name, "mimeType": kind, "buffer": content}
    page.set_input_files("#report-file", file)  # type: ignore[arg-type]


def read_bundle() -> Any:
    case = json.loads((TESTS / "fhir" / "whole_panel.json").read_text(encoding="utf-8"))
    return case["bundle"]


def print_pdf(context: BrowserContext, body: str) -> bytes:
    page = context.new_page()
    page.set_content(body)
    content = page.pdf(format="A4")
    page.close()
    return content


def test_a_pdf_with_text_is_read(page: Page, context: BrowserContext, people: Any) -> None:
    lines = (REPORTS / "german.txt").read_text(encoding="utf-8").splitlines()
    rows = "".join(
        f"<tr>{''.join(f'<td>{cell}</td>' for cell in line.split('   ') if cell.strip())}</tr>"
        for line in lines
    )
    choose(page, "Befund.pdf", print_pdf(context, f"<table {ONE_LINE}>{rows}</table>"))
    expect(page.locator(".check")).to_be_visible()
    expect(page.locator("#check-count")).to_contain_text("9 of 9 values were read")
    assert page.input_value("#creatinine") == "0.9"
    assert page.input_value("#age") == "54"
    expect(page.locator("#field-creatinine .source")).to_contain_text("Kreatinin i.S")
    expect(page.locator("main")).to_contain_text("Blood drawn on 28 Mar 2024")


def test_a_scan_is_refused_kindly(page: Page, context: BrowserContext) -> None:
    body = "<canvas width=300 height=300></canvas><script>document.querySelector('canvas')"
    scan = print_pdf(context, f"{body}.getContext('2d').fillRect(0, 0, 200, 200)</script>")
    choose(page, "scan.pdf", scan)
    expect(page.locator("#report-message")).to_contain_text("This PDF is a scan")


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("photo.jpg", b"\xff\xd8\xff\xe0" + b"\0" * 100, "This is a picture"),
        ("photo.heic", b"\0\0\0\x18ftypheic" + b"\0" * 100, "This is a picture"),
        ("table.xlsx", b"PK\x03\x04" + b"\0" * 26 + b"xl/workbook.xml", "Save it as CSV"),
        ("letter.docx", b"PK\x03\x04" + b"\0" * 26 + b"word/document.xml", "Copy its text"),
        ("empty.txt", b"", "There is no text"),
        ("letter.txt", b"Dear patient,\nplease call us.\n", "None of the nine values"),
    ],
)
def test_other_files_are_refused_with_a_way_out(
    page: Page, name: str, content: bytes, words: str
) -> None:
    choose(page, name, content)
    expect(page.locator("#report-message")).to_contain_text(words)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "cp1252"])
def test_text_of_any_encoding(page: Page, encoding: str) -> None:
    text = "Analyse;Ergebnis;Einheit\nKreatinin (Jaffé);80;µmol/l\nCRP;1,2;mg/l\n"
    choose(page, "befund.csv", text.encode(encoding))
    expect(page.locator(".check")).to_be_visible()
    assert page.input_value("#creatinine") == "80"


def test_the_export_of_apple_health(page: Page) -> None:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        me = (
            '<HealthData><ExportDate value="2026-01-01"/><Me HKCharacteristicTypeIdentifier'
            'DateOfBirth="1970-03-01" HKCharacteristicTypeIdentifierBiologicalSex="HKBiological'
            'SexFemale"/>' + '<Record type="HKQuantityTypeIdentifierStepCount"/>' * 20_000
        )
        file.writestr("apple_health_export/export.xml", me)
        for place, entry in enumerate(read_bundle()["entry"]):
            resource = entry["resource"]
            if resource["resourceType"] == "Observation":
                name = f"apple_health_export/clinical-records/LabResult-{place}.json"
                file.writestr(name, json.dumps(resource))
    choose(page, "export.zip", archive.getvalue())
    expect(page.locator("#check-count")).to_contain_text("9 of 9 values were read")
    assert page.input_value("#age") == "54"
    expect(page.locator("#sex-0")).to_be_checked()


def test_a_bundle_is_dropped_checked_and_answered(
    page: Page, people: Any, onnx: OnnxRuntime
) -> None:
    people.drop(page, "bundle.json", json.dumps(read_bundle()))
    expect(page.locator("#check-count")).to_contain_text("9 of 9 values were read")
    assert page.input_value("#hba1c") == "5.4"
    assert page.input_value("#hba1c + select") == "%"
    page.locator("#excluded-none").check(force=True)
    people.show(page)
    typed = {
        "crp": ("1.2", "mg/L"),
        "hba1c": ("5.4", "%"),
        "creatinine": ("0.9", "mg/dL"),
        "albumin": ("4.5", "g/dL"),
        "lymphocyte_pct": ("29", "%"),
        "rdw": ("13.1", "%"),
        "ggt": ("22", "U/L"),
        "ast": ("24", "U/L"),
        "alt": ("20", "U/L"),
    }
    expected = people.predict(onnx, typed, 54, 0)["biological_age"][0]
    assert int(page.inner_text("#age-number")) == pytest.approx(expected, abs=0.6)


def test_what_was_read_can_be_corrected(page: Page, people: Any, onnx: OnnxRuntime) -> None:
    page.fill("#report-text", "Creatinine 90 umol/L\nCRP 1.2 mg/L\nAge: 54\nSex: female\n")
    page.locator("#read-text").click()
    expect(page.locator("#field-creatinine .source")).to_contain_text("Creatinine")
    page.fill("#creatinine", "79.6")
    page.locator("#excluded-none").check(force=True)
    people.show(page)
    typed = {"creatinine": ("79.6", "umol/L"), "crp": ("1.2", "mg/L")}
    expected = people.predict(onnx, typed, 54, 0)["biological_age"][0]
    assert int(page.inner_text("#age-number")) == pytest.approx(expected, abs=0.51)


def test_doubts_and_what_was_not_used_are_told(page: Page, people: Any) -> None:
    report = (
        "test,value,unit,specimen,date\nage,54,,,\nsex,female,,,\n"
        "HbA1c,5.4,,blood,2024-03-01\nCRP,<0.3,mg/L,serum,2024-03-01\n"
        "Albumin,45,g/L,serum,2022-01-01\nCreatinine,14,mg/dL,urine,2024-03-01\n"
        "Lymphocytes,2.1,10*9/L,blood,2024-03-01\nSodium,140,mmol/L,serum,2024-03-01\n"
    )
    people.drop(page, "report.csv", report)
    expect(page.locator("#field-hba1c .doubt")).to_have_text(
        "No unit was given. % is a guess: please check."
    )
    expect(page.locator("#field-crp .doubt")).to_contain_text("a limit only, < 0.3")
    assert page.input_value("#albumin") == ""
    unused = page.locator(".unused")
    expect(unused).to_contain_text("Albumin (6): it is more than a year older")
    expect(unused).to_contain_text("not measured in blood but in: urine")
    expect(unused).to_contain_text("a number of cells (10*9/L)")
    expect(unused).to_contain_text("not among the nine: Sodium")


def test_an_impossible_value_of_a_report_is_asked_about(page: Page) -> None:
    page.fill("#report-text", "Creatinine 0.9 umol/L\nCRP 1.2 mg/L\n")
    page.locator("#read-text").click()
    expect(page.locator("#creatinine")).to_have_attribute("aria-invalid", "true")
    page.get_by_role("button", name="Did you mean 0.9 mg/dL?").click()
    expect(page.locator("#creatinine")).to_have_attribute("aria-invalid", "false")


def test_a_report_does_not_mix_with_what_was_typed(page: Page, people: Any) -> None:
    people.fill(page, people.TYPED, age="61", sex="male")
    page.fill("#report-text", "HbA1c 5.4 %\n")
    page.locator("#read-text").click()
    expect(page.locator(".check")).to_be_visible()
    assert page.input_value("#hba1c") == "5.4"
    assert page.input_value("#crp") == ""
    # Who the person is, the report does not say.
    assert page.input_value("#age") == "61"


def test_a_reading_of_a_comma_language(page: Page) -> None:
    page.locator("#language").select_option("de")
    page.fill("#report-text", "Kreatinin 0,90 mg/dl\nCRP 1,2 mg/l\n")
    page.locator("#read-text").click()
    assert page.input_value("#creatinine") == "0,9"
    expect(page.locator("#field-creatinine .source")).to_contain_text("Zeile: 1")
    page.fill("#albumin", "45,5")
    expect(page.locator("#albumin")).to_have_attribute("aria-invalid", "false")
