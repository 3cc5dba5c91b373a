"""Outside a clone, commands take the configuration that is installed."""

from pathlib import Path

import pytest
from click.testing import CliRunner
from henaw.cli.main import commands
from henaw.cli.options import LOCAL_CONFIGURATION, find_installed

FILES = {"config.properties", "handler.yaml", "log4j2.xml"}


def test_what_is_here_comes_before_what_is_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("local", "production"):
        installed = find_installed(Path("serve_config") / name)
        assert installed.is_absolute()
        assert {path.name for path in installed.iterdir()} == FILES
    LOCAL_CONFIGURATION.mkdir(parents=True)
    assert find_installed(LOCAL_CONFIGURATION) == LOCAL_CONFIGURATION


@pytest.mark.parametrize("engine", ["native", "torchserve"])
def test_doctor_reads_the_installed_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, engine: str
) -> None:
    monkeypatch.chdir(tmp_path)
    run = str(tmp_path / "run")
    said = CliRunner().invoke(commands, ["doctor", "--engine", engine, "--run", run]).output
    assert ("java" in said) == (engine == "torchserve")
    assert "PROBLEM configuration" not in said
    (tmp_path / "serve_config/local").mkdir(parents=True)
    said = CliRunner().invoke(commands, ["doctor", "--engine", engine, "--run", run]).output
    assert "PROBLEM configuration" in said
