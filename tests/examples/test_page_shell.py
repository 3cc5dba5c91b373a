"""The page as a whole: private, offline, accessible, printed, shared, in six languages."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Route, expect

REPOSITORY = Path(__file__).resolve().parents[2]
AXE = REPOSITORY / "node_modules" / "axe-core" / "axe.min.js"
LANGUAGES = ("en", "de", "fr", "es", "it", "nl")
TWO_PEOPLE = "patient,age,sex,crp,alt\nA,54,female,1.2,20\nB,61,male,2.4,24\n"


def test_nothing_leaves_the_page(context: BrowserContext, site: str, people: Any) -> None:
    page = context.new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(site)
    people.fill(page, people.TYPED, age="61", sex="male")
    people.show(page)
    assert asked
    assert all(url.startswith((site, "data:", "blob:")) for url in asked)
    asked.clear()
    page.locator("#whatif-crp").press("ArrowLeft")
    page.fill("#drawn", "2024-03-01")
    page.locator("#keep").click()
    people.drop(page, "nothing.json", "{}")
    page.locator("#edit").click()
    page.fill("#report-text", "HbA1c 5.4 %")
    page.locator("#read-text").click()
    page.locator("#language").select_option("fr")
    page.emulate_media(media="print")
    page.pdf()
    page.wait_for_timeout(300)
    assert asked == []
    page.evaluate("localStorage.clear(), sessionStorage.clear()")
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


def test_works_offline(browser: Browser, site: str, people: Any) -> None:
    with browser.new_context(locale="en-GB") as context:
        page = context.new_page()
        page.goto(site)
        page.evaluate("navigator.serviceWorker.ready.then(() => true)")
        context.set_offline(True)
        page.goto(f"{site}#enter")
        page.reload()
        people.fill(page, people.TYPED, age="61", sex="male")
        people.show(page)
        expect(page.locator("#age-number")).to_have_text(re.compile(r"^\d\d$"))
        page.locator("#edit").click()
        pdf = REPOSITORY / "docs" / "page.png"
        page.set_input_files("#report-file", pdf)
        expect(page.locator("#report-message")).to_contain_text("This is a picture")


def test_one_file_opens_from_the_disk(
    browser: Browser, node: str, people: Any, tmp_path: Path
) -> None:
    folder, page_file = tmp_path / "web", tmp_path / "henaw.html"
    source = REPOSITORY / "examples" / "browser"
    weights = REPOSITORY / "model" / "weights"
    subprocess.run([sys.executable, source / "assemble.py", weights, folder], check=True)
    subprocess.run([node, source / "bundle.mjs", folder, page_file], check=True)
    with browser.new_context(locale="en-GB") as context:
        page = context.new_page()
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.goto(page_file.as_uri())
        people.fill(page, people.TYPED, age="61", sex="male")
        people.show(page)
        expect(page.locator("#age-number")).to_have_text(re.compile(r"^\d\d$"))
        paper = context.new_page()
        paper.set_content("<p>Kreatinin 0,90 mg/dl</p>")
        report = {"name": "a.pdf", "mimeType": "application/pdf", "buffer": paper.pdf()}
        page.locator("#edit").click()
        page.set_input_files("#report-file", report)  # type: ignore[arg-type]
        expect(page.locator("#creatinine")).to_have_value("0.9")
        assert all(url.startswith(("file:", "data:", "blob:")) for url in asked)


@pytest.mark.parametrize("lost", ["henaw.json", "henaw.onnx", "page/app.js", "vendor/fflate.js"])
def test_says_what_could_not_be_loaded(context: BrowserContext, site: str, lost: str) -> None:
    page = context.new_page()
    page.route(f"**/{lost}", lambda route: route.fulfill(status=404))
    page.goto(site)
    if lost == "henaw.onnx":
        page.get_by_role("button", name="Show an example").click()
    expect(page.locator("#failure")).to_contain_text("The page failed")
    # Of modules the browser only says that main.js, or a part of it, is not there.
    expect(page.locator("#failure")).to_contain_text(lost if "henaw" in lost else "main.js")
    page.evaluate("sessionStorage.clear()")
    page.close()


def test_says_that_it_needs_javascript(browser: Browser, site: str) -> None:
    with browser.new_context(java_script_enabled=False) as context:
        page = context.new_page()
        page.goto(site)
        # Shown by browsers alone: this one parses as if it had scripts.
        assert "needs JavaScript" in (page.locator("noscript").text_content() or "")


def test_what_is_typed_while_the_model_loads_is_answered(
    context: BrowserContext, site: str, people: Any
) -> None:
    page = context.new_page()
    held: list[Route] = []

    def hold(route: Route) -> None:
        held.append(route)

    page.route("**/henaw.onnx", hold)
    page.goto(site)
    people.fill(page, people.TYPED, age="61", sex="male")
    page.locator(".bar button[type=submit]").click()
    expect(page.locator("#loading")).to_have_text("Loading the model.")
    for route in held:
        route.continue_()
    expect(page.locator("#age-number")).to_have_text(re.compile(r"^\d\d$"))
    page.evaluate("sessionStorage.clear()")
    page.close()


def test_the_form_and_the_answer_come_fast(context: BrowserContext, site: str) -> None:
    """Under a second on an idle machine; the bounds leave room for a busy one."""
    page = context.new_page()
    page.goto(site)
    page.get_by_role("button", name="Show an example").wait_for()
    painted = page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
    assert painted < 3000
    page.wait_for_timeout(1500)
    took = page.evaluate(
        """() => new Promise((resolve) => {
            const start = performance.now();
            new MutationObserver((_, observer) => {
                if (!document.querySelector("#age-number")) return;
                observer.disconnect();
                resolve(performance.now() - start);
            }).observe(document.querySelector("#main"), { childList: true });
            document.querySelector(".intro button").click();
        })"""
    )
    assert took < 3000
    page.evaluate("sessionStorage.clear()")
    page.close()


def visit_steps(page: Page, people: Any) -> Any:
    """Each screen in turn."""
    page.evaluate("location.hash = 'enter'")
    page.locator("#clear").click()
    page.fill("#creatinine", "0.9")
    page.fill("#crp", "nonsense")
    yield "enter"
    page.fill("#report-text", "Albumin 3000 g/L\nCRP <0.3 mg/L\nLymphocytes 2.1 G/L\nHbA1c 5.4\n")
    page.locator("#read-text").click()
    page.locator(".check").wait_for()
    yield "check"
    people.drop(page, "two.csv", TWO_PEOPLE)
    page.locator(".people").wait_for()
    yield "choose"
    values = people.TYPED | {"hba1c": ("60", "mmol/mol"), "ggt": ("90", "U/L")}
    people.fill(page, values, age="61", sex="male")
    people.show(page)
    for day in ("2023-03-01", "2024-03-01"):
        page.fill("#drawn", day)
        page.locator("#keep").click()
        page.locator(".kept li").last.wait_for()
    page.locator(".little summary").click()
    yield "result"
    people.fill(page, people.TYPED | {"crp": ("400", "mg/L")}, age="61", sex="male")
    people.show(page)
    yield "withheld"


@pytest.mark.parametrize("language", LANGUAGES)
def test_nothing_overflows_on_a_phone(page: Page, people: Any, language: str) -> None:
    page.locator("#language").select_option(language)
    page.set_viewport_size({"width": 390, "height": 800})
    for step in visit_steps(page, people):
        assert page.evaluate("document.documentElement.lang") == language
        assert page.evaluate(r"document.body.innerText.match(/\{\w+\}|undefined|NaN/)") is None
        for width in (390, 320):
            page.set_viewport_size({"width": width, "height": 800})
            assert page.evaluate(FIND_OVERFLOW) == [], (step, width)
            assert page.evaluate("document.documentElement.scrollWidth") <= width


FIND_OVERFLOW = """() => [...document.querySelectorAll("main *, header *, footer *")]
    .filter((element) => !element.closest(".unseen, svg")
        && element.getBoundingClientRect().right > innerWidth + 1)
    .map((element) => element.outerHTML.slice(0, 80))"""


RUN_AXE = """axe.run(document, { resultTypes: ["violations"] }).then(({ violations }) =>
    violations.map(({ id, nodes }) => [id, nodes.map(({ html }) => html.slice(0, 90))]))"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1400])
