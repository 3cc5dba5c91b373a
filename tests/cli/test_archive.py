import zipfile
from pathlib import Path

import pytest
from click.testing import CliRunner
from henaw.cli.archive import archive
from henaw.model.errors import ArtifactError

MODEL_CONFIG = Path(__file__).resolve().parents[2] / "serve_config" / "model-config.yaml"


def read_model_config(path: Path) -> bytes:
    with zipfile.ZipFile(path) as content:
        return content.read("model-config.yaml")


def test_outside_a_clone_it_takes_what_is_installed(
    artifacts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(archive, ["--exported", str(artifacts)])
    assert result.exit_code == 0, result.output
    assert read_model_config(tmp_path / "model_store/henaw.mar") == MODEL_CONFIG.read_bytes()
    assert f"bytes, of {artifacts} and " in result.stdout


def test_a_configuration_in_this_folder_comes_first_and_is_named(
    artifacts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    own = MODEL_CONFIG.read_text() + "\n# ours\n"
    (tmp_path / "serve_config").mkdir()
    (tmp_path / "serve_config/model-config.yaml").write_text(own)
    result = CliRunner().invoke(archive, ["--exported", str(artifacts)])
    assert result.exit_code == 0, result.output
    assert read_model_config(tmp_path / "model_store/henaw.mar").decode() == own
    assert "and serve_config/model-config.yaml\n" in result.stdout


def test_a_named_configuration_must_exist(artifacts: Path, tmp_path: Path) -> None:
    arguments = ["--exported", str(artifacts), "--out", str(tmp_path)]
    result = CliRunner().invoke(archive, [*arguments, "--model-config", str(tmp_path / "none")])
    assert isinstance(result.exception, ArtifactError)
    assert f"there is no file {tmp_path / 'none'}" in str(result.exception)
