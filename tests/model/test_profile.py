"""A laboratory's profile as a file, and in an ONNX file's bytes."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from henaw.model.biomarkers import NAMES
from henaw.model.errors import ProfileError
from henaw.model.profile import (
    METADATA_KEY,
    PROFILE_SHAPES,
    LabProfile,
    read_profile,
    set_profile,
)
from henaw.model.runtime import OnnxRuntime

SHIFT = {"rdw": 0.05, "albumin": -1.0}
ERROR = {"rdw": 0.01, "albumin": 0.2}
LEVEL = {"female": [-0.5, 0.1], "male": [0.3, -0.2]}


def make(**more: Any) -> LabProfile:
    return LabProfile(**{"name": "north", "shift": SHIFT, "standard_error": ERROR} | more)


def test_a_file_gives_the_same_profile(tmp_path: Path) -> None:
    profile = make(people={"rdw": 500, "albumin": 499}, level=LEVEL, life_table="it.csv")
    path = tmp_path / "lab.json"
    path.write_text(json.dumps(profile.describe()))
    assert read_profile(path) == profile


def test_a_profile_changed_by_hand_is_refused() -> None:
    content = make(level=LEVEL).describe()
    content["level"] = {"female": [-0.6, 0.1], "male": [0.3, -0.2]}
    with pytest.raises(ProfileError, match="differ from its digest"):
        read_profile(content)


def test_the_digest_depends_only_on_the_tensors() -> None:
    assert make().digest == make(name="south", people={"rdw": 3}).digest
    assert make().digest != make(level=LEVEL).digest
    assert make().digest != make(shift={"rdw": 0.05}).digest


@pytest.mark.parametrize(
    "level",
    [
        {"female": [0.0, 0.0]},
        {"female": [0.0, 0.0], "male": [0.0]},
        {"female": [0.0, 0.0], "male": [0.0, "1"]},
        {"female": [0.0, 0.0], "male": [0.0, float("nan")]},
        {"female": [9.0, 0.0], "male": [0.0, 0.0]},
        [0.0, 0.0],
    ],
)
def test_a_level_of_the_wrong_form_is_refused(level: Any) -> None:
    with pytest.raises(ProfileError, match="level must be, for female and male, two numbers"):
        make(level=level)


def test_the_tensors_have_the_shapes_of_the_graph() -> None:
    arrays = make(level=LEVEL).arrays
    assert [array.shape for array in arrays] == list(PROFILE_SHAPES.values())
    assert {array.dtype for array in arrays} == {np.dtype(np.float32)}
    assert arrays[0][NAMES.index("rdw")] == np.float32(0.05)
    # Mean of the sexes, then the men's less the women's.
    np.testing.assert_allclose(arrays[2][:, 0], [-0.1, -0.05, 0.8, -0.3], atol=1e-7)
    assert not any(array.any() for array in make(shift={}, standard_error={}).arrays)


def test_the_level_moves_risks_by_age_and_sex_and_nothing_else(weights: Path) -> None:
    content = (weights / "henaw.onnx").read_bytes()
    plain = OnnxRuntime(content)
    leveled = OnnxRuntime(
        set_profile(content, LabProfile(name="n", shift={}, standard_error={}, level=LEVEL))
    )
    values = np.array([2.0, 40.0, 80.0, 41.0, 28.0, 13.5, 30.0, 25.0, 22.0], np.float32)
    people = np.tile(values, (6, 1)), np.array([45, 60, 75] * 2, np.float32), np.repeat([0, 1], 3)
    before, after = plain.predict(*people), leveled.predict(*people)
    moved = {name for name in before if not np.array_equal(before[name], after[name])}
    assert moved == {"mortality_10y", "cause_risk_10y"}
    ratio = np.log1p(-after["mortality_10y"]) / np.log1p(-before["mortality_10y"])
    np.testing.assert_allclose(np.log(ratio), [-0.6, -0.5, -0.4, 0.5, 0.3, 0.1], atol=1e-4)
    shares = [a["cause_risk_10y"] / a["mortality_10y"][:, None] for a in (before, after)]
    np.testing.assert_allclose(*shares, atol=1e-6)
    assert (after["cause_risk_10y"].sum(1) < after["mortality_10y"]).all()


def test_a_file_takes_one_profile_and_says_which(weights: Path) -> None:
    content = (weights / "henaw.onnx").read_bytes()
    assert METADATA_KEY not in OnnxRuntime(content).metadata
    changed = set_profile(content, make())
    assert read_profile(json.loads(OnnxRuntime(changed).metadata[METADATA_KEY])) == make()
    # One that takes nothing off is a profile too.
    empty = set_profile(content, LabProfile(name="empty", shift={}, standard_error={}))
    for once in (changed, empty):
        with pytest.raises(ProfileError, match="has a laboratory profile already"):
            set_profile(once, make())
    with pytest.raises(ProfileError, match="Is it a model of HENAW"):
        set_profile(b"another file", make())


def test_a_profile_of_another_model_is_refused(weights: Path) -> None:
    content = (weights / "henaw.onnx").read_bytes()
    own = OnnxRuntime(content).metadata["checkpoint_sha256"]
    assert set_profile(content, make(model=own)) != content
    with pytest.raises(ProfileError, match="made for the model aaaaaaaaaaaa; this is"):
        set_profile(content, make(model="a" * 64))
