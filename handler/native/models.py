"""The model's files, from an archive or a folder, checked and set out for the workers."""

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


class Model(msgspec.Struct, frozen=True, kw_only=True):
    """A version of the model, set out.

    Attributes:
        version: of the model.
        folder: with its files and their digests.
        source: the archive or folder that it is of.
    """

    version: str
    folder: str
    source: str


def set_out(source: Path, folder: Path) -> Model:
    """Copy a model's files into a folder of its own, with digests that workers compare.

    Args:
        source: an archive of ``henaw archive``, or a folder of ``henaw export``.
        folder: where models are set out.

    Raises:
        ArtifactError: it is not whole, was changed, or has no version.
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
        if target.exists():
            raise ArtifactError(
                str(source),
                [f"version {version} is there already. Fit the candidate under another version"],
            )
        staged.rename(target)
    return Model(version=version, folder=str(target), source=str(source))


def _copy(source: Path, staged: Path, *, known: Mapping[str, str] | None) -> None:
    missing = [name for name in _NEEDED if not (source / name).is_file()]
    if missing:
        raise ArtifactError(
            str(source),
            [f"there is no {name}: give an archive, or a folder of henaw export"
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
    except (ValueError, LookupError, TypeError) as error:
        raise ArtifactError(str(source), [f"{SIDECAR_NAME} has no version: {error}"]) from error
    # It becomes a folder's name and a part of a path.
    if not isinstance(version, str) or not _VERSION.fullmatch(version):
        raise ArtifactError(str(source), [f"a version must be such as 1.2.0; got {version!r}"])
    return version