def test_axe_finds_nothing(page: Page, people: Any, width: int, scheme: Any) -> None:
    page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    page.set_viewport_size({"width": width, "height": 900})
    page.evaluate(AXE.read_text(encoding="utf-8"))
    for step in visit_steps(page, people):
        found = page.evaluate(RUN_AXE)
        assert found == [], step
    page.emulate_media(color_scheme="light", reduced_motion="no-preference")


def test_by_keyboard_alone(page: Page, people: Any) -> None:
    keyboard = page.keyboard
    page.locator("#clear").focus()
    keyboard.press("Tab")
    keyboard.press("Space")
    expect(page.locator("#excluded-none")).to_be_checked()
    for _ in range(3):
        keyboard.press("Tab")
    expect(page.locator("#report-file")).to_be_focused()
    keyboard.press("Tab")
    expect(page.locator("#age")).to_be_focused()
    keyboard.type("61")
    keyboard.press("Tab")
    keyboard.press("Space")
    keyboard.press("ArrowDown")
    expect(page.locator("#sex-1")).to_be_checked()
    for name, (value, unit) in (people.TYPED | {"ast": ("22", "U/L")}).items():
        keyboard.press("Tab")
        expect(page.locator(f"#{name}")).to_be_focused()
        keyboard.type(value)
        keyboard.press("Tab")
        keyboard.type(unit)
    keyboard.press("Tab")
    keyboard.press("Enter")
    expect(page.locator("#headline")).to_be_focused()
    slider = page.locator("#whatif-crp")
    slider.focus()
    keyboard.press("ArrowLeft")
    expect(page.locator("#whatif-crp-value")).not_to_contain_text("your value")


