"""What the page says of a person, held to what the model answers."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from henaw.model.biomarkers import INDEX, PANEL
from henaw.model.profile import LabProfile, set_profile
from henaw.model.runtime import OnnxRuntime
from playwright.sync_api import Page, expect

WEIGHTS = Path(__file__).resolve().parents[2] / "model" / "weights"
# Each of these values is seen; together, nobody has them.
UNLIKE = (0.1, 120.0, 80.0, 55.0, 30.0, 22.0, 5.0, 200.0, 6.0)


def test_says_what_the_model_answers(page: Page, people: Any, onnx: OnnxRuntime) -> None:
    people.fill(page, people.TYPED, age="61", sex="male")
    people.show(page)
    answer = people.predict(onnx, people.TYPED, 61, 1)
    age = float(answer["biological_age"][0])
    low, high = answer["interval"][0]
    assert int(page.inner_text("#age-number")) == round(age)
    expect(page.locator("#headline")).to_have_text(
        f"Your blood looks like that of a typical man of {round(age)}."
    )
    share = round(float(answer["percentile"][0]))
    expect(page.locator("#younger")).to_have_text(
        f"Of 100 men of your age, {share} have a younger result."
    )
    expect(page.locator("#interval")).to_contain_text(f"between {low:.0f} and {high:.0f}.")
    assert page.locator(".dots circle").count() == 100
    assert page.locator(".dots circle.younger").count() == share
    names = [
        (page.locator(f"#value-{name} .years").text_content() or "")
        for name in ("crp", "rdw", "alt")
    ]
    contributions = answer["contributions"][0]
    for text, name in zip(names, ("crp", "rdw", "alt"), strict=True):
        # typical_values stands first.
        expected = float(contributions[INDEX[name] + 1])
        assert people.read_number(text) == pytest.approx(expected, abs=0.051)
    shown = [
        people.read_number(text) for text in page.locator("#values .years").all_text_contents()
    ]
    assert sum(shown) == pytest.approx(float(answer["age_gap"][0]), abs=0.6)
    expect(page.locator(".sum")).to_have_text(re.compile(rf"61 .* {age:.1f}$"))


def test_says_whether_the_difference_is_noise(page: Page, people: Any, onnx: OnnxRuntime) -> None:
    for crp, age in (("1", 54), ("9", 54), ("1", 70)):
        values = people.TYPED | {"crp": (crp, "mg/L")}
        people.fill(page, values, age=str(age), sex="female")
        people.show(page)
        answer = people.predict(onnx, values, age, 0)
        noise = 1.645 * float(answer["draw_sd"][0])
        within = abs(float(answer["age_gap"][0])) <= noise
        words = (
            "within the noise"
            if within
            else f"more than the noise of one blood draw (±{noise:.1f})"
        )
        expect(page.locator("#noise")).to_contain_text(words)


def test_the_most_important_value_comes_first(page: Page, people: Any) -> None:
    people.fill(page, people.TYPED | {"albumin": ("31", "g/L")}, age="61", sex="male")
    people.show(page)
    years = [
        abs(people.read_number(text))
        for text in page.locator("#values > .value-list .years").all_text_contents()
    ]
    assert years == sorted(years, reverse=True)


def test_values_are_shown_in_the_units_of_the_paper(page: Page, people: Any) -> None:
    people.fill(page, people.TYPED, age="61", sex="male")
    people.show(page)
    value = page.locator("#value-creatinine")
    assert "0.82 mg/dL" in (value.locator(".what").text_content() or "")
    assert "Usual: 0.679 to 1.19 mg/dL" in (value.locator(".legend").text_content() or "")


def test_risks_are_natural_frequencies_beside_the_typical(
    page: Page, people: Any, onnx: OnnxRuntime
) -> None:
    people.fill(page, people.TYPED, age="61", sex="male")
    people.show(page)
    mine = people.predict(onnx, people.TYPED, 61, 1)["mortality_10y"][0]
    typical = people.predict(onnx, {}, 61, 1)["mortality_10y"][0]
    expect(page.locator("#risk-words")).to_contain_text(
        f"Of 100 men of 61 with values like yours, {round(100 * mine)} die"
    )
    expect(page.locator("#risk-words")).to_contain_text(f"it is {round(100 * typical)}.")
    assert page.locator(".yours .dies").count() == round(100 * mine)
    assert page.locator("figure.typical .dies").count() == round(100 * typical)
    rows = page.locator(".causes tbody tr")
    yours = [people.read_number(row.locator("td").first.inner_text()) for row in rows.all()]
    assert sum(yours) == pytest.approx(1000 * mine, abs=3)


def test_small_risks_are_of_a_thousand(page: Page, people: Any, onnx: OnnxRuntime) -> None:
    values = {"albumin": ("48", "g/L")}
    people.fill(page, values, age="25", sex="female")
    people.show(page)
    risk = people.predict(onnx, values, 25, 0)["mortality_10y"][0]
    expect(page.locator(".yours rect")).to_have_count(1000)
    assert page.locator(".yours .dies").count() == round(1000 * risk) < 10


def test_a_critical_value_shows_no_age(page: Page, people: Any, sidecar: Any) -> None:
    high = sidecar["critical_limits"]["crp"][1]
    values = people.TYPED | {"crp": (f"{high + 1:g}", "mg/L"), "albumin": ("1.8", "g/dL")}
    people.fill(page, values, age="61", sex="male")
    people.show(page)
    banner = page.locator("#withheld")
    expect(banner.locator("h1")).to_have_text("This result needs a doctor, not a calculator")
    items = banner.locator("li").all_inner_texts()
    assert items[0].startswith(f"C-reactive protein: {high + 1:g} mg/L is above {high:g} mg/L.")
    # In the unit that is typed.
    assert items[1].startswith("Albumin: 1.8 g/dL is below 2 g/dL.")
    expect(banner).to_contain_text("Call the practice or the laboratory")
    for part in ("#age-number", ".dots", "#risks", "#whatif", ".years", ".sheet"):
        expect(page.locator(part)).to_have_count(0)
    expect(page.locator("#spoken")).to_contain_text("needs a doctor")


def test_values_unlike_anybody_show_no_age(page: Page, people: Any) -> None:
    together = {b.name: (str(value), b.unit) for b, value in zip(PANEL, UNLIKE, strict=True)}
    people.fill(page, together, age="50", sex="male")
    people.show(page)
    expect(page.locator("#withheld li")).to_contain_text("unlike those of all people")
    expect(page.locator("#age-number")).to_have_count(0)


def test_who_is_excluded_gets_no_result(page: Page, people: Any) -> None:
    people.fill(page, people.TYPED, age="61", sex="male")
    page.locator("#excluded-some").check(force=True)
    expect(page.locator("#excluded-why")).to_contain_text("would mislead you")
    page.locator(".bar button[type=submit]").click()
    expect(page.locator("#missing")).to_have_text("Please answer this question first.")
    page.evaluate("location.hash = 'result'")
    expect(page.locator("#excluded-why")).to_be_visible()
    expect(page.locator("#age-number")).to_have_count(0)


def test_the_next_test_narrows_the_interval_most(
    page: Page, people: Any, onnx: OnnxRuntime
) -> None:
    few = {name: people.TYPED[name] for name in ("albumin", "rdw")}
    people.fill(page, few, age="61", sex="male")
    people.show(page)
    expect(page.locator(".next-list li")).to_have_count(7)
    widths = [people.read_number(text) for text in page.locator(".next-list b").all_inner_texts()]
    assert widths == sorted(widths)

    def measure(values: Any) -> float:
        low, high = people.predict(onnx, values, 61, 1)["interval"][0]
        return float(high - low) / 2

    expect(page.locator("#next")).to_contain_text(f"±{measure(few):.1f} years")
    names = page.locator(".next-list span").all_inner_texts()
    by_label = {biomarker.label: biomarker.name for biomarker in PANEL}
    by_label["Lymphocytes in percent"] = "lymphocyte_pct"
    best, worst = by_label[names[0]], by_label[names[-1]]
    typed = people.TYPED
    assert measure(few | {best: typed[best]}) < measure(few | {worst: typed[worst]})


def test_what_if_is_only_for_what_people_can_change(page: Page, people: Any) -> None:
    people.fill(page, people.TYPED, age="61", sex="male")
    people.show(page)
    sliders = page.locator("#whatif input[type=range]")
    names = [slider.get_attribute("id") for slider in sliders.all()]
    assert names == ["whatif-crp", "whatif-hba1c", "whatif-ggt", "whatif-alt"]
    expect(page.locator("#whatif")).to_contain_text("an association, not a promise")


def test_no_slider_rewards_an_abnormal_value(
    page: Page, people: Any, onnx: OnnxRuntime, sidecar: Any
) -> None:
    """Its ends are usual values or the person's own, and no step out of them is younger."""
    typed = people.TYPED | {"hba1c": ("60", "mmol/mol"), "crp": ("9", "mg/L")}
    people.fill(page, typed, age="61", sex="male")
    people.show(page)
    high = {item["name"]: item["reference"]["high"][1] for item in sidecar["panel"]}
    own = {"crp": 9.0, "hba1c": 60.0, "ggt": 38.0, "alt": 24.0}
    for name, value in own.items():
        slider = page.locator(f"#whatif-{name}")
        slider.press("End")
        expect(page.locator(f"#whatif-{name}-value")).not_to_be_empty()
        page.wait_for_timeout(150)
        text = page.inner_text(f"#whatif-{name}-value")
        reached = people.read_number(text)
        assert reached <= max(high[name], value) * 1.01, name
        # The person's own abnormal value is the worst there is.
        if value > high[name]:
            assert "your value" in text
    people_at = [
        people.predict(onnx, typed | {"hba1c": (str(value), "mmol/mol")}, 61, 1)["biological_age"][
            0
        ]
        for value in np.linspace(42, 60, 19)
    ]
    assert np.all(np.diff(people_at) >= -1e-3)


