"""Files as people have them, read without a model."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from henaw.intake.tables.layout import find_layout
from henaw.scoring.reading.sources import Source, open_source


def list_rows(source: Source) -> list[dict[str, Any]]:
    """Every row of a source, by the columns that its layout names."""
    layout = find_layout(source.names)
    return [
        row
        for _, batch in source.read_chunks(layout, ())
        if batch is not None
        for row in batch.to_pylist()
    ]


@pytest.fixture
def read(tmp_path: Path) -> Callable[..., tuple[list[dict[str, Any]], list[str]]]:
    """Writes a file and reads it: its rows, and what was said of it."""

    def read(
        content: str | bytes, *, name: str = "in.csv", people: str | None = None, **named: Any
    ) -> tuple[list[dict[str, Any]], list[str]]:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        if people is not None:
            named["people"] = tmp_path / "people.csv"
            named["people"].write_text(people)
        source = open_source(path, **named)
        return list_rows(source), source.notes

    return read
