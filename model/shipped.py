"""The model that comes with the package: its ONNX file, sidecar and golden people."""

from __future__ import annotations

from pathlib import Path

from henaw.model.errors import ArtifactError

ONNX_FILE, SIDECAR_FILE, GOLDEN_FILE = "henaw.onnx", "henaw.json", "golden.json"
"""The names that `henaw export` gives; `make weights` makes the files from the checkpoint."""


def find_shipped(name: str) -> Path:
    """Path of a file of the shipped model.

    Raises:
        ArtifactError: the file is missing, so the package is incomplete.
    """
    path = Path(__file__).parent / "weights" / name
    if not path.is_file():
        raise ArtifactError("shipped model", [f"the file {path} is missing. Install henaw again"])
    return path
