"""docs/embedding.md, followed from top to bottom by somebody in Python."""

import re
from pathlib import Path
from typing import Any

import pytest

# Its tables lack columns.
pytestmark = pytest.mark.filterwarnings("ignore::henaw.intake.preflight.InputWarning")


def test_the_python_in_the_document_runs(
    artifacts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    document = (Path(__file__).parents[2] / "docs" / "embedding.md").read_text(encoding="utf-8")
    (tmp_path / "build").mkdir()
    (tmp_path / "build" / "exported").symlink_to(artifacts)
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    blocks = re.findall(r"```python\n(.*?)```", document, re.DOTALL)
    # What needs an engine is in test_spark.py and test_engines.py.
    blocks = [block for block in blocks if not re.search("spark|dask", block, re.IGNORECASE)]
    assert len(blocks) >= 3
    for block in blocks:
        exec(block, names)
    assert names["answers"]["biological_age"].between(40, 80).all()
    assert (tmp_path / "waterfall.png").stat().st_size > 10_000
