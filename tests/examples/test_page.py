"""The page in a real Chromium: what a person types, sees, drops, prints and hears."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from henaw.model.biomarkers import INDEX, NAMES, PANEL
from henaw.model.reliability import find_reasons
from henaw.model.runtime import OnnxRuntime, Outputs
from playwright.sync_api import Browser, Page, Route, expect

REPOSITORY = Path(__file__).resolve().parents[2]
BUNDLE = REPOSITORY / "tests" / "fhir" / "whole_panel.json"
MINUS = "\u2212"
# As a report has them: in the units that the page offers first after the panel's own.
TYPED = {
    "crp": ("4.8", "mg/L"),
    "hba1c": ("6.1", "%"),
    "creatinine": ("0.82", "mg/dL"),
    "albumin": ("4.2", "g/dL"),
    "lymphocyte_pct": ("24.4", "%"),
    "rdw": ("14.2", "%"),
    "ggt": ("38", "U/L"),
    "ast": ("0.37", "ukat/L"),
    "alt": ("24", "U/L"),
}


# Each of these values is seen; together, nobody has them.
UNLIKE = (0.1, 120.0, 80.0, 55.0, 30.0, 22.0, 5.0, 200.0, 6.0)


@pytest.fixture(scope="module")
def runtime(artifacts: Path) -> OnnxRuntime:
    return OnnxRuntime(artifacts / "henaw.onnx")


@pytest.fixture(scope="module")
def limits(artifacts: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((artifacts / "henaw.json").read_text())["critical_limits"]
    return found


@pytest.fixture(scope="module")
def fitted_ages(artifacts: Path) -> tuple[float, float]:
    low, high = json.loads((artifacts / "henaw.json").read_text())["fitted_ages"]
    return low, high


def read_bundle_text() -> str:
    return json.dumps(json.loads(BUNDLE.read_text(encoding="utf-8"))["bundle"])


def fill(page: Page, values: dict[str, tuple[str, str]], *, age: str, sex: str) -> None:
    page.get_by_role("button", name="clear all").click()
    page.fill("#age", age)
    page.get_by_label(sex, exact=True).check()
    for name, (value, unit) in values.items():
        page.fill(f"#{name}", value)
        page.locator(f"#{name} + select").select_option(unit)


def predict(
    runtime: OnnxRuntime, values: dict[str, tuple[str, str]], age: float, sex: int
) -> Outputs:
    row = [np.nan] * len(NAMES)
    for name, (value, unit) in values.items():
        row[INDEX[name]] = PANEL[INDEX[name]].find_unit(unit).to_si(float(value))
    return runtime.predict(np.array([row], np.float32), np.float32([age]), np.int64([sex]))


def read_number(text: str) -> float:
    match = re.search(rf"[{MINUS}-]?\d+(\.\d+)?", text)
    assert match is not None, text
    return float(match[0].replace(MINUS, "-"))


def shown(page: Page) -> float:
    """Biological age, once what was typed last is answered."""
    expect(page.locator("#answer")).to_have_attribute("aria-busy", "false")
    return read_number(page.inner_text("#age-number"))


def test_starts_with_an_example_that_says_so(page: Page) -> None:
    expect(page.get_by_text("Of the example values, nobody's")).to_be_visible()
    fill(page, TYPED, age="61", sex="male")
    expect(page.get_by_text("Of the example values, nobody's")).to_be_hidden()
    expect(page.locator("#example-note")).to_be_hidden()


def test_answers_what_the_model_answers(page: Page, runtime: OnnxRuntime) -> None:
    fill(page, TYPED, age="61", sex="male")
    answer = predict(runtime, TYPED, 61, 1)
    assert shown(page) == pytest.approx(answer["biological_age"][0], abs=0.051)
    for bound in answer["interval"][0]:
        assert f"{bound:.1f}" in page.inner_text("#age-words")

    years = [
        read_number(text) for text in page.locator("#contributions td.years").all_inner_texts()
    ]
    assert years[0] == 61
    assert sorted(years[1:-1]) == pytest.approx(sorted(answer["contributions"][0]), abs=0.051)
    assert years[-1] == pytest.approx(answer["biological_age"][0], abs=0.051)
    systems = [read_number(text) for text in page.locator("#systems td.years").all_inner_texts()]
    assert systems == pytest.approx(list(answer["system_contributions"][0]), abs=0.051)

    of_100 = round(100 * float(answer["mortality_10y"][0]))
    assert page.locator(".icons .dies").count() == of_100
    assert page.locator(".icons path").count() == 100
    assert f"men of 61 with values like these, about {of_100} of 100" in page.inner_text(
        "#risk-words"
    )
    causes = [read_number(text) for text in page.locator("#causes td").all_inner_texts()]
    assert sum(causes) == pytest.approx(100 * answer["mortality_10y"][0], abs=0.3)


def test_small_risks_are_of_a_thousand(page: Page, runtime: OnnxRuntime) -> None:
    fill(page, {"albumin": ("48", "g/L")}, age="25", sex="female")
    of_1000 = round(
        1000 * float(predict(runtime, {"albumin": ("48", "g/L")}, 25, 0)["mortality_10y"][0])
    )
    expect(page.locator(".icons path")).to_have_count(1000)
    assert page.locator(".icons .dies").count() == of_1000 < 10


@pytest.mark.parametrize(
    ("mine", "average", "words"),
    [
        (0.014, 0.009, ("about 14 of 1000", "about 9 of 1000")),
        (0.004, 0.02, ("about 4 of 1000", "about 20 of 1000")),
        (0.02, 0.011, ("about 2 of 100", "about 1 of 100")),
        (0.0002, 0.01, ("fewer than 1 of 1000", "about 10 of 1000")),
    ],
)
def test_risks_are_told_of_as_many_people(
    page: Page, mine: float, average: float, words: tuple[str, str]
) -> None:
    told, drawn, label = page.evaluate(
        """async ([mine, average]) => {
            const { chooseDenominator, describeRisk, drawIcons } = await import("./risk.js");
            const sidecar = await (await import("./sidecar.js")).loadSidecar();
            const [answer, other] = [mine, average].map((mortality_10y) => ({ mortality_10y }));
            const icons = drawIcons(mine, chooseDenominator(mine, average));
            return [describeRisk(sidecar, 50, 0, answer, other),
                icons.querySelectorAll("path").length, icons.getAttribute("aria-label")];
        }""",
        [mine, average],
    )
    assert [re.findall(r"(?:about|fewer than) \d+ of \d+", told)] == [list(words)]
    assert words[0].endswith(f" of {drawn}")
    assert label == f"{words[0]} people"


def test_warns_while_typing(page: Page, runtime: OnnxRuntime) -> None:
    fill(page, TYPED, age="61", sex="male")
    page.locator("#creatinine + select").select_option("umol/L")
    message = page.locator("#creatinine-message")
    expect(message).to_have_text(
        "0.82 umol/L is outside 5 to 2000; as mg/dL it would be 72.5 umol/L"
    )
    assert page.get_attribute("#creatinine", "aria-invalid") == "true"
    expect(page.locator("#age-warnings")).to_contain_text("Creatinine is not used")
    without = {name: value for name, value in TYPED.items() if name != "creatinine"}
    answer = predict(runtime, without, 61, 1)
    assert shown(page) == pytest.approx(answer["biological_age"][0], abs=0.051)
    page.locator("#creatinine + select").select_option("mg/dL")
    expect(message).to_have_text("")
    assert page.get_attribute("#creatinine", "aria-invalid") == "false"

    page.fill("#crp", "300")
    expect(page.locator("#crp-message")).to_contain_text("rare: 99.8 %")
    page.fill("#age", "12")
    expect(page.locator("#age-message")).to_have_text("12 years is outside 18 to 120")
    expect(page.locator("#answer")).to_be_hidden()
    page.fill("#age", "101")
    expect(page.locator("#withheld")).to_contain_text("Age 101 is outside")


NUMBERS = ("#answer", "#age-number", "#contributions", "#systems", "#risk-icons", "#what-if")


def read_withheld(page: Page) -> tuple[str, list[str]]:
    """Heading and reasons of the banner that stands in place of an answer."""
    expect(page.locator("#withheld")).to_be_visible()
    for part in NUMBERS:
        expect(page.locator(part)).to_be_hidden()
    items = page.locator("#withheld li").all_inner_texts()
    return page.inner_text("#withheld h2"), items


def test_a_critical_value_needs_a_doctor(page: Page, limits: dict[str, Any]) -> None:
    fill(page, TYPED, age="61", sex="male")
    shown(page)
    expect(page.locator("#withheld")).to_be_hidden()
    high = limits["crp"][1]
    page.fill("#crp", f"{high + 1:g}")
    expect(page.locator("#withheld")).to_be_visible()
    heading, reasons = read_withheld(page)
    assert heading == "This result needs a doctor, not a calculator"
    said = f"C-reactive protein {high + 1:g} mg/L is above {high:g} mg/L. Such a value needs a"
    assert len(reasons) == 1
    assert reasons[0].startswith(said)
    expect(page.locator("#spoken")).to_contain_text(f"{heading}. {said}")
    # In the unit that is typed.
    page.fill("#creatinine", "5")
    expect(page.locator("#withheld li")).to_have_count(2)
    limit = f"{limits['creatinine'][1] / 88.42:.4g}"
    _, reasons = read_withheld(page)
    assert reasons[1].startswith(f"Creatinine 5 mg/dL is above {limit} mg/dL.")
    page.fill("#albumin", "1.8")
    expect(page.locator("#withheld li")).to_have_count(3)
    _, reasons = read_withheld(page)
    assert reasons[2].startswith("Albumin 1.8 g/dL is below 2 g/dL.")
    page.fill("#crp", TYPED["crp"][0])
    page.fill("#creatinine", TYPED["creatinine"][0])
    page.fill("#albumin", TYPED["albumin"][0])
    shown(page)
    expect(page.locator("#withheld")).to_be_hidden()
    expect(page.locator("#contributions")).to_be_visible()


def test_other_reasons_have_words_of_their_own(page: Page) -> None:
    fill(page, TYPED, age="92", sex="male")
    expect(page.locator("#withheld")).to_be_visible()
    heading, reasons = read_withheld(page)
    assert heading == "The model does not know people of this age"
    assert len(reasons) == 1
    assert reasons[0].startswith("Age 92 is outside ")
    together = {b.name: (str(value), b.unit) for b, value in zip(PANEL, UNLIKE, strict=True)}
    fill(page, together, age="50", sex="male")
    expect(page.locator("#withheld li")).to_contain_text("unlike those of anybody")
    assert read_withheld(page)[0] == "This result needs a doctor, not a calculator"
    fill(page, {}, age="50", sex="male")
    expect(page.locator("#no-answer")).to_have_text("Type at least one value to see the answer.")
    for part in ("#withheld", *NUMBERS):
        expect(page.locator(part)).to_be_hidden()


def test_reasons_are_those_of_python(
    page: Page, runtime: OnnxRuntime, limits: dict[str, Any], fitted_ages: tuple[float, float]
) -> None:
    people = []
    for name, (low, high) in limits.items():
        usual = dict.fromkeys(NAMES, np.nan) | {"crp": 1.2, "albumin": 43.0}
        people += [
            usual | {name: limit * step}
            for limit, step in ((low, 0.98), (high, 1.02))
            if limit is not None
        ]
    people += [dict.fromkeys(NAMES, np.nan), dict(zip(NAMES, UNLIKE, strict=True))]
    rows = np.array([list(person.values()) for person in people], np.float32)
    age = np.where(np.arange(len(rows)) % 3 == 0, 93.0, 50.0).astype(np.float32)
    outputs = runtime.predict(rows, age, np.zeros(len(rows), np.int64))
    assert not outputs["reliable"].any()
    expected = find_reasons(outputs, rows, age, critical_limits=limits, fitted_ages=fitted_ages)
    seen = page.evaluate(
        """async ([rows, ages]) => {
            const { listReasons } = await import("./reliability.js");
            const sidecar = await (await import("./sidecar.js")).loadSidecar();
            const predict = await (await import("./model.js")).loadModel("henaw.onnx");
            const people = rows.map((biomarkers, place) => ({
                biomarkers: biomarkers.map((value) => value ?? NaN), age: ages[place], sex: 0 }));
            const unitOf = (name) => sidecar.panel.find((item) => item.name === name).unit;
            return (await predict(people)).map((answer, place) =>
                listReasons(sidecar, people[place], answer, unitOf)
                    .map(({ code, message }) => [code, message]));
        }""",
        [[[None if np.isnan(v) else v for v in row] for row in rows.tolist()], age.tolist()],
    )
    assert seen == [[[r.code, r.message] for r in expected[row]] for row in range(len(rows))]


def test_a_slider_into_the_critical_shows_no_age(page: Page, runtime: OnnxRuntime) -> None:
    fill(page, TYPED | {"creatinine": ("3.9", "mg/dL")}, age="61", sex="male")
    shown(page)
    page.locator("#what-if-creatinine").press("End")
    words = page.locator("#what-if-words")
    expect(words).to_have_text("Such values need a doctor, not a calculator: no age is shown.")
    curve = page.locator("#what-if-creatinine").locator("..").locator("polyline")
    points = (curve.get_attribute("points") or "").split()
    assert 0 < len(points) < 21
    assert "NaN" not in " ".join(points)
    page.get_by_role("button", name="Back to the typed values").click()
    expect(words).to_contain_text(" 0.0 from")


def test_the_first_bar_says_what_typical_values_are(page: Page, runtime: OnnxRuntime) -> None:
    fill(page, TYPED, age="61", sex="male")
    shown(page)
    rows = page.locator("#contributions tbody tr")
    years = float(predict(runtime, TYPED, 61, 1)["contributions"][0, 0])
    assert years < 0
    expect(rows.nth(1)).to_contain_text("Typical values")
    expect(rows.nth(1)).to_contain_text(
        "people with all known values at the median die less than the typical person"
    )
    assert read_number(rows.nth(1).locator(".years").inner_text()) == pytest.approx(years, abs=0.06)


def test_nothing_leaves_the_page(browser: Browser, site: str) -> None:
    page = browser.new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(site)
    page.locator("#answer[aria-busy=false]").wait_for()
    assert asked
    assert all(url.startswith((site, "data:")) for url in asked)
    asked.clear()
    fill(page, TYPED, age="61", sex="male")
    page.locator("#what-if-crp").press("ArrowRight")
    page.get_by_text("Read them from a lab report").click()
    page.fill("#report-text", read_bundle_text())
    page.get_by_role("button", name="Read the text").click()
    page.emulate_media(media="print")
    page.pdf()
    page.wait_for_timeout(500)
    assert asked == []
    page.close()


def test_nothing_could_leave_the_page(page: Page) -> None:
    violated = page.evaluate(
        """() => new Promise((resolve) => {
            document.addEventListener("securitypolicyviolation", (event) =>
                resolve(event.effectiveDirective));
            fetch("http://127.0.0.1:9/").catch(() => setTimeout(resolve, 1000, "allowed"));
        })"""
    )
    assert violated == "connect-src"


def test_next_test_narrows_the_interval_most(page: Page, runtime: OnnxRuntime) -> None:
    few = {"albumin": TYPED["albumin"], "rdw": TYPED["rdw"]}
    fill(page, few, age="61", sex="male")
    expect(page.locator("#next-list li")).to_have_count(7)
    said = [
        (text.split(": ")[0], read_number(text.split("about")[1]))
        for text in page.locator("#next-list li").all_inner_texts()
    ]
    assert [width for _, width in said] == sorted(width for _, width in said)

    def measure(values: dict[str, tuple[str, str]]) -> float:
        low, high = predict(runtime, values, 61, 1)["interval"][0]
        return float(high - low) / 2

    assert said[-1][1] <= measure(few) + 0.05
    by_label = {biomarker.label: biomarker.name for biomarker in PANEL}
    best, worst = by_label[said[0][0]], by_label[said[-1][0]]
    assert measure(few | {best: TYPED[best]}) < measure(few | {worst: TYPED[worst]})


def test_what_if(page: Page, runtime: OnnxRuntime, artifacts: Path) -> None:
    fill(page, TYPED, age="61", sex="male")
    before = shown(page)
    slider = page.locator("#what-if-crp")
    slider.press("End")
    highest = json.loads((artifacts / "henaw.json").read_text())["fitted_range"]["crp"][1]
    moved = predict(runtime, TYPED | {"crp": (str(highest), "mg/L")}, 61, 1)
    years = float(moved["biological_age"][0])
    words = page.locator("#what-if-words")
    expect(words).to_have_text(re.compile(rf"^{years:.1f} years, \+"))
    assert shown(page) == before
    assert "mg/L" in (slider.get_attribute("aria-valuetext") or "")
    page.get_by_role("button", name="Back to the typed values").click()
    expect(words).to_contain_text(f"{before:.1f} years, 0.0 from")


def test_a_slider_does_not_jump_under_the_hand(page: Page) -> None:
    """Its ends hold while it is moved, those that an unusual typed value has set too."""
    fill(page, TYPED | {"crp": ("300", "mg/L")}, age="61", sex="male")
    shown(page)
    slider = page.locator("#what-if-crp")
    assert slider.input_value() == "100"
    for place in (99, 98, 97):
        slider.press("ArrowLeft")
        shown(page)
        assert slider.input_value() == str(place)
    page.fill("#crp", "2.5")
    shown(page)
    # The value that was moved is still within reach.
    assert slider.input_value() == "100"
    slider.press("ArrowLeft")
    shown(page)
    assert slider.input_value() == "99"


def test_a_late_answer_does_not_move_a_slider_back(page: Page) -> None:
    place = page.evaluate(
        """async () => {
            const { WhatIf } = await import("./whatif.js");
            const sidecar = await (await import("./sidecar.js")).loadSidecar();
            let release;
            const predict = (people) => new Promise((resolve) => {
                release = () => resolve(people.map(() => ({ biological_age: 50, reliable: true })));
            });
            let current = true;
            const whatIf = new WhatIf(sidecar, predict, () => (current = false));
            const biomarkers = sidecar.panel.map(({ name }) => sidecar.fitted_range[name][0]);
            const person = { age: 50, sex: 0, biomarkers };
            const unitOf = (name) => sidecar.panel.find((item) => item.name === name).unit;
            const showing = whatIf.show(person, unitOf, () => current);
            const slider = document.querySelectorAll("#sliders input")[9];
            slider.value = "90";
            slider.dispatchEvent(new Event("input"));
            release();
            await showing;
            return slider.value;
        }"""
    )
    assert place == "90"


def drop(page: Page, name: str, text: str) -> None:
    page.evaluate(
        """([name, text]) => {
            const dropped = new DataTransfer();
            dropped.items.add(new File([text], name));
            document.body.dispatchEvent(
                new DragEvent("drop", {dataTransfer: dropped, bubbles: true, cancelable: true}));
        }""",
        [name, text],
    )


def check_whole_panel(page: Page, runtime: OnnxRuntime) -> None:
    expect(page.locator("#report-outcome")).to_contain_text("Read 9 of 9 values.")
    case: dict[str, Any] = json.loads(BUNDLE.read_text(encoding="utf-8"))["expected"]["people"][0]
    assert page.input_value("#hba1c") == "5.4"
    assert page.input_value("#hba1c + select") == "%"
    row = [[case["biomarkers"][name] for name in NAMES]]
    answer = runtime.predict(np.array(row, np.float32), np.float32([54.0]), np.int64([case["sex"]]))
    assert page.input_value("#age") == "54.0"
    assert shown(page) == pytest.approx(answer["biological_age"][0], abs=0.051)


def test_dropped_bundle(page: Page, runtime: OnnxRuntime) -> None:
    drop(page, "bundle.json", read_bundle_text())
    check_whole_panel(page, runtime)
    expect(page.locator("#report-outcome")).to_contain_text("Of 2024-03-01: C-reactive protein, ")
    expect(page.locator("#example-note")).to_be_hidden()


def test_chosen_bundle(page: Page, runtime: OnnxRuntime, tmp_path: Path) -> None:
    (tmp_path / "bundle.json").write_text(read_bundle_text())
    page.set_input_files("#report-file", tmp_path / "bundle.json")
    check_whole_panel(page, runtime)


def test_reports_say_what_was_not_used(page: Page) -> None:
    case = json.loads((BUNDLE.parent / "wrong_units.json").read_text(encoding="utf-8"))
    page.get_by_text("Read them from a lab report").click()
    page.fill("#report-text", json.dumps(case["bundle"]))
    page.get_by_role("button", name="Read the text").click()
    outcome = page.locator("#report-outcome")
    expect(outcome).to_contain_text("Read 1 of 9 values.")
    expect(outcome.locator("li")).to_have_count(len(case["expected"]["refusals"]))
    expect(outcome).to_contain_text("RDW-SD")
    page.get_by_text("Read them from a lab report").click()
    page.fill("#report-text", "{")
    page.get_by_role("button", name="Read the text").click()
    expect(outcome).to_contain_text("The report could not be read.")
    drop(page, "lab.csv", "test,value,unit\nage,54,\nsex,female,\nggt,22,U/L\n")
    expect(outcome).to_contain_text("Read 1 of 9 values.")
    assert page.input_value("#ggt") == "22"


def test_nothing_stays_on_a_shared_computer(page: Page) -> None:
    clear = page.get_by_role("button", name="clear all")
    fill(page, TYPED, age="61", sex="male")
    drop(page, "bundle.json", read_bundle_text())
    expect(page.locator("#report-outcome")).not_to_be_empty()
    page.get_by_text("Read them from a lab report").click()
    page.fill("#report-text", "crp,alt")
    shown(page)
    page.locator("#what-if-crp").press("End")
    expect(page.locator("#what-if-words")).not_to_contain_text(" 0.0 from")
    clear.click()
    assert page.locator("#person").evaluate("form => new FormData(form).get('sex')") is None
    for box in page.get_by_role("textbox").all():
        assert box.input_value() == ""
    expect(page.locator("#report-outcome")).to_be_empty()
    expect(clear).to_be_hidden()
    page.fill("#report-text", "x")
    expect(clear).to_be_visible()
    clear.click()
    page.fill("#age", "61")
    page.get_by_label("male", exact=True).check()
    page.fill("#crp", "2")
    expect(clear).to_be_visible()
    expect(page.locator("#what-if-words")).to_contain_text(" 0.0 from")


def test_typing_is_not_spoken_at_each_key(page: Page) -> None:
    fill(page, TYPED, age="61", sex="male")
    shown(page)
    page.evaluate(
        """() => {
            window.changed = [];
            const seen = (records) => {
                for (const { target } of records) {
                    const at = target.nodeType === 3 ? target.parentElement : target;
                    const live = at.closest("output, [role=status], [aria-live]");
                    const value = at.closest(".slider .value, .slider output");
                    if (live) changed.push(live.id || live.tagName);
                    if (value) changed.push(value.previousElementSibling.textContent);
                }
            };
            const all = { subtree: true, childList: true, characterData: true };
            new MutationObserver(seen).observe(document.body, all);
        }"""
    )
    page.locator("#crp").press_sequentially("1")
    shown(page)
    page.wait_for_timeout(1000)
    changed = page.evaluate("changed")
    assert set(changed) == {"spoken", "C-reactive protein"}


def test_by_keyboard_alone(page: Page, runtime: OnnxRuntime) -> None:
    keyboard = page.keyboard
    keyboard.press("Tab")
    expect(page.get_by_role("button", name="clear all")).to_be_focused()
    keyboard.press("Enter")
    expect(page.locator("#age")).to_be_focused()
    keyboard.type("61")
    keyboard.press("Tab")
    keyboard.press("Space")
    keyboard.press("ArrowDown")
    for name, (value, unit) in TYPED.items():
        keyboard.press("Tab")
        expect(page.locator(f"#{name}")).to_be_focused()
        keyboard.type(value)
        keyboard.press("Tab")
        keyboard.type(unit)
    answer = predict(runtime, TYPED, 61, 1)
    assert shown(page) == pytest.approx(answer["biological_age"][0], abs=0.051)
    keyboard.press("Tab")
    expect(page.locator("#what-if-crp")).to_be_focused()
    keyboard.press("ArrowRight")
    expect(page.locator("#what-if-words")).not_to_contain_text(" 0.0 from")


def test_is_told_to_a_screen_reader(page: Page) -> None:
    fill(page, TYPED, age="61", sex="male")
    spoken = page.locator("#spoken")
    expect(spoken).to_contain_text(f"Biological age {shown(page):.1f} years")
    assert spoken.get_attribute("role") == "status"
    expect(page.get_by_role("img", name=re.compile("Scale from .* biological age"))).to_be_visible()
    expect(page.get_by_role("spinbutton")).to_have_count(0)
    for biomarker in PANEL:
        expect(page.get_by_role("textbox", name=biomarker.label, exact=True)).to_be_visible()
        expect(page.get_by_role("slider", name=biomarker.label, exact=True)).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1200])
def test_axe_finds_nothing_serious(page: Page, width: int, scheme: str) -> None:
    page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    page.set_viewport_size({"width": width, "height": 900})
    page.fill("#creatinine", "nonsense")
    page.fill("#crp", "300")
    page.locator("#what-if-rdw").press("ArrowRight")
    page.get_by_text("Read them from a lab report").click()
    shown(page)
    page.evaluate((REPOSITORY / "node_modules" / "axe-core" / "axe.min.js").read_text())
    violations = page.evaluate("axe.run().then(({violations}) => violations)")
    assert [item["id"] for item in violations if item["impact"] in {"serious", "critical"}] == []


@pytest.mark.parametrize("width", [320, 390, 820])
def test_fits_a_phone(page: Page, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_prints_on_two_pages(page: Page) -> None:
    fill(page, TYPED, age="61", sex="male")
    page.emulate_media(media="print")
    expect(page.locator("#what-if")).to_be_hidden()
    expect(page.get_by_role("button", name="Print")).to_be_hidden()
    expect(page.locator("#crp")).to_be_visible()
    expect(page.locator("#contributions")).to_be_visible()
    expect(page.get_by_text("Not a diagnosis.")).to_be_visible()
    assert len(re.findall(rb"/Type\s*/Page\b", page.pdf(format="A4"))) == 2


def test_says_that_the_model_is_not_there(browser: Browser, site: str) -> None:
    page = browser.new_page()
    page.route("**/henaw.onnx", lambda route: route.fulfill(status=404))
    page.goto(site)
    expect(page.locator("#no-answer")).to_contain_text("The model could not be loaded")
    page.close()


@pytest.mark.parametrize("lost", ["henaw.json", "model.js", "vendor/d3-dsv.mjs"])
def test_says_what_could_not_be_loaded(browser: Browser, site: str, lost: str) -> None:
    page = browser.new_page()
    page.route(f"**/{lost}", lambda route: route.fulfill(status=404))
    page.goto(site)
    expect(page.locator("#no-answer")).to_contain_text("could not be loaded")
    if lost == "henaw.json":
        expect(page.locator("#no-answer")).to_contain_text("henaw.json: 404")
    page.close()


def test_says_that_it_needs_javascript(browser: Browser, site: str) -> None:
    with browser.new_context(java_script_enabled=False) as context:
        page = context.new_page()
        page.goto(site)
        # Shown by browsers alone: this one parses as if it had scripts.
        assert "needs JavaScript" in (page.locator("noscript").text_content() or "")
        expect(page.get_by_text("Loading the model")).to_have_count(0)


def test_what_is_typed_while_the_model_loads_is_answered(
    browser: Browser, site: str, runtime: OnnxRuntime
) -> None:
    page = browser.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    held: list[Route] = []

    def hold(route: Route) -> None:
        held.append(route)

    page.route("**/henaw.onnx", hold)
    page.goto(site)
    fill(page, TYPED, age="61", sex="male")
    expect(page.locator("#no-answer")).to_have_text("Loading the model.")
    for route in held:
        route.continue_()
    expect(page.locator("#age-number")).not_to_be_empty()
    answer = predict(runtime, TYPED, 61, 1)
    assert shown(page) == pytest.approx(answer["biological_age"][0], abs=0.051)
    page.close()
    assert not errors


def test_an_error_that_nobody_foresaw_is_told(page: Page) -> None:
    drop(page, "bundle.json", read_bundle_text())
    outcome = page.locator("#report-outcome")
    expect(outcome).to_contain_text("Read 9 of 9 values.")
    # Two Patients of one id are compared, and these are deeper than a stack.
    deep = '{"resource":{"resourceType":"Patient","id":"a","name":' + "[" * 50_000 + "]" * 50_000
    drop(page, "deep.json", f'{{"resourceType":"Bundle","entry":[{deep}}}}},{deep}}}}}]}}')
    expect(outcome).to_contain_text("The report could not be read.")
    expect(outcome).not_to_contain_text("Read 9 of 9")


def test_an_answer_that_failed_is_not_shown(browser: Browser, site: str) -> None:
    page = browser.new_page()
    page.goto(site)
    page.locator("#answer[aria-busy=false]").wait_for()
    page.evaluate("document.getElementById('age-number').remove()")
    page.fill("#crp", "7")
    expect(page.locator("#no-answer")).to_contain_text("failed")
    expect(page.locator("#answer")).to_be_hidden()
    page.close()
