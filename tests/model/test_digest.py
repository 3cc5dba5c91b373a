"""Any change of an ONNX file is seen, but for a laboratory's profile."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from henaw.model.digest import DIGEST_KEY, check_content, compute_digest
from henaw.model.errors import ArtifactError, HenawError, ScoringError
from henaw.model.profile import LabProfile, set_profile
from henaw.model.runtime import OnnxRuntime
from henaw.scoring import Henaw

PROFILE = LabProfile(name="north", shift={"rdw": 0.02}, standard_error={"rdw": 0.003})


@pytest.fixture(scope="module")
def content(artifacts: Path) -> bytes:
    return (artifacts / "henaw.onnx").read_bytes()


def read_properties(content: bytes) -> dict[str, str]:
    return dict(OnnxRuntime(content).metadata)


def test_the_file_and_its_sidecar_name_it(artifacts: Path, content: bytes) -> None:
    sidecar = json.loads((artifacts / "henaw.json").read_text())
    digest = compute_digest(content)
    assert digest == sidecar[DIGEST_KEY] == read_properties(content)[DIGEST_KEY]


def test_a_profile_does_not_change_it(content: bytes) -> None:
    profiled = set_profile(content, PROFILE)
    assert profiled != content
    assert compute_digest(profiled) == compute_digest(content)
    check_content(profiled, read_properties(profiled))
    assert Henaw(profiled).lab == "north"


def test_a_bit_anywhere_is_seen(content: bytes) -> None:
    """Each flip is refused, by whichever check comes first."""
    profiled = set_profile(content, PROFILE)
    random = np.random.default_rng(11)
    for file in (content, profiled):
        # Not behind it, where the profile names its laboratory.
        for place in random.integers(0, len(content), 75).tolist():
            damaged = bytearray(file)
            damaged[place] ^= 1 << int(random.integers(8))
            with pytest.raises(HenawError):
                Henaw(bytes(damaged))


def test_a_name_that_is_no_text_is_no_onnx_file(content: bytes) -> None:
    before, name, behind = content.rpartition(b"split_with_sizes")
    assert name
    damaged = before + b"split_with_\xf3izes" + behind
    with pytest.raises(ScoringError, match="expected an ONNX file, however: 'utf-8' codec"):
        Henaw(damaged)


def test_a_profile_that_is_not_the_one_it_says_is_seen(content: bytes) -> None:
    profiled = set_profile(content, PROFILE)
    value = np.float32(0.02).tobytes()
    assert profiled.count(value) == 1
    other = profiled.replace(value, np.float32(0.5).tobytes())
    with pytest.raises(ScoringError, match="lab_shift is not that of its profile"):
        Henaw(other)


def test_other_weights_are_refused(content: bytes) -> None:
    model = onnx.load_from_string(content)
    largest = max(model.graph.initializer, key=lambda tensor: len(tensor.raw_data))
    values = np.frombuffer(largest.raw_data, np.float32).copy()
    values[0] += 1e-3
    largest.raw_data = values.tobytes()
    with pytest.raises(ScoringError, match=r"SHA-256 .*damaged or changed: export the model again"):
        Henaw(model.SerializeToString())


def test_what_is_no_model_is_refused(content: bytes) -> None:
    with pytest.raises(ArtifactError, match="no tensor lab_shift"):
        compute_digest(b"x")
    for end in (len(content) - 7, len(content) // 2):
        with pytest.raises(HenawError):
            Henaw(content[:end])
    properties = read_properties(content)
    del properties[DIGEST_KEY]
    with pytest.raises(ArtifactError, match=f"property '{DIGEST_KEY}', found none"):
        check_content(content, properties)
