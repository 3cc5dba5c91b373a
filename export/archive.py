"""The TorchServe archive: the exported model, the code that serves it, and digests.

Its files, besides those that TorchServe adds:

    torchserve_entry.py   the handler that TorchServe imports
    model-config.yaml     batching and workers
    henaw/                henaw.model, henaw.intake and henaw.handler, without the entry
                          and the native engine
    henaw.onnx, henaw.torchscript.pt, henaw.json, golden.json
    digests.json          SHA-256 of every file above
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from henaw.model.errors import ArtifactError

ARCHIVE_NAME = "henaw.mar"
DIGESTS_NAME = "digests.json"

_MODEL_NAME = "henaw"
_EXPORTED = ("henaw.onnx", "henaw.torchscript.pt", "henaw.json", "golden.json")
_PACKAGES = ("model", "intake", "handler")
_LEFT_OUT = ("native", "weights")
"""Folders of the packages: the other engine, and the shipped model."""
_ENTRY = "torchserve_entry.py"
_MODEL_CONFIG = "model-config.yaml"
_ROOT_PACKAGE = '"""The part of HENAW that serves this archive, and no other."""\n'


def build_archive(exported: Path, model_config: Path, folder: Path) -> Path:
    """Write ``henaw.mar``; an older one is replaced only when the new one is complete.

    Args:
        exported: a folder that ``henaw export`` wrote.
        model_config: TorchServe's ``model-config.yaml``.
        folder: of the archive; created if it does not exist.

    Returns:
        The archive.

    Raises:
        ArtifactError: files are missing, or the archiver failed; its output is in the error.
    """
    missing = [str(exported / n) for n in _EXPORTED if not (exported / n).is_file()]
    missing += [str(p) for p in (model_config,) if not p.is_file()]
    if missing:
        raise ArtifactError(ARCHIVE_NAME, [f"there is no file {path}" for path in missing])
    version = json.loads((exported / "henaw.json").read_text(encoding="utf-8"))["version"]
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="henaw-archive-") as temporary:
        staged = Path(temporary) / "staged"
        _stage(staged, exported, model_config)
        built = Path(temporary) / "built"
        built.mkdir()
        _run_archiver(staged, built, version=str(version), temporary=Path(temporary))
        # First to the same folder, because a rename is atomic only within one file system.
        beside = folder / f".{ARCHIVE_NAME}.{os.getpid()}"
        try:
            shutil.copyfile(built / ARCHIVE_NAME, beside)
            beside.replace(folder / ARCHIVE_NAME)
        finally:
            beside.unlink(missing_ok=True)
    return folder / ARCHIVE_NAME


def _stage(staged: Path, exported: Path, model_config: Path) -> None:
    root = staged / "henaw"
    root.mkdir(parents=True)
    # With its own __init__, the archive's package hides an installed namespace package.
    (root / "__init__.py").write_text(_ROOT_PACKAGE, encoding="utf-8")
    for package in _PACKAGES:
        folder = _find_package(package)
        for path in sorted([*folder.rglob("*.py"), *folder.rglob("*.json")]):
            inside = path.relative_to(folder)
            if inside.parts[0] in _LEFT_OUT:
                continue
            target = staged / _ENTRY if path.name == _ENTRY else root / package / inside
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
    for name in _EXPORTED:
        shutil.copyfile(exported / name, staged / name)
    shutil.copyfile(model_config, staged / _MODEL_CONFIG)
    digests = {
        path.relative_to(staged).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(staged.rglob("*"))
        if path.is_file()
    }
    (staged / DIGESTS_NAME).write_text(json.dumps(digests, indent=1), encoding="utf-8")


def _find_package(name: str) -> Path:
    # By its spec, because a sibling package must not be imported.
    spec = importlib.util.find_spec(f"henaw.{name}")
    if spec is None or spec.origin is None:
        raise ArtifactError(ARCHIVE_NAME, [f"the package henaw.{name} is not installed"])
    return Path(spec.origin).parent


def _run_archiver(staged: Path, built: Path, *, version: str, temporary: Path) -> None:
    command = [sys.executable, "-m", "model_archiver.model_packaging"]
    command += ["--model-name", _MODEL_NAME, "--version", version, "--handler", _ENTRY]
    command += ["--config-file", _MODEL_CONFIG, "--extra-files", "."]
    command += ["--export-path", str(built), "--force"]
    result = subprocess.run(  # noqa: S603
        command,
        cwd=staged,
        # The archiver uses a folder of a fixed name in the temporary folder. Two archivers
        # must not share it.
        env={**os.environ, "TMPDIR": str(temporary)},
        capture_output=True,
        text=True,
        check=False,
    )
    if result.returncode or not (built / ARCHIVE_NAME).is_file():
        said = (result.stderr or result.stdout).strip() or f"exit status {result.returncode}"
        raise ArtifactError(ARCHIVE_NAME, [f"torch-model-archiver: {said}"])
