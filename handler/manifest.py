"""The archive's own digests: a file that was changed is refused, by name."""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec
from henaw.model.errors import ArtifactError

MANIFEST_NAME = "digests.json"


def check_manifest(folder: Path) -> dict[str, str]:
    """Compare every file that the manifest names with its SHA-256 digest.

    Args:
        folder: the unpacked archive.

    Returns:
        The digests, by path within the folder.

    Raises:
        ArtifactError: naming each file that is missing, changed, or importable
            Python that the manifest does not name.
    """
    try:
        digests = msgspec.json.decode((folder / MANIFEST_NAME).read_bytes(), type=dict[str, str])
    except (OSError, msgspec.MsgspecError) as error:
        raise ArtifactError(MANIFEST_NAME, [f"expected digests, however: {error}"]) from error
    problems = []
    for name, digest in digests.items():
        path = folder / name
        if not path.is_file():
            problems.append(f"{name} is missing")
        elif hashlib.sha256(path.read_bytes()).hexdigest() != digest:
            problems.append(f"{name} was changed after the archive was made")
    problems += [
        f"{path.relative_to(folder).as_posix()} is not part of the archive"
        for path in sorted((folder / "henaw").rglob("*.py"))
        if path.relative_to(folder).as_posix() not in digests
    ]
    if problems:
        raise ArtifactError("archive", problems)
    return digests
