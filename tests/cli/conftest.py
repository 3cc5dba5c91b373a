import importlib.util
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture
def read_class() -> Callable[[str], bytes]:
    """Read a class as the installed TorchServe has it."""
    spec = importlib.util.find_spec("ts")
    assert spec is not None
    assert spec.origin is not None
    jar = Path(spec.origin).parent / "frontend/model-server.jar"

    def read(name: str) -> bytes:
        with zipfile.ZipFile(jar) as classes:
            return classes.read(name)

    return read
