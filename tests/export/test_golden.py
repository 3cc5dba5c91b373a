import json
from pathlib import Path

import numpy as np
import pytest
from henaw.export.golden import choose_golden_people, format_golden
from henaw.export.people import (
    People,
    blank_every_pattern,
    draw_anywhere,
    draw_synthetic_people,
    list_edge_cases,
)
from henaw.model.biomarkers import PANEL
from henaw.model.checkpoint import Checkpoint
from henaw.model.exported.golden import read_golden
from henaw.model.runtime import OUTPUT_NAMES, Outputs, Runtime

Golden = tuple[People, Outputs]


def test_there_are_200_people_and_the_edge_cases_are_among_them(golden: Golden) -> None:
    people, outputs = golden
    assert people.biomarkers.shape == (200, 9)
    edges = list_edge_cases()[1]
    for seen, edge in zip(people, edges, strict=True):
        np.testing.assert_array_equal(seen[: len(edge)], edge)
    assert all(len(values) == 200 for values in outputs.values())
    some_missing = np.isnan(people.biomarkers).any(1)
    assert 60 <= some_missing.sum() <= 140


def test_every_runtime_answers_them(runtime: Runtime, golden: Golden) -> None:
    people, expected = golden
    outputs = runtime.predict(*people)
    for name in OUTPUT_NAMES:
        assert outputs[name].dtype == expected[name].dtype
        np.testing.assert_allclose(
            outputs[name].astype(float), expected[name].astype(float), rtol=0, atol=1e-4
        )


def test_what_is_written_is_read_to_the_last_bit(
    runtimes: dict[str, Runtime], checkpoint: Checkpoint, tmp_path: Path
) -> None:
    people = choose_golden_people(checkpoint)
    path = tmp_path / "golden.json"
    path.write_text(format_golden(people, runtimes["eager"]))
    read, outputs = read_golden(path)
    for seen, written in zip(read, people, strict=True):
        assert seen.dtype == written.dtype
        np.testing.assert_array_equal(seen, written)
    for name, written in runtimes["eager"].predict(*people).items():
        assert outputs[name].dtype == written.dtype
        np.testing.assert_array_equal(outputs[name], written)


def test_the_file_is_strict_json(artifacts: Path) -> None:
    def refuse(constant: str) -> float:
        raise AssertionError(constant)

    content = json.loads((artifacts / "golden.json").read_text(), parse_constant=refuse)
    assert set(content["outputs"]) == set(OUTPUT_NAMES)
    inputs = json.dumps(content["inputs"])
    assert all(spelling in inputs for spelling in ("null", '"Infinity"', '"-Infinity"'))


def test_every_pattern_is_blanked_once(checkpoint: Checkpoint) -> None:
    people = blank_every_pattern(draw_synthetic_people(checkpoint, 30, seed=1))
    patterns = (np.isnan(people.biomarkers) << np.arange(9)).sum(1)
    assert sorted(patterns) == list(range(512))


def test_synthetic_people_are_plausible_and_reproducible(checkpoint: Checkpoint) -> None:
    people = draw_synthetic_people(checkpoint, 2_000, seed=2)
    again = draw_synthetic_people(checkpoint, 2_000, seed=2)
    assert all(np.array_equal(a, b) for a, b in zip(people, again, strict=True))
    low, high = ([getattr(b, end) for b in PANEL] for end in ("minimum", "maximum"))
    inside = (people.biomarkers > low) & (people.biomarkers < high)
    assert inside.mean() > 0.999
    assert 20 <= people.age.min() < people.age.max() <= 85
    fitted = people.biomarkers[:, :, None] > np.stack(
        [checkpoint.tensors["range_low"].numpy(), checkpoint.tensors["range_high"].numpy()], 1
    )
    assert fitted[:, :, 0].mean() > 0.99
    assert fitted[:, :, 1].mean() < 0.01


def test_anywhere_goes_beyond_what_is_accepted() -> None:
    people = draw_anywhere(5_000, seed=3)
    known = people.biomarkers
    assert (np.nanmin(known, 0) < [b.minimum for b in PANEL]).all()
    assert (np.nanmax(known, 0) > [b.maximum for b in PANEL]).all()
    assert np.isnan(known).mean() == pytest.approx(0.2, abs=0.02)


def test_edge_cases_have_a_name_each() -> None:
    names, people = list_edge_cases()
    assert len(set(names)) == len(names) == len(people.age)
