import dataclasses
import hashlib
import json
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from henaw.model import files
from henaw.model.biomarkers import NAMES
from henaw.model.checkpoint import (
    PROTOCOL,
    Checkpoint,
    load_checkpoint,
    save_checkpoint,
    write_whole,
)
from henaw.model.errors import CheckpointError
from henaw.model.files import make_private_folder
from henaw.model.runtime import OUTPUT_NAMES
from torch import Tensor

Header = dict[str, Any]
Tensors = dict[str, Tensor]


def digest_tensors(tensors: Tensors) -> str:
    """The digest of the header, from its description: name, type, shape, bytes."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
        digest.update(tensor.contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def list_problems(path: Path) -> tuple[str, ...]:
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(path)
    assert caught.value.subject == str(path)
    assert str(caught.value).startswith(str(path))
    return caught.value.problems


@pytest.fixture
def rewrite(shipped_checkpoint_path: Path, tmp_path: Path) -> Callable[..., Path]:
    """Write the shipped checkpoint with one thing wrong."""
    content = shipped_checkpoint_path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    text = json.loads(content[8 : 8 + length])["__metadata__"]["henaw"]

    def write(change: Callable[[Header, Tensors], None]) -> Path:
        header: Header = json.loads(text)
        tensors = safetensors.torch.load(content)
        change(header, tensors)
        if "tensors_sha256" in header:
            header["tensors_sha256"] = digest_tensors(tensors)
        path = tmp_path / "changed.safetensors"
        metadata = {"henaw": json.dumps(header)}
        path.write_bytes(safetensors.torch.save(tensors, metadata=metadata))
        return path

    return write


def test_round_trip_gives_identical_bytes(checkpoint: Checkpoint, tmp_path: Path) -> None:
    first, second = tmp_path / "a" / "first.safetensors", tmp_path / "second.safetensors"
    save_checkpoint(checkpoint, first)
    save_checkpoint(load_checkpoint(first), second)
    assert first.read_bytes() == second.read_bytes()
    assert load_checkpoint(first).sha256 == hashlib.sha256(first.read_bytes()).hexdigest()


def test_the_shipped_checkpoint_is_what_saving_it_writes(
    checkpoint: Checkpoint, shipped_checkpoint_path: Path, tmp_path: Path
) -> None:
    save_checkpoint(checkpoint, tmp_path / "again.safetensors")
    assert (tmp_path / "again.safetensors").read_bytes() == shipped_checkpoint_path.read_bytes()
    assert shipped_checkpoint_path.stat().st_size < 1_000_000


def test_rewriting_unchanged_loads(rewrite: Callable[..., Path], checkpoint: Checkpoint) -> None:
    """So that the refusals below are for what they change."""
    again = load_checkpoint(rewrite(lambda header, tensors: None))
    assert all(torch.equal(again.tensors[k], v) for k, v in checkpoint.tensors.items())
    assert dataclasses.replace(again, tensors={}, sha256="") == dataclasses.replace(
        checkpoint, tensors={}, sha256=""
    )


def set_key(*keys: Any, value: Any) -> Callable[[Header, Tensors], None]:
    def change(header: Header, tensors: Tensors) -> None:
        place: Any = header
        for key in keys[:-1]:
            place = place[key]
        place[keys[-1]] = value

    return change


def edit(name: str, index: Any, value: float) -> Callable[[Header, Tensors], None]:
    def change(header: Header, tensors: Tensors) -> None:
        tensors[name][index] = value

    return change


def replace(name: str, make: Callable[[Tensor], Tensor]) -> Callable[[Header, Tensors], None]:
    def change(header: Header, tensors: Tensors) -> None:
        before = tensors[name].numel()
        tensors[name] = make(tensors[name])
        header["parameters"] += tensors[name].numel() - before

    return change


def drop(header: Header, tensors: Tensors) -> None:
    header["parameters"] -= tensors.pop("scale").numel()


def add(header: Header, tensors: Tensors) -> None:
    tensors["bias"] = torch.zeros(2)
    header["parameters"] += 2


def reorder(header: Header, tensors: Tensors) -> None:
    header["panel"] = header["panel"][::-1]


def lose_key(*keys: str) -> Callable[[Header, Tensors], None]:
    def change(header: Header, tensors: Tensors) -> None:
        place = header
        for key in keys[:-1]:
            place = place[key]
        del place[keys[-1]]

    return change


def break_symmetry(header: Header, tensors: Tensors) -> None:
    tensors["correlation"][0, 1] += 0.1


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (set_key("protocol", value=3), "protocol must be 2; got 3. This version"),
        (set_key("protocol", value="2"), "protocol must be 2; got '2'. This version"),
        (lose_key("protocol"), "protocol must be 2; got None. This version"),
        (set_key("name", value=3), "header: name must be str; got 3"),
        (set_key("metrics", value=[]), "header: metrics must be dict; got []"),
        (lose_key("training"), "header: training must be dict; got None"),
        (reorder, "panel: order must be ['crp', 'hba1c'"),
        (set_key("panel", value=list(NAMES)), "panel: row 0 must be an object; got 'crp'"),
        (set_key("panel", value={}), "panel must be a list of 9; got {}"),
        (set_key("panel", value=[]), "panel: order must be"),
        (
            set_key("panel", 0, "unit", value="mg/dL"),
            "panel: crp.unit must be 'mg/L'; got 'mg/dL'",
        ),
        (set_key("panel", 1, "minimum", value=0), "panel: hba1c.minimum must be 15.0; got 0"),
        (set_key("network", value=None), "network: top level must be a mapping"),
        (set_key("network", "input_dim", value=8), "network: input_dim must be 9; got 8"),
        (set_key("network", "layers", value=8), "network: layers: unknown key"),
        (lose_key("network", "hierarchy"), "network: hierarchy: missing key"),
        (
            set_key("network", "panel", value=list(NAMES[::-1])),
            "network: panel: order must be crp, hba1c",
        ),
        (set_key("network", "adaptive_lambda", value=float("nan")), "network: adaptive_lambda"),
        (
            set_key("network", "adaptive_lambda", value=10**400),
            "network: adaptive_lambda must be a number",
        ),
        (set_key("network", "knots", 0, value=-(10**400)), "network: knots[0] must be a number"),
        (edit("weight", (0, 0), float("nan")), "tensor weight: must be finite; 1 values"),
        (edit("margin", (1, 0), float("-inf")), "tensor margin: must be finite"),
        (edit("scale", (0, 0, 0), -1.0), "tensor scale: must be above 0; the least value is -1"),
        (edit("scale", (0, 0, 0), 0.0), "tensor scale: must be above 0"),
        (edit("baseline_slope", 0, -0.1), "tensor baseline_slope: must be above 0"),
        (edit("group_cap", 0, -0.1), "tensor group_cap: must be 0 or more"),
        (edit("missing_variance", (0, 0, 0), 99.0), "tensor missing_variance: a missing crp"),
        (edit("margin", (0, 3), 99.0), "tensor margin: each row must increase"),
        (edit("correlation", (1, 0), 3.0), "tensor correlation: must be"),
        (break_symmetry, "tensor correlation: must be symmetric"),
        (edit("correlation", (0, 0), 1.5), "tensor correlation: must have a diagonal of 1"),
        (edit("range_low", 0, 1e6), "tensor range_low: must be below range_high"),
        (edit("interaction_weight", 0, 99.0), "tensor interaction_weight: crp_x_hba1c must be"),
        (
            edit("member_interaction_weight", (3, 1), 99.0),
            "tensor member_interaction_weight: creatinine_x_albumin must be",
        ),
        (drop, "tensor scale: missing"),
        (add, "tensor bias: unexpected"),
        (replace("range_low", lambda t: t[:8].clone()), "tensor range_low: shape must be [9]"),
        (replace("range_low", lambda t: t[:0].clone()), "tensor range_low: shape must be [9]"),
        (replace("margin", lambda t: t.T.contiguous()), "tensor margin: shape must be [10, 33]"),
        (edit("gap_percentiles", (1, 4, 5), -99.0), "tensor gap_percentiles: each row must incr"),
        (edit("laboratory_sd", 2, -0.1), "tensor laboratory_sd: must be 0 or more"),
        (edit("extrapolation_sd", 0, -0.1), "tensor extrapolation_sd: must be 0 or more"),
        (edit("draw_factor", 0, -1.0), "tensor draw_factor: must be above 0"),
        (edit("interval_factor", 0, 0.0), "tensor interval_factor: must be above 0"),
        (lose_key("network", "imputes_within_limits"), "network: imputes_within_limits: missing"),
        (replace("scale", Tensor.double), "tensor scale: dtype must be float32; got torch.f"),
        (replace("scale", Tensor.int), "tensor scale: dtype must be float32"),
        (replace("scale", Tensor.bool), "tensor scale: dtype must be float32"),
        (replace("scale", Tensor.half), "tensor scale: dtype must be float32"),
        (replace("scale", lambda t: t.to(torch.complex64)), "tensor scale: dtype must be float32"),
        (
            replace("scale", lambda t: t.to(torch.float8_e4m3fn)),
            "tensor scale: dtype must be float32",
        ),
        (set_key("parameters", value=1), "parameters must be 1; got "),
        (set_key("parameters", value=1.0), "header: parameters must be int"),
    ],
)
def test_what_is_wrong_is_named(
    rewrite: Callable[..., Path], change: Callable[[Header, Tensors], None], problem: str
) -> None:
    problems = list_problems(rewrite(change))
    assert any(text.startswith(problem) for text in problems), problems
    assert not any("the file was damaged" in text for text in problems)


def test_an_integer_with_too_many_digits_is_refused(
    shipped_checkpoint_path: Path, tmp_path: Path
) -> None:
    tensors = safetensors.torch.load(shipped_checkpoint_path.read_bytes())
    path = tmp_path / "large.safetensors"
    header = '{"protocol": ' + "9" * 5000 + "}"
    path.write_bytes(safetensors.torch.save(tensors, metadata={"henaw": header}))
    (problem,) = list_problems(path)
    assert problem.startswith("header: it cannot be read as JSON: Exceeds the limit")


def test_every_problem_is_listed(rewrite: Callable[..., Path]) -> None:
    def change(header: Header, tensors: Tensors) -> None:
        header["panel"][3]["unit"] = "g/dL"
        header["network"]["members_"] = 1
        header["network"]["input_dim"] = 10
        header["parameters"] = 5

    problems = list_problems(rewrite(change))
    assert [problem.split()[0] for problem in problems] == [
        "panel:",
        "network:",
        "network:",
        "parameters",
    ]

    def damage(header: Header, tensors: Tensors) -> None:
        drop(header, tensors)
        add(header, tensors)
        tensors["weight"][0, 0] = float("nan")
        tensors["margin"][0] = 0.0
        tensors["range_high"] = tensors["range_high"].double()

    assert len(list_problems(rewrite(damage))) == 5


@pytest.mark.parametrize("protocol", [1, 0, 3, True, "1", None])
def test_another_protocol_is_refused_with_one_sentence(
    rewrite: Callable[..., Path], protocol: object
) -> None:
    """Whatever else differs: nothing more can be said of another protocol's file."""

    def change(header: Header, tensors: Tensors) -> None:
        header["protocol"] = protocol
        header["panel"] = []
        header["network"] = {"layers": 3}
        header["parameters"] -= tensors.pop("typical").numel()

    assert PROTOCOL == 2
    assert list_problems(rewrite(change)) == (
        f"protocol must be 2; got {protocol!r}. This version computes the age differently; "
        "fit the model again with `henaw train`",
    )


