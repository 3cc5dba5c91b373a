"""Which column of a table is what, by ``--columns`` and ``--visit``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from henaw.model.errors import ScoringError

if TYPE_CHECKING:
    from henaw.intake.tables.layout import Layout


def read_layout(map_path: Path | None) -> Layout | None:
    """Read the file of ``--columns``; None without one."""
    if map_path is None:
        return None
    from henaw.training.readers.column_map import read_column_map

    return read_column_map(map_path).layout


def choose_layout(names: list[str], mapped: Layout | None, visit: int | None) -> Layout:
    """Return the layout of ``--columns``, else what the names of the columns say.

    Raises:
        ScoringError: a column of the layout is missing, or the names are not recognised.
    """
    from henaw.intake.tables.layout import find_layout

    if mapped is None:
        return find_layout(names, visit=visit)
    absent = [name for name in mapped.columns if name not in names]
    if absent:
        raise ScoringError("--columns", [f"there is no column {name!r}" for name in absent])
    return mapped


def choose_file_layout(people: Path, map_path: Path | None, visit: int | None) -> Layout | None:
    """Return the layout of a table on disk; None for FHIR."""
    from henaw.intake.fhir.files import is_fhir
    from henaw.scoring.reading.sources import open_source

    if people.exists() and is_fhir(people):
        return None
    mapped = read_layout(map_path)
    source = open_source(people, separator=None if mapped is None else mapped.separator)
    return choose_layout(source.names, mapped, visit)
