import hashlib
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from henaw.export.archive import build_archive
from henaw.model.errors import ArtifactError

REPOSITORY = Path(__file__).resolve().parents[2]
MODEL_CONFIG = REPOSITORY / "serve_config" / "model-config.yaml"

ALONE = """
import importlib, pathlib, sys
folder = pathlib.Path(sys.argv[1])
sys.path.insert(0, str(folder))
for path in sorted((folder / "henaw").rglob("*.py")):
    name = ".".join(path.relative_to(folder).with_suffix("").parts).removesuffix(".__init__")
    module = importlib.import_module(name)
    assert str(folder) in module.__file__, module.__file__
    print(name)
import torchserve_entry
assert not [n for n in sys.modules if n.startswith(("henaw.export", "henaw.training", "henaw.cli"))]
"""


@pytest.fixture(scope="module")
def archive(artifacts: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_archive(artifacts, MODEL_CONFIG, tmp_path_factory.mktemp("store"))


def test_it_contains_what_serving_needs_and_nothing_else(archive: Path) -> None:
    with zipfile.ZipFile(archive) as content:
        names = set(content.namelist())
        version = json.loads(content.read("MAR-INF/MANIFEST.json"))["model"]["modelVersion"]
        assert version == json.loads(content.read("henaw.json"))["version"]
    beside_code = {name for name in names if not name.startswith("henaw/")}
    assert beside_code == {
        "MAR-INF/MANIFEST.json",
        "digests.json",
        "golden.json",
        "henaw.json",
        "henaw.onnx",
        "henaw.torchscript.pt",
        "model-config.yaml",
        "torchserve_entry.py",
    }
    sources = {
        f"henaw/{path.relative_to(REPOSITORY).as_posix()}"
        for package in ("model", "intake", "handler")
        for path in (REPOSITORY / package).rglob("*.py")
        if "native" not in path.parts
    }
    expected = sources - {"henaw/handler/torchserve/torchserve_entry.py"} | {
        "henaw/__init__.py",
        "henaw/intake/fhir/henaw-codes.json",
    }
    assert names - beside_code == expected


def test_digests_cover_every_file(archive: Path) -> None:
    with zipfile.ZipFile(archive) as content:
        digests = json.loads(content.read("digests.json"))
        own = {"digests.json", "MAR-INF/MANIFEST.json"}
        assert digests == {
            name: hashlib.sha256(content.read(name)).hexdigest()
            for name in content.namelist()
            if name not in own
        }


def test_its_code_works_alone(archive: Path, tmp_path: Path) -> None:
    """Unpacked, without this environment's henaw: it needs nothing that is not in it."""
    with zipfile.ZipFile(archive) as content:
        content.extractall(tmp_path / "unpacked")
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    result = subprocess.run(
        [sys.executable, "-c", ALONE, str(tmp_path / "unpacked")],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert "henaw.handler.service" in result.stdout.split()


def test_the_same_input_makes_the_same_content(
    archive: Path, artifacts: Path, tmp_path: Path
) -> None:
    again = build_archive(artifacts, MODEL_CONFIG, tmp_path)
    with zipfile.ZipFile(archive) as one, zipfile.ZipFile(again) as other:
        assert one.read("digests.json") == other.read("digests.json")


def test_an_older_archive_is_kept_if_the_new_one_fails(artifacts: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    store.mkdir()
    (store / "henaw.mar").write_bytes(b"older")
    partial = Path(shutil.copytree(artifacts, tmp_path / "partial"))
    (partial / "henaw.onnx").unlink()
    (partial / "golden.json").unlink()
    with pytest.raises(ArtifactError) as caught:
        build_archive(partial, MODEL_CONFIG, store)
    assert len(caught.value.problems) == 2
    assert (store / "henaw.mar").read_bytes() == b"older"
    assert [path.name for path in store.iterdir()] == ["henaw.mar"]
    build_archive(artifacts, MODEL_CONFIG, store)
    assert zipfile.is_zipfile(store / "henaw.mar")
    assert [path.name for path in store.iterdir()] == ["henaw.mar"]
