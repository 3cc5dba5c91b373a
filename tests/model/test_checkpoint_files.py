"""Files that are no whole checkpoint: damaged, cut short, of another kind, or a trap."""

import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from henaw.model.checkpoint import load_checkpoint
from henaw.model.errors import CheckpointError


def list_problems(path: Path) -> tuple[str, ...]:
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(path)
    assert caught.value.subject == str(path)
    assert str(caught.value).startswith(str(path))
    return caught.value.problems


@pytest.mark.parametrize("place", [0.01, 0.5, 0.999])
def test_one_flipped_bit_in_the_tensors_is_found(
    shipped_checkpoint_path: Path, tmp_path: Path, place: float
) -> None:
    content = bytearray(shipped_checkpoint_path.read_bytes())
    start = 8 + int.from_bytes(content[:8], "little")
    content[start + int(place * (len(content) - start))] ^= 1
    path = tmp_path / "flipped.safetensors"
    path.write_bytes(content)
    assert any("the file was damaged" in problem for problem in list_problems(path))


def test_a_file_cut_short_anywhere_is_refused(
    shipped_checkpoint_path: Path, tmp_path: Path
) -> None:
    content = shipped_checkpoint_path.read_bytes()
    header = 8 + int.from_bytes(content[:8], "little")
    path = tmp_path / "cut.safetensors"
    for length in (1, 7, 8, 9, 100, header - 1, header, header + 1, len(content) - 1):
        path.write_bytes(content[:length])
        (problem,) = list_problems(path)
        assert "truncated or damaged" in problem
    path.write_bytes(content + b"x")
    assert "truncated or damaged" in list_problems(path)[0]


def test_an_empty_file_is_reported(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    assert list_problems(tmp_path / "empty") == ("the file is empty",)


def test_a_missing_file_and_a_folder_are_reported(tmp_path: Path) -> None:
    assert list_problems(tmp_path / "none") == ("there is no such file",)
    (problem,) = list_problems(tmp_path)
    assert problem.startswith("the file cannot be read: ")
    assert "directory" in problem


class Trap:
    """Leaves a file where it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickle_is_refused_and_never_run(tmp_path: Path, protocol: int) -> None:
    path, trace = tmp_path / "model.safetensors", tmp_path / "trace"
    path.write_bytes(pickle.dumps({"weight": Trap(trace)}, protocol=protocol))
    (problem,) = list_problems(path)
    assert "got a pickle" in problem
    assert "could run code" in problem
    assert not trace.exists()
    pickle.loads(path.read_bytes())
    assert trace.exists(), "the trap must work where something does unpickle it"


@pytest.mark.parametrize("zipped", [True, False])
def test_a_file_of_torch_save_is_refused_and_never_run(tmp_path: Path, zipped: bool) -> None:
    path, trace = tmp_path / "model.pt", tmp_path / "trace"
    content = {"weight": torch.zeros(3), "trap": Trap(trace)}
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    assert "got a pickle" in list_problems(path)[0]
    assert not trace.exists()


def write_with_metadata(path: Path, metadata: dict[str, str] | None) -> Path:
    path.write_bytes(safetensors.torch.save({"weight": torch.zeros(1)}, metadata=metadata))
    return path


def test_a_header_that_is_not_json_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "m"
    path.write_bytes((5).to_bytes(8, "little") + b"hello")
    assert "truncated or damaged" in list_problems(path)[0]
    write_with_metadata(path, {"henaw": "{not json"})
    assert list_problems(path)[0].startswith("header: it cannot be read as JSON: ")
    write_with_metadata(path, {"henaw": "[1]"})
    assert list_problems(path) == ("header: it must be an object; got [1]",)
    write_with_metadata(path, {"henaw": "[" * 100_000})
    assert list_problems(path)[0].startswith("header: it cannot be read as JSON: ")


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    path = write_with_metadata(tmp_path / "m", {"format": "pt"})
    (problem,) = list_problems(path)
    assert problem == "header: metadata must have the key 'henaw'; got ['format']"
    write_with_metadata(path, None)
    assert list_problems(path) == ("header: metadata must have the key 'henaw'; got []",)
    header = b'{"__metadata__":null}'
    path.write_bytes(len(header).to_bytes(8, "little") + header)
    list_problems(path)