def test_a_screen_reader_hears_the_result_once(page: Page, people: Any) -> None:
    expect(page.locator("[role=status], [aria-live]")).to_have_count(1)
    people.fill(page, people.TYPED, age="61", sex="male")
    page.evaluate(
        """() => {
            window.heard = [];
            new MutationObserver(() => heard.push(document.querySelector("#spoken").textContent))
                .observe(document.querySelector("#spoken"), { childList: true, subtree: true,
                    characterData: true });
        }"""
    )
    people.show(page)
    heard = page.evaluate("heard")
    assert len(heard) == 1
    assert heard[0].startswith("Your blood looks like that of a typical man of ")
    expect(page.get_by_role("heading", level=1)).to_be_focused()
    expect(
        page.get_by_role("img", name=re.compile("Biological ages of 100 people"))
    ).to_be_visible()
    expect(page.get_by_role("slider", name="C-reactive protein")).to_be_visible()


def test_prints_on_one_page(page: Page, people: Any) -> None:
    for language in ("en", "de"):
        page.locator("#language").select_option(language)
        people.fill(page, people.TYPED, age="61", sex="male")
        people.show(page)
        page.emulate_media(media="print")
        expect(page.locator(".sheet")).to_be_visible()
        for part in ("header", "#values", "#whatif", "#print"):
            expect(page.locator(part)).to_be_hidden()
        text = page.inner_text(".sheet")
        wanted = ("0.82 mg/dL", "henaw-nhanes", "90 %", "61") if language == "en" else ("90-%",)
        for words in wanted:
            assert words in text
        assert len(re.findall(rb"/Type\s*/Page\b", page.pdf(prefer_css_page_size=True))) == 1
        page.emulate_media(media="screen")


def test_a_picture_and_a_file_are_made_on_the_device(
    page: Page, people: Any, tmp_path: Path
) -> None:
    people.fill(page, people.TYPED, age="61", sex="male")
    people.show(page)
    number = page.inner_text("#age-number")
    with page.expect_download() as download:
        page.locator("#picture").click()
    download.value.save_as(tmp_path / "picture.png")
    assert (tmp_path / "picture.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    with page.expect_download() as download:
        page.locator("#file").click()
    download.value.save_as(tmp_path / "result.json")
    content = json.loads((tmp_path / "result.json").read_text(encoding="utf-8"))
    assert round(content["answer"]["biological_age"]) == int(number)
    assert content["person"]["ggt"] == 38


def test_the_language_of_the_browser(browser: Browser, site: str) -> None:
    with browser.new_context(locale="fr-CH", service_workers="block") as context:
        page = context.new_page()
        page.goto(site)
        expect(page.locator("h1")).to_have_text("Quel âge votre sang paraît-il ?")
        expect(page.locator("#units-si")).to_be_checked()
    with browser.new_context(locale="en-US", service_workers="block") as context:
        page = context.new_page()
        page.goto(site)
        expect(page.locator("#units-us")).to_be_checked()


def test_the_way_back_is_the_browsers(page: Page, people: Any) -> None:
    people.fill(page, people.TYPED, age="61", sex="male")
    people.show(page)
    page.go_back()
    expect(page.locator("#crp")).to_have_value("4.8")
    page.go_forward()
    expect(page.locator("#age-number")).to_be_visible()
