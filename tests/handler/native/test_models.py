"""Models that the native engine accepts, and what it needs to serve one."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from henaw.export.archive import build_archive
from henaw.handler.manifest import check_manifest
from henaw.handler.native.models import copy_model
from henaw.model.errors import ArtifactError

SERVE_CONFIG = Path(__file__).resolve().parents[3] / "serve_config"
SHIPPED = SERVE_CONFIG.parent / "model" / "weights"

WITHOUT_TORCH = """
import io, sys
from pathlib import Path

sys.modules["torch"] = None  # As if it were not installed.
from henaw.handler.assembly import assemble_service
from henaw.handler.configuration import HandlerConfiguration
from henaw.handler.native.models import copy_model
from henaw.handler.observe.request_log import RequestLog
from henaw.handler.exchange import Request


model = copy_model(Path(sys.argv[1]), Path(sys.argv[2]))
service = assemble_service(
    Path(model.folder), HandlerConfiguration(), store=None, states=None,
    log=RequestLog(io.BytesIO()),
)
body = b'{"age": 54, "sex": 0, "biomarkers": {}}'
headers = {"content-type": "application/json"}
print(service.answer([Request(body=body, headers=headers, request_id="r")])[0].status)
"""


@pytest.fixture(scope="module")
def archive(artifacts: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("archive")
    return build_archive(artifacts, SERVE_CONFIG / "model-config.yaml", folder)


def test_a_model_is_served_where_torch_is_not_installed(archive: Path, tmp_path: Path) -> None:
    for number, source in enumerate((SHIPPED, archive)):
        command = [sys.executable, "-c", WITHOUT_TORCH, str(source), str(tmp_path / str(number))]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.stdout == "200\n", done.stderr


def test_an_archive_and_an_exported_folder_are_copied_alike(
    artifacts: Path, archive: Path, tmp_path: Path
) -> None:
    version = json.loads((artifacts / "henaw.json").read_text())["version"]
    digests = []
    for number, source in enumerate((artifacts, archive)):
        model = copy_model(source, tmp_path / str(number))
        assert (model.version, model.source) == (version, str(source))
        digests.append(check_manifest(Path(model.folder)))
    assert digests[0] == digests[1]
    assert "henaw.torchscript.pt" in digests[0]


def test_a_served_version_is_not_replaced(tmp_path: Path) -> None:
    copy_model(SHIPPED, tmp_path)
    with pytest.raises(ArtifactError, match="is served already"):
        copy_model(SHIPPED, tmp_path)
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("version", ["../up", "a/b", "", ".hidden", None])
def test_a_version_that_cannot_name_a_folder_is_refused(
    tmp_path: Path, version: str | None
) -> None:
    source = Path(shutil.copytree(SHIPPED, tmp_path / "source"))
    sidecar = json.loads((source / "henaw.json").read_text())
    (source / "henaw.json").write_text(json.dumps({**sidecar, "version": version}))
    with pytest.raises(ArtifactError, match="the version must look like"):
        copy_model(source, tmp_path / "models")


def test_missing_files_of_a_model_are_named(archive: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ArtifactError, match=r"henaw\.onnx is missing"):
        copy_model(tmp_path / "empty", tmp_path / "models")
    content = bytearray(archive.read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "damaged.mar").write_bytes(content)
    with pytest.raises(ArtifactError, match="Build it again"):
        copy_model(tmp_path / "damaged.mar", tmp_path / "models")
