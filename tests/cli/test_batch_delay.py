import importlib.machinery
import importlib.util
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from henaw.cli.batch_delay import CLASS_NAME, shorten_batch_delay
from henaw.model.errors import RuntimeUnavailableError


def test_one_word_of_the_class_differs(tmp_path: Path, read_class: Callable[[str], bytes]) -> None:
    before = read_class(CLASS_NAME)
    shorten_batch_delay(tmp_path)
    after = (tmp_path / CLASS_NAME).read_bytes()
    assert len(after) == len(before)
    assert before.count(b"MILLISECONDS") - after.count(b"MILLISECONDS") == 1
    assert after.replace(b"MICROSECONDS", b"MILLISECONDS") == before


@pytest.mark.parametrize("found", ["nothing", "no jar", "another"])
def test_another_torchserve_is_refused(
    found: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if found != "no jar":
        (tmp_path / "frontend").mkdir()
        with zipfile.ZipFile(tmp_path / "frontend" / "model-server.jar", "w") as jar:
            jar.writestr(CLASS_NAME if found == "another" else "a", b"SECONDS")
    spec = importlib.machinery.ModuleSpec("ts", None, origin=str(tmp_path / "__init__.py"))
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: spec)
    with pytest.raises(RuntimeUnavailableError, match=r"expected .*model-server\.jar"):
        shorten_batch_delay(tmp_path / "run")
    assert not (tmp_path / "run").exists()
