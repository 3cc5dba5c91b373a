"""The wheel in a fresh environment and an empty folder, with nothing of the repository."""

import email
import os
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest
import yaml

REPOSITORY = Path(__file__).parents[1]
LARGEST_WHEEL = 2_000_000
LARGEST_ENVIRONMENT = 400_000_000
_UNREACHABLE = ("Could not find a version", "ConnectionError", "Max retries exceeded")
_LEFT_OUT = shutil.ignore_patterns(".*", "build", "node_modules", "__pycache__", "*.egg-info")


def run(*command: object, cwd: Path) -> "subprocess.CompletedProcess[str]":
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    return subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def install(*command: object, cwd: Path) -> None:
    """Run pip; skip where it reaches no index."""
    done = run(*command, cwd=cwd)
    if done.returncode and any(mark in done.stderr for mark in _UNREACHABLE):
        pytest.skip(f"needs a package index: {done.stderr.strip().splitlines()[-1]}")
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    # A copy: setuptools builds inside the folder that it is given.
    shutil.copytree(REPOSITORY, folder / "source", ignore=_LEFT_OUT)
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--wheel-dir", folder]
    install(*command, folder / "source", cwd=folder)
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment that holds the wheel and what it needs."""
    folder = tmp_path_factory.mktemp("fresh") / "venv"
    venv.create(folder, with_pip=True, symlinks=True)
    path = folder / "bin" / "python"
    constraints = ("--constraint", REPOSITORY / "constraints.txt")
    install(path, "-m", "pip", "install", *constraints, wheel, cwd=folder)
    return path


def test_it_holds_the_shipped_model_and_is_small(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    for name in ("henaw.onnx", "henaw.json", "golden.json", "henaw-nhanes.safetensors"):
        assert f"henaw/model/weights/{name}" in names
    assert "henaw/__init__.py" in names
    assert wheel.stat().st_size < LARGEST_WHEEL


def test_it_says_what_it_is(wheel: Path) -> None:
    archive = zipfile.ZipFile(wheel)
    (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
    metadata = email.message_from_bytes(archive.read(name))
    assert "Typing :: Typed" in metadata.get_all("Classifier", [])
    assert "biological age" in metadata["Keywords"]
    citation = yaml.safe_load((REPOSITORY / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == metadata["Version"]
    assert citation["license"] == metadata["License-Expression"]


def test_it_answers_in_an_empty_folder(python: Path, tmp_path: Path) -> None:
    (tmp_path / "people.csv").write_text("age,sex,crp,albumin\n54,female,1.2,45\n61,male,,38\n")
    scored = run(python.with_name("henaw"), "score", "people.csv", "answers.csv", cwd=tmp_path)
    assert scored.returncode == 0, scored.stderr
    assert "2 rows, 2 scored by henaw-nhanes" in scored.stderr
    assert len((tmp_path / "answers.csv").read_text().splitlines()) == 3
    program = "import henaw; print(henaw.predict({'age': 54, 'sex': 'female', 'albumin': 45}))"
    said = run(python, "-W", "error", "-c", program, cwd=tmp_path)
    assert said.stdout.startswith("Biological age "), said.stderr


def test_the_environment_is_small_and_without_torch(python: Path) -> None:
    packages = list(python.parents[1].glob("lib/python3*/site-packages/*"))
    names = {path.name for path in packages}
    assert "onnxruntime" in names
    assert not names & {"torch", "pandas", "polars", "scipy", "safetensors", "onnx"}
    files = (path for path in python.parents[1].rglob("*") if not path.is_symlink())
    assert sum(path.stat().st_size for path in files if path.is_file()) < LARGEST_ENVIRONMENT
