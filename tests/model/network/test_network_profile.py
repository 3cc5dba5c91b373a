"""A laboratory's profile: its shifts are taken off before anything else is computed."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from henaw.export.people import People, draw_synthetic_people
from henaw.model.biomarkers import INDEX, NAMES, PANEL
from henaw.model.checkpoint import Checkpoint
from henaw.model.graph.transforms import LOG_SCALED
from henaw.model.network import Network
from henaw.model.profile import LabProfile, set_profile
from henaw.model.runtime import OUTPUT_NAMES, OnnxRuntime, Outputs, Runtime, TorchRuntime

SHIFT = {
    "crp": 0.1,
    "hba1c": -0.02,
    "creatinine": 0.15,
    "albumin": 1.5,
    "lymphocyte_pct": -2.0,
    "rdw": 0.04,
    "ggt": 0.1,
    "ast": -0.12,
    "alt": 0.2,
}
ERROR = {
    name: 0.3 if name in ("albumin", "lymphocyte_pct") else 0.01 * (1 + i)
    for i, name in enumerate(NAMES)
}
FLAGS_OF_RAW = ("out_of_range", "critical")


@pytest.fixture(scope="module")
def people(checkpoint: Checkpoint) -> People:
    people = draw_synthetic_people(checkpoint, 400, seed=41)
    biomarkers = people.biomarkers.copy()
    biomarkers[np.random.default_rng(42).random(biomarkers.shape) < 0.1] = np.nan
    return people._replace(biomarkers=biomarkers)


def take_off(people: People) -> People:
    """The same values by an assay without these shifts."""
    shift = np.array([SHIFT[name] for name in NAMES])
    values = people.biomarkers.astype(np.float64)
    shifted = np.where(LOG_SCALED, values * np.exp(-shift), values - shift)
    return people._replace(biomarkers=shifted.astype(np.float32))


def open_runtime(
    name: str, checkpoint: Checkpoint, artifacts: Path, **parts: Mapping[str, float]
) -> Runtime:
    """A runtime of its own with a profile of these parts."""
    nothing: dict[str, Mapping[str, float]] = {"shift": {}, "standard_error": {}}
    profile = LabProfile(name="north", **(nothing | parts))
    if name == "onnx":
        return OnnxRuntime(set_profile((artifacts / "henaw.onnx").read_bytes(), profile))
    runtime = (
        TorchRuntime(checkpoint.build_network(), name="eager")
        if name == "eager"
        else TorchRuntime.load_torchscript(artifacts / "henaw.torchscript.pt")
    )
    runtime.set_profile(profile)
    return runtime


def assert_same(seen: Outputs, expected: Outputs, *names: str) -> None:
    for name in names or tuple(set(OUTPUT_NAMES) - set(FLAGS_OF_RAW) - {"reliable"}):
        np.testing.assert_allclose(
            seen[name].astype(float), expected[name].astype(float), atol=3e-4, err_msg=name
        )


@pytest.mark.parametrize("name", ["eager", "torchscript", "onnx"])
def test_answers_are_those_of_values_without_the_shift(
    checkpoint: Checkpoint, artifacts: Path, runtimes: dict[str, Runtime], people: People, name: str
) -> None:
    runtime = open_runtime(name, checkpoint, artifacts, shift=SHIFT)
    seen, plain = runtime.predict(*people), runtimes[name].predict(*people)
    assert_same(seen, runtimes[name].predict(*take_off(people)))
    assert np.abs(seen["age_gap"] - plain["age_gap"]).mean() > 0.5
    # What a laboratory reports is what is judged, not what is made of it.
    for flag in FLAGS_OF_RAW:
        np.testing.assert_array_equal(seen[flag], plain[flag])


@pytest.mark.parametrize("name", NAMES)
def test_one_shift_moves_its_own_contributions(
    checkpoint: Checkpoint, artifacts: Path, name: str
) -> None:
    complete = draw_synthetic_people(checkpoint, 100, seed=43)
    eager = open_runtime("eager", checkpoint, artifacts, shift={name: SHIFT[name]})
    plain = open_runtime("eager", checkpoint, artifacts)
    moved = np.abs(
        eager.predict(*complete)["contributions"] - plain.predict(*complete)["contributions"]
    ).max(0)
    names = checkpoint.network.contribution_names
    own = {
        other
        for other in names
        if name in other.split("_x_") or (other == "ast_alt_ratio" and name in ("ast", "alt"))
    }
    changed = {other for other, years in zip(names, moved, strict=True) if years > 1e-4}
    assert name in changed
    assert changed <= own


@pytest.mark.parametrize("name", ["eager", "torchscript", "onnx"])
def test_flags_are_of_the_values_as_reported(
    checkpoint: Checkpoint, artifacts: Path, name: str
) -> None:
    """A shift that takes a value across a limit changes no flag."""
    limits = checkpoint.tensors["critical_high"].numpy()
    rows = np.tile(np.array([b.typical for b in PANEL], np.float32), (2, 1))
    column = INDEX["creatinine"]
    rows[:, column] = [limits[column] * 0.999, limits[column] * 1.001]
    ages, sexes = np.full(2, 60, np.float32), np.ones(2, np.int64)
    for shift in (-0.5, 0.0, 0.5):
        runtime = open_runtime(name, checkpoint, artifacts, shift={"creatinine": shift})
        outputs = runtime.predict(rows, ages, sexes)
        assert outputs["critical"][:, column].tolist() == [False, True]
        assert not outputs["reliable"][1]


def test_shifted_values_are_clipped_to_what_is_accepted(
    checkpoint: Checkpoint, artifacts: Path
) -> None:
    """The reported value is accepted, the shifted one would not be."""
    runtime = open_runtime(
        "eager", checkpoint, artifacts, shift={"albumin": 20.0, "creatinine": 1.4}
    )
    rows = np.tile(np.array([b.typical for b in PANEL], np.float32), (2, 1))
    rows[0, INDEX["albumin"]], rows[0, INDEX["creatinine"]] = 15.0, 10.0
    rows[1, INDEX["albumin"]], rows[1, INDEX["creatinine"]] = 10.0, 5.0
    plain = open_runtime("eager", checkpoint, artifacts)
    people = (np.full(1, 50, np.float32), np.zeros(1, np.int64))
    assert_same(runtime.predict(rows[:1], *people), plain.predict(rows[1:], *people), "age_gap")


@pytest.mark.parametrize("name", ["eager", "torchscript", "onnx"])
def test_a_known_shift_adds_its_own_standard_error(
    checkpoint: Checkpoint, artifacts: Path, name: str
) -> None:
    """Its standard error stands in the place of the spread between laboratories."""
    complete = draw_synthetic_people(checkpoint, 200, seed=44)
    seen = open_runtime(name, checkpoint, artifacts, standard_error=ERROR).predict(*complete)
    spread = torch.tensor([ERROR[biomarker] for biomarker in NAMES])
    other = Network(checkpoint.network, {**checkpoint.tensors, "laboratory_sd": spread})
    assert_same(seen, TorchRuntime(other, name="eager").predict(*complete), "interval", "age_gap")
    plain = open_runtime(name, checkpoint, artifacts).predict(*complete)
    assert np.abs(seen["interval"] - plain["interval"]).max() > 0.01
    np.testing.assert_array_equal(seen["draw_sd"], plain["draw_sd"])


def test_an_unknown_shift_adds_the_spread_between_laboratories(
    checkpoint: Checkpoint, artifacts: Path
) -> None:
    complete = draw_synthetic_people(checkpoint, 200, seed=45)
    seen = open_runtime("eager", checkpoint, artifacts, standard_error={"rdw": 1e-4}).predict(
        *complete
    )
    spread = checkpoint.tensors["laboratory_sd"].clone()
    spread[INDEX["rdw"]] = 1e-4
    other = Network(checkpoint.network, {**checkpoint.tensors, "laboratory_sd": spread})
    assert_same(seen, TorchRuntime(other, name="eager").predict(*complete), "interval")


def test_a_shipped_model_has_no_profile(checkpoint: Checkpoint) -> None:
    network = checkpoint.build_network()
    buffers: dict[str, npt.NDArray[np.float32]] = {
        name: getattr(network, name).numpy() for name in ("lab_shift", "lab_standard_error")
    }
    assert all(not values.any() for values in buffers.values())
