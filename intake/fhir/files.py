"""FHIR files: one file, or a folder that a bulk export or a patient generator wrote."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO

from henaw.intake.fhir.reader import FhirPeople, read_fhir
from henaw.intake.json_stream import SUFFIXES, UNPACKING, open_text
from henaw.model.errors import ScoringError

_HEAD = 1 << 20


def list_files(path: Path) -> list[Path]:
    """List the JSON files of a path: the file itself, or those in a folder.

    Patients and specimens come first, so that later resources can refer to them.
    """
    if not path.is_dir():
        return [path] if path.name.lower().endswith(SUFFIXES) else []
    files = [file for file in path.iterdir() if file.name.lower().endswith(SUFFIXES)]
    kinds = ("patient", "specimen")

    def rank(file: Path) -> tuple[int, str]:
        name = file.name.lower()
        return next((n for n, kind in enumerate(kinds) if kind in name), len(kinds)), file.name

    return sorted(files, key=rank)


def is_fhir(path: Path) -> bool:
    """Whether a JSON file, or any in a folder, has FHIR resources.

    Raises:
        ScoringError: a file is not text.
        OSError: a file cannot be read.
    """
    return any(map(_holds_resources, list_files(path)))


def _holds_resources(path: Path) -> bool:
    try:
        with open_text(path) as file:
            return '"resourceType"' in file.read(_HEAD)
    except (UnicodeDecodeError, *UNPACKING) as error:
        raise ScoringError(str(path), [f"the file cannot be read: {error}"]) from error


def read_files(
    path: Path, *, local: Mapping[str, str] | None = None, by_draw: bool = False
) -> FhirPeople:
    """Read all people of a file or a folder; the other arguments are those of :func:`read_fhir`.

    Raises:
        ScoringError: as :func:`read_fhir`.
    """

    def open_each() -> Iterator[tuple[str, IO[str]]]:
        for file in list_files(path):
            with open_text(file) as text:
                yield str(file), text

    return read_fhir(open_each(), local=local, by_draw=by_draw)
