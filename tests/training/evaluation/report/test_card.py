import copy
import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import pytest
from henaw.model.biomarkers import PANEL
from henaw.model.checkpoint import Checkpoint
from henaw.model.errors import CohortError
from henaw.training.evaluation.report.card import (
    pool_surveys,
    read_evaluation,
    render_card,
    summarise_card,
)

Json = dict[str, Any]


@pytest.fixture(scope="module")
def another(evaluation: Json) -> Json:
    """An evaluation of half as many deaths, with a C that is 0.02 lower."""
    other = copy.deepcopy(evaluation)
    other["cohort"]["deaths"] = evaluation["cohort"]["deaths"] / 2
    other["c_index"][0]["c"]["mortality_10y"]["value"] -= 0.03
    return other


def test_the_card_has_the_figures_of_its_evaluations(checkpoint: Checkpoint, evaluation: Json):
    card = render_card(checkpoint, [evaluation], evaluation)
    c = evaluation["c_index"][0]["c"]["mortality_10y"]
    assert f"C-index {c['value']:.3f} ({c['low']:.3f} to {c['high']:.3f})" in card
    assert checkpoint.sha256 in card
    assert checkpoint.intended_use in card
    assert all(f"| {biomarker.label} | {biomarker.unit} |" in card for biomarker in PANEL)
    assert f"{checkpoint.training['people']:,}".replace(",", " ") in card
    assert "simulation" in card
    assert "undefined" not in card.lower()


def test_the_card_goes_through_tripod(checkpoint: Checkpoint, evaluation: Json):
    card = render_card(checkpoint, [evaluation], evaluation)
    items: set[int] = set()
    for bracket in re.findall(r"\[(\d[\w, -]*)\]", card):
        items |= {int(number) for number in re.findall(r"(?<!\w)(\d+)", bracket)}
    assert set(range(2, 28)) - {18, 23} <= items | {23}
    assert {18, 23} <= items


def test_every_table_of_the_card_is_square(checkpoint: Checkpoint, evaluation: Json, another: Json):
    card = render_card(checkpoint, [evaluation, another], evaluation)
    tables = re.findall(r"(?:^\|.*\n)+", card, re.MULTILINE)
    assert len(tables) >= 6
    for table in tables:
        widths = {line.strip().count("|") for line in table.splitlines()}
        assert len(widths) == 1, table


def test_surveys_are_averaged_by_their_deaths(evaluation: Json, another: Json):
    pooled = pool_surveys([evaluation, another])
    c = evaluation["c_index"][0]["c"]["mortality_10y"]
    assert pooled["c"]["all"]["value"] == pytest.approx(c["value"] - 0.01, abs=1e-4)
    half = 0.5 * (c["high"] - c["low"]) * (5**0.5) / 3
    assert pooled["c"]["all"]["high"] - pooled["c"]["all"]["value"] == pytest.approx(half, abs=2e-4)
    alone = pool_surveys([evaluation])
    own = evaluation["follow_up"]["groups"][0]
    assert alone["slope"]["value"] == pytest.approx(own["slope"]["value"])
    # Expected deaths are kept to a tenth.
    assert alone["ratio"]["value"] == pytest.approx(own["ratio"]["value"], rel=3e-3)


def test_a_survey_of_short_follow_up_counts_with_the_time_it_has(
    checkpoint: Checkpoint, evaluation: Json
):
    short = copy.deepcopy(evaluation)
    for section in ("calibration", "smoothed", "prediction_error", "decisions"):
        short[section] = {"shown": False, "reason": "SHORT"}
    own = short["follow_up"]["groups"][0]
    own["expected"] = 2 * own["observed"]
    pooled = pool_surveys([evaluation, short])
    first = evaluation["follow_up"]["groups"][0]
    ratio = 2 * first["observed"] / (first["expected"] + own["expected"])
    assert pooled["ratio"]["value"] == pytest.approx(ratio, rel=3e-3)
    # The two have the same deaths, of which Kaplan-Meier knows the first.
    overall = evaluation["calibration"]["all_causes"]["overall"]["ratio"]
    assert pooled["kaplan_meier"]["value"] == pytest.approx(overall["value"], abs=1e-4)
    card = render_card(checkpoint, [evaluation, short], evaluation)
    assert "| short |" in card
    ipa = evaluation["prediction_error"]["ipa"]["mortality_10y"]
    assert f"| {ipa['value']:.3f} (" in card
    with pytest.raises(CohortError, match="must have follow-up to the horizon"):
        render_card(checkpoint, [short, evaluation], evaluation)


def test_the_short_card_is_small_json(evaluation: Json):
    card = summarise_card(evaluation)
    assert len(json.dumps(card, allow_nan=False)) < 2000
    assert card["c_index_10y"]["all"] == evaluation["c_index"][0]["c"]["mortality_10y"]
    assert card["reporting"] == "TRIPOD+AI"
    assert {"calibration_slope", "hazard_slope", "ipa", "ici"} <= set(card)


def test_every_biased_evaluation_is_listed(checkpoint: Checkpoint, evaluation: Json):
    seen = copy.deepcopy(evaluation)
    seen["cohort"]["seen"] = "yes"
    short = copy.deepcopy(evaluation)
    short["calibration"] = {"shown": False, "reason": "SHORT"}
    with pytest.raises(CohortError) as caught:
        render_card(checkpoint, [short, seen], evaluation)
    assert len(caught.value.problems) == 2
    assert "was fitted on these people" in caught.value.problems[0]
    other = dataclasses.replace(checkpoint, name="another")
    with pytest.raises(CohortError, match="must be of another"):
        render_card(other, [evaluation], evaluation)


@pytest.mark.parametrize("content", [None, "{", "[]", '{"henaw_evaluation": 0}'])
def test_a_file_that_is_not_an_evaluation_is_refused(content: str | None, tmp_path: Path):
    path = tmp_path / "evaluation.json"
    if content is not None:
        path.write_text(content, encoding="utf-8")
    with pytest.raises(CohortError, match=r"henaw evaluate|not JSON"):
        read_evaluation(path)