def test_saving_refuses_what_loading_would(checkpoint: Checkpoint, tmp_path: Path) -> None:
    tensors = {**checkpoint.tensors, "scale": -checkpoint.tensors["scale"]}
    with pytest.raises(CheckpointError, match="scale: must be above 0"):
        save_checkpoint(dataclasses.replace(checkpoint, tensors=tensors), tmp_path / "m")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("step", ["fsync", "chmod", "replace"])
def test_a_crash_while_writing_leaves_the_file_before_it(
    monkeypatch: pytest.MonkeyPatch, checkpoint: Checkpoint, tmp_path: Path, step: str
) -> None:
    path = tmp_path / "m.safetensors"
    path.write_bytes(b"before")

    def fail(*arguments: object, **named: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, step, fail)
    with pytest.raises(OSError, match="No space left"):
        save_checkpoint(checkpoint, path)
    assert [file.name for file in tmp_path.iterdir()] == ["m.safetensors"]
    assert path.read_bytes() == b"before"


def test_an_interrupt_while_writing_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def interrupt(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(files.os, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_whole(tmp_path / "m", b"content")
    assert list(tmp_path.iterdir()) == []


def test_a_private_folder_and_its_new_parents_are_private(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir(mode=0o755)
    make_private_folder(shared / "run" / "tmp")
    make_private_folder(shared / "run" / "tmp")
    modes = [
        stat.S_IMODE(path.stat().st_mode) for path in (shared, shared / "run", shared / "run/tmp")
    ]
    assert modes == [0o755, 0o700, 0o700]


def test_write_whole_replaces_and_is_readable_by_all(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "m"
    write_whole(path, b"one")
    write_whole(path, b"two")
    assert path.read_bytes() == b"two"
    assert path.stat().st_mode & 0o777 == 0o644
    assert list(path.parent.iterdir()) == [path]


def test_the_network_is_ready_to_answer(checkpoint: Checkpoint) -> None:
    network = checkpoint.build_network()
    assert not network.training
    answers = network(torch.full((1, 9), 20.0), torch.tensor([50.0]), torch.tensor([1]))
    assert len(answers) == len(OUTPUT_NAMES) == 14
