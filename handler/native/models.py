"""The model's files, from an archive or a folder, checked and copied for the workers."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

import msgspec
from henaw.handler.assembly import GOLDEN_NAME, ONNX_NAME, SIDECAR_NAME, TORCHSCRIPT_NAME
from henaw.handler.manifest import MANIFEST_NAME, check_manifest, check_whole
from henaw.model.errors import ArtifactError

_NEEDED = (ONNX_NAME, SIDECAR_NAME, GOLDEN_NAME)
_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")


class ModelVersion(msgspec.Struct, frozen=True, kw_only=True):
    """A version of the model, with files of its own.

    Attributes:
        version: of the model.
        folder: with its files and their digests.
        source: the archive or folder that they come from.
    """

    version: str
    folder: str
    source: str


def copy_model(source: Path, folder: Path) -> ModelVersion:
    """Copy a model's files into a folder of its own, with digests that workers compare.

    Args:
        source: an archive of ``henaw archive``, or a folder of ``henaw export``.
        folder: takes a folder for each version.

    Raises:
        ArtifactError: the source is incomplete, was changed, or has no version.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".new-") as temporary:
        staged = Path(temporary) / "model"
        staged.mkdir()
        if source.is_dir():
            _copy(source, staged, known=None)
        else:
            unpacked = Path(temporary) / "archive"
            check_whole(source)
            with zipfile.ZipFile(source) as archive:
                archive.extractall(unpacked)
            _copy(unpacked, staged, known=check_manifest(unpacked))
        version = _read_version(staged / SIDECAR_NAME, source)
        target = folder / version
        try:
            staged.rename(target)
        except OSError as error:
            if not target.exists():
                raise
            raise ArtifactError(
                str(source),
                [f"version {version} is served already. Give the new model another version"],
            ) from error
    return ModelVersion(version=version, folder=str(target), source=str(source))


def _copy(source: Path, staged: Path, *, known: Mapping[str, str] | None) -> None:
    missing = [name for name in _NEEDED if not (source / name).is_file()]
    if missing:
        raise ArtifactError(
            str(source),
            [f"{name} is missing: give an archive, or a folder of henaw export"
             for name in missing],
        )  # fmt: skip
    digests = {}
    for name in (*_NEEDED, TORCHSCRIPT_NAME):
        if (source / name).is_file():
            shutil.copyfile(source / name, staged / name)
            seen = hashlib.sha256((staged / name).read_bytes()).hexdigest()
            digests[name] = seen if known is None else known[name]
    (staged / MANIFEST_NAME).write_text(json.dumps(digests), encoding="utf-8")


def _read_version(sidecar: Path, source: Path) -> str:
    try:
        version = json.loads(sidecar.read_bytes())["version"]
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise ArtifactError(str(source), [f"{SIDECAR_NAME} has no version: {error}"]) from error
    # It becomes the name of a folder and part of a path.
    if not isinstance(version, str) or not _VERSION.fullmatch(version):
        raise ArtifactError(str(source), [f"the version must look like 1.2.0; got {version!r}"])
    return version
