"""What a new user stumbled over, each as a test: all of them failed on the page before this one."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from henaw.model.runtime import OnnxRuntime
from playwright.sync_api import Page, expect

US_REPORT = """Test Name,Result,Units
C-Reactive Protein,1.2,mg/L
Hemoglobin A1c,5.4,%
Creatinine,0.9,mg/dL
"""
GERMAN_CSV = "Analyse;Ergebnis;Einheit\nKreatinin;0,90;mg/dl\nHbA1c;5,4;%\nGamma-GT;22;U/l\n"
LABCORP = """Creatinine 01 0.90 0.88 03/15/2023 mg/dL 0.57-1.00
Hemoglobin A1c 01 5.4 % 4.8-5.6
AST (SGOT) 01 24 IU/L 0-40
"""
TWO_PEOPLE = """patient_id,test,value,unit,date
A,age,54,,
A,sex,female,,
A,CRP,1.2,mg/L,2024-03-01
B,age,78,,
B,sex,male,,
B,CRP,40,mg/L,2024-05-01
B,Creatinine,180,umol/L,2024-05-01
"""
PNG = b"\x89PNG\r\n\x1a\n" + b"row\n" * 1074


def read_medians(sidecar: Any, age: int, sex: str) -> dict[str, tuple[str, str]]:
    place = sidecar["reference"]["age"].index(age)
    return {
        item["name"]: (str(sidecar["reference"][sex][item["name"]][place]), item["unit"])
        for item in sidecar["panel"]
    }


def test_typical_blood_is_put_among_people(page: Page, people: Any, sidecar: Any) -> None:
    people.fill(page, read_medians(sidecar, 54, "female"), age="54", sex="female")
    people.show(page)
    expect(page.locator("#headline")).to_contain_text("typical woman of 49")
    expect(page.locator("#younger")).to_have_text(
        re.compile(r"^Of 100 women of your age, \d\d have a younger result\.$")
    )
    expect(page.locator("#ordinary")).to_contain_text("having no unusual value")
    expect(page.locator("#answer")).not_to_contain_text("younger than the age lived")


def test_prediabetes_is_no_gain(page: Page, people: Any) -> None:
    people.fill(page, people.TYPED | {"hba1c": ("43", "mmol/mol")}, age="54", sex="female")
    people.show(page)
    value = page.locator("#value-hba1c")
    expect(value.locator(".chip")).to_have_text("high")
    expect(value.locator(".words")).to_contain_text("risk of diabetes is raised")
    expect(value.locator(".years.less")).to_have_count(0)


def test_hepatitis_is_a_caution_and_has_no_slider(page: Page, people: Any) -> None:
    values = people.TYPED | {"ast": ("300", "U/L"), "alt": ("400", "U/L")}
    people.fill(page, values, age="54", sex="female")
    people.show(page)
    expect(page.locator("#cautions")).to_contain_text("Alanine aminotransferase (400 U/L)")
    expect(page.locator("#cautions")).to_contain_text("see a doctor")
    expect(page.locator("#value-alt .years.less, #value-ast .years.less")).to_have_count(0)
    expect(page.locator("#whatif-alt, #whatif-ast")).to_have_count(0)


def test_acute_inflammation_has_advice(page: Page, people: Any) -> None:
    people.fill(page, people.TYPED | {"crp": ("80", "mg/L")}, age="54", sex="female")
    people.show(page)
    first = page.locator("#answer > *").first
    expect(first).to_have_attribute("id", "cautions")
    expect(first).to_contain_text("Have it repeated once you are well")


def test_age_and_sex_alone_show_no_age(page: Page, people: Any) -> None:
    people.fill(page, {}, age="54", sex="female")
    page.locator(".bar button[type=submit]").click()
    expect(page.locator("#missing")).to_have_text("Type at least one blood value.")
    expect(page.locator("#age-number")).to_have_count(0)
    expect(page.locator("main")).not_to_contain_text("54.0")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (LABCORP, {"creatinine": ("0.9", "mg/dL"), "hba1c": ("5.4", "%"), "ast": ("24", "U/L")}),
        ("HbA1c 5.4 %\nCRP 1.2 mg/L\n", {"hba1c": ("5.4", "%"), "crp": ("1.2", "mg/L")}),
        (US_REPORT, {"crp": ("1.2", "mg/L"), "creatinine": ("0.9", "mg/dL")}),
        (GERMAN_CSV, {"creatinine": ("0.9", "mg/dL"), "ggt": ("22", "U/L")}),
    ],
)
def test_everyday_reports_are_read(
    page: Page, people: Any, text: str, expected: dict[str, tuple[str, str]]
) -> None:
    page.fill("#report-text", text)
    page.locator("#read-text").click()
    expect(page.locator(".check")).to_be_visible()
    for name, (value, unit) in expected.items():
        assert page.input_value(f"#{name}") == value
        assert page.input_value(f"#{name} + select") == unit


def test_a_picture_is_refused_kindly(page: Page, people: Any) -> None:
    picture = {"name": "report", "mimeType": "", "buffer": PNG}
    page.set_input_files("#report-file", picture)  # type: ignore[arg-type]
    message = page.locator("#report-message")
    expect(message).to_contain_text("This is a picture")
    expect(message).to_contain_text("copy the text out of it")
    expect(message).not_to_contain_text("lines")


def test_names_have_their_abbreviations(page: Page, people: Any) -> None:
    for name in ("GGT", "AST, GOT", "ALT, GPT", "HbA1c", "RDW-CV", "CRP"):
        expect(page.locator("form .abbreviation", has_text=name).first).to_be_visible()


def test_the_units_stay_and_a_guess_is_one_tap(page: Page, people: Any) -> None:
    page.locator("#units label", has_text="US").click()
    expect(page.locator("#creatinine + select")).to_have_value("mg/dL")
    page.locator("#clear").click()
    expect(page.locator("#creatinine + select")).to_have_value("mg/dL")
    page.reload()
    expect(page.locator("#creatinine + select")).to_have_value("mg/dL")
    page.locator("#units label", has_text="SI").click()
    page.fill("#creatinine", "0.9")
    expect(page.locator("#creatinine")).to_have_attribute("aria-invalid", "true")
    page.get_by_role("button", name="Did you mean 0.9 mg/dL?").click()
    expect(page.locator("#creatinine + select")).to_have_value("mg/dL")
    expect(page.locator("#creatinine")).to_have_attribute("aria-invalid", "false")


def test_the_example_is_asked_for_and_never_mixed(
    page: Page, people: Any, onnx: OnnxRuntime
) -> None:
    for name in people.TYPED:
        assert page.input_value(f"#{name}") == ""
    page.get_by_role("button", name="Show an example").click()
    expect(page.locator("#example")).to_have_text("Example values (not yours)")
    page.locator("#again").click()
    people.fill(page, people.TYPED, age="61", sex="male")
    people.show(page)
    expect(page.locator("#example")).to_have_count(0)
    expect(page.locator("#answer")).not_to_contain_text("nobody's")


def test_what_is_typed_over_an_example_is_ones_own(page: Page, people: Any) -> None:
    page.get_by_role("button", name="Show an example").click()
    page.locator("#edit").click()
    page.fill("#crp", "1")
    page.locator(".bar button[type=submit]").click()
    expect(page.locator("#answer")).to_be_visible()
    mark = page.locator("#example")
    expect(mark).to_contain_text("Still from the example, not yours: Age, Sex, Glycated")
    expect(mark).not_to_contain_text("C-reactive")
    page.locator("#edit").click()
    page.locator("#age").fill("61")
    page.locator("#sex-1").check(force=True)
    for name, (value, unit) in people.TYPED.items():
        page.locator(f"#{name} + select").select_option(unit)
        page.fill(f"#{name}", value)
    people.show(page)
    expect(mark).to_have_count(0)


def test_a_reload_keeps_what_was_typed_and_clear_all_forgets_it(page: Page, people: Any) -> None:
    people.fill(page, people.TYPED, age="61", sex="male")
    people.show(page)
    number = page.inner_text("#age-number")
    page.reload()
    expect(page.locator("#age-number")).to_have_text(number)
    page.locator("#edit").click()
    expect(page.locator("#crp")).to_have_value("4.8")
    page.locator("#clear").click()
    page.reload()
    for name in people.TYPED:
        assert page.input_value(f"#{name}") == ""


def test_there_is_a_second_date(page: Page, people: Any) -> None:
    for crp, day in (("4.8", "2023-03-01"), ("1.0", "2024-03-01")):
        people.fill(page, people.TYPED | {"crp": (crp, "mg/L")}, age="61", sex="male")
        people.show(page)
        page.fill("#drawn", day)
        page.locator("#keep").click()
        expect(page.locator("#time-message")).to_have_text("Kept.")
    expect(page.locator(".kept li")).to_have_count(2)
    expect(page.locator(".change")).to_contain_text("the noise of two blood draws")


def test_there_is_a_second_language(page: Page, people: Any) -> None:
    page.locator("#language").select_option("de")
    expect(page.locator("h1")).to_have_text("Wie alt wirkt Ihr Blut?")
    assert page.evaluate("document.documentElement.lang") == "de"


def test_on_a_phone_the_number_is_in_view(page: Page, people: Any) -> None:
    page.set_viewport_size({"width": 390, "height": 664})
    people.fill(page, people.TYPED, age="61", sex="male")
    people.show(page)
    box = page.locator("#age-number").bounding_box()
    assert box is not None
    assert box["y"] > 0
    assert box["y"] + box["height"] < 664
    page.locator("#risks").scroll_into_view_if_needed()
    glance = page.locator("#glance").bounding_box()
    assert glance is not None
    assert 0 <= glance["y"] < 10


def test_two_people_of_a_file_are_not_mixed(page: Page, people: Any, onnx: OnnxRuntime) -> None:
    people.drop(page, "two.csv", TWO_PEOPLE)
    expect(page.locator("h1")).to_contain_text("2 people")
    page.get_by_role("button", name="Person B").click()
    assert page.input_value("#age") == "78"
    assert page.input_value("#crp") == "40"
    assert page.input_value("#albumin") == ""
    page.locator("#excluded-none").check()
    people.show(page)
    given = {"crp": ("40", "mg/L"), "creatinine": ("180", "umol/L")}
    expected = people.predict(onnx, given, 78, 1)["biological_age"][0]
    assert people.read_number(page.inner_text("#age-number")) == pytest.approx(expected, abs=0.51)


def test_a_form_beneath_notes_does_not_scroll_inside_itself(page: Page, people: Any) -> None:
    page.set_viewport_size({"width": 1400, "height": 700})
    case = json.loads(
        (Path(__file__).parents[1] / "fhir" / "wrong_units.json").read_text(encoding="utf-8")
    )
    people.drop(page, "bundle.json", json.dumps(case["bundle"]))
    expect(page.locator(".check")).to_be_visible()
    inner = page.evaluate(
        """[...document.querySelectorAll("main *")].filter((element) =>
            element.scrollHeight > element.clientHeight + 1 && element.clientHeight > 0
            && ["auto", "scroll"].includes(getComputedStyle(element).overflowY)
            && element.tagName !== "TEXTAREA").length"""
    )
    assert inner == 0


def test_at_95_there_is_no_width_to_trust(page: Page, people: Any) -> None:
    people.fill(page, people.TYPED, age="95", sex="male")
    people.show(page)
    expect(page.locator("#withheld h1")).to_have_text("The model does not know people of this age")
    expect(page.locator("main")).not_to_contain_text("±")


def test_a_refused_field_stops_the_result(page: Page, people: Any) -> None:
    people.fill(page, {"crp": ("1.2", "mg/L")}, age="54", sex="female")
    page.fill("#albumin", "4000")
    page.locator(".bar button[type=submit]").click()
    expect(page.locator("#missing")).to_contain_text("Correct or clear these first: Albumin.")
    expect(page.locator("#albumin")).to_be_focused()
    expect(page.locator("#age-number")).to_have_count(0)