def test_what_if_follows_the_hand(page: Page, people: Any, onnx: OnnxRuntime) -> None:
    people.fill(page, people.TYPED, age="61", sex="male")
    people.show(page)
    before = page.inner_text("#age-number")
    slider = page.locator("#whatif-crp")
    output = page.locator("#whatif-crp-value")
    expect(output).to_have_text("4.8 mg/L: your value")
    slider.press("Home")
    expect(output).to_have_text(re.compile(r"mg/L: \D\d+\.\d years"))
    assert output.inner_text() == slider.get_attribute("aria-valuetext")
    value = people.read_number(output.inner_text())
    years = people.read_number(output.inner_text().split(": ")[1])
    typed = people.TYPED | {"crp": (str(value), "mg/L")}
    moved = people.predict(onnx, typed, 61, 1)["biological_age"][0]
    own = people.predict(onnx, people.TYPED, 61, 1)["biological_age"][0]
    assert years == pytest.approx(float(moved - own), abs=0.1)
    assert page.inner_text("#age-number") == before
    page.locator("#whatif-reset").click()
    expect(output).to_have_text("4.8 mg/L: your value")


def test_a_laboratory_profile_changes_the_result(
    page: Page, people: Any, onnx: OnnxRuntime, sidecar: Any, tmp_path: Any
) -> None:
    profile = LabProfile(
        name="north",
        shift={"rdw": 0.05, "albumin": -1.5},
        standard_error={"rdw": 0.003, "albumin": 0.2},
        model=sidecar["checkpoint_sha256"],
        level={"female": [0.1, 0.0], "male": [0.2, 0.05]},
    )
    people.fill(page, people.TYPED, age="61", sex="male")
    people.show(page)
    people.drop(page, "north.json", json.dumps(profile.describe()))
    used = page.locator("#lab-used")
    expect(used).to_contain_text("Profile of north")
    path = tmp_path / "north.onnx"
    path.write_bytes(set_profile((WEIGHTS / "henaw.onnx").read_bytes(), profile))
    answer = people.predict(OnnxRuntime(path), people.TYPED, 61, 1)
    before = people.predict(onnx, people.TYPED, 61, 1)
    expected = f"{answer['biological_age'][0]:.1f} instead of {before['biological_age'][0]:.1f}"
    expect(used).to_contain_text(expected)
    page.get_by_role("button", name="Do without it").click()
    expect(used).to_have_count(0)
    changed = profile.describe() | {"shift": {"rdw": 0.1}}
    people.drop(page, "changed.json", json.dumps(changed))
    expect(page.locator("#lab-message")).to_contain_text("changed by hand")
    people.drop(page, "other.json", json.dumps(profile.describe() | {"model": "0" * 64}))
    expect(page.locator("#lab-message")).to_contain_text("made for another model")
    people.drop(page, "table.csv", "crp,alt\n1,2\n")
    expect(page.locator("#lab-message")).to_contain_text("not a laboratory's profile")


@pytest.mark.parametrize(
    ("mine", "average", "denominator"),
    [(0.014, 0.009, 1000), (0.004, 0.02, 1000), (0.02, 0.011, 100), (0.0002, 0.01, 1000)],
)
def test_risks_that_are_compared_are_of_as_many(
    call: Any, mine: float, average: float, denominator: int
) -> None:
    assert call("lib/risk", "chooseDenominator", mine, average) == denominator


def test_the_gaps_of_a_hundred_people_are_the_models(call: Any, sidecar: Any) -> None:
    gaps = call("lib/sidecar", "listGaps", "sidecar", 54, 0, 100)
    place = sidecar["reference"]["age"].index(54)
    row = sidecar["reference"]["female"]["gap_percentiles"][place]
    assert gaps == sorted(gaps)
    expected = np.interp(np.arange(0.5, 100), sidecar["percentiles"], row)
    assert gaps == pytest.approx(list(expected), abs=1e-6)
