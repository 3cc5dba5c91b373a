import copy
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from henaw.training.evaluation.report import render_report, write_report


class Page(HTMLParser):
    """The ids, links and sources of a page, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.tags: list[str] = []
        self.words: list[str] = []
        self.feed(text)
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.add(value or "")
            elif name in {"href", "src", "srcset", "action", "data", "poster"}:
                self.links.append(value or "")

    def handle_data(self, data: str) -> None:
        self.words.append(data)


@pytest.fixture(scope="module")
def text(evaluation: dict[str, Any]) -> str:
    return render_report(evaluation)


@pytest.fixture(scope="module")
def page(text: str) -> Page:
    return Page(text)


def test_every_section_is_on_the_page(page: Page):
    assert page.ids == {
        "summary", "people", "discrimination", "clocks", "calibration", "gap", "subgroups",
        "shapes", "missing", "repeats", "methods",
    }  # fmt: skip
    for number in (1, 2, "3a", 4, 5, 6, 7, 8, 9, 10):
        assert f"Table {number}." in page.text
    for number in range(1, 8):
        assert f"Figure {number}." in page.text
    assert page.tags.count("img") == 7


def test_the_page_asks_for_nothing(page: Page, text: str):
    assert "script" not in page.tags
    assert "link" not in page.tags
    assert all(link.startswith(("#", "data:image/svg+xml;base64,")) for link in page.links)
    assert {link[1:] for link in page.links if link.startswith("#")} <= page.ids
    assert not re.search(r"https?:|url\(|@import", text)


def test_the_figures_of_the_page_are_those_of_the_json(page: Page, evaluation: dict[str, Any]):
    c = evaluation["c_index"][0]["c"]["mortality_10y"]
    assert f"{c['value']:.3f} ({c['low']:.3f} to {c['high']:.3f})" in page.text
    ratio = evaluation["calibration"]["all_causes"]["overall"]["ratio"]
    assert f"{ratio['value']:.2f} ({ratio['low']:.2f} to {ratio['high']:.2f})" in page.text
    assert "the cohort has no column kdm" in page.text
    assert "Repeat draws: a simulation" in page.text


def test_a_model_that_saw_the_people_is_called_that(page: Page, evaluation: dict[str, Any]):
    changed = copy.deepcopy(evaluation)
    assert "was fitted on these people" not in page.text
    changed["cohort"]["seen"] = "yes"
    changed["model"]["name"] = "<script>alert(1)</script>"
    seen = Page(render_report(changed))
    assert "was fitted on these people" in seen.text
    # A name is text, not markup.
    assert "script" not in seen.tags


def test_what_is_not_shown_has_a_reason_on_the_page(evaluation: dict[str, Any]):
    changed = copy.deepcopy(evaluation)
    changed["calibration"] = {"shown": False, "reason": "REASON ONE"}
    changed["survival"] = {"shown": False, "reason": "REASON TWO"}
    page = Page(render_report(changed))
    assert "REASON ONE" in page.text
    assert "REASON TWO" in page.text
    assert page.tags.count("img") == 5


def test_the_page_and_its_json_are_written(evaluation: dict[str, Any], text: str, tmp_path: Path):
    page, figures = write_report(evaluation, tmp_path / "new" / "folder")
    assert json.loads(figures.read_text(encoding="utf-8")) == evaluation
    # The same evaluation gives the same page.
    assert page.read_text(encoding="utf-8") == text
    assert sorted(path.name for path in page.parent.iterdir()) == [
        "evaluation.json",
        "report.html",
    ]
