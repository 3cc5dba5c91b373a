"""The systemd unit: systemd accepts it, and it ends a server correctly."""

import configparser
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from henaw.cli.main import commands
from henaw.cli.server.torchserve import LONGEST_STOP_S

UNIT = Path(__file__).resolve().parents[2] / "serve_config" / "systemd" / "henaw.service"


@pytest.fixture
def service() -> configparser.SectionProxy:
    parser = configparser.RawConfigParser(strict=True)
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read_string(UNIT.read_text())
    return parser["Service"]


def test_systemd_accepts_the_unit(tmp_path: Path, service: configparser.SectionProxy) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("no systemd-analyze")
    copy = tmp_path / "henaw.service"
    # The paths and the user of a host that is installed.
    executable = shlex.split(service["ExecStart"])[0]
    copy.write_text(
        UNIT.read_text()
        .replace(executable, sys.executable)
        .replace("User=henaw", "User=root")
        .replace("Group=henaw", "Group=root")
    )
    result = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(copy)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "henaw.service" not in result.stderr, result.stderr


def test_it_ends_a_server_as_the_command_does(service: configparser.SectionProxy) -> None:
    assert service["KillMode"] == "mixed"
    assert int(service["TimeoutStopSec"]) >= LONGEST_STOP_S


def test_its_options_are_options_of_the_command(service: configparser.SectionProxy) -> None:
    _, *words = shlex.split(service["ExecStart"])
    assert words[:2] == ["serve", "--foreground"]
    said = CliRunner().invoke(commands, ["serve", "--help"]).output
    assert all(word in said for word in words if word.startswith("--"))
    assert words[words.index("--run") + 1] == f"/var/lib/{service['StateDirectory']}"
