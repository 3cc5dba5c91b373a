import importlib.util
import zipfile
from pathlib import Path

from henaw.cli.refused_connections import (
    CLASS_NAME,
    CLOSE_UNLESS_KEPT,
    KEEP_IF_KEPT,
    LOOK_FOR_CONNECTION,
    SET_PRAGMA,
    keep_refused,
)


def test_two_places_of_the_class_differ_and_nothing_is_moved(tmp_path: Path) -> None:
    spec = importlib.util.find_spec("ts")
    assert spec is not None
    assert spec.origin is not None
    with zipfile.ZipFile(Path(spec.origin).parent / "frontend/model-server.jar") as jar:
        before = jar.read(CLASS_NAME)
    keep_refused(tmp_path)
    after = (tmp_path / CLASS_NAME).read_bytes()
    assert len(after) == len(before)
    assert after.count(LOOK_FOR_CONNECTION) == after.count(KEEP_IF_KEPT) == 1
    undone = after.replace(LOOK_FOR_CONNECTION, SET_PRAGMA).replace(KEEP_IF_KEPT, CLOSE_UNLESS_KEPT)
    assert undone == before
