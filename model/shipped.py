"""The model that comes with the package: its ONNX file and what belongs to it."""

from __future__ import annotations

from pathlib import Path

from henaw.model.errors import ArtifactError

ONNX_FILE, SIDECAR_FILE, GOLDEN_FILE = "henaw.onnx", "henaw.json", "golden.json"
"""As `henaw export` names them; `make weights` writes them from the shipped checkpoint."""


def find_shipped(name: str) -> Path:
    """The path of a file of the shipped model.

    Raises:
        ArtifactError: the file is missing, so the package is incomplete.
    """
    path = Path(__file__).parent / "weights" / name
    if not path.is_file():
        raise ArtifactError("shipped model", [f"the file {path} is missing. Install henaw again"])
    return path
