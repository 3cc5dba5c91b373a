import hashlib
import os
from pathlib import Path

import pytest
from henaw.handler.throttle.client_keys import ClientKeys, read_digests
from henaw.model.errors import ConfigurationError


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def write(path: Path, *lines: str) -> None:
    new = path.with_name("new")
    new.write_text("\n".join(lines))
    os.replace(new, path)


def test_a_file_is_read_again_as_it_changes(tmp_path: Path) -> None:
    path, clock, said = tmp_path / "keys", Clock(), list[str]()
    write(path, "# clients", "", f"{digest('a')} the ward", f"  {digest('b')}")
    keys = ClientKeys([digest("fixed")], path, report=said.append, clock=clock)
    assert [keys.knows(key) for key in ("fixed", "a", "b", "c", "")] == [True] * 3 + [False] * 2

    write(path, digest("c"))
    assert not keys.knows("c")  # It is looked at once a second.
    clock.now_s += 1
    assert [keys.knows(key) for key in ("fixed", "a", "c")] == [True, False, True]
    assert said == [f"{path} was read again: 1 client keys"]


@pytest.mark.parametrize("harm", ["malformed", "gone"])
def test_if_the_file_cannot_be_read_the_earlier_keys_remain_valid(
    tmp_path: Path, harm: str
) -> None:
    path, clock, said = tmp_path / "keys", Clock(), list[str]()
    write(path, digest("a"))
    keys = ClientKeys((), path, report=said.append, clock=clock)
    if harm == "gone":
        path.unlink()
    else:
        write(path, digest("b"), "SECRET itself")
    for _ in range(3):
        clock.now_s += 1
        assert keys.knows("a")
        assert not keys.knows("b")
    assert len(said) == 1
    assert said[0].endswith("the earlier keys remain valid")
    assert "SECRET" not in said[0]
    write(path, digest("b"))
    clock.now_s += 1
    assert keys.knows("b")


def test_a_file_without_digests_is_refused_and_not_shown(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    with pytest.raises(ConfigurationError, match="cannot be read"):
        read_digests(path)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigurationError, match="not UTF-8"):
        ClientKeys((), path)
    write(path, digest("a"), "SECRET", digest("b").upper())
    with pytest.raises(ConfigurationError) as caught:
        ClientKeys((), path)
    assert [p.partition(" must")[0] for p in caught.value.problems] == ["line 2", "line 3"]
    assert "SECRET" not in str(caught.value)


def test_a_process_that_starts_while_the_file_is_malformed_has_the_earlier_keys(
    tmp_path: Path,
) -> None:
    path, copy, said = tmp_path / "keys", tmp_path / "copy", list[str]()
    write(path, digest("a"))
    ClientKeys((), path, copy=copy)
    write(path, "SECRET itself")
    keys = ClientKeys((), path, copy=copy, report=said.append)
    assert keys.knows("a")
    assert said[0].endswith("the earlier keys remain valid")
    with pytest.raises(ConfigurationError):
        ClientKeys((), path, copy=tmp_path / "none")


def test_no_key_is_never_a_key(tmp_path: Path) -> None:
    """Its digest is in the file if the variable in the documented command was empty."""
    path = tmp_path / "keys"
    write(path, digest(""))
    assert not ClientKeys((), path).knows("")
