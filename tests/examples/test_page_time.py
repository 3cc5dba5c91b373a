"""Results over time: kept on the device if asked, compared as the package compares them."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
from henaw.model.runtime import OnnxRuntime
from playwright.sync_api import Page, expect

CASES = json.loads((Path(__file__).parents[1] / "change_cases.json").read_text(encoding="utf-8"))
DRAWS = (("2022-03-01", "59", "9.5"), ("2023-03-01", "60", "4.8"), ("2024-03-01", "61", "0.5"))


def keep(page: Page, people: Any, day: str, age: str, crp: str) -> None:
    people.fill(page, people.TYPED | {"crp": (crp, "mg/L")}, age=age, sex="male")
    people.show(page)
    page.fill("#drawn", day)
    page.locator("#keep").click()
    expect(page.locator("#time-message")).to_have_text("Kept.")


def list_databases(page: Page) -> Any:
    return page.evaluate("indexedDB.databases().then((all) => all.map(({name}) => name))")


def test_nothing_is_kept_unasked(page: Page, people: Any) -> None:
    people.fill(page, people.TYPED, age="61", sex="male")
    people.show(page)
    expect(page.locator(".kept li")).to_have_count(0)
    assert list_databases(page) == []
    keys = page.evaluate("[...Object.keys(localStorage), ...Object.keys(sessionStorage)]")
    assert set(keys) <= {"henaw-preferences", "henaw-draft"}


def test_a_timeline_and_its_noise(page: Page, people: Any, onnx: OnnxRuntime) -> None:
    gaps, noises = [], []
    for day, age, crp in DRAWS:
        keep(page, people, day, age, crp)
        values = people.TYPED | {"crp": (crp, "mg/L")}
        answer = people.predict(onnx, values, float(age), 1)
        gaps.append(float(answer["age_gap"][0]))
        noises.append(float(answer["draw_sd"][0]))
    expect(page.locator(".timeline circle")).to_have_count(3)
    expect(page.locator(".kept li")).to_have_count(3)
    first, last = page.locator(".change").all_inner_texts()
    for text, before in ((first, 0), (last, 1)):
        change = gaps[2] - gaps[before]
        noise = 1.6448536 * math.hypot(noises[2], noises[before])
        assert people.read_number(text.split("age: ")[1]) == pytest.approx(change, abs=0.06)
        assert f"(±{noise:.1f})" in text
        assert ("within the noise" in text) is (abs(change) <= noise)
    page.reload()
    expect(page.locator(".kept li")).to_have_count(3)
    page.get_by_role("button", name="Delete the result of 1 Mar 2023").click()
    expect(page.locator(".kept li")).to_have_count(2)


def test_kept_results_are_saved_loaded_and_deleted(page: Page, people: Any, tmp_path: Path) -> None:
    for draw in DRAWS[:2]:
        keep(page, people, *draw)
    with page.expect_download() as download:
        page.locator("#time-export").click()
    saved = tmp_path / "kept.json"
    download.value.save_as(saved)
    content = json.loads(saved.read_text(encoding="utf-8"))
    assert [one["drawn"] for one in content["results"]] == ["2022-03-01", "2023-03-01"]
    assert set(content["results"][0]) == {"drawn", "age", "sex", "biomarkers"}
    page.once("dialog", lambda dialog: dialog.dismiss())
    page.locator("#time-delete-all").click()
    expect(page.locator(".kept li")).to_have_count(2)
    page.once("dialog", lambda dialog: dialog.accept())
    page.locator("#time-delete-all").click()
    expect(page.locator(".kept li")).to_have_count(0)
    assert list_databases(page) == []
    page.set_input_files("#time-file", saved)
    expect(page.locator("#time-message")).to_have_text("2 results loaded.")
    expect(page.locator(".kept li")).to_have_count(2)
    content["results"][0]["biomarkers"]["crp"] = 1e9
    saved.write_text(json.dumps(content), encoding="utf-8")
    page.set_input_files("#time-file", saved)
    expect(page.locator("#time-message")).to_have_text("This file holds no kept results.")


@pytest.mark.parametrize("case", CASES["cases"], ids=lambda case: case["about"])
def test_draws_are_compared_as_the_package_does(call: Any, case: Any) -> None:
    seen = call("lib/change", "compareDraws", case["before"], case["after"], case["years"])
    expected = case["expected"]
    for mine, name in (("change",) * 2, ("gapChange", "gap_change"), ("low",) * 2, ("high",) * 2):
        assert seen[mine] == pytest.approx(expected[name], abs=CASES["tolerance"])
    assert seen["withinNoise"] is expected["within_noise"]
