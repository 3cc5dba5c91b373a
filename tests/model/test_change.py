"""Two draws of a person: the shared cases, made by NormalDist of Python's statistics."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from henaw.model.change import compare_draws

SHARED = json.loads((Path(__file__).parents[1] / "change_cases.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("case", SHARED["cases"], ids=lambda case: case["about"])
def test_shared_case(case: dict[str, Any]) -> None:
    before, after = case["before"], case["after"]
    told = compare_draws(
        np.array([before["biological_age"]]),
        np.array([after["biological_age"]]),
        years=np.array([case["years"]]),
        sd_before=np.array([before["draw_sd"]]),
        sd_after=np.array([after["draw_sd"]]),
    )
    seen = {name: column[0] for name, column in told._asdict().items()}
    assert bool(seen.pop("within_noise")) is case["expected"].pop("within_noise")
    assert seen == pytest.approx(case["expected"], abs=SHARED["tolerance"])


def test_nine_of_ten_unchanged_people_are_within_the_noise() -> None:
    random = np.random.default_rng(3)
    truth, years = random.uniform(30, 80, 100_000), random.uniform(0, 3, 100_000)
    sds = random.uniform(1, 3, (2, 100_000))
    before, after = truth + sds[0] * random.normal(size=100_000), truth + years
    after = after + sds[1] * random.normal(size=100_000)
    told = compare_draws(before, after, years=years, sd_before=sds[0], sd_after=sds[1])
    assert told.within_noise.mean() == pytest.approx(0.9, abs=0.005)
