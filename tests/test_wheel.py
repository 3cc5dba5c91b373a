"""Both distributions, in fresh environments and empty folders, with nothing of the repository."""

import email
import importlib.util
import json
import os
import re
import subprocess
import sys
import tarfile
import venv
import zipfile
from email.message import Message
from pathlib import Path
from typing import Any

import pytest
import yaml

REPOSITORY = Path(__file__).parents[1]
LARGEST_WHEEL = 2_000_000
LARGEST_ENVIRONMENT = 400_000_000
_UNREACHABLE = ("Could not find a version", "ConnectionError", "Max retries exceeded")


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
def release() -> Any:
    """release/build.py, which `make dist` runs."""
    spec = importlib.util.spec_from_file_location("build", REPOSITORY / "release" / "build.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def dist(release: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a wheel and a source distribution of each."""
    folder = tmp_path_factory.mktemp("dist")
    for name in release.DISTRIBUTIONS:
        release.build(name, folder)
    return folder


@pytest.fixture(scope="module")
def wheel(dist: Path) -> Path:
    (path,) = dist.glob("henaw-*.whl")
    return path


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment that holds the wheel and what it needs."""
    folder = tmp_path_factory.mktemp("fresh") / "venv"
    venv.create(folder, symlinks=True)
    path = folder / "bin" / "python"
    pip = (sys.executable, "-m", "pip", "--python", path)
    constraints = ("--constraint", REPOSITORY / "constraints.txt")
    install(*pip, "install", *constraints, wheel, cwd=folder)
    return path


@pytest.fixture(scope="module")
def gpu_python(dist: Path, python: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One that holds henaw-gpu and what it needs, but for onnxruntime-gpu: it has 300 MB."""
    folder = tmp_path_factory.mktemp("gpu") / "venv"
    venv.create(folder, symlinks=True)
    path = folder / "bin" / "python"
    (packages,) = folder.glob("lib/python3*/site-packages")
    for package in next(python.parents[1].glob("lib/python3*/site-packages")).iterdir():
        if not package.name.startswith(("henaw", "onnxruntime")):
            (packages / package.name).symlink_to(package)
    (gpu,) = dist.glob("henaw_gpu-*.whl")
    install(
        *(sys.executable, "-m", "pip", "--python", path, "install", "--no-deps", gpu), cwd=folder
    )
    return path


def read_metadata(wheel: Path) -> Message:
    archive = zipfile.ZipFile(wheel)
    (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
    return email.message_from_bytes(archive.read(name))


def test_it_holds_the_shipped_model_and_is_small(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    for name in ("henaw.onnx", "henaw.json", "golden.json", "henaw-nhanes.safetensors"):
        assert f"henaw/model/weights/{name}" in names
    assert "henaw/__init__.py" in names
    assert wheel.stat().st_size < LARGEST_WHEEL


def test_the_source_distribution_holds_what_is_built_and_configured(dist: Path) -> None:
    (path,) = dist.glob("henaw-*.tar.gz")
    with tarfile.open(path) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert names >= {
        "serve_config/local/config.properties",
        "serve_config/production/config.properties",
        "serve_config/model-config.yaml",
        "training/configs/nhanes.yaml",
        "model/weights/henaw.onnx",
        "examples/browser/index.html",
        "tests/test_wheel.py",
        "release/build.py",
        *("Makefile", "constraints.txt", "CITATION.cff", "CHANGELOG.md", "LICENSE"),
    }


def test_it_says_what_it_is(wheel: Path) -> None:
    metadata = read_metadata(wheel)
    assert "Typing :: Typed" in metadata.get_all("Classifier", [])
    assert "biological age" in metadata["Keywords"]
    # The project has no address yet, and none is made up.
    assert metadata.get_all("Project-URL") is metadata["Home-page"] is None
    citation = yaml.safe_load((REPOSITORY / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == metadata["Version"]
    assert citation["license"] == metadata["License-Expression"]


def test_an_index_can_show_its_description(release: Any, dist: Path, wheel: Path) -> None:
    """Without pictures and links that lead nowhere there."""
    release.check(dist)
    text = str(read_metadata(wheel).get_payload())
    assert text.startswith("# HENAW")
    assert "from nine routine blood values" in text
    assert not re.findall(r"\]\((?!https?://)", text)
    assert "![" not in text


def test_the_other_distribution_differs_by_its_runtime_alone(dist: Path, wheel: Path) -> None:
    (gpu,) = dist.glob("henaw_gpu-*.whl")
    said, other = (read_metadata(path) for path in (wheel, gpu))
    assert (said["Name"], other["Name"]) == ("henaw", "henaw-gpu")
    needs, others = (set(one.get_all("Requires-Dist", [])) for one in (said, other))
    names = [{re.split(r"[<>=\[; ]", need)[0] for need in some} for some in (needs, others)]
    assert names[0] - names[1] == {"onnxruntime", "henaw"}
    assert names[1] - names[0] == {"onnxruntime-gpu", "henaw-gpu"}
    files = [
        {
            info.filename: info.CRC
            for info in zipfile.ZipFile(path).infolist()
            if ".dist-info/" not in info.filename
        }
        for path in (wheel, gpu)
    ]
    assert files[0] == files[1]


def test_without_its_runtime_it_says_what_to_install(gpu_python: Path, tmp_path: Path) -> None:
    version = run(gpu_python, "-c", "import henaw; print(henaw.__version__)", cwd=tmp_path)
    assert (
        version.stdout
        == f"{yaml.safe_load((REPOSITORY / 'CITATION.cff').read_text())['version']}\n"
    )
    (tmp_path / "people.csv").write_text("age,sex,crp\n54,female,1.2\n")
    said = run(gpu_python.with_name("henaw"), "score", "people.csv", "out.csv", cwd=tmp_path)
    assert said.returncode == 1
    assert "pip install onnxruntime-gpu" in said.stderr
    assert len(said.stderr.splitlines()) == 1
    assert not (tmp_path / "out.csv").exists()


def test_doctor_says_where_both_are_installed(
    gpu_python: Path, wheel: Path, tmp_path: Path
) -> None:
    pip = (sys.executable, "-m", "pip", "--python", gpu_python)
    install(*pip, "install", "--no-deps", wheel, cwd=tmp_path)
    said = run(gpu_python.with_name("henaw"), "doctor", cwd=tmp_path)
    assert said.returncode == 1
    assert "henaw and henaw-gpu are both installed and overwrite" in said.stdout
    assert "PROBLEM onnxruntime: not installed" in said.stdout
    assert "PROBLEM packages: " in said.stdout
    assert "Traceback" not in said.stderr


def test_a_bill_of_materials_lists_what_it_brings(release: Any, wheel: Path, python: Path) -> None:
    path = release.list_materials(wheel, python)
    assert path.parent == wheel.parent
    bill = json.loads(path.read_text())
    assert bill["bomFormat"] == "CycloneDX"
    assert bill["metadata"]["component"]["name"] == "henaw"
    components = {component["name"].lower() for component in bill["components"]}
    assert components >= {"onnxruntime", "numpy", "pyarrow", "click", "tqdm", "pyyaml"}
    assert not components & {"pip", "torch", "pytest"}
    assert all(component["purl"].startswith("pkg:pypi/") for component in bill["components"])
    assert "file:" not in path.read_text()  # no path of the machine that made it


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
    assert not names & {"torch", "pandas", "polars", "scipy", "safetensors", "onnx", "sklearn"}
    files = (path for path in python.parents[1].rglob("*") if not path.is_symlink())
    assert sum(path.stat().st_size for path in files if path.is_file()) < LARGEST_ENVIRONMENT
