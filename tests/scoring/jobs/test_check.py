"""``henaw check``: a copy of the ONNX file against the golden people."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from henaw.cli.main import commands
from henaw.model.errors import ArtifactError, ScoringError
from henaw.model.profile import LabProfile, set_profile
from henaw.scoring.jobs import check as check_module
from henaw.scoring.jobs.check import check_file, round_mantissa


def run(*arguments: object) -> Result:
    return CliRunner().invoke(commands, ["check", *map(str, arguments)])


@pytest.fixture
def copy(artifacts: Path, tmp_path: Path) -> Path:
    """The file alone, as somebody was sent it."""
    path = tmp_path / "sent.onnx"
    shutil.copyfile(artifacts / "henaw.onnx", path)
    return path


def test_a_complete_copy_passes(artifacts: Path, copy: Path) -> None:
    found = check_file(artifacts / "henaw.onnx")
    assert found.holds
    assert (found.people, found.golden, found.device) == (200, artifacts / "golden.json", "cpu")
    assert 0 < found.rounded_years["TF32"] < found.rounded_years["bfloat16"]
    result = run(copy)
    assert result.exit_code == 0, result.output
    assert "content as exported" in result.output
    # The golden people of the shipped model, as none are beside it.
    assert "weights/golden.json on cpu" in result.output
    assert "to bfloat16 by up to 0." in result.output


def test_other_answers_are_named_with_the_person(artifacts: Path, copy: Path) -> None:
    content = json.loads((artifacts / "golden.json").read_text())
    content["outputs"]["age_gap"][7] += 0.01
    (copy.parent / "golden.json").write_text(json.dumps(content))
    result = run(copy)
    assert result.exit_code == 1
    assert "NOT within 0.0001, person 7" in result.output
    assert result.output.count("NOT within") == 1
    assert run(copy, "--golden", artifacts / "golden.json").exit_code == 0


def test_a_changed_copy_is_refused(copy: Path) -> None:
    damaged = bytearray(copy.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    copy.write_bytes(damaged)
    with pytest.raises(ScoringError):
        check_file(copy)


def test_a_profile_is_refused(copy: Path) -> None:
    profile = LabProfile(name="north", shift={"rdw": 0.02}, standard_error={"rdw": 0.003})
    copy.write_bytes(set_profile(copy.read_bytes(), profile))
    with pytest.raises(ScoringError, match="it contains the profile of north"):
        check_file(copy)


def test_another_model_wants_its_golden_people(
    copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "henaw.json").write_text(json.dumps({"checkpoint_sha256": "of another"}))
    monkeypatch.setattr(check_module, "find_shipped", lambda name: tmp_path / name)
    with pytest.raises(ScoringError, match=r"golden\.json, and this is not the shipped model"):
        check_file(copy)


@pytest.mark.parametrize("content", ["", "[]", '{"inputs": {}}', '{"inputs": {"biomarkers": 1}}'])
def test_golden_people_that_are_none_are_refused(copy: Path, tmp_path: Path, content: str) -> None:
    (tmp_path / "other.json").write_text(content)
    with pytest.raises(ArtifactError, match=r"other\.json.*\n.*the file has no golden people"):
        check_file(copy, golden=tmp_path / "other.json")


def test_it_runs_on_the_given_device(artifacts: Path, pretend_cuda: Callable[..., Any]) -> None:
    pretend_cuda()
    assert check_file(artifacts / "henaw.onnx", device="cuda:1").device == "cuda:1"


def test_rounding_is_to_the_nearest() -> None:
    values = np.array([1 + 2**-8, 1 + 3 * 2**-8, -79.6, 0.0, np.inf, np.nan, 3e38], np.float32)
    seen = round_mantissa(values, 7)
    expected = np.array([1.0, 1 + 2**-6, -79.5, 0.0, np.inf, np.nan, 3.0042e38], np.float32)
    np.testing.assert_allclose(seen, expected, rtol=1e-4)
