"""Any change of an ONNX file is seen, but for a laboratory's profile."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from henaw.model.errors import ArtifactError, HenawError, ScoringError
from henaw.model.exported.digest import DIGEST_KEY, check_content, compute_digest
from henaw.model.profile import PROFILE_SHAPES, LabProfile, find_tensor, set_profile
from henaw.model.runtime import OnnxRuntime
from henaw.scoring import Henaw

PROFILE = LabProfile(name="north", shift={"rdw": 0.02}, standard_error={"rdw": 0.003})
PERSON = {"age": 54, "sex": "female", "rdw": 13.1, "albumin": 45}


@pytest.fixture(scope="module")
def content(weights: Path) -> bytes:
    return (weights / "henaw.onnx").read_bytes()


def read_properties(content: bytes) -> dict[str, str]:
    return dict(OnnxRuntime(content).metadata)


def test_the_file_and_its_sidecar_name_it(weights: Path, content: bytes) -> None:
    sidecar = json.loads((weights / "henaw.json").read_text())
    digest = compute_digest(content)
    assert digest == sidecar[DIGEST_KEY] == read_properties(content)[DIGEST_KEY]


def test_a_profile_does_not_change_it(content: bytes) -> None:
    profiled = set_profile(content, PROFILE)
    assert profiled != content
    assert compute_digest(profiled) == compute_digest(content)
    check_content(profiled, read_properties(profiled))
    assert Henaw(profiled).lab == "north"


def test_one_changed_bit_is_found_anywhere(content: bytes) -> None:
    """Each flip is refused, by whichever check comes first, before a runtime opens the file."""
    profiled = set_profile(content, PROFILE)
    random = np.random.default_rng(11)
    # Everywhere, and most where the digest does not look: the profile's tensors and itself.
    places = [*random.integers(0, len(content), 200), *range(len(content) - 90, len(content))]
    for name in PROFILE_SHAPES:
        start = find_tensor(content, name)
        places += range(start - 20, start + 36)
    for file in (content, profiled):
        for place in places:
            damaged = bytearray(file)
            damaged[place] ^= 1 << int(random.integers(8))
            with pytest.raises(HenawError):
                Henaw(bytes(damaged))


def test_a_bit_of_a_profile_moves_no_age(content: bytes) -> None:
    """What names the laboratory is free text; what is taken off its values is not."""
    profiled = set_profile(content, PROFILE)
    expected = Henaw(profiled).predict(PERSON)
    accepted = 0
    for place in range(len(content), len(profiled)):
        damaged = bytearray(profiled)
        damaged[place] ^= 1 << place % 8
        try:
            model = Henaw(bytes(damaged))
        except HenawError:
            continue
        accepted += 1
        assert model.predict(PERSON) == dataclasses.replace(expected, model=model.full_name)
    assert accepted < 40


def test_external_data_is_refused(content: bytes, tmp_path: Path) -> None:
    model = onnx.load_from_string(content)
    path = tmp_path / "henaw.onnx"
    onnx.save(model, path, save_as_external_data=True, location="weights", size_threshold=0)
    with pytest.raises(ScoringError, match=r"weights are in another file \(external data\)"):
        Henaw.load(path)


def test_the_sidecar_beside_it_is_of_the_same_export(
    weights: Path, content: bytes, tmp_path: Path
) -> None:
    path, sidecar = tmp_path / "henaw.onnx", tmp_path / "henaw.json"
    path.write_bytes(set_profile(content, PROFILE))
    said = json.loads((weights / "henaw.json").read_text())
    for harmless in (json.dumps(said), "no JSON", "[]", "{}"):
        sidecar.write_text(harmless)
        assert Henaw.load(path).lab == "north"
    sidecar.write_text(json.dumps(said | {DIGEST_KEY: "0" * 64}))
    with pytest.raises(ScoringError, match=r"sidecar henaw\.json describes 0000"):
        Henaw.load(path)


def test_a_profile_that_differs_from_its_description_is_refused(content: bytes) -> None:
    profiled = set_profile(content, PROFILE)
    value = np.float32(0.02).tobytes()
    assert profiled.count(value) == 1
    other = profiled.replace(value, np.float32(0.5).tobytes())
    with pytest.raises(ScoringError, match="lab_shift differs from its profile"):
        Henaw(other)


def test_other_weights_are_refused(content: bytes) -> None:
    model = onnx.load_from_string(content)
    largest = max(model.graph.initializer, key=lambda tensor: len(tensor.raw_data))
    values = np.frombuffer(largest.raw_data, np.float32).copy()
    values[0] += 1e-3
    largest.raw_data = values.tobytes()
    with pytest.raises(ScoringError, match=r"SHA-256 .*damaged or changed: export the model again"):
        Henaw(model.SerializeToString())


def test_a_file_that_is_not_a_model_is_refused(content: bytes) -> None:
    with pytest.raises(ArtifactError, match="no tensor lab_shift"):
        compute_digest(b"x")
    for other in (b"", b"x", b"{}", content[:-7], content[: len(content) // 2], content[:20]):
        with pytest.raises(ScoringError, match="1 problem"):
            Henaw(other)
    properties = read_properties(content)
    del properties[DIGEST_KEY]
    with pytest.raises(ArtifactError, match=f"no property '{DIGEST_KEY}'"):
        check_content(content, properties)
