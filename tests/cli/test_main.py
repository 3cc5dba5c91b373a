"""The command as a whole."""

import subprocess
import sys

ONLY_FOR_TRAINING = (
    "filelock",
    "jinja2",
    "lifelines",
    "matplotlib",
    "optuna",
    "pandas",
    "polars",
    "pyarrow",
    "scipy",
    "statsmodels",
)


def test_command_works_where_only_serving_is_installed() -> None:
    """`make serve` installs no training libraries: no subcommand may need them to load."""
    blocked = "; ".join(f"sys.modules[{name!r}] = None" for name in ONLY_FOR_TRAINING)
    program = f"import sys; {blocked}; from henaw.cli.main import commands; commands(['--help'])"
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    assert "serve" in result.stdout


def test_a_package_that_is_not_installed_is_named_with_how_to_install_it() -> None:
    program = (
        "import sys; sys.modules['pyarrow'] = None; from henaw.cli.main import main; "
        "sys.argv = ['henaw', 'score', 'in.csv', 'out.csv', '--model', 'henaw.onnx']; main()"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert result.returncode == 1
    assert "expected the Python package 'pyarrow'" in result.stderr
    assert "pip install '.[score]'" in result.stderr
    assert "Traceback" not in result.stderr
