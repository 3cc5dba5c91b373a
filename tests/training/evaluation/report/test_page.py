import base64
import copy
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from henaw.training.evaluation.report.figures import DARK, INK, PAPER, draw_figures
from henaw.training.evaluation.report.page import render_report, write_report


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
    for kind, numbers in {
        "Table": (1, 2, 3, "4a", *range(5, 16)),
        "Figure": range(1, 11),
    }.items():
        found = re.findall(rf"{kind} (\d+a?)\.", page.text)
        assert found == [str(number) for number in numbers]
    assert page.tags.count("img") == page.tags.count("source") == 9


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
    own = evaluation["follow_up"]["groups"][0]
    for figure, digits in ((own["ratio"], 2), (own["slope"], 2)):
        assert f"{figure['value']:.{digits}f} ({figure['low']:.{digits}f} to" in page.text
    ici = evaluation["smoothed"]["ici"]
    assert f"on average {100 * ici['value']:.2f} (" in page.text
    ipa = evaluation["prediction_error"]["ipa"]["mortality_10y"]
    assert f"IPA {ipa['value']:.3f} (" in page.text
    for remark in evaluation["remarks"]:
        assert remark in page.text
    age = evaluation["baseline"]["rows"][0]["women"]
    assert f"{age['median']:g} ({age['low']:g} to {age['high']:g})" in page.text


def test_every_figure_has_a_version_for_a_dark_page(evaluation: dict[str, Any], text: str):
    assert "prefers-color-scheme: dark" in text
    for figure in draw_figures(evaluation).values():
        light, dark = (
            base64.b64decode(uri.removeprefix("data:image/svg+xml;base64,")).decode()
            for uri in figure
        )
        assert figure.light in text
        assert figure.dark in text
        assert INK in light
        # Ink on a dark page, and paper on a light one, would not be seen.
        assert INK not in dark
        assert PAPER not in dark
        # What names no colour is black.
        words = re.findall(r'<g id="text_\d+">\s*(?:<!--.*?-->\s*)?<g ([^>]*)>', dark)
        assert words
        assert all('style="fill: #' in word for word in words)
        assert "#000000" not in dark


def test_colours_can_be_read_on_both_pages():
    """Contrast of 3 to 1 at least, of text 4.5 to 1, by the formula of WCAG 2.2."""

    def shine(colour: str) -> float:
        channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    def contrast(one: str, other: str) -> float:
        low, high = sorted((shine(one), shine(other)))
        return (high + 0.05) / (low + 0.05)

    for colour, other in DARK.items():
        if colour != PAPER:
            least = 4.5 if colour == INK else 3.0
            assert contrast(colour, PAPER) >= least
            assert contrast(other, DARK[PAPER]) >= least


def test_the_page_says_when_the_model_was_fitted_on_the_people(
    page: Page, evaluation: dict[str, Any]
):
    changed = copy.deepcopy(evaluation)
    assert "was fitted on these people" not in page.text
    changed["cohort"]["seen"] = "yes"
    changed["model"]["name"] = "<script>alert(1)</script>"
    seen = Page(render_report(changed))
    assert "was fitted on these people" in seen.text
    # A name is text, not markup.
    assert "script" not in seen.tags


def test_the_page_counts_answers_that_are_not_reliable(evaluation: dict[str, Any]):
    changed = copy.deepcopy(evaluation)
    rows = changed["subgroups"] = [
        row for row in changed["subgroups"] if "reliable" not in row["group"]
    ]
    assert "answers not reliable" not in Page(render_report(changed)).text
    row = copy.deepcopy(next(row for row in rows if row["shown"]))
    row["own_follow_up"]["ratio"] = {"value": 0.59, "low": 0.4, "high": 0.8}
    rows.append(row | {"group": "answers not reliable", "people": 57})
    text = Page(render_report(changed)).text
    assert "answers not reliable 57 people" in text
    assert "observed / expected deaths 0.59 (0.40 to 0.80)" in text
    rows[-1] = {"group": "answers not reliable", "people": None, "deaths": None, "shown": False}
    assert "answers not reliable withheld people" in Page(render_report(changed)).text


def test_what_is_not_shown_has_a_reason_on_the_page(evaluation: dict[str, Any]):
    changed = copy.deepcopy(evaluation)
    changed["calibration"] = {"shown": False, "reason": "REASON ONE"}
    changed["survival"] = {"shown": False, "reason": "REASON TWO"}
    for section in ("smoothed", "prediction_error", "decisions"):
        changed[section] = {"shown": False, "reason": "REASON ONE"}
    page = Page(render_report(changed))
    assert "REASON ONE" in page.text
    assert "REASON TWO" in page.text
    assert page.tags.count("img") == 5
    # Own follow-up needs no horizon.
    ratio = evaluation["follow_up"]["groups"][0]["ratio"]
    assert f"{ratio['value']:.2f} ({ratio['low']:.2f} to {ratio['high']:.2f})" in page.text


def test_the_page_and_its_json_are_written(evaluation: dict[str, Any], text: str, tmp_path: Path):
    page, figures = write_report(evaluation, tmp_path / "new" / "folder")
    assert json.loads(figures.read_text(encoding="utf-8")) == evaluation
    # The same evaluation gives the same page.
    assert page.read_text(encoding="utf-8") == text
    assert sorted(path.name for path in page.parent.iterdir()) == [
        "evaluation.json",
        "report.html",
    ]
