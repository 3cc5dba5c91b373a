"""The archive's own digests: a file that was changed or added is refused, by name.

It imports the standard library alone: the entry loads it before anything else of the archive, so
that a file that was added is found before it can run.
"""

from __future__ import annotations

import hashlib
import json
import re
import zipfile
import zlib
from pathlib import Path

MANIFEST_NAME = "digests.json"

_UNNAMED = re.compile(
    # Themselves, and what the archiver writes.
    rf"{re.escape(MANIFEST_NAME)}|MAR-INF/MANIFEST\.json"
    # Python keeps this of the entry before the entry can tell it not to.
    r"|__pycache__/torchserve_entry\.[\w.-]+\.pyc"
)


def check_whole(archive: Path) -> None:
    """Look whether every file of an archive can be unpacked.

    Raises:
        ArtifactError: it is not there, was cut off, or a file of it is damaged.
    """
    problem = None
    try:
        with zipfile.ZipFile(archive) as content:
            damaged = content.testzip()
            if damaged is not None:
                problem = f"{damaged} in it is damaged"
    except (OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        problem = f"it is not a whole archive: {error}"
    if problem is not None:
        from henaw.model.errors import ArtifactError

        raise ArtifactError(str(archive), [f"{problem}. Build it again with henaw archive"])


def check_manifest(folder: Path) -> dict[str, str]:
    """Compare every file of the archive with its SHA-256 digest.

    Args:
        folder: the unpacked archive.

    Returns:
        The digests, by path within the folder.

    Raises:
        ArtifactError: naming each file that is missing, changed or not in the manifest.
    """
    digests, problems = compare_files(folder)
    if problems:
        # Only now: it is one of the files that were compared.
        from henaw.model.errors import ArtifactError

        raise ArtifactError("archive", problems)
    return digests


def compare_files(folder: Path) -> tuple[dict[str, str], list[str]]:
    """Return the digests, by path within the folder, and what does not agree with them."""
    try:
        digests = dict(json.loads((folder / MANIFEST_NAME).read_bytes()))
    except (OSError, ValueError, TypeError) as error:
        return {}, [f"expected digests in {MANIFEST_NAME}, however: {error}"]
    problems = []
    for name, digest in digests.items():
        path = folder / name
        if not path.is_file():
            problems.append(f"{name} is missing")
        elif hashlib.sha256(path.read_bytes()).hexdigest() != digest:
            problems.append(f"{name} was changed after the archive was made")
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        # Of folders, the files count: an empty one is no module. A link is none of ours.
        is_folder = path.is_dir() and not path.is_symlink()
        if not is_folder and name not in digests and not _UNNAMED.fullmatch(name):
            problems.append(f"{name} is not part of the archive")
    return digests, problems
