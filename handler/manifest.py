"""The digests in an archive, which reveal every file that was changed or added.

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
    # The digests themselves, and a file of the archiver.
    rf"{re.escape(MANIFEST_NAME)}|MAR-INF/MANIFEST\.json"
    # Python writes the entry's bytecode before the entry can forbid it.
    r"|__pycache__/torchserve_entry\.[\w.-]+\.pyc"
)


def check_whole(archive: Path) -> None:
    """Check that every file of an archive can be unpacked.

    Raises:
        ArtifactError: the archive is missing or cut off, or a file in it is damaged.
    """
    problem = None
    try:
        with zipfile.ZipFile(archive) as content:
            damaged = content.testzip()
            if damaged is not None:
                problem = f"{damaged} in it is damaged"
    except (OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        problem = f"it is not a complete archive: {error}"
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
        ArtifactError: names each file that is missing, changed or not in the manifest.
    """
    digests, problems = compare_files(folder)
    if problems:
        # Imported only now, because it is one of the files that were compared.
        from henaw.model.errors import ArtifactError

        raise ArtifactError("archive", problems)
    return digests


def compare_files(folder: Path) -> tuple[dict[str, str], list[str]]:
    """Return the digests, by path within the folder, and one sentence for each difference."""
    try:
        digests = dict(json.loads((folder / MANIFEST_NAME).read_bytes()))
    except (OSError, ValueError, TypeError) as error:
        return {}, [f"{MANIFEST_NAME} has no digests: {error}"]
    problems = []
    for name, digest in digests.items():
        path = folder / name
        if not path.is_file():
            problems.append(f"{name} is missing")
        elif hashlib.sha256(path.read_bytes()).hexdigest() != digest:
            problems.append(f"{name} was changed after the archive was built")
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        # Only files count: an empty folder is no module. No file of HENAW is a link.
        is_folder = path.is_dir() and not path.is_symlink()
        if not is_folder and name not in digests and not _UNNAMED.fullmatch(name):
            problems.append(f"{name} is not part of the archive")
    return digests, problems
